/**
 * What is known to be a hole, so that reading there costs no system call: one bit for each aligned MiB of a file, set when
 * the kernel said that all of it is hole, cleared by any write to it. A second bit says that it was asked, so that a MiB
 * with some data and many zeros is not asked about again and again; a discard makes it worth asking anew.
 *
 * Why a set bit is right: everything happens on the event loop, and written() comes before a write is queued or issued. A
 * look is only believed while no write is queued or in the thread pool, so each write is either done before the look
 * (the kernel counts dirty pages as data) or cleared the bit after it. What makes zeros of data cannot make a bit wrong.
 * Only for files that we have for ourselves: it does not see what another process writes. And only for those of this
 * machine: NFS writes all that is dirty in a file back before it asks its server, and the loop would wait for that.
 *
 * A file of 16 TiB has 2 MiB of either bit, which take memory where they are set; one without zeros read has none.
 */
import { HOLE_GRAIN_BYTES } from '../base/limits.js';
import { NO_DATA } from './native.js';

export class HoleMap {
  private holes: Uint8Array | null = null;
  private asked: Uint8Array | null = null;

  /**
   * @param seekData as seekDataWithin() in holes.ts, on all of this file
   * @param isQuiet no write is queued or in the thread pool
   */
  constructor(
    private readonly sizeBytes: number,
    private readonly seekData: (fromBytes: number) => number,
    private readonly isQuiet: () => boolean,
  ) {}

  /** Whether all of the range is known to be hole: it reads as zeros. */
  covers(offsetBytes: number, lengthBytes: number): boolean {
    const { holes } = this;
    if (holes === null) return false;
    const last = Math.floor((offsetBytes + lengthBytes - 1) / HOLE_GRAIN_BYTES);
    for (let grain = Math.floor(offsetBytes / HOLE_GRAIN_BYTES); grain <= last; grain++) {
      if (!isSet(holes, grain)) return false;
    }
    return true;
  }

  /** Something is about to be written there. */
  written(offsetBytes: number, lengthBytes: number): void {
    if (this.holes !== null) clear(this.holes, offsetBytes, lengthBytes);
  }

  /** The range is about to become a hole. */
  discarded(offsetBytes: number, lengthBytes: number): void {
    if (this.asked !== null) clear(this.asked, offsetBytes, lengthBytes);
  }

  /**
   * A read there has brought zeros: looks whether all around it is hole, once. Not sooner, since the kernel has the map of
   * a place that was just read in memory, and the look does not wait for the disk.
   */
  zerosRead(offsetBytes: number): void {
    const grain = Math.floor(offsetBytes / HOLE_GRAIN_BYTES);
    if (this.asked !== null && isSet(this.asked, grain)) return;
    if (!this.isQuiet()) return;
    this.asked = set(this.asked ?? this.newBits(), grain);
    const fromBytes = grain * HOLE_GRAIN_BYTES;
    const data = this.seekData(fromBytes);
    const isHole = data === NO_DATA || data >= fromBytes + HOLE_GRAIN_BYTES; // UNKNOWN is neither
    if (isHole) this.holes = set(this.holes ?? this.newBits(), grain);
  }

  private newBits(): Uint8Array {
    return new Uint8Array(Math.ceil(this.sizeBytes / HOLE_GRAIN_BYTES / 8));
  }
}

function isSet(bits: Uint8Array, grain: number): boolean {
  return ((bits[grain >>> 3] ?? 0) & (1 << (grain & 7))) !== 0;
}

function set(bits: Uint8Array, grain: number): Uint8Array {
  bits[grain >>> 3] = (bits[grain >>> 3] ?? 0) | (1 << (grain & 7));
  return bits;
}

/** All that the range touches. */
function clear(bits: Uint8Array, offsetBytes: number, lengthBytes: number): void {
  const last = Math.floor((offsetBytes + lengthBytes - 1) / HOLE_GRAIN_BYTES);
  for (let grain = Math.floor(offsetBytes / HOLE_GRAIN_BYTES); grain <= last; grain++) {
    bits[grain >>> 3] = (bits[grain >>> 3] ?? 0) & ~(1 << (grain & 7));
  }
}
