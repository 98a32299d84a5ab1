/** SCSI Command (RFC 7143 11.3): from header fields to a task. */
import { uint32, uint8 } from '../../../base/bytes.js';
import { COMMAND_WINDOW } from '../../../base/limits.js';
import { decodeLun } from '../../../scsi/lun.js';
import { SENSE } from '../../../scsi/sense.js';
import { ScsiStatus } from '../../../scsi/task.js';
import { initiatorTaskTagOf, isFinal, isImmediate, totalAHSLengthOf } from '../../wire/bhs.js';
import { RejectReason, RESERVED_TAG, TaskAttribute } from '../../wire/opcodes.js';
import {
  CDB_BYTES,
  COMMAND_ATTR_MASK,
  COMMAND_READ_BIT,
  COMMAND_WRITE_BIT,
  scsiCommandField,
} from '../../wire/scsi.js';
import { beginGather, failWith } from '../data-out.js';
import { putReject } from '../reject.js';
import type { Session } from '../session.js';
import { gathered, keepForLater, startTask } from '../transfers.js';

/** Where a command's immediate data goes: it outlives what was received, since the device may take its time. */
export function placeImmediateData(session: Session, lengthBytes: number): Buffer | null {
  if (lengthBytes === 0 || !session.accepting) return null;
  const buffer = session.pool.take(lengthBytes);
  buffer.hold();
  session.immediateBuffer = buffer;
  return buffer.bytes.subarray(0, lengthBytes);
}

/** The hot path begins here: fields are read in place, and nothing is allocated that the task does not have. */
export function scsiCommand(session: Session, bhs: Buffer, data: Buffer): void {
  const initiatorTaskTag = initiatorTaskTagOf(bhs);
  const immediate = isImmediate(bhs);
  const refusal = reasonToReject(session, initiatorTaskTag, immediate);
  if (refusal !== 0) {
    if (!immediate) session.window.ended();
    return putReject(session, refusal, bhs);
  }
  if (immediate) session.immediateTasks += 1;
  const task = session.beginTask(initiatorTaskTag);
  const flags = uint8(bhs, scsiCommandField.flags);
  const expectedBytes = uint32(bhs, scsiCommandField.expectedDataTransferLength);
  const writes = (flags & COMMAND_WRITE_BIT) !== 0;
  const reads = (flags & COMMAND_READ_BIT) !== 0;
  task.immediate = immediate;
  task.cmdSN = uint32(bhs, scsiCommandField.cmdSN);
  task.lunHigh = uint32(bhs, scsiCommandField.lunHigh);
  task.lunLow = uint32(bhs, scsiCommandField.lunLow);
  task.lun = (task.lunHigh | task.lunLow) === 0 ? 0 : decodeLun(bhs, scsiCommandField.lunHigh);
  task.expectedReadBytes = reads && !writes ? expectedBytes : 0;
  task.expectedDataOutBytes = writes ? expectedBytes : 0;
  const attribute = flags & COMMAND_ATTR_MASK;
  if (attribute > TaskAttribute.SIMPLE) session.settleReads();
  if (task.lun === 0) session.taskSet.enter(task, attribute); // where there is no unit there is no order to keep
  // copy() of so few bytes takes several times as long.
  for (let i = 0; i < CDB_BYTES; i++) task.cdbBytes[i] = bhs[scsiCommandField.cdb + i] as number;
  session.commands += 1;
  const final = isFinal(bhs) || !writes;
  // Without data both bits may be set (11.3.1), as Microsoft's initiator does.
  const isBidirectional = reads && writes && (expectedBytes > 0 || totalAHSLengthOf(bhs) > 0);
  if (isBidirectional || attribute >= TaskAttribute.ACA) {
    // Bidirectional commands need an AHS we do not read (RFC 7143 11.3.4): none of ours is one. There is never an ACA
    // condition (NACA is refused), so that nothing can be sent while one lasts (SAM-5 8.6.5).
    const sense = isBidirectional ? SENSE.INVALID_FIELD_IN_CDB : SENSE.INVALID_MESSAGE_ERROR;
    failWith(task, ScsiStatus.CHECK_CONDITION, sense);
    gathered(session, task, beginGather(session, task, data, final));
  } else if (task.isDormant) keepForLater(session, task, data, final);
  else startTask(session, task, data, final);
}

/** RejectReason, or 0. */
function reasonToReject(session: Session, initiatorTaskTag: number, immediate: boolean): number {
  // A discovery session does nothing but discovery (RFC 7143 4.3).
  if (session.target === null) return RejectReason.PROTOCOL_ERROR;
  if (initiatorTaskTag === RESERVED_TAG) return RejectReason.INVALID_PDU_FIELD;
  if (session.tasks.has(initiatorTaskTag)) return RejectReason.TASK_IN_PROGRESS;
  if (immediate && session.immediateTasks >= COMMAND_WINDOW) return RejectReason.IMMEDIATE_COMMAND_REJECT;
  return 0;
}
