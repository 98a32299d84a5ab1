/** What CDBs and parameter lists are drawn with. */
import type { Chance } from '../../base/chance.js';

/** Of a small unit, whatever its blocks are: most of what is drawn is on the medium. */
export const LBAS_MAX = 2000;

const PATTERNS = Buffer.alloc(1024 * 1024);
for (let at = 0; at < PATTERNS.length; at += 4) PATTERNS.writeUInt32LE(Math.imul(at, 0x9e3779b1) >>> 0, at);

export function drawData(chance: Chance, lengthBytes: number): Buffer {
  const at = chance.below(PATTERNS.length - lengthBytes);
  return PATTERNS.subarray(at, at + lengthBytes);
}

export function writeField(bytes: Buffer, [at, length]: readonly [number, number], value: number): void {
  if (length <= 6) bytes.writeUIntBE(value % 2 ** (8 * length), at, length);
  else bytes.writeUIntBE(value, at + length - 6, 6);
}
