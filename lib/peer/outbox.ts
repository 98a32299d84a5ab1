/**
 * The only writer of a peer socket: gathers the frames of one tick and hands them over in one system call. Small frames
 * are packed into a slab, large payloads go by reference.
 */
import { BATCH_SPANS_MAX } from '../base/limits.js';
import type { NetSocket } from '../base/net.js';
import type { BufferPool } from './buffer-pool.js';

const SLAB_BYTES = 256 * 1024;

export class Outbox {
  /** Where reserve() gave room. */
  slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  private sealed = 0;
  private used = 0;
  private parts: Buffer[] = [];
  private partBytes = 0;
  private scheduled = false;
  /** Complete and not yet given to the socket. */
  private frames = 0;
  /** Given back to the pool once the kernel has them. */
  private lent: Buffer[] = [];

  constructor(
    private readonly socket: NetSocket,
    private readonly pool: BufferPool,
  ) {}

  /** Bytes not yet taken by the kernel. */
  get queuedBytes(): number {
    return this.socket.writableLength + this.partBytes + this.used - this.sealed;
  }

  /** Room for `bytes` (far below the slab's size) in `slab`; returns its offset. Fill it in this tick. */
  reserve(bytes: number): number {
    if (this.used + bytes > SLAB_BYTES) {
      this.seal();
      this.slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.sealed = this.used = 0;
    }
    const at = this.used;
    this.used += bytes;
    this.schedule();
    return at;
  }

  /** Sends `bytes` by reference: it must not change until the kernel has it. */
  append(bytes: Buffer): void {
    this.seal();
    this.parts.push(bytes);
    this.partBytes += bytes.length;
    this.schedule();
  }

  /** Like append, for a buffer of the pool that goes back there when it was sent. */
  appendLent(bytes: Buffer): void {
    this.append(bytes);
    this.lent.push(bytes);
  }

  /** A frame is complete: enough of them are sent without waiting for the tick's end, so that both ends have work. */
  endFrame(): void {
    this.frames += 1;
    if (this.frames >= BATCH_SPANS_MAX) this.flush();
  }

  /** What the tick has left. */
  endTick(): void {
    this.scheduled = false;
    this.flush();
  }

  /** Hands everything to the socket now. */
  flush(): void {
    this.frames = 0;
    this.seal();
    const socket = this.socket;
    const parts = this.parts;
    const only = parts.length === 1 ? parts[0] : undefined;
    this.parts = [];
    this.partBytes = 0;
    if (socket.destroyed || parts.length === 0) return;
    if (only !== undefined) {
      socket.write(only);
    } else {
      socket.cork();
      for (const part of parts) socket.write(part);
      socket.uncork();
    }
    this.reclaim();
  }

  /** When nothing waits, the kernel has copied everything: the slab and lent buffers can be filled again. */
  reclaim(): void {
    if (this.socket.writableLength > 0 || this.parts.length > 0 || this.used > this.sealed) return;
    this.sealed = this.used = 0;
    for (const bytes of this.lent) this.pool.give(bytes);
    this.lent.length = 0;
  }

  private seal(): void {
    if (this.used === this.sealed) return;
    this.parts.push(this.slab.subarray(this.sealed, this.used));
    this.partBytes += this.used - this.sealed;
    this.sealed = this.used;
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    process.nextTick(flushOutbox, this);
  }
}

function flushOutbox(outbox: Outbox): void {
  outbox.endTick();
}
