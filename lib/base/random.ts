/** The door to randomness: the system's for servers, a seeded one wherever a run must be repeatable. */
import { randomBytes } from 'node:crypto';

export interface Random {
  /** An integer in [0, 2^32). */
  uint32(): number;
}

export const systemRandom: Random = {
  uint32: () => randomBytes(4).readUInt32BE(0),
};

/** xoshiro128** (Blackman and Vigna, 2018), seeded through splitmix32; period 2^128 − 1. Not for secrets. */
export class SeededRandom implements Random {
  private a: number;
  private b: number;
  private c: number;
  private d: number;

  constructor(seed: number) {
    let state = seed >>> 0;
    const next = (): number => {
      state = (state + 0x9e3779b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (z ^ (z >>> 15)) >>> 0;
    };
    [this.a, this.b, this.c, this.d] = [next(), next(), next(), next()];
  }

  uint32(): number {
    const x = Math.imul(this.b, 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0;
    const t = this.b << 9;
    this.c ^= this.a;
    this.d ^= this.b;
    this.b ^= this.c;
    this.a ^= this.d;
    this.c ^= t;
    this.d = (this.d << 11) | (this.d >>> 21);
    return result;
  }
}

/** An integer in [0, bound), bound ≤ 2^53; the bias is below 2^-20 for bounds under 2^33. */
export function randomBelow(random: Random, bound: number): number {
  const high = random.uint32() >>> 11;
  return Math.floor(((high * 0x100000000 + random.uint32()) / 0x20000000000000) * bound);
}

/** Sixteen hexadecimal digits: a name nobody else will choose. */
export function randomToken(random: Random): string {
  const word = (): string => random.uint32().toString(16).padStart(8, '0');
  return word() + word();
}
