/**
 * Commands that are done in one uninterrupted series of actions: COMPARE AND WRITE (SBC-3 5.2), ORWRITE (16) (SBC-3) and
 * WRITE ATOMIC (16) (SBC-4). Each has its range to itself meanwhile (block/claims.ts), so nobody reads or writes it half
 * done, over how many extents and members it may lie.
 *
 * A WRITE ATOMIC is one page at most, since a page goes into the page cache whole: a member that is killed has written
 * all of it or nothing.
 */
import { uint16, uint32, uint64 } from '../../base/bytes.js';
import { PIECE_BYTES_MAX } from '../../base/limits.js';
import { byteAt, FUA } from '../cdb.js';
import { accept, type Command, refuse, usage } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { cut, finishClaimed, type Piece } from '../pieces.js';
import { findRangeFault, type MediumRange } from '../range.js';
import { firstDifference, invalidCdbField, type Sense, SENSE } from '../sense.js';
import type { ScsiTask, TaskPlan } from '../task.js';
import type { DiskUnit } from '../unit.js';

type Pieces = Generator<Piece, Sense | null>;

/** What the three differ in. */
interface AtomicCommand {
  range(cdb: Buffer): MediumRange;
  blocksMax(unit: DiskUnit): number;
  /** Bytes that are sent for each byte of the range. */
  readonly dataOutRatio: number;
  /**
   * Half of it is something else, and refused. Otherwise an initiator that sends less does it to less, as with WRITE:
   * whole blocks of what came (RFC 7143 11.4.5.1).
   */
  readonly wantsAll: boolean;
  /** What it refuses of its own. */
  fault(unit: DiskUnit, cdb: Buffer, range: MediumRange): Sense | null;
  /** @param isDurable asked for each piece: the write cache may be switched off while its turn is waited for */
  pieces(offsetBytes: number, dataOut: Buffer, isDurable: () => boolean): Pieces;
}

const ATOMIC_BOUNDARY_AT = 10;
const nothing = (): null => null;

const compareAndWrite: AtomicCommand = {
  range: (cdb) => ({ lba: uint64(cdb, 2), blocks: byteAt(cdb, 13), lengthAt: 13 }),
  blocksMax: (unit) => unit.compareAndWriteBlocksMax,
  dataOutRatio: 2,
  wantsAll: true,
  fault: nothing,
  /** The first half of the data is what has to be there, the second what is written then. */
  *pieces(offsetBytes, dataOut, isDurable) {
    const lengthBytes = dataOut.length / 2;
    const wanted = dataOut.subarray(0, lengthBytes);
    const found = Buffer.allocUnsafe(lengthBytes);
    yield { op: 'read', offsetBytes, lengthBytes, data: found };
    if (!found.equals(wanted)) return { ...SENSE.MISCOMPARE, information: firstDifference(found, wanted) };
    yield { op: 'write', offsetBytes, lengthBytes, data: dataOut.subarray(lengthBytes), fua: isDurable() };
    return null;
  },
};

const orWrite: AtomicCommand = {
  range: (cdb) => ({ lba: uint64(cdb, 2), blocks: uint32(cdb, 10), lengthAt: 10 }),
  blocksMax: (unit) => unit.transferBlocksMax,
  dataOutRatio: 1,
  wantsAll: false,
  fault: nothing,
  *pieces(start, dataOut, isDurable) {
    for (const { offsetBytes, lengthBytes } of cut(start, dataOut.length, PIECE_BYTES_MAX)) {
      const data = Buffer.allocUnsafe(lengthBytes);
      yield { op: 'read', offsetBytes, lengthBytes, data };
      const from = offsetBytes - start;
      for (let at = 0; at < lengthBytes; at++)
        data[at] = (data[at] as number) | (dataOut[from + at] as number);
      yield { op: 'write', offsetBytes, lengthBytes, data, fua: isDurable() };
    }
    return null;
  },
};

