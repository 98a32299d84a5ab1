/** What tests of the target ask most, and what comes of it. */
import { Opcode } from '../../lib/iscsi/wire/opcodes.js';
import { decodeScsiResponse } from '../../lib/iscsi/wire/scsi.js';
import { decodeTaskManagementResponse } from '../../lib/iscsi/wire/task-management.js';
import { read10, type TargetInitiator } from './target-initiator.js';

/** TEST UNIT READY. */
export const READY = Buffer.alloc(16);
export const ONE_READ = { cdb: read10(0, 1), read: true, expectedBytes: 512 };

/** The next PDU, a SCSI Response. */
export async function ready(initiator: TargetInitiator): Promise<ReturnType<typeof decodeScsiResponse>> {
  return decodeScsiResponse((await initiator.expect(Opcode.SCSI_RESPONSE)).bhs);
}

/** The next PDU, a Task Management Function Response. */
export async function tmf(
  initiator: TargetInitiator,
): Promise<ReturnType<typeof decodeTaskManagementResponse>> {
  return decodeTaskManagementResponse((await initiator.expect(Opcode.TASK_MANAGEMENT_RESPONSE)).bhs);
}
