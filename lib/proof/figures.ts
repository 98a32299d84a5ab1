/** Distributions of a few hundred measured values, and lines that hold or do not. Pure arithmetic. */
import { BlockferryError } from '../base/errors.js';

export interface Distribution {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** By nearest rank: each is a value that was measured. Zeros for none. */
export function distributionOf(values: readonly number[]): Distribution {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { p50: rank(0.5), p99: rank(0.99), max: rank(1) };
}

/** One promise, held or not. */
export interface Line {
  readonly text: string;
  readonly holds: boolean;
}

/** @param dead members whose deaths nobody asked for: what was proved without them, or with new ones, is not proved */
export function survivalLine(what: string, dead: readonly string[]): Line {
  const text = dead.length === 0 ? 'no member died' : `${dead.join(', ')} died unasked`;
  return { text: `${what}: ${text}`, holds: dead.length === 0 };
}

/**
 * Whether all of them hold.
 * @param whyNone said where there is none
 * @throws UNAVAILABLE when there is none: nothing was proved then
 */
export function allHold(lines: readonly Line[], whyNone = ''): boolean {
  const why = whyNone === '' ? '' : `: ${whyNone}`;
  if (lines.length === 0) throw new BlockferryError('UNAVAILABLE', `nothing was proved${why}`);
  return lines.every(({ holds }) => holds);
}

export function describeLine({ text, holds }: Line): string {
  return `${holds ? 'holds ' : 'MISSED'}  ${text}`;
}
