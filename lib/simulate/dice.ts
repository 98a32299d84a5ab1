/** Draws from a seed, in the words of loads: shares by Zipf, lognormal noise, one stream of numbers for each purpose. */
import { Chance } from '../base/chance.js';

export class Dice extends Chance {
  /** In [0, 1). */
  uniform(): number {
    return this.between(0, 1);
  }

  /** In [from, to), every factor as likely as every other. */
  logBetween(from: number, to: number): number {
    return from * (to / from) ** this.uniform();
  }

  /** Standard normal (Box and Muller, 1958). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** A factor about 1 whose logarithm has the standard deviation `sigma`. */
  noise(sigma: number): number {
    return sigma === 0 ? 1 : Math.exp(sigma * this.normal());
  }

  /** A seed for a stream of its own. */
  seed(): number {
    return this.uint32();
  }

  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i -= 1) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j] as T, items[i] as T];
    }
    return items;
  }
}

/** Shares that add up to 1, the k-th in proportion to 1/k^exponent: 0 is all alike, 1 is Zipf's law. */
export function zipfShares(count: number, exponent: number): Float64Array {
  const shares = new Float64Array(count);
  let sum = 0;
  for (let i = 0; i < count; i += 1) sum += shares[i] = 1 / (i + 1) ** exponent;
  for (let i = 0; i < count; i += 1) shares[i] = (shares[i] as number) / sum;
  return shares;
}
