/** The least bytes that any balancer would have to move: what bytes moved are held against. Pure. */
import { sum } from './numbers.js';
import { solve } from './queueing.js';
import { storageMs, type World } from './world.js';

/** Balanced: no member serves more than this times its fair share. */
export const BALANCED_AT = 1.15;

/**
 * A lower bound of the bytes that have to leave members so that none serves more than BALANCED_AT times its share.
 *
 * Let r(e) be the requests a second for extent e in balance, b(e) its bytes, and S(m) = BALANCED_AT · Σr · speed(m) / Σspeed
 * what member m may serve. A placement in which m serves no more has had extents leave m whose r add up to at least
 * excess(m) = Σ r(e at m) − S(m). The cheapest set of extents with that sum is a minimum knapsack cover; where fractions of
 * extents may be taken it costs no more, and then taking them by r(e) / b(e), the densest first, is the best (exchange a
 * piece of any other choice for a denser one: it gets no dearer). An extent is at one member in the beginning, so what
 * leaves different members is different extents, and the sums add up. Whatever moves twice only adds.
 */
export function leastBytes(world: World): number {
  const rates = balancedRates(world);
  const { members, volumes } = world;
  const total = sum(rates);
  const speeds = sum(members.map(({ speed }) => speed));
  const held: { perSecond: number; bytes: number }[][] = members.map(() => []);
  volumes.forEach((volume, v) => {
    volume.heat.forEach((heat, e) => {
      if (heat === 0) return;
      const bytes = (volume.filled[e] as number) * volume.extentBytes;
      held[volume.holderOf(e)]?.push({ perSecond: (rates[v] as number) * heat, bytes });
    });
  });
  return sum(
    held.map((extents, m) => {
      const mayServe = (BALANCED_AT * total * (members[m] as { speed: number }).speed) / speeds;
      return cheapestCover(extents, sum(extents.map(({ perSecond }) => perSecond)) - mayServe);
    }),
  );
}

function cheapestCover(extents: { perSecond: number; bytes: number }[], excess: number): number {
  extents.sort((a, b) => b.perSecond * a.bytes - a.perSecond * b.bytes);
  let left = excess;
  let bytes = 0;
  for (const extent of extents) {
    if (left <= 0) break;
    bytes += extent.bytes * Math.min(1, left / extent.perSecond);
    left -= extent.perSecond;
  }
  return bytes;
}

/** Requests a second of each volume where every member serves its share of every volume: what initiators get in balance. */
function balancedRates({ members, volumes }: World): Float64Array {
  const speeds = sum(members.map(({ speed }) => speed));
  const rates = new Float64Array(volumes.length);
  const asked = [...volumes.keys()].filter((v) => (volumes[v]?.demand.offeredPerSecond ?? 0) > 0);
  const { perMs } = solve(
    members.map(({ variation }) => ({ variation })),
    asked.map((v) => {
      const { offeredPerSecond, outstanding, requestBytes } = (volumes[v] as World['volumes'][number]).demand;
      return {
        population: outstanding,
        thinkMs: (outstanding / offeredPerSecond) * 1000,
        delayMs: 0,
        visits: members.map((member, m) => ({
          station: m,
          share: member.speed / speeds,
          serviceMs: storageMs(member, requestBytes),
        })),
      };
    }),
  );
  asked.forEach((v, i) => (rates[v] = (perMs[i] as number) * 1000));
  return rates;
}
