/** From one member's board to what people look at: who serves how much of what all serve. Pure. */
import { requestsPerSecond, type DatedVector } from '../load/vector.js';
import type { LoadsView, MemberLoadView } from './api.js';

/**
 * @param from whose board it is
 * @param names of all members, with a vector or without
 */
export function loadsView(
  from: string | null,
  names: readonly string[],
  board: readonly DatedVector[],
): LoadsView {
  const byMember = new Map(board.map((dated) => [dated.vector.member, dated]));
  const fresh = board.filter(({ isFresh }) => isFresh);
  const all = fresh.reduce((sum, { vector }) => sum + requestsPerSecond(vector), 0);
  const everybody = [...new Set([...names, ...byMember.keys()])];
  const members = everybody.map((name) => memberLoad(name, byMember.get(name), all, fresh.length));
  return { from, members };
}

function memberLoad(
  name: string,
  dated: DatedVector | undefined,
  allRequests: number,
  members: number,
): MemberLoadView {
  if (dated === undefined)
    return { name, vector: null, ageMs: null, stale: true, share: null, overFair: null };
  const { vector, ageMs, isFresh } = dated;
  const share = !isFresh ? null : allRequests === 0 ? 0 : requestsPerSecond(vector) / allRequests;
  return { name, vector, ageMs, stale: !isFresh, share, overFair: share === null ? null : share * members };
}
