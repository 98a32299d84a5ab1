/**
 * Who is told which vectors at the end of a window. In a group of an ordinary size everybody tells everybody of himself.
 * In a larger one each tells a few by chance, and passes on what was news to it since it last told: rumours, which reach
 * n members after about log(n) / log(GOSSIP_FANOUT) windows, whoever is missing. No member is special. Sends nothing.
 */
import { GOSSIP_FANOUT, TOLD_DIRECTLY_MAX } from '../base/limits.js';
import { randomBelow, type Random } from '../base/random.js';
import type { Entry } from './board.js';

/** Everybody tells everybody: the group is no larger than that. */
export function isDirect(members: number): boolean {
  return members <= TOLD_DIRECTLY_MAX;
}

/** @param others the members besides this one */
export function chooseListeners(others: readonly string[], random: Random): string[] {
  if (isDirect(others.length + 1)) return [...others];
  const left = [...others];
  const chosen: string[] = [];
  while (chosen.length < GOSSIP_FANOUT) {
    const at = randomBelow(random, left.length);
    chosen.push(left[at] as string);
    left[at] = left.at(-1) as string;
    left.pop();
  }
  return chosen;
}

/** What is told: one's own, and in a large group the news since the last time, the latest measured first. */
export function chooseNews(
  entries: readonly Entry[],
  self: string,
  members: number,
  sinceMs: number,
): readonly Entry[] {
  const own = entries.filter(({ vector }) => vector.member === self);
  if (isDirect(members)) return own;
  const heard = entries.filter(({ vector, learntMs }) => vector.member !== self && learntMs > sinceMs);
  return [...own, ...heard.sort((a, b) => b.measuredMs - a.measuredMs)];
}

/** The first of them, as many as `bytesMax` has room for. */
export function fitting<T>(items: readonly T[], bytesMax: number, bytesOf: (item: T) => number): T[] {
  let bytes = 0;
  return items.slice(
    0,
    firstIndex(items, (item) => (bytes += bytesOf(item)) > bytesMax),
  );
}

function firstIndex<T>(items: readonly T[], is: (item: T) => boolean): number {
  const index = items.findIndex(is);
  return index === -1 ? items.length : index;
}
