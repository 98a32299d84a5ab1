/** Policies over many drawn configurations: how many got better by how much, and what it cost (README.md has the goals). */
import type { Policy } from '../balance/contract.js';
import { DEFAULT_SETTINGS, type BalanceSettings } from '../balance/settings.js';
import { leastBytes } from './bound.js';
import { compare, type PolicyName, type PolicyRow } from './compare.js';
import { drawConfiguration, type Configuration, type Theme } from './configurations.js';
import { Dice } from './dice.js';
import { median, quantile, rounded } from './numbers.js';

/** Better by a quarter: so much less latency and so much more throughput than with nothing done. */
export const IMPROVED_BY = 0.25;

export interface ConfigurationRow extends PolicyRow {
  /** Counts from 1; its own seed draws it again. */
  readonly configuration: number;
  readonly seed: number;
  readonly theme: Theme;
  readonly demand: Configuration['demand'];
  readonly members: number;
  readonly volumes: number;
  /** Over those of `none`. */
  readonly latencyRatio: number;
  readonly throughputRatio: number;
  /** By a quarter, in both. */
  readonly isImproved: boolean;
  /** What any balancer would have to move (bound.ts). */
  readonly boundBytes: number;
  readonly movedOverBound: number;
}

/** One policy over all configurations. */
export interface PolicySummary {
  readonly policy: PolicyName;
  readonly improvedShare: number;
  readonly imbalanceMedian: number;
  readonly imbalanceP90: number;
  readonly latencyRatioMedian: number;
  readonly throughputRatioMedian: number;
  readonly movedOverBoundMedian: number;
  readonly movesMedian: number;
}

export interface Judgement {
  readonly configurations: number;
  readonly seed: number;
  readonly seconds: number;
  /** The three figures of the default policy that the project promises. */
  readonly improvedShare: number;
  readonly imbalanceMedian: number;
  readonly movedOverBoundMedian: number;
  readonly policies: readonly PolicySummary[];
  readonly rows: readonly ConfigurationRow[];
}

export interface JudgeOptions {
  readonly configurations: number;
  readonly seed: number;
  readonly seconds: number;
  /** 'none' is run in any case: the others are held against it. */
  readonly policies: readonly PolicyName[];
  readonly planner: Policy;
  readonly settings: BalanceSettings;
  /** Told after each. */
  readonly onProgress?: (done: number) => Promise<void> | void;
}

export async function judge(options: JudgeOptions): Promise<Judgement> {
  const { configurations, seed, seconds, onProgress } = options;
  const policies = [...new Set<PolicyName>(['none', ...options.policies])];
  const dice = new Dice(seed);
  const rows: ConfigurationRow[] = [];
  for (let i = 1; i <= configurations; i += 1) {
    rows.push(...judgeOne(i, dice.seed(), { ...options, policies }));
    await onProgress?.(i);
  }
  const summaries = policies.map((policy) =>
    summarize(
      policy,
      rows.filter((row) => row.policy === policy),
    ),
  );
  const judged = summaries.find(({ policy }) => policy === DEFAULT_SETTINGS.policy) ?? summaries.at(-1);
  return {
    ...{ configurations, seed, seconds },
    improvedShare: judged?.improvedShare ?? 0,
    imbalanceMedian: judged?.imbalanceMedian ?? 0,
    movedOverBoundMedian: judged?.movedOverBoundMedian ?? 0,
    policies: summaries,
    rows,
  };
}

function judgeOne(number: number, seed: number, options: JudgeOptions): ConfigurationRow[] {
  const { seconds, policies, planner, settings } = options;
  const { theme, demand, scenario } = drawConfiguration(seed, seconds, settings.windowMs);
  const results = compare(scenario, policies, planner, settings);
  const { world } = scenario.build();
  const boundBytes = leastBytes(world);
  const [none] = results;
  return results.map(({ policy, requestsPerSecond, latencyMs, imbalance, moves, bytesMoved }) => {
    const latencyRatio = none === undefined ? 1 : latencyMs / none.latencyMs;
    const throughputRatio = none === undefined ? 1 : requestsPerSecond / none.requestsPerSecond;
    return {
      ...{ configuration: number, seed, theme, demand, policy },
      ...{ members: world.members.length, volumes: world.volumes.length },
      requestsPerSecond: rounded(requestsPerSecond),
      latencyMs: rounded(latencyMs),
      imbalance: rounded(imbalance),
      moves,
      bytesMoved: Math.round(bytesMoved),
      latencyRatio: rounded(latencyRatio),
      throughputRatio: rounded(throughputRatio),
      isImproved: latencyRatio <= 1 - IMPROVED_BY && throughputRatio >= 1 + IMPROVED_BY,
      boundBytes: Math.ceil(boundBytes),
      movedOverBound: rounded(boundBytes > 0 ? bytesMoved / boundBytes : bytesMoved > 0 ? Infinity : 1),
    };
  });
}

function summarize(policy: PolicyName, rows: readonly ConfigurationRow[]): PolicySummary {
  const middle = (pick: (row: ConfigurationRow) => number): number => rounded(median(rows.map(pick)));
  return {
    policy,
    improvedShare: rounded(rows.filter(({ isImproved }) => isImproved).length / Math.max(rows.length, 1)),
    imbalanceMedian: middle(({ imbalance }) => imbalance),
    imbalanceP90: rounded(
      quantile(
        rows.map(({ imbalance }) => imbalance),
        0.9,
      ),
    ),
    latencyRatioMedian: middle(({ latencyRatio }) => latencyRatio),
    throughputRatioMedian: middle(({ throughputRatio }) => throughputRatio),
    movedOverBoundMedian: middle(({ movedOverBound }) => movedOverBound),
    movesMedian: middle(({ moves }) => moves),
  };
}
