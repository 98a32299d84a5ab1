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

/** What a Data-Out that is kept takes besides its data, about: it may have none. */
const EARLY_DATA_OUT_BYTES = 512;

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
  if (session.early.size === 0 || !keepEarlyData(session, bhs, data, digestOk))
    takeData(session, bhs, data, digestOk, placed);
}

/** @param placed the data already stands where placeDataOut() said */
export function takeData(
  session: Session,
  bhs: Buffer,
  data: Buffer,
  digestOk: boolean,
  placed: boolean,
): void {
  const task = taskOf(session, bhs);
  // Data for a command that was aborted may still be under way: it is nobody's, and no fault.
  if (task === null) return failUnasked(session, bhs);
  if (!digestOk) fail(task, SENSE.PROTOCOL_SERVICE_CRC_ERROR);
  gathered(session, task, takeDataOut(session, task, decodeDataOut(bhs), data, placed));
}

/**
 * Unsolicited data of a command that waits for its turn (4.2.2.1) waits with it, as a copy.
 * @returns false when it is of no such command
 */
function keepEarlyData(session: Session, bhs: Buffer, data: Buffer, digestOk: boolean): boolean {
  const tag = initiatorTaskTagOf(bhs);
  if (uint32(bhs, dataOutField.targetTransferTag) !== RESERVED_TAG || session.tasks.has(tag)) return false;
  for (const early of session.early.values()) {
    if (early === null || initiatorTaskTagOf(early.bhs) !== tag) continue;
    const bytes = data.length + EARLY_DATA_OUT_BYTES;
    // FirstBurstLength in pieces of a block comes to twice that: who sends so much more is owed no memory.
    const isTooMuch = early.heldBytes + bytes > 4 * session.parameters.firstBurstLength;
    if (isTooMuch || !session.memory.mayKeepUnasked(bytes)) session.link.destroy('no memory for early data');
    else {
      early.dataOuts.push({ bhs: Buffer.from(bhs), data: Buffer.from(data), digestOk });
      early.heldBytes += bytes;
      session.memory.earlyBytes += bytes;
    }
    return true;
  }
  return false;
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
