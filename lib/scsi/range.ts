/** The range of the medium that a command names, and what is refused of it whatever the command does there. */
import { byteAt, PROTECT } from './cdb.js';
import { invalidCdbField, lbaOutOfRange, type Sense } from './sense.js';
import type { DiskUnit } from './unit.js';

export interface MediumRange {
  readonly lba: number;
  readonly blocks: number;
  /** Where its length stands in the CDB. */
  readonly lengthAt: number;
}

/**
 * @param blocksMax how long the command may be, as VPD B0h says it
 * @returns null: the range may be used
 */
export function findRangeFault(
  unit: DiskUnit,
  cdb: Buffer,
  { lba, blocks, lengthAt }: MediumRange,
  blocksMax: number,
): Sense | null {
  if ((byteAt(cdb, 1) & PROTECT) !== 0) return invalidCdbField(1, 7);
  if (unit.isBeyondEnd(lba, blocks)) return lbaOutOfRange(unit.firstBeyondEnd(lba));
  return blocks > blocksMax ? invalidCdbField(lengthAt) : null;
}
