/**
 * Commands that are done in one uninterrupted series of actions: COMPARE AND WRITE (SBC-3 5.2), ORWRITE (16) (SBC-3
 * 5.10) and WRITE ATOMIC (16) (SBC-4 5.43). Each has its range to itself meanwhile (block/claims.ts), so nobody reads or
 * writes it half done, over how many extents and members it may lie.
 *
 * A WRITE ATOMIC is one page at most, since a page goes into the page cache whole: a member that is killed has written
 * all of it or nothing.
 */
import { COMPARE_AND_WRITE_BLOCKS_MAX } from '../../base/limits.js';
import { byteAt, PROTECT, uint64 } from '../cdb.js';
import { accept, type Command, refuse, usage } from '../command.js';
import { finishClaimed, type Piece } from '../pieces.js';
import { firstDifference, invalidCdbField, lbaOutOfRange, type Sense, SENSE } from '../sense.js';
import type { ScsiTask, TaskPlan } from '../task.js';
import type { DiskUnit } from '../unit.js';

const FUA = 0x08;

/** Where the lengths of the three CDBs stand. */
const COMPARE_LENGTH_AT = 13;
const OR_LENGTH_AT = 10;
const ATOMIC_BOUNDARY_AT = 10;
const ATOMIC_LENGTH_AT = 12;

interface Range {
  readonly lba: number;
  readonly blocks: number;
  readonly blocksMax: number;
  readonly lengthAt: number;
}

function findFault(unit: DiskUnit, cdb: Buffer, { lba, blocks, blocksMax, lengthAt }: Range): Sense | null {
  if ((byteAt(cdb, 1) & PROTECT) !== 0) return invalidCdbField(1, 7);
  if (unit.isBeyondEnd(lba, blocks)) return lbaOutOfRange(unit.firstBeyondEnd(lba));
  if (blocks > blocksMax) return invalidCdbField(lengthAt);
  return unit.readOnly ? SENSE.WRITE_PROTECTED : null;
}

/** Asks for `dataOutBytes`. All of it has to come: half of what is to be done at once is something else. */
function gather(task: ScsiTask, dataOutBytes: number, lengthAt: number): TaskPlan {
  if (task.expectedDataOutBytes !== dataOutBytes) return refuse(task, invalidCdbField(lengthAt));
  if (dataOutBytes === 0) return accept(task);
  task.dataOutBytes = dataOutBytes;
  return 'control';
}

function isDurable(unit: DiskUnit, cdb: Buffer): boolean {
  return (byteAt(cdb, 1) & FUA) !== 0 || unit.writesThrough;
}

const compareRange = (cdb: Buffer): Range => ({
  lba: uint64(cdb, 2),
  blocks: byteAt(cdb, COMPARE_LENGTH_AT),
  blocksMax: COMPARE_AND_WRITE_BLOCKS_MAX,
  lengthAt: COMPARE_LENGTH_AT,
});

function prepareCompare(unit: DiskUnit, task: ScsiTask): TaskPlan {
  const range = compareRange(task.cdb);
  const fault = findFault(unit, task.cdb, range);
  if (fault !== null) return refuse(task, fault);
  return gather(task, 2 * range.blocks * unit.blockBytes, range.lengthAt);
}

/** The first half of the data is what has to be there, the second what is written then. */
function* compareAndWrite(
  offsetBytes: number,
  dataOut: Buffer,
  fua: boolean,
): Generator<Piece, Sense | null> {
  const lengthBytes = dataOut.length / 2;
  const wanted = dataOut.subarray(0, lengthBytes);
  const found = Buffer.allocUnsafe(lengthBytes);
  yield { op: 'read', offsetBytes, lengthBytes, data: found };
  if (!found.equals(wanted)) return { ...SENSE.MISCOMPARE, information: firstDifference(found, wanted) };
  yield { op: 'write', offsetBytes, lengthBytes, data: dataOut.subarray(lengthBytes), fua };
  return null;
}

function executeCompare(unit: DiskUnit, task: ScsiTask): void {
  const { lba, blocks, lengthAt } = compareRange(task.cdb);
  const lengthBytes = blocks * unit.blockBytes;
  if (task.dataOut.length !== 2 * lengthBytes) {
    refuse(task, invalidCdbField(lengthAt));
    return;
  }
  const offsetBytes = lba * unit.blockBytes;
  const pieces = compareAndWrite(offsetBytes, task.dataOut, isDurable(unit, task.cdb));
  finishClaimed(unit.device, task, { offsetBytes, lengthBytes }, pieces);
}

