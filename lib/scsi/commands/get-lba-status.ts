/** GET LBA STATUS (SBC-3 5.5): which blocks take space. QEMU asks before it reads, so as to skip holes. */
import { uint64, putUint64 } from '../cdb.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { lbaOutOfRange } from '../sense.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';

const HEADER_BYTES = 8;
const DESCRIPTOR_BYTES = 16;
/** PROVISIONING STATUS (SBC-3 5.5.2). */
const MAPPED = 0;
const DEALLOCATED = 1;
/** One answer is worked out on the loop: it is cut here, and the initiator asks on. */
const DESCRIPTORS_MAX = 16;
/** NUMBER OF LOGICAL BLOCKS is four bytes. */
const BLOCKS_MAX = 0xffff_ffff;

function execute(unit: DiskUnit, task: ScsiTask): void {
  const startLba = uint64(task.cdb, 2);
  if (startLba >= unit.blocks) {
    refuse(task, lbaOutOfRange(startLba));
    return;
  }
  const allocationLength = task.cdb.readUInt32BE(10);
  const room = Math.floor((allocationLength - HEADER_BYTES) / DESCRIPTOR_BYTES);
  const wanted = Math.min(Math.max(room, 1), DESCRIPTORS_MAX);
  const data = Buffer.alloc(HEADER_BYTES + wanted * DESCRIPTOR_BYTES);
  let at = HEADER_BYTES;
  for (let lba = startLba; lba < unit.blocks && at < data.length; at += DESCRIPTOR_BYTES) {
    const { mapped, lengthBytes } = look(unit, lba);
    const blocks = Math.min(lengthBytes / unit.blockBytes, BLOCKS_MAX);
    putUint64(data, lba, at);
    data.writeUInt32BE(blocks, at + 8);
    data[at + 12] = mapped ? MAPPED : DEALLOCATED;
    lba += blocks;
  }
  // PARAMETER DATA LENGTH counts what follows the field (SBC-3 5.5.2).
  data.writeUInt32BE(at - 4, 0);
  answer(task, data.subarray(0, at), allocationLength);
}

function look(unit: DiskUnit, lba: number): { mapped: boolean; lengthBytes: number } {
  const lengthBytes = (unit.blocks - lba) * unit.blockBytes;
  return unit.device.provisioning?.(lba * unit.blockBytes, lengthBytes) ?? { mapped: true, lengthBytes };
}

export const getLbaStatusCommand: Command = {
  name: 'GET LBA STATUS',
  opcode: 0x9e,
  serviceAction: 0x12,
  usage: usage('9e 12 ffffffffffffffff ffffffff 00 04'),
  prepare: withoutDataOut,
  execute,
};
