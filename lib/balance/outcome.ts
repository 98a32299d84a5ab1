/** What a move has brought, from the vectors before it and some windows after it, beside what was predicted. */
import { requestsPerSecond, type LoadVector } from '../load/vector.js';
import type { Candidate } from './contract.js';
import { demandsOf, responseMs } from './model.js';

export interface Outcome {
  /** By how much the group's requests take less than before, in the mean. */
  readonly gainMs: number;
  readonly predictedGainMs: number;
  /**
   * How much the group's requests have changed meanwhile, over what they were: beyond some 20 % the gain tells more of the
   * load than of the move.
   */
  readonly loadChange: number;
}

/** @param before, after one vector of each member; of members that are in only one of them nothing can be said */
export function outcomeOf(
  { predicted }: Pick<Candidate, 'predicted'>,
  before: readonly LoadVector[],
  after: readonly LoadVector[],
): Outcome {
  const first = measured(before, after);
  const then = measured(after, before);
  return {
    gainMs: first.latencyMs - then.latencyMs,
    predictedGainMs: predicted.latencyMsBefore - predicted.latencyMsAfter,
    loadChange: first.requests === 0 ? 0 : (then.requests - first.requests) / first.requests,
  };
}

/** The group's requests a second and their mean time, as far as its members are among the `others` as well. */
function measured(
  vectors: readonly LoadVector[],
  others: readonly LoadVector[],
): { requests: number; latencyMs: number } {
  const names = new Set(others.map(({ member }) => member));
  const both = vectors.filter(({ member }) => names.has(member));
  let [requests, spentMs] = [0, 0];
  demandsOf(both).forEach((demand, index) => {
    const own = requestsPerSecond(both[index] as LoadVector);
    requests += own;
    spentMs += own * responseMs(demand, own);
  });
  return { requests, latencyMs: requests === 0 ? 0 : spentMs / requests };
}
