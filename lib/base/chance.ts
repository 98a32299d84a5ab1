/** Draws from a seed, in the words of what is simulated or tried at random. */
import { SeededRandom, randomBelow, type Random } from './random.js';

export class Chance implements Random {
  private readonly source: SeededRandom;

  constructor(seed: number) {
    this.source = new SeededRandom(seed);
  }

  uint32(): number {
    return this.source.uint32();
  }

  /** An integer in [0, bound). */
  below(bound: number): number {
    return randomBelow(this.source, bound);
  }

  /** An integer in [from, to]. */
  within(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** A number in [from, to). */
  between(from: number, to: number): number {
    return from + (this.source.uint32() / 0x100000000) * (to - from);
  }

  happens(probability: number): boolean {
    return this.source.uint32() / 0x100000000 < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}
