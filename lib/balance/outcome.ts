/** What a move has brought, from the vectors before it and some windows after it, beside what was predicted. */
import { requestsPerSecond, type LoadVector } from '../load/vector.js';
import type { Candidate } from './contract.js';
import { demandsOf, responseMs, utilisationAt } from './model.js';

export interface Outcome {
  /** Mean time of the group's requests, as the vectors tell it. */
  readonly latencyMsBefore: number;
  readonly latencyMsAfter: number;
  /** Positive: sooner. */
  readonly gainMs: number;
  readonly predictedGainMs: number;
  /** gainMs / predictedGainMs; null where nothing was predicted. */
  readonly achieved: number | null;
  /** Of the source and of the destination: null where one of the vectors is missing. */
  readonly from: Change | null;
  readonly to: Change | null;
  /**
   * How much the group's requests have changed meanwhile, over what they were: beyond some 20 % the gain tells more of the
   * load than of the move.
   */
  readonly loadChange: number;
}

export interface Change {
  readonly requestsBefore: number;
  readonly requestsAfter: number;
  readonly utilisationBefore: number;
  readonly utilisationAfter: number;
}

/** @param before, after one vector of each member; of members that are in only one of them nothing can be said */
export function outcomeOf(
  move: Candidate,
  before: readonly LoadVector[],
  after: readonly LoadVector[],
): Outcome {
  const names = new Set(after.map(({ member }) => member));
  const first = measured(before.filter(({ member }) => names.has(member)));
  const then = measured(after.filter(({ member }) => first.members.has(member)));
  const gainMs = first.latencyMs - then.latencyMs;
  const predictedGainMs = move.predicted.latencyMsBefore - move.predicted.latencyMsAfter;
  return {
    latencyMsBefore: first.latencyMs,
    latencyMsAfter: then.latencyMs,
    gainMs,
    predictedGainMs,
    achieved: predictedGainMs === 0 ? null : gainMs / predictedGainMs,
    from: changeOf(first, then, move.from),
    to: changeOf(first, then, move.to),
    loadChange: first.requests === 0 ? 0 : (then.requests - first.requests) / first.requests,
  };
}

interface MeasuredGroup {
  readonly members: ReadonlyMap<string, { readonly requests: number; readonly utilisation: number }>;
  readonly requests: number;
  readonly latencyMs: number;
}

function measured(vectors: readonly LoadVector[]): MeasuredGroup {
  const demands = demandsOf(vectors);
  const members = new Map<string, { requests: number; utilisation: number }>();
  let [requests, spentMs] = [0, 0];
  demands.forEach((demand, index) => {
    const vector = vectors[index] as LoadVector;
    const own = requestsPerSecond(vector);
    members.set(vector.member, { requests: own, utilisation: utilisationAt(demand, own) });
    requests += own;
    spentMs += own * responseMs(demand, own);
  });
  return { members, requests, latencyMs: requests === 0 ? 0 : spentMs / requests };
}

function changeOf(before: MeasuredGroup, after: MeasuredGroup, name: string): Change | null {
  const [first, then] = [before.members.get(name), after.members.get(name)];
  if (first === undefined || then === undefined) return null;
  return {
    requestsBefore: first.requests,
    requestsAfter: then.requests,
    utilisationBefore: first.utilisation,
    utilisationAfter: then.utilisation,
  };
}
