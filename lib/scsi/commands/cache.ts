/**
 * SYNCHRONIZE CACHE and PRE-FETCH, (10) and (16) (SBC-3 5.28, 5.29, 5.5, 5.6): what a host may ask of the cache in
 * between. A flush is of the whole device, whatever range was named.
 */
import { uint16, uint32, uint64 } from '../../base/bytes.js';
import { byteAt } from '../cdb.js';
import { accept, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { finishDurably, flushPieces, runPieces } from '../pieces.js';
import { lbaOutOfRange } from '../sense.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';

const IMMED = 0x02;

type ReadRange = (cdb: Buffer) => { readonly lba: number; readonly blocks: number };

const range10: ReadRange = (cdb) => ({ lba: uint32(cdb, 2), blocks: uint16(cdb, 7) });
const range16: ReadRange = (cdb) => ({ lba: uint64(cdb, 2), blocks: uint32(cdb, 10) });

/** Refuses a range that leaves the medium; zero blocks mean "to the end". */
function refusesRange(unit: DiskUnit, task: ScsiTask, readRange: ReadRange): boolean {
  const { lba, blocks } = readRange(task.cdb);
  if (!unit.isBeyondEnd(lba, blocks)) return false;
  refuse(task, lbaOutOfRange(unit.firstBeyondEnd(lba)));
  return true;
}

function synchronize(readRange: ReadRange): NonNullable<Command['execute']> {
  return (unit, task) => {
    if (refusesRange(unit, task, readRange)) return;
    if ((byteAt(task.cdb, 1) & IMMED) === 0) {
      finishDurably(unit, task);
      return;
    }
    accept(task);
    // GOOD has already been said, so a failure has nobody to go to; it promised nothing about durability (I1).
    runPieces(unit.device, flushPieces(), () => undefined);
  };
}

/** GOOD, not CONDITION MET: "the blocks may not all be in the cache" is always true (SBC-3 5.5). */
function prefetch(readRange: ReadRange): NonNullable<Command['execute']> {
  return (unit, task) => {
    if (!refusesRange(unit, task, readRange)) accept(task);
  };
}

export const cacheCommands: readonly Command[] = [
  {
    name: 'SYNCHRONIZE CACHE(10)',
    opcode: OperationCode.SYNCHRONIZE_CACHE_10,
    usage: usage('35 02 ffffffff 00 ffff 04'),
    prepare: withoutDataOut,
    execute: synchronize(range10),
  },
  {
    name: 'SYNCHRONIZE CACHE(16)',
    opcode: OperationCode.SYNCHRONIZE_CACHE_16,
    usage: usage('91 02 ffffffffffffffff ffffffff 00 04'),
    prepare: withoutDataOut,
    execute: synchronize(range16),
  },
  {
    name: 'PRE-FETCH(10)',
    opcode: OperationCode.PRE_FETCH_10,
    usage: usage('34 02 ffffffff 00 ffff 04'),
    access: 'read',
    prepare: withoutDataOut,
    execute: prefetch(range10),
  },
  {
    name: 'PRE-FETCH(16)',
    opcode: OperationCode.PRE_FETCH_16,
    usage: usage('90 02 ffffffffffffffff ffffffff 00 04'),
    access: 'read',
    prepare: withoutDataOut,
    execute: prefetch(range16),
  },
];
