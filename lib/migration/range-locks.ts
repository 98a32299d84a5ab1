/**
 * Byte ranges of one extent that are being written or copied. A range that overlaps one in use waits, in order of
 * arrival, so that source and destination see overlapping writes in the same order (rule 2).
 */
import { assert } from '../base/assert.js';

/** Somebody who needs a range; granted() is called once, perhaps inside acquire(). */
export interface RangeHolder {
  fromBytes: number;
  toBytes: number;
  granted(): void;
}

export class RangeLocks {
  private readonly active: RangeHolder[] = [];
  private waiting: RangeHolder[] = [];

  get activeCount(): number {
    return this.active.length;
  }

  /** Grants at once if nothing in use or waiting overlaps; otherwise later. */
  acquire(holder: RangeHolder): void {
    if (overlapsAny(holder, this.active) || overlapsAny(holder, this.waiting)) this.waiting.push(holder);
    else this.grant(holder);
  }

  /** For the background copy, which looks elsewhere instead of waiting (rule 7). */
  tryAcquire(holder: RangeHolder): boolean {
    if (overlapsAny(holder, this.active) || overlapsAny(holder, this.waiting)) return false;
    this.active.push(holder);
    return true;
  }

  release(holder: RangeHolder): void {
    const index = this.active.indexOf(holder);
    assert(index >= 0, 'a range is released once, by its holder');
    const last = this.active.pop() as RangeHolder;
    if (last !== holder) this.active[index] = last;
    if (this.waiting.length !== 0) this.wake();
  }

  /** Grants every waiter that overlaps neither a range in use nor an earlier waiter. */
  private wake(): void {
    const still: RangeHolder[] = [];
    const ready: RangeHolder[] = [];
    for (const waiter of this.waiting) {
      const blocked =
        overlapsAny(waiter, this.active) || overlapsAny(waiter, ready) || overlapsAny(waiter, still);
      (blocked ? still : ready).push(waiter);
    }
    this.waiting = still;
    this.active.push(...ready);
    for (const holder of ready) holder.granted();
  }

  private grant(holder: RangeHolder): void {
    this.active.push(holder);
    holder.granted();
  }
}

function overlapsAny(range: RangeHolder, others: readonly RangeHolder[]): boolean {
  for (const other of others)
    if (range.fromBytes < other.toBytes && other.fromBytes < range.toBytes) return true;
  return false;
}
