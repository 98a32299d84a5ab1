/** The figures of one member's part in a move, as they go into its ProgressRecord. */
import type { ProgressRecord } from '../group/records.js';

export class MoveStats {
  extents = 0;
  extentsDone = 0;
  bytesCopied = 0;
  bytesRecopied = 0;
  restarts = 0;
  sessions = 0;
  stallMsMax = 0;
  lastError = '';

  /** Takes over what an earlier life of this member had counted. */
  continueFrom(record: ProgressRecord): void {
    this.extentsDone = record.extentsDone;
    this.extents = record.extentsDone;
    this.bytesCopied = record.bytesCopied;
    this.bytesRecopied = record.bytesRecopied;
    this.restarts = record.restarts;
    this.sessions = record.sessions;
    this.stallMsMax = record.stallMsMax;
  }

  stalled(stallMs: number): void {
    if (stallMs > this.stallMsMax) this.stallMsMax = stallMs;
  }

  toRecord(): ProgressRecord {
    const { extents, extentsDone, bytesCopied, bytesRecopied, restarts, sessions, stallMsMax } = this;
    const lastError = this.lastError.slice(0, 1024);
    return { extents, extentsDone, bytesCopied, bytesRecopied, restarts, sessions, stallMsMax, lastError };
  }
}
