/**
 * What one session holds of its member's memory: its account, its own bounds, and what it asks the common budget for
 * (memory-budget.ts). It is settled by adding up what the session's parts say they hold, so that nothing can be forgotten
 * here; what is done when there is no memory is the business of those who ask.
 */
import { invariant } from '../../base/assert.js';
import {
  READ_SHARE_BYTES,
  SEND_QUEUE_BYTES_MAX,
  SESSION_WRITE_BYTES_MAX,
  WRITE_SHARE_BYTES,
} from '../../base/limits.js';
import type { MemoryBudget, MemoryUser } from './memory-budget.js';

export class SessionMemory implements MemoryUser {
  /** Write data held in tasks. */
  writeBytes = 0;
  /** Data of commands that came before their turn. */
  earlyBytes = 0;
  /** Pieces of read data that stand in buffers of their own, not yet in the output. */
  pieceBytes = 0;
  /** What the budget knows of. */
  private countedBytes = 0;
  private parting = false;

  /** @param goOn takes up what waits for memory */
  constructor(
    private readonly budget: MemoryBudget,
    private readonly output: { readonly heldBytes: number },
    readonly goOn: () => void,
  ) {
    budget.join();
  }

  /** Tells the budget what has changed. Called whenever anything has happened, and before anything is asked for. */
  settle(): void {
    const bytes = this.writeBytes + this.earlyBytes + this.pieceBytes + this.output.heldBytes;
    const by = bytes - this.countedBytes;
    if (by === 0) return;
    this.countedBytes = bytes;
    this.budget.changed(by);
    if (this.parting && bytes === 0) this.part();
  }

  // ---- reads

  get sendQueueFull(): boolean {
    const { heldBytes } = this.output;
    return heldBytes >= SEND_QUEUE_BYTES_MAX || (heldBytes >= WRITE_SHARE_BYTES && this.budget.isOverrun);
  }

  /** How much of `bytes` of read data may be fetched now; 0: when the socket has taken some of what is queued. */
  readGrant(bytes: number): number {
    this.settle();
    const queuedBytes = this.output.heldBytes + this.pieceBytes;
    if (queuedBytes >= SEND_QUEUE_BYTES_MAX) return 0;
    if (this.budget.affords(this, this.countedBytes, bytes)) return bytes;
    return queuedBytes < READ_SHARE_BYTES ? Math.min(bytes, READ_SHARE_BYTES) : 0;
  }

  // ---- writes

  /** The session holds all it may, or all it should as others stand. */
  get writeFull(): boolean {
    if (this.writeBytes <= WRITE_SHARE_BYTES) return false;
    return this.writeBytes >= SESSION_WRITE_BYTES_MAX || !this.budget.affords(this, this.countedBytes, 0);
  }

  /** By the session's own bound; a task alone may always have what it needs. */
  hasRoom(bytes: number): boolean {
    return this.writeBytes === 0 || this.writeBytes + bytes <= SESSION_WRITE_BYTES_MAX;
  }

  /** By the budget of all; where not, the session is in line from now on. */
  mayTake(bytes: number): boolean {
    if (this.isWithinShare(bytes)) return true;
    this.settle();
    if (this.budget.affords(this, this.countedBytes, bytes)) return true;
    this.budget.wait(this);
    return false;
  }

  /** Data that comes unasked is kept unless that would go too far. */
  mayKeepUnasked(bytes: number): boolean {
    if (bytes === 0) return true;
    this.settle(); // a whole window of commands may come to their turn at once
    return !this.budget.isOverrun || this.isWithinShare(bytes);
  }

  /** One command's worth beyond the budget, for the first in line. */
  overdraw(): boolean {
    return this.budget.overdraw(this);
  }

  overdraftEnded(): void {
    this.budget.overdraftEnded();
  }

  private isWithinShare(bytes: number): boolean {
    return this.writeBytes + this.earlyBytes + bytes <= WRITE_SHARE_BYTES;
  }

  // ---- the end

  /** Nothing of it waits any more. */
  leaveLine(): void {
    this.budget.leaveLine(this);
  }

  /** The session is gone; its last answers may still be on their way. */
  end(): void {
    const { writeBytes, earlyBytes, pieceBytes } = this;
    invariant('I11', writeBytes + earlyBytes + pieceBytes === 0, 'a session went and kept memory');
    this.parting = true;
    this.settle();
    if (this.countedBytes === 0 && this.parting) this.part();
  }

  private part(): void {
    this.parting = false;
    this.budget.part(this);
  }
}
