/**
 * What simulated initiators write: sectors that say which write they are of and where they belong, so that any sector read
 * back names its write. A repeated block (WRITE SAME) says its place within the block instead.
 */
import { SECTOR_BYTES } from './inode.js';

const MAGIC = 0x51b0c4ed;
/** Marks a place within a repeated block. */
export const REPEATED = 0x80000000;

/** Fills one sector. */
export function fillSector(target: Buffer, at: number, write: number, place: number): void {
  target.fill((Math.imul(write, 31) + place) & 0xff, at, at + SECTOR_BYTES);
  target.writeUInt32LE(MAGIC, at);
  target.writeUInt32LE(write, at + 4);
  target.writeUInt32LE(place >>> 0, at + 8);
}

const ZEROS = Buffer.alloc(SECTOR_BYTES);
const scratch = Buffer.alloc(SECTOR_BYTES);

export function isZeros(data: Buffer, at: number): boolean {
  return data.compare(ZEROS, 0, SECTOR_BYTES, at, at + SECTOR_BYTES) === 0;
}

/** The write that a sector names, or −1 when it is no sector of ours or damaged. */
export function writeOf(data: Buffer, at: number): { readonly write: number; readonly place: number } | null {
  if (data.readUInt32LE(at) !== MAGIC) return null;
  const write = data.readUInt32LE(at + 4);
  const place = data.readUInt32LE(at + 8);
  fillSector(scratch, 0, write, place);
  return data.compare(scratch, 0, SECTOR_BYTES, at, at + SECTOR_BYTES) === 0 ? { write, place } : null;
}
