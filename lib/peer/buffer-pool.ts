/**
 * Buffers used again. A fresh one of 4 KiB costs more than the copy into it, one of 256 KiB many times more; what is
 * smaller comes from Node's own pool. Who gives a buffer back must not touch it, or any view of it, any more.
 */
const POOLED_BYTES_MIN = 1024;
/** The smallest class: 32 KiB and the slack. */
const EXPONENT_MIN = 15;
/** Room beyond the power of two, so that a header in front of the data does not double the buffer. */
const SLACK_BYTES = 4096;
/** What a pool keeps at most. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024;

export class BufferPool {
  /** By the exponent of their size. */
  private readonly kept: Buffer[][] = Array.from({ length: 32 }, () => []);
  private keptBytes = 0;

  /** A buffer of exactly `bytes`, with anything in it. */
  take(bytes: number): Buffer {
    if (bytes < POOLED_BYTES_MIN) return Buffer.allocUnsafe(bytes);
    const exponent = exponentFor(bytes);
    const buffer = this.kept[exponent]?.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(2 ** exponent + SLACK_BYTES).subarray(0, bytes);
    this.keptBytes -= buffer.length;
    return buffer.subarray(0, bytes);
  }

  /** Takes back what take() gave; any other buffer is left alone. */
  give(view: Buffer): void {
    const bytes = view.buffer.byteLength;
    if (bytes < POOLED_BYTES_MIN || this.keptBytes + bytes > KEPT_BYTES_MAX) return;
    const exponent = exponentFor(bytes);
    // Not ours: ours have the slack.
    if (bytes !== 2 ** exponent + SLACK_BYTES) return;
    this.kept[exponent]?.push(Buffer.from(view.buffer));
    this.keptBytes += bytes;
  }
}

/** The class of buffers that `bytes` fit in. */
function exponentFor(bytes: number): number {
  return Math.max(EXPONENT_MIN, 32 - Math.clz32(Math.max(0, bytes - SLACK_BYTES - 1)));
}