const writeAtomic: AtomicCommand = {
  range: (cdb) => ({ lba: uint64(cdb, 2), blocks: uint16(cdb, 12), lengthAt: 12 }),
  blocksMax: (unit) => unit.atomicBlocksMax,
  dataOutRatio: 1,
  wantsAll: true,
  fault: (unit, cdb, { lba, blocks, lengthAt }) => {
    // It would cut the write into several atomic ones; VPD B0h says that there is none (MAXIMUM ATOMIC BOUNDARY SIZE).
    if (uint16(cdb, ATOMIC_BOUNDARY_AT) !== 0) return invalidCdbField(ATOMIC_BOUNDARY_AT);
    // ATOMIC ALIGNMENT and ATOMIC TRANSFER LENGTH GRANULARITY (SBC-4 6.6.4): a page from its start, never parts of two.
    if (lba % unit.atomicBlocksMax !== 0) return invalidCdbField(2);
    return blocks % unit.atomicBlocksMax === 0 ? null : invalidCdbField(lengthAt);
  },
  *pieces(offsetBytes, data, isDurable) {
    yield { op: 'write', offsetBytes, lengthBytes: data.length, data, fua: isDurable() };
    return null;
  },
};

function prepare(command: AtomicCommand, unit: DiskUnit, task: ScsiTask): TaskPlan {
  const { cdb } = task;
  const range = command.range(cdb);
  const fault =
    findRangeFault(unit, cdb, range, command.blocksMax(unit)) ??
    (unit.readOnly ? SENSE.WRITE_PROTECTED : command.fault(unit, cdb, range));
  if (fault !== null) return refuse(task, fault);
  const dataOutBytes = range.blocks * unit.blockBytes * command.dataOutRatio;
  if (command.wantsAll && task.expectedDataOutBytes !== dataOutBytes)
    return refuse(task, invalidCdbField(range.lengthAt));
  if (dataOutBytes === 0) return accept(task);
  task.dataOutBytes = dataOutBytes;
  return 'control';
}

function execute(command: AtomicCommand, unit: DiskUnit, task: ScsiTask): void {
  const { cdb } = task;
  const { lba, lengthAt } = command.range(cdb);
  const came = task.dataOut.length - (task.dataOut.length % unit.blockBytes);
  if (command.wantsAll && task.dataOut.length !== task.dataOutBytes)
    return void refuse(task, invalidCdbField(lengthAt));
  if (came === 0) return void accept(task);
  const isDurable = (): boolean => (byteAt(cdb, 1) & FUA) !== 0 || unit.writesThrough;
  const range = { offsetBytes: lba * unit.blockBytes, lengthBytes: came / command.dataOutRatio };
  const dataOut = task.dataOut.subarray(0, came);
  finishClaimed(unit, task, range, command.pieces(range.offsetBytes, dataOut, isDurable));
}

function atomically(command: AtomicCommand): Pick<Command, 'prepare' | 'execute'> {
  return {
    prepare: (unit, task) => prepare(command, unit, task),
    execute: (unit, task) => execute(command, unit, task),
  };
}

export const atomicCommands: readonly Command[] = [
  {
    name: 'COMPARE AND WRITE',
    opcode: OperationCode.COMPARE_AND_WRITE,
    usage: usage('89 f8 ffffffffffffffff 000000 ff 00 04'),
    ...atomically(compareAndWrite),
  },
  {
    name: 'ORWRITE(16)',
    opcode: OperationCode.ORWRITE_16,
    usage: usage('8b f8 ffffffffffffffff ffffffff 00 04'),
    ...atomically(orWrite),
  },
  {
    name: 'WRITE ATOMIC(16)',
    opcode: OperationCode.WRITE_ATOMIC_16,
    usage: usage('9c f8 ffffffffffffffff ffff ffff 00 04'),
    ...atomically(writeAtomic),
  },
];
