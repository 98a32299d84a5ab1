/** Where a file holds data and where it is a hole, by SEEK_DATA and SEEK_HOLE. Dirty pages count as data. Never writes. */
import { type NativeCalls, NO_DATA, UNKNOWN } from './native.js';

/** Bytes [fromBytes, toBytes) of a file. */
export interface DataRange {
  readonly fromBytes: number;
  readonly toBytes: number;
}

/**
 * The stretches of [fromBytes, toBytes) that may hold anything but zeros, ascending and disjoint. Where the system cannot
 * tell (no koffi, a file system without holes), the rest is one stretch of data: to call a hole data is only slower.
 */
export function dataRangesOf(
  native: NativeCalls | null,
  fd: number,
  fromBytes: number,
  toBytes: number,
): DataRange[] {
  if (native === null) return fromBytes < toBytes ? [{ fromBytes, toBytes }] : [];
  const ranges: DataRange[] = [];
  let at = fromBytes;
  while (at < toBytes) {
    const data = native.seekData(fd, at);
    if (data === NO_DATA || data >= toBytes) break;
    const start = data === UNKNOWN ? at : data;
    const hole = data === UNKNOWN ? UNKNOWN : native.seekHole(fd, start);
    const end = hole > start ? Math.min(hole, toBytes) : toBytes;
    ranges.push({ fromBytes: start, toBytes: end });
    at = end;
  }
  return ranges;
}
