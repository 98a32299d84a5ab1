/** A fixed-size set of small integers, one bit each. */
import { assert } from './assert.js';

export class Bitmap {
  private readonly words: Uint32Array;
  private set_ = 0;

  constructor(readonly size: number) {
    assert(Number.isInteger(size) && size >= 0, `bitmap size ${size}`);
    this.words = new Uint32Array((size + 31) >>> 5);
  }

  /** How many members it has. */
  get count(): number {
    return this.set_;
  }

  has(index: number): boolean {
    return ((this.words[index >>> 5] ?? 0) & (1 << (index & 31))) !== 0;
  }

  /** Adds every integer of [from, to). */
  setRange(from: number, to: number): void {
    assert(from >= 0 && to <= this.size, `bitmap range ${from}..${to} of ${this.size}`);
    for (let i = from; i < to; i++) {
      const bit = 1 << (i & 31);
      const word = this.words[i >>> 5] ?? 0;
      if ((word & bit) === 0) {
        this.words[i >>> 5] = word | bit;
        this.set_ += 1;
      }
    }
  }

  /** Removes every integer of [from, to). */
  clearRange(from: number, to: number): void {
    assert(from >= 0 && to <= this.size, `bitmap range ${from}..${to} of ${this.size}`);
    for (let i = from; i < to; i++) {
      const bit = 1 << (i & 31);
      const word = this.words[i >>> 5] ?? 0;
      if ((word & bit) !== 0) {
        this.words[i >>> 5] = word & ~bit;
        this.set_ -= 1;
      }
    }
  }

  /** The first member at or after `from`, or −1. */
  nextSet(from: number): number {
    for (let i = from; i < this.size; i++) {
      if ((i & 31) === 0 && this.words[i >>> 5] === 0) i += 31;
      else if (this.has(i)) return i;
    }
    return -1;
  }

  /** The first non-member at or after `from`, or `size`. */
  nextClear(from: number): number {
    let i = from;
    while (i < this.size && this.has(i)) i += 1;
    return i;
  }
}