const orRange = (unit: DiskUnit, cdb: Buffer): Range => ({
  lba: uint64(cdb, 2),
  blocks: cdb.readUInt32BE(OR_LENGTH_AT),
  blocksMax: unit.transferBlocksMax,
  lengthAt: OR_LENGTH_AT,
});

function prepareOr(unit: DiskUnit, task: ScsiTask): TaskPlan {
  const range = orRange(unit, task.cdb);
  const fault = findFault(unit, task.cdb, range);
  if (fault !== null) return refuse(task, fault);
  if (range.blocks === 0) return accept(task);
  task.dataOutBytes = range.blocks * unit.blockBytes;
  return 'control';
}

function* orWrite(offsetBytes: number, bits: Buffer, fua: boolean): Generator<Piece, Sense | null> {
  const lengthBytes = bits.length;
  const data = Buffer.allocUnsafe(lengthBytes);
  yield { op: 'read', offsetBytes, lengthBytes, data };
  for (let at = 0; at < lengthBytes; at++) data[at] = (data[at] as number) | (bits[at] as number);
  yield { op: 'write', offsetBytes, lengthBytes, data, fua };
  return null;
}

/** An initiator that sends less ORs less, as with WRITE: whole blocks of what came (RFC 7143 11.4.5.1). */
function executeOr(unit: DiskUnit, task: ScsiTask): void {
  const { lba } = orRange(unit, task.cdb);
  const offsetBytes = lba * unit.blockBytes;
  const lengthBytes = task.dataOut.length - (task.dataOut.length % unit.blockBytes);
  if (lengthBytes === 0) {
    accept(task);
    return;
  }
  const pieces = orWrite(offsetBytes, task.dataOut.subarray(0, lengthBytes), isDurable(unit, task.cdb));
  finishClaimed(unit.device, task, { offsetBytes, lengthBytes }, pieces);
}

const atomicRange = (unit: DiskUnit, cdb: Buffer): Range => ({
  lba: uint64(cdb, 2),
  blocks: cdb.readUInt16BE(ATOMIC_LENGTH_AT),
  blocksMax: unit.atomicBlocksMax,
  lengthAt: ATOMIC_LENGTH_AT,
});

/** ATOMIC BOUNDARY cuts a write into several atomic ones; VPD B0h says that there is none (MAXIMUM ATOMIC BOUNDARY SIZE). */
function prepareAtomic(unit: DiskUnit, task: ScsiTask): TaskPlan {
  const range = atomicRange(unit, task.cdb);
  if (task.cdb.readUInt16BE(ATOMIC_BOUNDARY_AT) !== 0)
    return refuse(task, invalidCdbField(ATOMIC_BOUNDARY_AT));
  const fault = findFault(unit, task.cdb, range);
  if (fault !== null) return refuse(task, fault);
  // ATOMIC ALIGNMENT: what begins elsewhere might lie in two pages.
  const { lba, blocks } = range;
  const inPage = lba % unit.atomicBlocksMax;
  if (inPage + blocks > unit.atomicBlocksMax) return refuse(task, invalidCdbField(2));
  return gather(task, blocks * unit.blockBytes, range.lengthAt);
}

function executeAtomic(unit: DiskUnit, task: ScsiTask): void {
  const { lba, blocks, lengthAt } = atomicRange(unit, task.cdb);
  const lengthBytes = blocks * unit.blockBytes;
  if (task.dataOut.length !== lengthBytes) {
    refuse(task, invalidCdbField(lengthAt));
    return;
  }
  const offsetBytes = lba * unit.blockBytes;
  const write: Piece = {
    ...{ op: 'write', offsetBytes, lengthBytes, data: task.dataOut },
    fua: isDurable(unit, task.cdb),
  };
  finishClaimed(unit.device, task, write, only(write));
}

function* only(piece: Piece): Generator<Piece, null> {
  yield piece;
  return null;
}

export const atomicCommands: readonly Command[] = [
  {
    name: 'COMPARE AND WRITE',
    opcode: 0x89,
    usage: usage('89 f8 ffffffffffffffff 000000 ff 00 04'),
    prepare: prepareCompare,
    execute: executeCompare,
  },
  {
    name: 'ORWRITE(16)',
    opcode: 0x8b,
    usage: usage('8b f8 ffffffffffffffff ffffffff 00 04'),
    prepare: prepareOr,
    execute: executeOr,
  },
  {
    name: 'WRITE ATOMIC(16)',
    opcode: 0x9c,
    usage: usage('9c f8 ffffffffffffffff ffff ffff 00 04'),
    prepare: prepareAtomic,
    execute: executeAtomic,
  },
];
