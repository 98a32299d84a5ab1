/** One seed of a row: drawn, run, and shrunk if it went wrong; the result can be sent between processes. */
import { drawPlan } from './draw.js';
import type { Plan } from './plan.js';
import { runPlan } from './run.js';
import { shrink } from './shrink.js';

export interface SeedOptions {
  readonly trace: boolean;
  /** A plan that goes wrong is cut down. */
  readonly shrinks: boolean;
}

export interface SeedResult {
  readonly seed: number;
  readonly hash: string;
  readonly wrongs: readonly string[];
  readonly counts: readonly (readonly [string, number])[];
  readonly simulatedMs: number;
  readonly lines: readonly string[];
  /** What went wrong, as it was drawn or shrunk; null: nothing did. */
  readonly plan: Plan | null;
}

export async function runSeed(seed: number, { trace, shrinks }: SeedOptions): Promise<SeedResult> {
  const drawn = drawPlan(seed);
  const outcome = await runPlan(drawn, trace);
  const isWrong = outcome.wrongs.length > 0;
  const shrunk = isWrong && shrinks ? await shrink(drawn, outcome) : { plan: drawn, outcome };
  return {
    ...{ seed, hash: outcome.hash, wrongs: shrunk.outcome.wrongs, counts: [...outcome.counts] },
    ...{ simulatedMs: outcome.simulatedMs, lines: outcome.lines, plan: isWrong ? shrunk.plan : null },
  };
}
