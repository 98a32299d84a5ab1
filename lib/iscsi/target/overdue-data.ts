/**
 * Write data that was announced or asked for and does not come: without an end its memory would be held for ever. Looked
 * for now and then, so that no Data-Out pays for it. With ErrorRecoveryLevel 0 nothing less than the session can be
 * recovered (RFC 7143 7.1.4.4): the initiator logs in again and repeats its command.
 */
import { DATA_OUT_LOOKS_MAX } from '../../base/limits.js';
import type { Session } from './session.js';

/** One look, DATA_OUT_LOOK_MS after the one before. True: a command has had none of its data over several. */
export function isDataOverdue(session: Session): boolean {
  let isOverdue = false;
  for (const task of session.tasks.inOrder()) {
    const isWaiting = task.phase === 'gathering'; // not 'parked': that one waits for us
    if (isWaiting && task.receivedBytes === task.seenBytes) {
      task.looksInVain += 1;
      if (task.looksInVain >= DATA_OUT_LOOKS_MAX) isOverdue = true;
    } else {
      task.seenBytes = isWaiting ? task.receivedBytes : -1;
      task.looksInVain = 0;
    }
  }
  return isOverdue;
}
