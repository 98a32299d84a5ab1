/**
 * The only writer of a peer socket: gathers the frames of one tick and hands them over in one system call. Small frames
 * are packed into a slab, large payloads go by reference, and read data goes straight from the page cache where the
 * socket can take it at once; what it leaves over then is copied.
 */
import { asError } from '../base/errors.js';
import { type GatherWrite, GatherVector, gatherWriteTo } from '../base/gather-write.js';
import { addressOf } from '../base/libc.js';
import { BATCH_PDUS_MAX } from '../base/limits.js';
import type { NetSocket } from '../base/net.js';
import type { PageMap } from '../block/page-map.js';
import type { BufferPool } from './buffer-pool.js';
import type { DueOutboxes } from './due-outboxes.js';

const SLAB_BYTES = 256 * 1024;

/** One stretch of what goes out; reused. Either `bytes` or `map` is set. */
class Part {
  bytes: Buffer | null = null;
  map: PageMap | null = null;
  /** In the buffer, or on the device. */
  start = 0;
  end = 0;
}

export class Outbox {
  /** Where reserve() gave room. */
  slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  private slabAddress = addressOf(this.slab);
  private sealed = 0;
  private used = 0;
  private readonly parts: Part[] = [];
  /** The same for the kernel, as many pieces as there are parts. */
  private readonly vector = new GatherVector();
  private readonly gatherWrite: GatherWrite | null;
  private isDue = false;
  /** Complete and not yet given to the socket. */
  private frames = 0;
  /** Given back to the pool once the kernel has them. */
  private lent: Buffer[] = [];

  constructor(
    private readonly socket: NetSocket,
    private readonly pool: BufferPool,
    private readonly due: DueOutboxes,
  ) {
    this.gatherWrite = gatherWriteTo(socket);
  }

  /** Bytes not yet taken by the kernel. */
  get queuedBytes(): number {
    return this.socket.writableLength + this.vector.lengthBytes + this.used - this.sealed;
  }

  /** What is appended now leaves within this turn of the loop, as far as the socket takes it. */
  get isDirect(): boolean {
    return this.gatherWrite !== null && this.socket.writableLength === 0;
  }

  /** Room for `bytes` (far below the slab's size) in `slab`; returns its offset. Fill it in this tick. */
  reserve(bytes: number): number {
    // A socket that was never quite full tells nobody that it has taken the rest.
    if (this.used + bytes > SLAB_BYTES) this.reclaim();
    if (this.used + bytes > SLAB_BYTES) {
      this.seal();
      this.slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.slabAddress = addressOf(this.slab);
      this.sealed = this.used = 0;
    }
    const at = this.used;
    this.used += bytes;
    this.becomeDue();
    return at;
  }

  /** Sends `bytes` by reference: it must not change until the kernel has it. */
  append(bytes: Buffer): void {
    this.seal();
    this.add(bytes, null, 0, bytes.length, this.gatherWrite === null ? 0 : addressOf(bytes));
    this.becomeDue();
  }

  /** Like append, for a buffer of the pool that goes back there when it was sent. */
  appendLent(bytes: Buffer): void {
    this.append(bytes);
    this.lent.push(bytes);
  }

  /** Sends a range of a mapped device. Only while isDirect. */
  appendMapped(map: PageMap, start: number, end: number): void {
    this.seal();
    this.add(null, map, start, end, map.address);
    this.becomeDue();
  }

  /** A frame is complete: enough of them are sent without waiting for the tick's end, so that both ends have work. */
  endFrame(): void {
    this.frames += 1;
    if (this.frames >= BATCH_PDUS_MAX) this.flush();
  }

  /** What was not sent since it became due. */
  flushDue(): void {
    this.isDue = false;
    this.flush();
  }

  /** Hands everything to the socket now. */
  flush(): void {
    this.frames = 0;
    this.seal();
    if (this.vector.count === 0) return;
    if (!this.socket.destroyed) this.send();
    this.forgetParts();
    this.reclaim();
  }

  private send(): void {
    const { vector, gatherWrite } = this;
    const sentBytes = gatherWrite !== null && this.isDirect ? gatherWrite(vector) : 0;
    if (sentBytes < vector.lengthBytes) this.queueFrom(sentBytes);
  }

  private forgetParts(): void {
    for (let i = 0; i < this.vector.count; i++) {
      const part = this.parts[i] as Part;
      part.bytes = part.map = null;
    }
    this.vector.clear();
  }

  /**
   * When nothing waits, the kernel has copied everything: the slab and lent buffers can be filled again. Not those of a
   * socket that broke: what it had begun to write is nobody's to fill.
   */
  reclaim(): void {
    if (this.socket.destroyed) return;
    if (this.socket.writableLength > 0 || this.vector.count > 0 || this.used > this.sealed) return;
    this.sealed = this.used = 0;
    // Emptied by pop(), it keeps its own memory for the next ones, too.
    for (let bytes = this.lent.pop(); bytes !== undefined; bytes = this.lent.pop()) this.pool.give(bytes);
  }

  /** Leaves to the socket's queue what the kernel did not take. */
  private queueFrom(sentBytes: number): void {
    const { socket, vector } = this;
    let skipBytes = sentBytes;
    socket.cork();
    try {
      for (let i = 0; i < vector.count; i++) {
        const part = this.parts[i] as Part;
        const skippedBytes = Math.min(skipBytes, part.end - part.start);
        skipBytes -= skippedBytes;
        part.start += skippedBytes;
        if (part.start < part.end) socket.write(this.bytesOf(part));
      }
    } catch (error) {
      // A frame was begun and cannot be ended: the link is worth nothing. Another read will say what is wrong.
      socket.destroy(asError(error));
    }
    socket.uncork();
  }

  private bytesOf({ bytes, map, start, end }: Part): Buffer {
    if (bytes !== null) return bytes.subarray(start, end);
    // By the time the socket has room the page cache may be another's, or empty.
    const copy = this.pool.take(end - start);
    this.lent.push(copy);
    map?.copyOut(start, copy);
    return copy;
  }

  private add(bytes: Buffer | null, map: PageMap | null, start: number, end: number, address: number): void {
    const { count } = this.vector;
    const part = this.parts[count] ?? new Part();
    if (count === this.parts.length) this.parts.push(part);
    part.bytes = bytes;
    part.map = map;
    part.start = start;
    part.end = end;
    this.vector.add(address + start, end - start);
  }

  private seal(): void {
    if (this.used === this.sealed) return;
    this.add(this.slab, null, this.sealed, this.used, this.slabAddress);
    this.sealed = this.used;
  }

  private becomeDue(): void {
    if (this.isDue) return;
    this.isDue = true;
    this.due.add(this);
  }
}
