/**
 * Which chunks of one extent the destination does not have yet. A chunk is cleared before its bytes are sent and set
 * again when that failed, so that no crash or failure in between can lose one (rules 5 and 6).
 */
import { violated } from '../base/assert.js';
import { Bitmap } from '../base/bitmap.js';
import type { ByteRange } from '../base/byte-range.js';

export class DirtyMap {
  private readonly chunks: Bitmap;

  /**
   * @param baseBytes where the extent begins in the volume
   * @param lengthBytes how long it is; the last extent of a volume may be short
   */
  constructor(
    private readonly baseBytes: number,
    private readonly lengthBytes: number,
    private readonly chunkBytes: number,
  ) {
    this.chunks = new Bitmap(Math.ceil(lengthBytes / chunkBytes));
  }

  /** Chunks that are dirty. */
  get count(): number {
    return this.chunks.count;
  }

  /** Every chunk that the range touches is dirty: widened outward (rule 6). */
  mark(fromBytes: number, toBytes: number): void {
    const { from, to } = this.within(fromBytes, toBytes);
    this.chunks.setRange(Math.floor(from / this.chunkBytes), Math.ceil(to / this.chunkBytes));
  }

  /** Only chunks that the range covers whole are clean (rule 5); the extent's short last chunk counts as whole. */
  clearCovered(fromBytes: number, toBytes: number): void {
    const { from, to } = this.within(fromBytes, toBytes);
    const first = Math.ceil(from / this.chunkBytes);
    const end = to === this.lengthBytes ? this.chunks.size : Math.floor(to / this.chunkBytes);
    if (first < end) this.chunks.clearRange(first, end);
  }

  /** The first run of dirty chunks at or after `afterBytes`, at most `maxBytes` long; null when there is none. */
  nextRun(afterBytes: number, maxBytes: number): ByteRange | null {
    const first = this.chunks.nextSet(Math.ceil((afterBytes - this.baseBytes) / this.chunkBytes));
    if (first < 0) return null;
    const end = Math.min(
      this.chunks.nextClear(first),
      first + Math.max(1, Math.floor(maxBytes / this.chunkBytes)),
    );
    return {
      fromBytes: this.baseBytes + first * this.chunkBytes,
      toBytes: this.baseBytes + Math.min(end * this.chunkBytes, this.lengthBytes),
    };
  }

  private within(fromBytes: number, toBytes: number): { from: number; to: number } {
    const from = fromBytes - this.baseBytes;
    const to = toBytes - this.baseBytes;
    if (!(from >= 0 && from < to && to <= this.lengthBytes))
      violated(`range ${from}..${to} is outside the extent`);
    return { from, to };
  }
}
