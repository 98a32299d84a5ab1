/** What `blockferry simulate` says to people: tables. */
import { formatSize } from '../base/units.js';
import type { PolicyRow } from '../simulate/compare.js';
import type { Judgement } from '../simulate/judge.js';
import type { ScalePoint } from '../simulate/scale.js';
import { formatMs, plural, table } from './output.js';

/** What `simulate --json` prints of one load: scripts depend on it. */
export interface SimulationReport {
  readonly load: string;
  readonly seed: number;
  readonly members: number;
  readonly volumes: number;
  readonly seconds: number;
  readonly policies: readonly PolicyRow[];
}

export function describeRuns({ load, members, volumes, seconds, policies }: SimulationReport): string {
  const rows = policies.map(({ policy, requestsPerSecond, latencyMs, imbalance, moves, bytesMoved }) => [
    ...[policy, requestsPerSecond.toFixed(0), formatMs(latencyMs), imbalance.toFixed(2)],
    ...[moves, formatSize(bytesMoved)],
  ]);
  return [
    `${load}: ${plural(members, 'member')}, ${plural(volumes, 'volume')}, ${seconds} s; the last quarter of them:`,
    table(['policy', 'requests/s', 'latency', 'imbalance', 'moves', 'moved'], rows),
  ].join('\n');
}

export function describeJudgement(judgement: Judgement): string {
  const { configurations, seed, seconds, policies } = judgement;
  const rows = policies.map((summary) => [
    ...[summary.policy, `${(summary.improvedShare * 100).toFixed(1)} %`, summary.imbalanceMedian.toFixed(3)],
    ...[`x ${summary.latencyRatioMedian.toFixed(2)}`, `x ${summary.throughputRatioMedian.toFixed(2)}`],
    ...[summary.movedOverBoundMedian.toFixed(2), summary.movesMedian],
  ]);
  return [
    `${plural(configurations, 'configuration')} of seed ${seed}, ${seconds} s each; medians, improved by 25 % in both:`,
    table(['policy', 'improved', 'imbalance', 'latency', 'throughput', 'moved/bound', 'moves'], rows),
  ].join('\n');
}

export function describeScale({ points }: { readonly points: readonly ScalePoint[] }): string {
  const rows = points.map(({ members, volumes, planMs, planMsMax, heapBytes, residentBytesMax, moves }) => [
    ...[members, volumes, formatMs(planMs), formatMs(planMsMax)],
    ...[formatSize(heapBytes), formatSize(residentBytesMax), moves],
  ]);
  return table(['members', 'volumes', 'plan', 'longest', 'heap', 'process', 'moves'], rows);
}
