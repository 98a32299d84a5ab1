/**
 * A decision as it is remembered: what was measured, what was done about it or why nothing was, what else had been looked
 * at, and what came of it. Written by the member that decided, read by people.
 */
import { z } from 'zod';
import {
  ALTERNATIVES_MAX,
  BALANCE_MOVES_MAX,
  MEMBER_NAME_PATTERN,
  VOLUME_NAME_PATTERN,
} from '../base/limits.js';
import type { Candidate, Measure, Plan } from './contract.js';
import { POLICIES } from './settings.js';

const figure = z.number().min(0).max(Number.MAX_SAFE_INTEGER);
const signed = z.number().min(-Number.MAX_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER);
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
/** What Date takes (ECMA-262 21.4.1.1). */
const date = count.max(8.64e15);
const memberName = z.string().regex(MEMBER_NAME_PATTERN);
const LINE_CHARACTERS_MAX = 1024;
const line = z.string().max(LINE_CHARACTERS_MAX);

const candidate = {
  volume: z.string().regex(VOLUME_NAME_PATTERN),
  extents: z.object({ first: count, last: count }).nullable(),
  from: memberName,
  to: memberName,
  requestsPerSecond: figure,
  bytes: figure,
  predicted: z.object({
    measure: figure,
    latencyMsBefore: figure,
    latencyMsAfter: figure,
    /** Null: never. */
    payBackMs: figure.nullable(),
  }),
};

/** How the group did over one window, as far as its fresh vectors say. */
export const GroupFigures = z.object({
  /** The most requests that a member served over the mean, by weight: 1 is even. */
  imbalance: figure,
  requestsPerSecond: figure,
  /** Mean time in storage over all requests. */
  latencyMs: figure,
});
export type GroupFigures = z.infer<typeof GroupFigures>;

export const Decision = z.object({
  id: z.string().min(1).max(64),
  atMs: date,
  /** The same was decided again up to then, so many times in all. */
  lastAtMs: date,
  times: count.min(1),
  by: memberName,
  policy: z.enum(POLICIES),
  verdict: z.enum(['act', 'balanced', 'idle', 'stale', 'busy', 'held', 'no-gain', 'off']),
  measure: z.object({ name: line, value: figure, limit: figure }).nullable(),
  /** The verdict in one line, with figures. */
  reason: line,
  moves: z
    .array(
      z.object({
        ...candidate,
        reason: line,
        /** The volume whose move has to make room first. */
        after: z.string().regex(VOLUME_NAME_PATTERN).nullable(),
        /** Of the move in the store; null: it was not asked for, since `refusal`. */
        move: z.string().max(64).nullable(),
        refusal: line,
        /** What it has brought, beside what was predicted (outcome.ts); null until that is measured. */
        brought: z
          .object({
            gainMs: signed,
            predictedGainMs: signed,
            /** Of the group's requests meanwhile: beyond some 0.2 the gain tells more of the load than of the move. */
            loadChange: signed,
          })
          .nullable(),
      }),
    )
    .max(BALANCE_MOVES_MAX),
  alternatives: z.array(z.object({ ...candidate, because: line })).max(ALTERNATIVES_MAX),
  before: GroupFigures.nullable(),
  /** Measured when the moves had ended and a whole window had passed; null until then, and where nothing was moved. */
  outcome: z.object({ measuredAtMs: date, after: GroupFigures }).nullable(),
  /** Why there is no outcome and will be none, in a few words; '' otherwise. */
  unmeasured: line.default(''),
});
export type Decision = z.infer<typeof Decision>;

type Recorded<T extends Candidate> = Omit<T, 'predicted'> & {
  predicted: Decision['moves'][number]['predicted'];
};

/** A candidate in the shape of the record: JSON has no infinity, and a prediction may be off by what rounding makes. */
function recorded<T extends Candidate>(from: T): Recorded<T> {
  const { measure, latencyMsBefore, latencyMsAfter, payBackMs } = from.predicted;
  return {
    ...from,
    requestsPerSecond: bounded(from.requestsPerSecond),
    bytes: bounded(from.bytes),
    predicted: {
      measure: bounded(measure),
      latencyMsBefore: bounded(latencyMsBefore),
      latencyMsAfter: bounded(latencyMsAfter),
      payBackMs: payBackMs <= Number.MAX_SAFE_INTEGER ? bounded(payBackMs) : null,
    },
  };
}

function boundedMeasure({ name, value, limit }: Measure): Measure {
  return { name: lineOf(name), value: bounded(value), limit: bounded(limit) };
}

/** What a record takes, whatever a member said that it serves. */
export function bounded(value: number): number {
  return Math.max(boundedSigned(value), 0);
}

/** The same of what may be less than nothing. */
export function boundedSigned(value: number): number {
  return Math.min(Math.max(value, -Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER) || 0;
}

/** What fits into a line of a record. */
export function lineOf(text: string): string {
  return text.slice(0, LINE_CHARACTERS_MAX);
}

/** The decision that a plan is, before anything was asked for. */
export function decisionOf(
  plan: Plan,
  about: Pick<Decision, 'id' | 'atMs' | 'by' | 'policy' | 'before'>,
): Decision {
  return {
    ...about,
    ...{
      lastAtMs: about.atMs,
      times: 1,
      verdict: plan.verdict,
      measure: plan.measure === null ? null : boundedMeasure(plan.measure),
      reason: lineOf(plan.reason),
      outcome: null,
      unmeasured: '',
    },
    moves: plan.moves.slice(0, BALANCE_MOVES_MAX).map((move) => ({
      ...recorded(move),
      ...{ reason: lineOf(move.reason), move: null, refusal: '', brought: null },
    })),
    alternatives: plan.alternatives
      .slice(0, ALTERNATIVES_MAX)
      .map((other) => ({ ...recorded(other), because: lineOf(other.because) })),
  };
}

/** Nothing was done, for the same reason as before: not worth a record of its own. */
export function isRepetition(now: Decision, before: Decision | null): boolean {
  if (before === null) return false;
  const [refused, refusedBefore] = [refusedOf(now), refusedOf(before)];
  if (refused === null || refused !== refusedBefore) return false;
  return now.by === before.by && now.policy === before.policy && now.verdict === before.verdict;
}

/** What was wanted and why nothing of it was done; null: some was. */
function refusedOf({ moves }: Decision): string | null {
  if (moves.some(({ move }) => move !== null)) return null;
  return JSON.stringify(moves.map(({ volume, extents, to, refusal }) => [volume, extents, to, refusal]));
}
