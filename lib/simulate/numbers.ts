/** Sums and medians. */

export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

export function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : sum(values) / values.length;
}

/** The middle value; of an even count the mean of the two. 0 of none. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Between the order statistics by straight lines; 0 of none. @param at 0 the least, 1 the greatest */
export function quantile(values: readonly number[], at: number): number {
  if (values.length === 0) return 0;
  const sorted = [...values].sort((a, b) => a - b);
  const place = at * (sorted.length - 1);
  const low = Math.floor(place);
  const [below, above] = [sorted[low] as number, sorted[Math.min(low + 1, sorted.length - 1)] as number];
  // Equal ones without arithmetic: Infinity − Infinity is no number.
  return below === above ? below : below + (place - low) * (above - below);
}

/** To so many significant digits: what is printed should not pretend, and stays the same on every machine. */
export function rounded(value: number, digits = 6): number {
  return Number.isFinite(value) ? Number(value.toPrecision(digits)) : value;
}
