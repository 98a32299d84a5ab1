/**
 * Memory for data on its way out or in. A PooledBuffer is handed out in spans, one after the other; a span is filled in
 * place (by a device, an encoder, the framer) and used from where it stands. A buffer returns to the pool when nobody
 * holds it: not before the socket or the device said that it is done with the bytes. The pool keeps a bounded number and
 * leaves the rest to the garbage collector. It knows no PDUs and no sockets.
 */
import { assert } from '../../base/assert.js';
import { addressOf } from '../../base/libc.js';

const KiB = 1024;
/** Small answers share buffers of this size. */
export const SLAB_BYTES = 256 * KiB;
/** A span larger than this gets a buffer of its own. */
const SHARED_SPAN_BYTES_MAX = 32 * KiB;
/** The smallest buffer: the data of a small write. */
const BUFFER_BYTES_MIN = 4 * KiB;
/** Room for a header, padding and digests beside a power of two of payload. */
const SLACK_BYTES = 512;
/** What the pool keeps for reuse at most. */
const KEPT_BYTES_MAX = 32 * 1024 * KiB;

export class PooledBuffer {
  /** Spans that are being filled, queued or written. */
  private holds = 0;
  /** Bytes handed out from the start. */
  used = 0;
  /** Of the first byte, for the kernel; the memory is ours alone and stays where it is. 0 where koffi does not load. */
  readonly address: number;

  constructor(
    readonly bytes: Buffer,
    private readonly home: BufferPool,
  ) {
    this.address = addressOf(bytes);
  }

  get room(): number {
    return this.bytes.length - this.used;
  }

  hold(): void {
    this.holds += 1;
  }

  /** Nobody but whoever cuts spans from it. */
  get isHeldOnce(): boolean {
    return this.holds === 1;
  }

  /** Whoever holds the last span gives the buffer back. */
  letGo(): void {
    assert(this.holds > 0, 'a send buffer was let go more often than held');
    this.holds -= 1;
    if (this.holds === 0) this.home.giveBack(this);
  }
}

/** Part of a PooledBuffer. Reusable: a task owns one and points it at its next answer. */
export class Span {
  buffer: PooledBuffer | null = null;
  start = 0;
  end = 0;

  get lengthBytes(): number {
    return this.end - this.start;
  }

  /** Forgets the buffer without letting it go: somebody else has taken the hold over. */
  clear(): void {
    this.buffer = null;
    this.start = 0;
    this.end = 0;
  }
}

export class BufferPool {
  private readonly kept = new Map<number, PooledBuffer[]>();
  private keptBytes = 0;

  /** A buffer of at least `lengthBytes`, empty and held by nobody yet. */
  take(lengthBytes: number): PooledBuffer {
    const size = sizeClass(lengthBytes);
    const found = this.kept.get(size)?.pop();
    if (found === undefined) return new PooledBuffer(Buffer.allocUnsafeSlow(size), this);
    this.keptBytes -= size;
    found.used = 0;
    return found;
  }

  giveBack(buffer: PooledBuffer): void {
    const size = buffer.bytes.length;
    if (this.keptBytes + size > KEPT_BYTES_MAX) return;
    let shelf = this.kept.get(size);
    if (shelf === undefined) this.kept.set(size, (shelf = []));
    shelf.push(buffer);
    this.keptBytes += size;
  }
}

/** Does a span of this size share a slab with others? */
export function isShared(lengthBytes: number): boolean {
  return lengthBytes <= SHARED_SPAN_BYTES_MAX;
}

/** At most twice what is asked for, so that what sessions are counted for is about what they hold. */
function sizeClass(lengthBytes: number): number {
  let size = BUFFER_BYTES_MIN;
  while (size + SLACK_BYTES < lengthBytes) size *= 2;
  return size + SLACK_BYTES;
}
