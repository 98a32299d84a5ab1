/** Names for what initiators make of a volume. Pure: figures in, words out. */
import type { TrafficPattern } from './vector.js';

/** From this share on, requests that follow an earlier one are what a volume is read or written by. */
const SEQUENTIAL_SHARE = 0.6;
/** Beyond this share of reads (or of writes) the rest is beside the point. */
const ONE_SIDED_SHARE = 0.8;

export function kindOf(readShare: number, sequentialShare: number): TrafficPattern['kind'] {
  const isSequential = sequentialShare >= SEQUENTIAL_SHARE;
  if (readShare >= ONE_SIDED_SHARE) return isSequential ? 'sequential-read' : 'random-read';
  if (readShare <= 1 - ONE_SIDED_SHARE) return isSequential ? 'sequential-write' : 'random-write';
  return 'mixed';
}

/**
 * The coefficient of variation of counts, without what independent arrivals vary by anyway (the variance of a Poisson
 * distribution is its mean): so a few requests a second that come by chance are steady.
 */
export function burstinessOf(counts: readonly number[]): number {
  if (counts.length < 2) return 0;
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  if (mean === 0) return 0;
  const variance = counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / (counts.length - 1);
  return Math.sqrt(Math.max(0, variance - mean)) / mean;
}
