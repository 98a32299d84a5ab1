/**
 * What is known to be a hole, so that reading there costs no system call: one bit for each aligned MiB of a file, set when
 * the kernel said that all of it is hole, cleared by any write to it. It guesses nothing and looks nothing up in advance.
 *
 * Why a set bit is right: everything happens on the event loop, and forget() comes before a write is queued or issued. A
 * look is only believed while no write is queued or in the thread pool, so each write is either done before the look
 * (the kernel counts dirty pages as data) or cleared the bit after it. What makes zeros of data cannot make a bit wrong.
 * Only for files that we have for ourselves: it does not see what another process writes.
 *
 * A file of 16 TiB has 2 MiB of bits, which take memory where they are set; one without known holes has none.
 */
import { HOLE_GRAIN_BYTES } from '../base/limits.js';
import { NO_DATA } from './native.js';

export class HoleMap {
  private bits: Uint8Array | null = null;

  /**
   * @param seekData as in native.ts, on this file
   * @param isQuiet no write is queued or in the thread pool
   */
  constructor(
    private readonly sizeBytes: number,
    private readonly seekData: (fromBytes: number) => number,
    private readonly isQuiet: () => boolean,
  ) {}

  /** Whether all of the range is known to be hole: it reads as zeros. */
  covers(offsetBytes: number, lengthBytes: number): boolean {
    const { bits } = this;
    if (bits === null) return false;
    const last = Math.floor((offsetBytes + lengthBytes - 1) / HOLE_GRAIN_BYTES);
    for (let grain = Math.floor(offsetBytes / HOLE_GRAIN_BYTES); grain <= last; grain++) {
      if (((bits[grain >>> 3] ?? 0) & (1 << (grain & 7))) === 0) return false;
    }
    return true;
  }

  /** Something is about to be written there. */
  forget(offsetBytes: number, lengthBytes: number): void {
    const { bits } = this;
    if (bits === null) return;
    const last = Math.floor((offsetBytes + lengthBytes - 1) / HOLE_GRAIN_BYTES);
    for (let grain = Math.floor(offsetBytes / HOLE_GRAIN_BYTES); grain <= last; grain++) {
      bits[grain >>> 3] = (bits[grain >>> 3] ?? 0) & ~(1 << (grain & 7));
    }
  }

  /**
   * Looks whether the grain around an offset is all hole. To be called after a read there has brought zeros: the kernel
   * then has the map of that place in memory, and the look does not wait for the disk.
   */
  look(offsetBytes: number): void {
    if (!this.isQuiet()) return;
    const grain = Math.floor(offsetBytes / HOLE_GRAIN_BYTES);
    const fromBytes = grain * HOLE_GRAIN_BYTES;
    const data = this.seekData(fromBytes);
    if (data !== NO_DATA && data < fromBytes + HOLE_GRAIN_BYTES) return; // UNKNOWN is negative as well
    this.bits ??= new Uint8Array(Math.ceil(this.sizeBytes / HOLE_GRAIN_BYTES / 8));
    this.bits[grain >>> 3] = (this.bits[grain >>> 3] ?? 0) | (1 << (grain & 7));
  }
}
