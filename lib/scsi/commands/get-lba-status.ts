/** GET LBA STATUS (SBC-3 5.5): which blocks take space. QEMU asks before it reads, so as to skip holes. */
import { assert } from '../../base/assert.js';
import { putUint32, putUint64, uint32, uint64 } from '../../base/bytes.js';
import { describeError } from '../../base/errors.js';
import { IoError } from '../../block/device.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { lbaOutOfRange, senseOfIoError } from '../sense.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';

const HEADER_BYTES = 8;
const DESCRIPTOR_BYTES = 16;
/** PROVISIONING STATUS (SBC-3 5.5.2). */
const MAPPED = 0;
const DEALLOCATED = 1;
/** For one answer there is at most so much to look at, and to ask of others: the initiator asks on. */
const DESCRIPTORS_MAX = 16;
/** NUMBER OF LOGICAL BLOCKS is four bytes. */
const BLOCKS_MAX = 0xffff_ffff;

function execute(unit: DiskUnit, task: ScsiTask): void {
  const startLba = uint64(task.cdb, 2);
  if (startLba >= unit.blocks) {
    refuse(task, lbaOutOfRange(startLba));
    return;
  }
  const allocationLength = uint32(task.cdb, 10);
  const room = Math.floor((allocationLength - HEADER_BYTES) / DESCRIPTOR_BYTES);
  // Whoever holds the blocks may be away for a while, and the session of the task gone by then.
  let isWanted = true;
  task.letGo = () => (isWanted = false);
  describe(unit, startLba, Math.min(Math.max(room, 1), DESCRIPTORS_MAX)).then(
    (data) => {
      if (isWanted) answer(task, data, allocationLength);
    },
    (error: unknown) => {
      assert(error instanceof IoError, `a look at holes failed by ${describeError(error)}`);
      if (isWanted) refuse(task, senseOfIoError(error));
    },
  );
}

async function describe(unit: DiskUnit, startLba: number, descriptors: number): Promise<Buffer> {
  const data = Buffer.alloc(HEADER_BYTES + descriptors * DESCRIPTOR_BYTES);
  let at = HEADER_BYTES;
  for (let lba = startLba; lba < unit.blocks && at < data.length; at += DESCRIPTOR_BYTES) {
    const { blockBytes, full } = unit;
    const leftBytes = (unit.blocks - lba) * blockBytes;
    const { mapped, lengthBytes } = full
      ? { mapped: true, lengthBytes: leftBytes } // whatever a file system makes of zeros (SBC-4 4.7.2)
      : await unit.device.lookUp(lba * blockBytes, leftBytes);
    const blocks = Math.min(lengthBytes / blockBytes, BLOCKS_MAX);
    putUint64(data, lba, at);
    putUint32(data, blocks, at + 8);
    data[at + 12] = mapped ? MAPPED : DEALLOCATED;
    lba += blocks;
  }
  // PARAMETER DATA LENGTH counts what follows the field (SBC-3 5.5.2).
  putUint32(data, at - 4, 0);
  return data.subarray(0, at);
}

export const getLbaStatusCommand: Command = {
  name: 'GET LBA STATUS',
  opcode: OperationCode.SERVICE_ACTION_IN_16,
  serviceAction: 0x12,
  usage: usage('9e 12 ffffffffffffffff ffffffff 00 04'),
  access: 'read',
  prepare: withoutDataOut,
  execute,
};
