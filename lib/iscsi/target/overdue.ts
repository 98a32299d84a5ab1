/**
 * What an initiator owes and does not send: write data that was announced or asked for, and a command before those that
 * came early. Without an end the memory of what waits for it would be held for ever. Looked for now and then, so that no
 * PDU pays for it. With ErrorRecoveryLevel 0 nothing less than the session can be recovered (RFC 7143 7.1.4.4): the
 * initiator logs in again and repeats its commands.
 */
import { OVERDUE_LOOKS_MAX } from '../../base/limits.js';
import type { Session } from './session.js';

/** One look, OVERDUE_LOOK_MS after the one before. What has not come over several, or null. */
export function overdueIn(session: Session): string | null {
  if (isDataOverdue(session)) return 'the data it was asked for does not come';
  if (isCommandOverdue(session)) return 'a command that was left out does not come';
  return null;
}

/** A command has had none of its data. */
function isDataOverdue(session: Session): boolean {
  let isOverdue = false;
  for (const task of session.tasks.inOrder()) {
    const isWaiting = task.phase === 'gathering'; // not 'parked': that one waits for us
    if (isWaiting && task.receivedBytes === task.seenBytes) {
      task.looksInVain += 1;
      if (task.looksInVain >= OVERDUE_LOOKS_MAX) isOverdue = true;
    } else {
      task.seenBytes = isWaiting ? task.receivedBytes : -1;
      task.looksInVain = 0;
    }
  }
  return isOverdue;
}

/** The same CmdSN is due, and others have come. */
function isCommandOverdue(session: Session): boolean {
  const { expCmdSN } = session.window;
  const isWaiting = session.early.size > 0 && !session.isUnheard; // or it may have been sent, and waits for us
  if (isWaiting && expCmdSN === session.seenCmdSN) {
    session.looksInVain += 1;
    return session.looksInVain >= OVERDUE_LOOKS_MAX;
  }
  session.seenCmdSN = isWaiting ? expCmdSN : -1;
  session.looksInVain = 0;
  return false;
}
