/** What was seen of a scene, and the figures and lines made of it. What was not seen is NaN, which holds nothing. Pure. */
import { DEMONSTRATION_SETTINGS } from '../../balance/settings.js';
import type { MoveView } from '../../manage/api.js';
import type { Line } from '../figures.js';
import type { MemberServed } from './stage.js';

export const SETTLE_MS = 60_000;
export const IMBALANCE_AFTER = 1.25;
const IMBALANCE_BEFORE = 2.5;
const GAIN = 1.25;
const { latencyGapMs } = DEMONSTRATION_SETTINGS;
/** A member that serves less tells nothing by its latency. */
const SERVES_MIN = 1;

export interface Judged {
  /** For people and programs: what was measured, with its unit in the name. */
  readonly figures: Readonly<Record<string, number>>;
  readonly lines: readonly Line[];
}

/** The most that a member serves over the mean; 1 is even. NaN where nobody serves anything, or not all have told. */
export function imbalanceOf(served: readonly MemberServed[]): number {
  const requests = served.map(({ requestsPerSecond }) => requestsPerSecond);
  const sum = requests.reduce((total, each) => total + each, 0);
  return sum === 0 ? NaN : (Math.max(...requests) / sum) * served.length;
}

/** From the lowest latency to the highest, of those that serve. NaN where there are not two. */
export function gapOf(served: readonly MemberServed[]): number {
  const latencies = served
    .filter(({ requestsPerSecond }) => requestsPerSecond > SERVES_MIN)
    .map(({ latencyMs }) => latencyMs);
  return latencies.length < 2 ? NaN : Math.max(...latencies) - Math.min(...latencies);
}

export interface Measured {
  readonly imbalance: number;
  readonly ops: number;
}

/** Of load that was all at one member. */
export interface Skewed {
  readonly before: Measured;
  readonly after: Measured;
  readonly settledMs: number;
  readonly moves: number;
  /** After it had settled. */
  readonly quiet: { readonly moves: number; readonly imbalance: number };
  readonly quietMs: number;
  /** Members that hold extents of one volume. */
  readonly most: number;
  /** Errors and wrong blocks. */
  readonly bad: number;
}

/** @param isOneHot all load is on one volume */
export function judgeSkewed(seen: Skewed, isOneHot: boolean): Judged {
  const { before, after, settledMs, moves, quiet, quietMs, most, bad } = seen;
  const gain = after.ops / before.ops;
  return {
    figures: {
      ...{ imbalanceBefore: before.imbalance, imbalanceAfter: after.imbalance },
      ...{ settledSeconds: settledMs / 1000, opsBefore: before.ops, opsAfter: after.ops, gain, moves },
      ...{ movesWhileQuiet: quiet.moves, imbalanceQuiet: quiet.imbalance, holdersOfOneVolume: most, bad },
    },
    lines: [
      line(
        `the imbalance was ${before.imbalance.toFixed(2)}, at least ${IMBALANCE_BEFORE}`,
        before.imbalance >= IMBALANCE_BEFORE,
      ),
      line(
        `it is at most ${IMBALANCE_AFTER} within ${SETTLE_MS / 1000} s: ${after.imbalance.toFixed(2)} after ${(settledMs / 1000).toFixed(0)} s`,
        settledMs < SETTLE_MS,
      ),
      line(`${gain.toFixed(2)} × the throughput, at least ${GAIN}`, before.ops > 0 && gain >= GAIN),
      line(
        `${quiet.moves} moves in the next ${(quietMs / 1000).toFixed(0)} s of the same load, none wanted`,
        quiet.moves === 0,
      ),
      line('no error, no wrong block', bad === 0),
      ...(isOneHot ? [line(`the hot volume is spread over ${most} members`, most > 1)] : []),
    ],
  };
}

/** Of load that is to stay where it is. */
export interface Unmoved {
  readonly moves: number;
  readonly imbalance: number;
  /** Answers a second meanwhile. */
  readonly ops: number;
  /** Of what the group decided meanwhile. */
  readonly verdicts: readonly string[];
  readonly bad: number;
}

export function judgeUnmoved({ moves, imbalance, ops, verdicts, bad }: Unmoved): Judged {
  return {
    figures: { moves, imbalance, ops, bad },
    lines: [
      line(`${ops.toFixed(0)} requests a second were answered`, ops > 0),
      lineOfVerdicts(verdicts),
      line('no move', moves === 0),
      line('no error', bad === 0),
    ],
  };
}

/** Of one slow disk. */
export interface Slow {
  readonly before: { readonly gapMs: number; readonly ops: number };
  readonly after: { readonly gapMs: number; readonly ops: number };
  /** Until the gap was low and stayed so; as long as is waited for it: it did not. */
  readonly settledMs: number;
  readonly withinMs: number;
  /** That ended well. */
  readonly moves: number;
  readonly bad: number;
}

export function judgeSlow({ before, after, settledMs, withinMs, moves, bad }: Slow): Judged {
  return {
    figures: {
      ...{ gapMsBefore: before.gapMs, gapMsAfter: after.gapMs, seconds: settledMs / 1000, moves },
      ...{ opsBefore: before.ops, opsAfter: after.ops, bad },
    },
    lines: [
      line(
        `latencies are ${before.gapMs.toFixed(1)} ms apart, over ${latencyGapMs}`,
        before.gapMs > latencyGapMs,
      ),
      line(
        `they meet, at most ${latencyGapMs} ms apart, within ${withinMs / 1000} s: ${after.gapMs.toFixed(1)} after ${(settledMs / 1000).toFixed(0)} s`,
        settledMs < withinMs,
      ),
      line(`by ${moves} moves, at least 1`, moves >= 1),
      line('no error', bad === 0),
    ],
  };
}

/** Of load that is now here, now there. */
export interface Oscillated {
  /** That ended well. */
  readonly moves: readonly Pick<MoveView, 'volume' | 'range' | 'extents'>[];
  /** Of the turn with the fewest. */
  readonly opsLeast: number;
  readonly verdicts: readonly string[];
  readonly bad: number;
}

export function judgeOscillated({ moves, opsLeast, verdicts, bad }: Oscillated): Judged {
  const most = mostMovesOfAnExtent(moves);
  return {
    figures: { moves: moves.length, mostMovesOfAnExtent: most, opsOfATurnLeast: opsLeast, bad },
    lines: [
      line(`${opsLeast} requests were answered in each turn at least`, opsLeast > 0 && opsLeast < Infinity),
      lineOfVerdicts(verdicts),
      line(`an extent moves ${most} times within the cool-down, at most once`, most <= 1),
      line('no error', bad === 0),
    ],
  };
}

/** Where nothing has moved, somebody must have looked, by vectors that were fresh. */
function lineOfVerdicts(verdicts: readonly string[]): Line {
  const all = [...new Set(verdicts)];
  const looked = all.filter((verdict) => verdict !== 'stale' && verdict !== 'off');
  return line(`the group looked at it: ${all.join(', ') || 'never'}`, looked.length > 0);
}

function mostMovesOfAnExtent(moves: Oscillated['moves']): number {
  const counts = new Map<string, number>();
  for (const { volume, range, extents } of moves) {
    const { first, last } = range ?? { first: 0, last: extents - 1 };
    for (let extent = first; extent <= last; extent++) {
      const key = `${volume} ${extent}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  }
  return Math.max(0, ...counts.values());
}

function line(text: string, holds: boolean): Line {
  return { text, holds };
}
