/** From one member's board to what people look at: who serves how much of what all serve. Pure. */
import { requestsPerSecond, type DatedVector } from '../load/vector.js';
import type { LoadsView, MemberLoadView } from './api.js';

/**
 * @param from whose board it is
 * @param names of all members, with a vector or without
 * @param weightOf what a member can serve beside the others
 */
export function loadsView(
  from: string | null,
  names: readonly string[],
  board: readonly DatedVector[],
  weightOf: (member: string) => number,
): LoadsView {
  const byMember = new Map(board.map((dated) => [dated.vector.member, dated]));
  const fresh = board.filter(({ isFresh }) => isFresh);
  const all = fresh.reduce((sum, { vector }) => sum + requestsPerSecond(vector), 0);
  const everybody = [...new Set([...names, ...byMember.keys()])];
  const weights = fresh.reduce((sum, { vector }) => sum + weightOf(vector.member), 0);
  const members = everybody.map((name) =>
    memberLoad(name, byMember.get(name), all, weightOf(name) / (weights || 1)),
  );
  return { from, members };
}

function memberLoad(
  name: string,
  dated: DatedVector | undefined,
  allRequests: number,
  fairShare: number,
): MemberLoadView {
  if (dated === undefined)
    return { name, vector: null, ageMs: null, stale: true, share: null, overFair: null };
  const { vector, ageMs, isFresh } = dated;
  const share = !isFresh ? null : allRequests === 0 ? 0 : requestsPerSecond(vector) / allRequests;
  const overFair = share === null || fairShare === 0 ? null : share / fairShare;
  return { name, vector, ageMs, stale: !isFresh, share, overFair };
}
