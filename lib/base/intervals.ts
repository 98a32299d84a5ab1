/**
 * A set of integers kept as half-open ranges [from, to): sorted, disjoint, neighbours merged. Made for tens of ranges
 * that change often (writes in flight, stretches of data); it is no index for millions.
 */
import { assert } from './assert.js';

/** The integers from `from` up to, not including, `to`. */
export interface Interval {
  readonly from: number;
  readonly to: number;
}

export class IntervalSet {
  /**
   * Every bound in strictly ascending order: range n is [bounds[2n], bounds[2n+1]). So the parity of a position in this
   * array says whether an integer there lies inside (odd) or outside (even), and every change is one splice.
   */
  private readonly bounds: number[] = [];
  private length = 0;

  /** How many integers it holds. */
  get totalLength(): number {
    return this.length;
  }

  /** How many separate ranges it holds. */
  get rangeCount(): number {
    return this.bounds.length / 2;
  }

  get isEmpty(): boolean {
    return this.bounds.length === 0;
  }

  /** Adds [from, to); an empty range adds nothing. */
  add(from: number, to: number): void {
    this.replace(from, to, 0);
  }

  /** Takes [from, to) out, splitting ranges as needed. */
  remove(from: number, to: number): void {
    this.replace(from, to, 1);
  }

  clear(): void {
    this.bounds.length = 0;
    this.length = 0;
  }

  /** Whether `point` is in the set. */
  has(point: number): boolean {
    return (this.firstAbove(point) & 1) === 1;
  }

  /** Whether any integer of [from, to) is in the set. */
  overlaps(from: number, to: number): boolean {
    checkRange(from, to);
    if (from === to) return false;
    const i = this.firstAbove(from);
    return (i & 1) === 1 || this.at(i) < to;
  }

  /** Whether every integer of [from, to) is in the set; true for an empty range. */
  covers(from: number, to: number): boolean {
    checkRange(from, to);
    if (from === to) return true;
    const i = this.firstAbove(from);
    return (i & 1) === 1 && to <= this.at(i);
  }

  /** The lowest stretch of the set inside [from, to), cut to it; undefined where overlaps() is false. */
  firstOverlap(from: number, to: number): Interval | undefined {
    checkRange(from, to);
    if (from === to) return undefined;
    const i = this.firstAbove(from);
    const start = (i & 1) === 1 ? from : this.at(i);
    return start < to ? { from: start, to: Math.min(to, this.at(i | 1)) } : undefined;
  }

  /** The ranges in ascending order. The set must not change meanwhile. */
  *[Symbol.iterator](): Generator<Interval> {
    for (let i = 0; i < this.bounds.length; i += 2) yield { from: this.at(i), to: this.at(i + 1) };
  }

  /**
   * Makes [from, to) all members (`outside` 0) or all non-members (`outside` 1). Bounds inside go; `from` and `to` become
   * bounds where the surroundings are of the other kind, which the parity tells. Touching counts as inside, hence merging.
   */
  private replace(from: number, to: number, outside: 0 | 1): void {
    checkRange(from, to);
    if (from === to) return;
    const first = this.firstAbove(from - 1);
    const end = this.firstAbove(to);
    const inserted: number[] = [];
    if ((first & 1) === outside) inserted.push(from);
    if ((end & 1) === outside) inserted.push(to);
    this.length -= this.lengthWithin(from, to);
    if (outside === 0) this.length += to - from;
    this.bounds.splice(first, end - first, ...inserted);
  }

  private lengthWithin(from: number, to: number): number {
    let sum = 0;
    for (let i = this.firstAbove(from) & ~1; i < this.bounds.length && this.at(i) < to; i += 2) {
      sum += Math.min(to, this.at(i + 1)) - Math.max(from, this.at(i));
    }
    return sum;
  }

  /** The position of the first bound greater than `point`, or bounds.length. */
  private firstAbove(point: number): number {
    let low = 0;
    let high = this.bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.at(middle) > point) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  private at(i: number): number {
    return this.bounds[i] ?? Infinity;
  }
}

function checkRange(from: number, to: number): void {
  if (Number.isSafeInteger(from) && Number.isSafeInteger(to) && from <= to) return;
  assert(false, `interval ${from}..${to}`);
}
