/**
 * The way out of one connection, and the only place that writes to its socket. PDUs are reserved as spans, filled in place,
 * committed in the order in which they go out, ended, and sent together: what one socket read produced leaves in one
 * write, or in a few where it is much, so that the initiator is at work on the first answers while we are at the next;
 * what completes later leaves with the next turn of the loop.
 *
 *   commit, commitMapped ─► Outgoing ─┬─ nothing in the socket's queue ─► writev, at once          (base/gather-write.ts)
 *                                     └─ else, and what writev left over ─► socket.write, buffer by buffer
 *
 * What is mapped never waits: it leaves within the batch it was committed in, or is copied then.
 */
import { assert } from '../../base/assert.js';
import { asError } from '../../base/errors.js';
import { type GatherWrite, gatherWriteTo } from '../../base/gather-write.js';
import { BATCH_BYTES_MAX, BATCH_PDUS_MAX } from '../../base/limits.js';
import { bytesUnderWay, type NetSocket } from '../../base/net.js';
import type { PageMap } from '../../block/page-map.js';
import { isShared, type PooledBuffer, type BufferPool, SLAB_BYTES, type Span } from './buffer-pool.js';
import { Outgoing, type Piece } from './outgoing.js';

/** What has become of bytes that had to wait for room in the socket. */
export interface Waited {
  /** Of writes that the kernel has taken whole, since the connection began. */
  readonly takenBytes: number;
  /** Of the write under way, which may be of all that waited when it began. */
  readonly leftBytes: number;
}

/** The other side goes on taking what was sent to it: only that makes room. */
export function hasTaken(now: Waited, before: Waited): boolean {
  return now.takenBytes > before.takenBytes || now.leftBytes < before.leftBytes;
}

/** Of a portal. */
export interface OutputContext {
  readonly pool: BufferPool;
  /** Sends what commands have asked of others by now: it is done there while their fellows' answers are being sent. */
  beforeAnswers(): void;
}

export class Output {
  private slab: PooledBuffer | null = null;
  private readonly outgoing = new Outgoing();
  private readonly gatherWrite: GatherWrite | null;
  /** Ended since the last flush. */
  private pdusInBatch = 0;
  /** Given to the socket, oldest first; the write callbacks come in the same order. */
  private readonly writing: PooledBuffer[] = [];
  private readonly writingBytes: number[] = [];
  private heldBytes_ = 0;
  private takenBytes = 0;
  /** Writes, the next to be told of, that the kernel took as soon as they were given: they say nothing of the other side. */
  private takenAtOnce = 0;
  private batching = false;
  private sentAtOnce = false;
  private flushScheduled = false;
  private dead = false;
  private readonly flushLater = (): void => {
    this.flushScheduled = false;
    if (this.batching) return;
    this.flush();
    if (this.takeSentAtOnce()) this.drained();
  };
  private readonly written = (error?: Error | null): void => this.onWritten(error ?? null);

  /** @param drained called whenever the socket has taken bytes, outside of a batch */
  constructor(
    private readonly socket: NetSocket,
    private readonly context: OutputContext,
    private readonly drained: () => void,
  ) {
    this.gatherWrite = gatherWriteTo(socket);
  }

  /** Bytes reserved, committed or in the socket's queue. */
  get heldBytes(): number {
    return this.heldBytes_;
  }

  get waited(): Waited {
    return { takenBytes: this.takenBytes, leftBytes: bytesUnderWay(this.socket) };
  }

  /** Whether the kernel has taken all there was since this was asked last: no callback of the socket's tells that. */
  takeSentAtOnce(): boolean {
    const was = this.sentAtOnce;
    this.sentAtOnce = false;
    return was;
  }

  /** What is committed now goes to the socket within this turn of the loop, as far as that takes it. */
  get isDirect(): boolean {
    return this.batching && this.writing.length === 0 && this.gatherWrite !== null;
  }

  /** Points `span` at `lengthBytes` of memory to be filled, then committed or released. */
  reserve(span: Span, lengthBytes: number): void {
    assert(span.buffer === null, 'a span was reserved twice');
    const buffer = isShared(lengthBytes)
      ? this.slabWithRoom(lengthBytes)
      : this.context.pool.take(lengthBytes);
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
    this.outgoing.add(buffer, start, end);
  }

  /**
   * Sends a range of a mapped device after everything committed before it. Only while isDirect.
   * @param digest room for its digest, which is put there when the range leaves, and follows it
   */
  commitMapped(map: PageMap, start: number, end: number, digest: Span | null = null): void {
    assert(this.batching, 'mapped bytes are sent within a batch');
    if (this.dead) {
      if (digest !== null) this.release(digest);
      return;
    }
    this.heldBytes_ += end - start;
    this.outgoing.addMapped(map, start, end, digest);
    digest?.clear();
  }

