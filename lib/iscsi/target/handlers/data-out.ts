/** SCSI Data-Out (RFC 7143 11.7): finds the task; the rest is data-out.ts of the folder above. */
import { uint32 } from '../../../base/bytes.js';
import { dataSegmentLengthOf, initiatorTaskTagOf } from '../../wire/bhs.js';
import { dataOutField, decodeDataOut } from '../../wire/data-out.js';
import { RejectReason, RESERVED_TAG } from '../../wire/opcodes.js';
import { SENSE } from '../../../scsi/sense.js';
import { belongs, destinationOf, fail, takeDataOut } from '../data-out.js';
import { putReject } from '../reject.js';
import type { Session } from '../session.js';
import type { Task } from '../task.js';
import { gathered } from '../transfers.js';

/** Where this PDU's data belongs, so that the framer copies it nowhere else first. */
export function placeDataOut(session: Session, bhs: Buffer): Buffer | null {
  const task = taskOf(session, bhs);
  const lengthBytes = dataSegmentLengthOf(bhs);
  if (task === null || lengthBytes === 0) return null;
  const destination = destinationOf(task, uint32(bhs, dataOutField.bufferOffset), lengthBytes);
  session.dataPlaced = destination !== null;
  return destination;
}

export function dataOut(session: Session, bhs: Buffer, data: Buffer, digestOk: boolean): void {
  const placed = session.dataPlaced;
  session.dataPlaced = false;
  if (!digestOk) putReject(session, RejectReason.DATA_DIGEST_ERROR, bhs);
  const task = taskOf(session, bhs);
  // Data for a command that was aborted may still be under way: it is nobody's, and no fault.
  if (task === null) return failUnasked(session, bhs);
  if (!digestOk) fail(task, SENSE.PROTOCOL_SERVICE_CRC_ERROR);
  gathered(session, task, takeDataOut(session, task, decodeDataOut(bhs), data, placed));
}

/**
 * Where InitialR2T is Yes nothing comes without an R2T (13.10), so the command fails that it is for. Where it is No, this may
 * be of a WRITE that came twice, and the first of them is none the worse.
 */
function failUnasked(session: Session, bhs: Buffer): void {
  if (!session.parameters.initialR2T || uint32(bhs, dataOutField.targetTransferTag) !== RESERVED_TAG) return;
  const task = session.tasks.find(initiatorTaskTagOf(bhs));
  if (task?.phase === 'gathering') fail(task, SENSE.UNEXPECTED_UNSOLICITED_DATA);
}

function taskOf(session: Session, bhs: Buffer): Task | null {
  const task = session.tasks.find(initiatorTaskTagOf(bhs));
  return task !== null && belongs(task, uint32(bhs, dataOutField.targetTransferTag)) ? task : null;
}
