/** Where a file holds data and where it is a hole, by SEEK_DATA and SEEK_HOLE. Dirty pages count as data. Never writes. */
import type { ByteRange } from '../base/byte-range.js';
import { type NativeCalls, NO_DATA, UNKNOWN } from './native.js';

/** The distance of two looks: what a hole between two of them costs is a copy of so many zeros. */
const STEP_BYTES = 64 * 1024;

/**
 * The stretches of [fromBytes, toBytes) that may hold anything but zeros, ascending and disjoint. Where the system cannot
 * tell (no koffi, a file system without holes), the rest is one stretch of data: to call a hole data is only slower.
 *
 * It is a part of a large file, and costs what that part costs. SEEK_HOLE walks all the data that follows, to the end of
 * the file if need be: a millisecond for each GiB in pieces, on the event loop. So SEEK_DATA looks at every 64 KiB whether
 * there is still data, and SEEK_HOLE is asked only where a hole is near. A hole that lies between two looks counts as data.
 */
export function dataRangesWithin(
  native: NativeCalls | null,
  fd: number,
  fromBytes: number,
  toBytes: number,
): ByteRange[] {
  if (native === null) return fromBytes < toBytes ? [{ fromBytes, toBytes }] : [];
  const ranges: ByteRange[] = [];
  let at = fromBytes;
  while (at < toBytes) {
    const data = seekDataWithin(native, fd, at, toBytes);
    if (data === NO_DATA || data >= toBytes) break;
    if (data === UNKNOWN) {
      ranges.push({ fromBytes: at, toBytes });
      break;
    }
    const end = endOfData(native, fd, data, toBytes);
    ranges.push({ fromBytes: data, toBytes: end });
    at = end;
  }
  return ranges;
}

/**
 * native.seekData, for a file that has to reach to `toBytes`. The kernel answers the same for a hole and for what is beyond
 * the end: where somebody has cut the file it is UNKNOWN, so that whoever wants the bytes reads, and fails.
 */
export function seekDataWithin(native: NativeCalls, fd: number, fromBytes: number, toBytes: number): number {
  const data = native.seekData(fd, fromBytes);
  return data === NO_DATA && native.lengthBytes(fd) < toBytes ? UNKNOWN : data;
}

/** Where the data that begins at `fromBytes` ends, `toBytes` at the latest. */
function endOfData(native: NativeCalls, fd: number, fromBytes: number, toBytes: number): number {
  let seen = fromBytes;
  for (;;) {
    const look = (Math.floor(seen / STEP_BYTES) + 1) * STEP_BYTES;
    if (look >= toBytes) break;
    if (native.seekData(fd, look) !== look) {
      const hole = native.seekHole(fd, seen);
      return hole > seen && hole < look ? hole : look;
    }
    seen = look;
  }
  return toBytes;
}
