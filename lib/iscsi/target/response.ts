/**
 * SCSI Response: the end of a command that its last Data-In does not end (RFC 7143 11.4), and the residual count that
 * both carry. Nothing here decides which status a command gets.
 */
import { NO_BYTES, putUint16 } from '../../base/bytes.js';
import { ScsiStatus } from '../../scsi/task.js';
import type { Sense } from '../../scsi/sense.js';
import { ScsiResponseCode } from '../wire/opcodes.js';
import { encodeScsiResponse } from '../wire/scsi.js';
import type { Session } from './session.js';
import type { Task } from './task.js';

const SENSE_LENGTH_BYTES = 2;

/**
 * By how much the command moved more (positive) or less (negative) than the initiator expected (RFC 7143 11.4.5).
 * Of a command that moves data, only what was expected in that direction counts.
 */
export function residualOf(task: Task): number {
  const { plan, actualBytes, expectedReadBytes, expectedDataOutBytes } = task;
  if (plan === 'read' && actualBytes > 0) return actualBytes - expectedReadBytes;
  if (plan === 'write' && actualBytes > 0) return actualBytes - expectedDataOutBytes;
  return actualBytes - expectedReadBytes - expectedDataOutBytes;
}

/** Ends the task with `status`, as its fate says: answered, silently, or as aborted for another initiator's sake. */
export function endWithStatus(session: Session, task: Task, status: number, sense: Sense | null): void {
  session.leaveWindow(task);
  try {
    if (session.answering && task.fate !== 'silence') {
      if (task.fate === 'task-aborted') putAborted(session, task);
      else putResponse(session, task, status, sense);
    }
  } finally {
    // Whatever goes wrong with its answer, its work is over: it must not keep the session from being gone.
    session.endTask(task);
  }
}

/** What of a read was not sent, and all of a write, counts as not transferred (11.4.5), however far it had come. */
function putAborted(session: Session, task: Task): void {
  task.actualBytes = task.sentBytes;
  putResponse(session, task, ScsiStatus.TASK_ABORTED, null);
}

function putResponse(session: Session, task: Task, status: number, sense: Sense | null): void {
  const data = sense === null ? NO_BYTES : senseData(session, sense);
  const residual = residualOf(task);
  session.writer.put(
    encodeScsiResponse,
    {
      bidirectionalOverflow: false,
      bidirectionalUnderflow: false,
      overflow: residual > 0,
      underflow: residual < 0,
      response: ScsiResponseCode.COMPLETED,
      status,
      totalAHSLength: 0,
      dataSegmentLength: data.length,
      initiatorTaskTag: task.initiatorTaskTag,
      snackTag: 0,
      statSN: session.takeStatSN(),
      expCmdSN: session.window.expCmdSN,
      maxCmdSN: session.window.maxCmdSN,
      expDataSN: task.dataSN + task.r2tSN,
      bidirectionalReadResidualCount: 0,
      residualCount: Math.abs(residual),
    },
    data,
  );
}

/** SenseLength and sense data (RFC 7143 11.4.7). */
function senseData({ target }: Session, sense: Sense): Buffer {
  if (target === null) return NO_BYTES;
  const bytes = target.server.encodeSense(sense);
  const data = Buffer.allocUnsafe(SENSE_LENGTH_BYTES + bytes.length);
  putUint16(data, bytes.length, 0);
  bytes.copy(data, SENSE_LENGTH_BYTES);
  return data;
}
