/**
 * The way out of one connection, and the only place that writes to its socket. Answers are reserved as spans, filled in
 * place, committed in the order in which they go out, and sent together: what one socket read produced leaves in one
 * write, or in a few where it is much, so that the initiator is at work on the first answers while we are at the next;
 * what completes later leaves with the next turn of the loop.
 */
import type { Socket } from 'node:net';
import { assert } from '../../base/assert.js';
import { BATCH_SPANS_MAX } from '../../base/limits.js';
import { isShared, type PooledBuffer, type BufferPool, SLAB_BYTES, Span } from './buffer-pool.js';

export class Output {
  private slab: PooledBuffer | null = null;
  /** Committed and not yet given to the socket. Neighbours in one buffer are one entry. */
  private queued: Span[] = [];
  private queuedCount = 0;
  /** Committed since the last flush. */
  private spansInBatch = 0;
  /** Given to the socket, oldest first; the write callbacks come in the same order. */
  private readonly writing: PooledBuffer[] = [];
  private readonly writingBytes: number[] = [];
  private heldBytes_ = 0;
  private batching = false;
  private flushScheduled = false;
  private dead = false;
  private readonly flushLater = (): void => {
    this.flushScheduled = false;
    if (!this.batching) this.flush();
  };
  private readonly written = (error?: Error | null): void => this.onWritten(error ?? null);

  /** @param drained called whenever the socket has taken bytes */
  constructor(
    private readonly socket: Socket,
    private readonly pool: BufferPool,
    private readonly drained: () => void,
  ) {}

  /** Bytes reserved, committed or in the socket's queue. */
  get heldBytes(): number {
    return this.heldBytes_;
  }

  /** Points `span` at `lengthBytes` of memory to be filled, then committed or released. */
  reserve(span: Span, lengthBytes: number): void {
    assert(span.buffer === null, 'a span was reserved twice');
    const buffer = isShared(lengthBytes) ? this.slabWithRoom(lengthBytes) : this.pool.take(lengthBytes);
    buffer.hold();
    span.buffer = buffer;
    span.start = buffer.used;
    span.end = buffer.used + lengthBytes;
    buffer.used = span.end;
    this.heldBytes_ += lengthBytes;
  }

  /** Points `span` at bytes that stand in a buffer of somebody else's, which is held until they are written. */
  share(span: Span, buffer: PooledBuffer, start: number, end: number): void {
    assert(span.buffer === null, 'a span was reserved twice');
    buffer.hold();
    span.buffer = buffer;
    span.start = start;
    span.end = end;
    this.heldBytes_ += end - start;
  }

  /** Shortens a reserved span. */
  trim(span: Span, end: number): void {
    if (span.buffer === this.slab && span.buffer?.used === span.end) span.buffer.used = end;
    this.heldBytes_ -= span.end - end;
    span.end = end;
  }

  /** Sends the span after everything committed before it; the span is free for its next use. */
  commit(span: Span): void {
    const { buffer, start, end } = span;
    assert(buffer !== null, 'an empty span was committed');
    span.clear();
    if (this.dead) return this.discard(buffer, end - start);
    const last = this.queuedCount > 0 ? this.queued[this.queuedCount - 1] : undefined;
    if (last !== undefined && last.buffer === buffer && last.end === start) {
      last.end = end;
      buffer.letGo(); // the entry holds it already
    } else this.enqueue(buffer, start, end);
    this.spansInBatch += 1;
    if (!this.batching) this.scheduleFlush();
    else if (this.spansInBatch >= BATCH_SPANS_MAX) this.flush();
  }

  /** Gives a span up unsent; what was reserved last becomes room again. */
  release(span: Span): void {
    const { buffer, start, end } = span;
    if (buffer === null) return;
    span.clear();
    if (buffer === this.slab && buffer.used === end) buffer.used = start;
    this.discard(buffer, end - start);
  }

  /** Between begin and end what is committed is held back and sent together. */
  beginBatch(): void {
    this.batching = true;
  }

  endBatch(): void {
    this.batching = false;
    this.flush();
  }

  /** Hands everything committed to the socket. */
  flush(): void {
    const count = this.queuedCount;
    if (count === 0 || this.dead) return;
    this.queuedCount = 0;
    this.spansInBatch = 0;
    if (count > 1) this.socket.cork();
    for (let i = 0; i < count; i++) {
      const entry = this.queued[i];
      if (entry?.buffer) this.write(entry.buffer, entry.start, entry.end);
      entry?.clear();
    }
    if (count > 1) this.socket.uncork();
  }

  /** Nothing is sent any more. Spans still being filled are released as usual; bytes in the socket are forgotten. */
  abandon(): void {
    if (this.dead) return;
    this.dead = true;
    for (let i = 0; i < this.queuedCount; i++) {
      const entry = this.queued[i];
      if (entry?.buffer) this.discard(entry.buffer, entry.lengthBytes);
      entry?.clear();
    }
    this.queuedCount = 0;
    this.slab = null;
  }

  private slabWithRoom(lengthBytes: number): PooledBuffer {
    const slab = this.slab;
    if (slab !== null && slab.room >= lengthBytes) return slab;
    if (slab !== null) slab.letGo();
    const fresh = this.pool.take(SLAB_BYTES);
    fresh.hold(); // as long as it is the one spans are cut from
    this.slab = fresh;
    return fresh;
  }

  private enqueue(buffer: PooledBuffer, start: number, end: number): void {
    let entry = this.queued[this.queuedCount];
    if (entry === undefined) this.queued.push((entry = new Span()));
    entry.buffer = buffer;
    entry.start = start;
    entry.end = end;
    this.queuedCount += 1;
  }

  private write(buffer: PooledBuffer, start: number, end: number): void {
    this.writing.push(buffer);
    this.writingBytes.push(end - start);
    this.socket.write(buffer.bytes.subarray(start, end), this.written);
  }

  private onWritten(error: Error | null): void {
    // After an error the kernel may still read the bytes and the order of callbacks is anyone's guess: these buffers
    // are left to the garbage collector, never to the pool.
    if (error !== null || this.dead) return;
    const buffer = this.writing.shift();
    const lengthBytes = this.writingBytes.shift();
    assert(buffer !== undefined && lengthBytes !== undefined, 'a write completed that was never begun');
    this.discard(buffer, lengthBytes);
    if (this.writing.length === 0 && this.queuedCount === 0) this.rewindSlab();
    this.drained();
  }

  /** An idle connection keeps no slab. */
  private rewindSlab(): void {
    const slab = this.slab;
    if (slab === null) return;
    this.slab = null;
    slab.letGo();
  }

  private discard(buffer: PooledBuffer, lengthBytes: number): void {
    this.heldBytes_ -= lengthBytes;
    buffer.letGo();
  }

  private scheduleFlush(): void {
    if (this.flushScheduled) return;
    this.flushScheduled = true;
    setImmediate(this.flushLater);
  }
}