  /** What was committed since the last one is a whole PDU, which may leave now, or with those that follow. */
  endPdu(): void {
    if (this.dead) return;
    this.pdusInBatch += 1;
    if (!this.batching) this.scheduleFlush();
    else if (this.pdusInBatch >= BATCH_PDUS_MAX || this.outgoing.lengthBytes >= BATCH_BYTES_MAX) this.flush();
  }

  /** Gives a span up unsent; what was reserved last becomes room again. */
  release(span: Span): void {
    const { buffer, start, end } = span;
    if (buffer === null) return;
    span.clear();
    if (buffer === this.slab && buffer.used === end) buffer.used = start;
    this.discard(buffer, end - start);
    if (this.writing.length === 0 && this.outgoing.count === 0) this.rewindSlab();
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
    const { outgoing, gatherWrite } = this;
    if (outgoing.count === 0 || this.dead) return;
    this.pdusInBatch = 0;
    this.context.beforeAnswers();
    if (outgoing.hasDigests && !this.digestsStand()) return;
    const isDirect = gatherWrite !== null && this.writing.length === 0;
    const sentBytes = isDirect ? gatherWrite(outgoing.vector) : 0;
    if (sentBytes === outgoing.lengthBytes) this.allSent();
    else this.queueFrom(sentBytes);
  }

  /** Puts the digests of what is mapped behind it; false when that failed, and the connection is over. */
  private digestsStand(): boolean {
    try {
      this.outgoing.putDigests(this.context.pool);
      return true;
    } catch (error) {
      // The disk has not given what was promised, and a header may be out: the connection is worth nothing.
      this.heldBytes_ -= this.outgoing.lengthBytes;
      this.outgoing.letGo();
      this.socket.destroy(asError(error));
      return false;
    }
  }

  /** All of it is the kernel's. */
  private allSent(): void {
    const { outgoing } = this;
    this.heldBytes_ -= outgoing.lengthBytes;
    outgoing.letGo();
    this.sentAtOnce = true;
    this.rewindSlab();
  }

  /** Leaves to the socket's queue what the kernel did not take. */
  private queueFrom(sentBytes: number): void {
    const { outgoing, socket } = this;
    let skipBytes = sentBytes;
    let unsentBytes = outgoing.lengthBytes - sentBytes;
    const writesBefore = this.writing.length;
    this.heldBytes_ -= sentBytes;
    socket.cork();
    try {
      for (let i = 0; i < outgoing.count; i++) {
        const piece = outgoing.at(i);
        const skippedBytes = Math.min(skipBytes, piece.end - piece.start);
        skipBytes -= skippedBytes;
        piece.start += skippedBytes;
        if (piece.start === piece.end) continue;
        this.write(piece);
        unsentBytes -= piece.end - piece.start;
      }
    } catch (error) {
      // The PDU was begun and cannot be ended: the connection is worth nothing. Another read will say what is wrong.
      this.heldBytes_ -= unsentBytes;
      socket.destroy(asError(error));
    }
    outgoing.letGo();
    socket.uncork();
    if (writesBefore === 0 && bytesUnderWay(socket) === 0) this.takenAtOnce = this.writing.length;
  }

  /** Nothing is sent any more. Spans still being filled are released as usual; bytes in the socket are forgotten. */
  abandon(): void {
    if (this.dead) return;
    this.dead = true;
    this.heldBytes_ -= this.outgoing.lengthBytes;
    this.outgoing.letGo();
    this.slab = null;
    for (const lengthBytes of this.writingBytes.splice(0)) this.heldBytes_ -= lengthBytes;
  }

  private slabWithRoom(lengthBytes: number): PooledBuffer {
    const slab = this.slab;
    if (slab !== null && slab.room >= lengthBytes) return slab;
    if (slab !== null) slab.letGo();
    const fresh = this.context.pool.take(SLAB_BYTES);
    fresh.hold(); // as long as it is the one spans are cut from
    this.slab = fresh;
    return fresh;
  }

  private write(piece: Piece): void {
    const lengthBytes = piece.end - piece.start;
    const { buffer, map } = piece;
    if (buffer !== null) {
      buffer.hold();
      this.queue(buffer, piece.start, piece.end);
    } else if (map !== null) {
      // By the time the socket has room the page cache may be another's, or empty.
      const copy = this.context.pool.take(lengthBytes);
      map.copyOut(piece.start, copy.bytes.subarray(0, lengthBytes));
      copy.hold();
      this.queue(copy, 0, lengthBytes);
    }
  }

  private queue(buffer: PooledBuffer, start: number, end: number): void {
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
    if (this.takenAtOnce > 0) this.takenAtOnce -= 1;
    else this.takenBytes += lengthBytes;
    this.discard(buffer, lengthBytes);
    if (this.writing.length === 0 && this.outgoing.count === 0) this.rewindSlab();
    this.drained();
  }

  /** An idle connection keeps no slab. One with spans that are still being filled is cut from as long as it has room. */
  private rewindSlab(): void {
    const slab = this.slab;
    if (slab === null || !slab.isHeldOnce) return;
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
