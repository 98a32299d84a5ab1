/**
 * Which part of a volume goes: one contiguous range, with about as many requests as are too many, in as few bytes as
 * possible. What is known of the extents is a list of hot ones; the rest of the requests counts evenly for the others.
 */
import type { CoolingRun, ExtentRange } from './contract.js';

export interface Heat {
  /** [extent, requests per second] */
  readonly hot: readonly (readonly [number, number])[];
  /** Of each other extent. */
  readonly coldRequests: number;
}

export interface HeatedRange extends ExtentRange {
  readonly requests: number;
}

export interface RangeGoal {
  /** Requests per second that should go. */
  readonly target: number;
  /** Never more than these. */
  readonly most: number;
  readonly extentBytes: number;
  /** What a move costs beside its bytes, as bytes. */
  readonly fixedBytes: number;
}

/** The heat of what one member holds: `extents` of them, `requests` a second in all. */
export function heatOf(hot: readonly (readonly [number, number])[], extents: number, requests: number): Heat {
  const known = hot.reduce((sum, [, own]) => sum + own, 0);
  const others = extents - hot.length;
  return { hot, coldRequests: others > 0 ? Math.max(0, requests - known) / others : 0 };
}

/** What is left of `runs` without what has moved not long ago. */
export function withoutCooling(
  runs: readonly ExtentRange[],
  cooling: readonly CoolingRun[],
  nowMs: number,
): ExtentRange[] {
  const barred = cooling
    .filter(({ untilMs }) => untilMs > nowMs)
    .sort((a, b) => a.first - b.first || a.last - b.last);
  return barred.length === 0 ? [...runs] : runs.flatMap((run) => cut(run, barred));
}

/** Null when nothing of the runs may go. Runs in order, without overlap. */
export function bestRange(runs: readonly ExtentRange[], heat: Heat, goal: RangeGoal): HeatedRange | null {
  const hot = [...heat.hot].sort(([a], [b]) => a - b);
  let best: HeatedRange | null = null;
  let next = 0;
  for (const run of runs) {
    while (next < hot.length && (hot[next] as [number, number])[0] < run.first) next++;
    const begin = next;
    while (next < hot.length && (hot[next] as [number, number])[0] <= run.last) next++;
    const points = pointsOf(run, hot.slice(begin, next), heat.coldRequests);
    best = bestOfRun(run, points, heat.coldRequests, goal, best);
  }
  return best;
}

function cut(run: ExtentRange, barred: readonly ExtentRange[]): ExtentRange[] {
  const left: ExtentRange[] = [];
  let first = run.first;
  for (const bar of barred) {
    if (bar.last < first || bar.first > run.last) continue;
    if (bar.first > first) left.push({ first, last: bar.first - 1 });
    first = bar.last + 1;
  }
  if (first <= run.last) left.push({ first, last: run.last });
  return left;
}

type Point = readonly [extent: number, requests: number];

/** Where a range may begin or end: at a hot extent, and at the ends of the run. */
function pointsOf({ first, last }: ExtentRange, hot: readonly Point[], coldRequests: number): Point[] {
  const points = [...hot];
  if (points[0]?.[0] !== first) points.unshift([first, coldRequests]);
  if (points.at(-1)?.[0] !== last) points.push([last, coldRequests]);
  return points;
}

/** From each point to each later one, and that with cold neighbours until it is enough: a few thousand for one volume. */
function bestOfRun(
  run: ExtentRange,
  points: readonly Point[],
  coldRequests: number,
  goal: RangeGoal,
  found: HeatedRange | null,
): HeatedRange | null {
  let best = found;
  const consider = (range: HeatedRange): void => {
    if (range.requests > 0 && range.requests <= goal.most && isBetter(range, best, goal)) best = range;
  };
  for (let begin = 0; begin < points.length; begin++) {
    const [first] = points[begin] as Point;
    let requests = 0;
    for (let end = begin; end < points.length; end++) {
      const [last, own] = points[end] as Point;
      const before = end === begin ? last : (points[end - 1] as Point)[0] + 1;
      requests += own + (last - before) * coldRequests;
      if (requests > goal.most) break;
      consider({ first, last, requests });
      const missing = coldRequests > 0 ? Math.floor((goal.target - requests) / coldRequests) : 0;
      if (missing <= 0) continue;
      const right = Math.min(missing, (points[end + 1]?.[0] ?? run.last + 1) - 1 - last);
      const left = Math.min(missing - right, first - 1 - (points[begin - 1]?.[0] ?? run.first - 1));
      consider({
        first: first - left,
        last: last + right,
        requests: requests + (left + right) * coldRequests,
      });
    }
  }
  return best;
}

/** Half of the target at least is better than less; of two such, the one with more requests for its bytes. */
function isBetter(range: HeatedRange, best: HeatedRange | null, goal: RangeGoal): boolean {
  if (best === null) return true;
  const isEnough = range.requests >= goal.target / 2;
  if (isEnough !== best.requests >= goal.target / 2) return isEnough;
  return isEnough ? perByte(range, goal) > perByte(best, goal) : range.requests > best.requests;
}

function perByte({ first, last, requests }: HeatedRange, goal: RangeGoal): number {
  return requests / ((last - first + 1) * goal.extentBytes + goal.fixedBytes);
}
