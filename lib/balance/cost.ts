/** What a move costs the requests of the group, against what it wins them: when it has paid for itself. */
import { MOVE_BYTES_PER_SECOND_FLOOR } from '../base/limits.js';
import { responseMs } from './model.js';
import type { MemberLoad, Standing } from './standing.js';

const MiB = 1024 * 1024;

/** A move of nothing at all still takes commits and a hand-over: about a second, in which this much could be copied. */
export const MOVE_FIXED_BYTES = 108 * MiB;
/** What a copy takes of the source's and of the destination's time. The copier paces itself beside initiators, so that
 *  this is about what it takes. */
const COPY_UTILISATION = 0.1;

/** Until the time won pays for the time lost, the copy included, in milliseconds; Infinity: never. */
export function payBackMs(
  standing: Standing,
  from: MemberLoad,
  to: MemberLoad,
  bytes: number,
  latencyMsAfter: number,
): number {
  const wonPerSecond = standing.requests * (standing.latencyMs - latencyMsAfter);
  if (!(wonPerSecond > 0)) return Infinity;
  const copyMs = ((bytes + MOVE_FIXED_BYTES) * 1000) / MOVE_BYTES_PER_SECOND_FLOOR;
  const lostPerSecond = lostMs(from) + lostMs(to);
  return copyMs * (1 + lostPerSecond / wonPerSecond);
}

/** Requests wait behind the copy's: as if there were as many more of them as fill its part of the time. */
function lostMs({ demand, requests }: MemberLoad): number {
  const demandMs = Math.max(demand.storageMs, demand.loopMs);
  if (demandMs === 0) return 0;
  const copying = (COPY_UTILISATION * 1000) / demandMs;
  return requests * (responseMs(demand, requests + copying) - responseMs(demand, requests));
}
