/** Medians and spreads of a few rounds, and whether a goal is reached. Pure arithmetic. */

/** What a figure should be; the unit is the figure's. */
export type Goal = { readonly atLeast: number } | { readonly atMost: number };

export interface Spread {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

/** The middle value, or the mean of the two in the middle. NaN for none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), lowest: Math.min(...values), highest: Math.max(...values) };
}

export function isReached(value: number, goal: Goal): boolean {
  return 'atLeast' in goal ? value >= goal.atLeast : value <= goal.atMost;
}

/** How far a missed goal is away, as a share of the goal: 0.2 is a fifth short (or over). 0 when it is reached. */
export function shortfall(value: number, goal: Goal): number {
  if (isReached(value, goal)) return 0;
  return 'atLeast' in goal ? 1 - value / goal.atLeast : value / goal.atMost - 1;
}
