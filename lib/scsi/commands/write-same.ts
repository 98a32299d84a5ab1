/**
 * WRITE SAME (10) and (16) (SBC-3 5.48, 5.49): one block written many times, or a range cleared; to the end of the medium
 * where it names no number of blocks. An abort ends it after the piece that is under way.
 */
import { uint16, uint32, uint64 } from '../../base/bytes.js';
import { CLEAR_PIECE_BYTES_MAX, PIECE_BYTES_MAX, WRITE_SAME_BLOCKS_MAX } from '../../base/limits.js';
import { byteAt, PROTECT } from '../cdb.js';
import { type Command, refuse, usage } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { cut, finishByPieces, type Piece } from '../pieces.js';
import { invalidCdbField, lbaOutOfRange, type Sense, SENSE } from '../sense.js';
import type { ScsiTask, TaskPlan } from '../task.js';
import type { DiskUnit } from '../unit.js';

/** Byte 1. PBDATA and LBDATA are obsolete and would change the data, so they are refused. */
const ANCHOR = 0x10;
const UNMAP = 0x08;
const PBDATA_LBDATA = 0x06;
const NDOB = 0x01;

interface WriteSame {
  readonly flags: number;
  readonly lba: number;
  readonly blocks: number;
  readonly noDataOut: boolean;
  /** Where NUMBER OF LOGICAL BLOCKS stands in the CDB. */
  readonly lengthAt: number;
}

type Read = (cdb: Buffer) => WriteSame;

const read10: Read = (cdb) => ({
  flags: byteAt(cdb, 1),
  lba: uint32(cdb, 2),
  blocks: uint16(cdb, 7),
  noDataOut: false,
  lengthAt: 7,
});

const read16: Read = (cdb) => ({
  flags: byteAt(cdb, 1),
  lba: uint64(cdb, 2),
  blocks: uint32(cdb, 10),
  noDataOut: (byteAt(cdb, 1) & NDOB) !== 0,
  lengthAt: 10,
});

/** VPD B0h says WSNZ 0: no number of blocks means all that follow. */
function blocksOf(unit: DiskUnit, { lba, blocks }: WriteSame): number {
  return blocks === 0 ? unit.blocks - lba : blocks;
}

function findFault(unit: DiskUnit, command: WriteSame): Sense | null {
  if ((command.flags & PROTECT) !== 0) return invalidCdbField(1, 7);
  if ((command.flags & PBDATA_LBDATA) !== 0) return invalidCdbField(1, 2);
  // VPD B2h says ANC_SUP 0.
  if ((command.flags & ANCHOR) !== 0) return invalidCdbField(1, 4);
  // A full unit has no VPD B2h, which would say LBPWS 0 and LBPWS10 0 (SBC-3 5.48).
  if ((command.flags & UNMAP) !== 0 && unit.full) return invalidCdbField(1, 3);
  // One block at least: also of "to the end" there has to be a first one.
  const blocks = Math.max(command.blocks, 1);
  if (unit.isBeyondEnd(command.lba, blocks)) return lbaOutOfRange(unit.firstBeyondEnd(command.lba));
  if (blocksOf(unit, command) > WRITE_SAME_BLOCKS_MAX) return invalidCdbField(command.lengthAt);
  return unit.readOnly ? SENSE.WRITE_PROTECTED : null;
}

function prepare(read: Read): Command['prepare'] {
  return (unit: DiskUnit, task: ScsiTask): TaskPlan => {
    const command = read(task.cdb);
    const fault = findFault(unit, command);
    if (fault !== null) return refuse(task, fault);
    // SBC-3 5.48: the Data-Out Buffer is one block. Whoever sends more means something else by this command.
    if (task.expectedDataOutBytes > unit.blockBytes) return refuse(task, invalidCdbField(command.lengthAt));
    task.dataOutBytes = command.noDataOut ? 0 : unit.blockBytes;
    return 'control';
  };
}

function* clear(
  unit: DiskUnit,
  op: 'discard' | 'zero',
  offsetBytes: number,
  lengthBytes: number,
): Generator<Piece, null> {
  for (const piece of cut(offsetBytes, lengthBytes, CLEAR_PIECE_BYTES_MAX))
    yield { op, ...piece, fua: unit.writesThrough };
  return null;
}

function* repeat(
  unit: DiskUnit,
  block: Buffer,
  offsetBytes: number,
  lengthBytes: number,
): Generator<Piece, null> {
  const run = Buffer.alloc(Math.min(lengthBytes, PIECE_BYTES_MAX), block);
  for (const piece of cut(offsetBytes, lengthBytes, PIECE_BYTES_MAX)) {
    const data = run.subarray(0, piece.lengthBytes);
    yield { op: 'write', ...piece, data, fua: unit.writesThrough };
  }
  return null;
}

function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

function execute(read: Read): NonNullable<Command['execute']> {
  return (unit, task) => {
    const command = read(task.cdb);
    const { dataOut } = task;
    if (!command.noDataOut && dataOut.length !== unit.blockBytes) {
      refuse(task, invalidCdbField(command.lengthAt));
      return;
    }
    const offsetBytes = command.lba * unit.blockBytes;
    const lengthBytes = blocksOf(unit, command) * unit.blockBytes;
    // With LBPRZ 1 an unmapped block reads as zeros, so UNMAP may only be honoured for zeros (SBC-3 5.48, 4.7.3.4.4).
    const pieces =
      command.noDataOut || isZero(dataOut)
        ? clear(unit, (command.flags & UNMAP) !== 0 ? 'discard' : 'zero', offsetBytes, lengthBytes)
        : repeat(unit, dataOut, offsetBytes, lengthBytes);
    finishByPieces(unit, task, pieces);
  };
}

export const writeSameCommands: readonly Command[] = [
  {
    name: 'WRITE SAME(10)',
    opcode: OperationCode.WRITE_SAME_10,
    usage: usage('41 fe ffffffff 00 ffff 04'),
    prepare: prepare(read10),
    execute: execute(read10),
  },
  {
    name: 'WRITE SAME(16)',
    opcode: OperationCode.WRITE_SAME_16,
    usage: usage('93 ff ffffffffffffffff ffffffff 00 04'),
    prepare: prepare(read16),
    execute: execute(read16),
  },
];
