/** From samples to results: the shape of bench/report JSON, and its arithmetic. Measures nothing, draws nothing. */
import type { BenchCase, Figure, Sample, Unit } from './case.js';
import { isReached, median, shortfall, spreadOf, type Goal, type Spread } from './stats.js';

export interface FigureResult {
  readonly name: string;
  readonly unit: Unit;
  readonly goal: Goal | null;
  readonly value: Spread;
  /** Null without a goal. */
  readonly reached: boolean | null;
  /** See stats.ts. */
  readonly shortfall: number;
  /** Medians of the two sides of a ratio, or null. */
  readonly sides: { readonly subject: number; readonly baseline: number; readonly unit: Unit } | null;
  readonly clientBusy: number | null;
  readonly rounds: readonly Sample[];
}

export interface CaseResult {
  readonly id: string;
  readonly title: string;
  readonly against: string;
  /** Why there are no figures, or null. */
  readonly skipped: string | null;
  /** What broke it, or null: the figures are of the rounds before. */
  readonly failed: string | null;
  readonly figures: readonly FigureResult[];
}

/** One line of a curve: how a cost grows with a size. */
export interface Curve {
  readonly id: string;
  readonly title: string;
  readonly unit: Unit;
  readonly sizeName: string;
  readonly points: readonly { readonly size: number; readonly value: number }[];
  /** For the largest size. */
  readonly goal: Goal | null;
  readonly reached: boolean | null;
}

export interface Report {
  readonly version: 1;
  readonly startedAt: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryBytes: number;
    readonly kernel: string;
    readonly node: string;
  };
  readonly rounds: number;
  readonly seconds: number;
  readonly cases: readonly CaseResult[];
  readonly curves: readonly Curve[];
}

/** Every case of the run has been measured, or skipped for a reason. */
export function isWhole(results: readonly CaseResult[], cases: number): boolean {
  return results.length === cases && results.every(({ failed }) => failed === null);
}

/** @param rounds per round one sample per figure */
export function caseResult(
  bench: Pick<BenchCase, 'id' | 'title' | 'against' | 'figures'>,
  rounds: readonly (readonly Sample[])[],
  outcome: { skipped?: string; failed?: string } = {},
): CaseResult {
  const { id, title, against } = bench;
  const figures =
    rounds.length === 0
      ? []
      : bench.figures.map((figure, index) =>
          figureResult(
            figure,
            rounds.flatMap((samples) => samples[index] ?? []),
          ),
        );
  return { id, title, against, skipped: outcome.skipped ?? null, failed: outcome.failed ?? null, figures };
}

export function figureResult(figure: Figure, samples: readonly Sample[]): FigureResult {
  const value = spreadOf(samples.map((sample) => sample.value));
  const goal = figure.goal ?? null;
  const busy = samples.flatMap((sample) => sample.clientBusy ?? []);
  return {
    name: figure.name,
    unit: figure.unit,
    goal,
    value,
    reached: goal === null ? null : isReached(value.median, goal),
    shortfall: goal === null ? 0 : shortfall(value.median, goal),
    sides: sidesOf(samples),
    clientBusy: busy.length === 0 ? null : median(busy),
    rounds: samples,
  };
}

function sidesOf(samples: readonly Sample[]): FigureResult['sides'] {
  const unit = samples[0]?.sideUnit;
  if (unit === undefined) return null;
  const subject = median(samples.flatMap((sample) => sample.subject ?? []));
  return { subject, baseline: median(samples.flatMap((sample) => sample.baseline ?? [])), unit };
}

/** Judged by its largest size. */
export function curveResult(curve: Omit<Curve, 'goal' | 'reached'>, goal?: Goal): Curve {
  const last = curve.points.at(-1);
  const reached = goal === undefined || last === undefined ? null : isReached(last.value, goal);
  return { ...curve, goal: goal ?? null, reached };
}
