/** The simulator's queues against what is known of M/M/1, M/D/1, M/G/1 and closed queues; and the bound of bytes moved. */
import t, { type Test } from 'tap';
import { leastBytes } from '../../lib/simulate/bound.js';
import { solve, type Customer, type Station } from '../../lib/simulate/queueing.js';
import { twoMembers, volumeAt } from '../support/simulated.js';

/** So many that none of them ever waits for itself: arrivals that depend on nothing. */
const MANY = 1e9;

function open(perMs: number, serviceMs: number): Customer {
  return {
    population: MANY,
    thinkMs: MANY / perMs,
    delayMs: 0,
    visits: [{ station: 0, share: 1, serviceMs }],
  };
}

function closed(population: number, shares: readonly number[], serviceMs = 1): Customer {
  const visits = shares.map((share, station) => ({ station, share, serviceMs }));
  return { population, thinkMs: 0, delayMs: 0, visits };
}

function isNear(t: Test, found: number | undefined, wanted: number, within: number, what: string): void {
  t.ok(Math.abs((found ?? NaN) / wanted - 1) <= within, `${what}: ${found}, not ${wanted}`);
}

t.test('open queues: Pollaczek and Khinchine', async (t) => {
  for (const variation of [0, 1, 4]) {
    for (const busy of [0.1, 0.5, 0.8, 0.9]) {
      const { responseMs, utilisation } = solve([{ variation }], [open(busy / 2, 2)]);
      const wanted = 2 + (2 * busy * (1 + variation)) / 2 / (1 - busy);
      isNear(t, responseMs[0], wanted, 1e-3, `variation ${variation} at ${busy}`);
      isNear(t, utilisation[0], busy, 1e-3, 'the utilisation is rate × service');
    }
  }
  // Two kinds of requests, 1 and 4 ms: W = λE[S²]/2/(1 − ρ), by the second moments of both.
  const { waitMs } = solve([{ variation: 0 }], [open(0.2, 1), open(0.1, 4)]);
  isNear(t, waitMs[0], (0.2 * 1 + 0.1 * 16) / 2 / (1 - 0.6), 1e-3, 'a mixture');
});

t.test('closed queues: the exact results of mean value analysis', async (t) => {
  for (const population of [1, 2, 10, 100]) {
    const { perMs, responseMs } = solve([{ variation: 1 }], [closed(population, [1])]);
    isNear(t, perMs[0], 1, 1e-3, `${population} at one queue: all of its capacity`);
    isNear(t, responseMs[0], population, 1e-3, 'Little: each waits for the others');
  }
  // Two equal queues: X(N) = N / (N + 1) of both together, exactly; Schweitzer's approximation is a few percent off.
  const stations: Station[] = [{ variation: 1 }, { variation: 1 }];
  for (const population of [1, 4, 16]) {
    const { perMs } = solve(stations, [closed(population, [0.5, 0.5])]);
    isNear(t, perMs[0], (2 * population) / (population + 1), 0.06, `${population} at two queues`);
  }
  const skewed = solve(stations, [closed(50, [0.9, 0.1])]);
  isNear(t, skewed.perMs[0], 1 / 0.9, 0.01, 'the busier one limits all');
});

t.test('nobody is served more than was offered, nor more than there is', async (t) => {
  for (const variation of [0, 1, 4]) {
    for (const offered of [0.5, 0.99, 1, 2, 50]) {
      const asked: Customer = { ...open(offered, 1), population: 32, thinkMs: 32 / offered };
      const { perMs, utilisation } = solve([{ variation }], [asked, closed(8, [1])]);
      t.ok((perMs[0] ?? NaN) <= offered, `${perMs[0]} of ${offered} a millisecond`);
      t.ok((utilisation[0] ?? NaN) <= 1.005, `busy for ${utilisation[0]} of the time`);
      t.ok((perMs[0] ?? NaN) > 0 && (perMs[1] ?? NaN) > 0, 'nobody starves');
    }
  }
  t.strictSame([...solve([{ variation: 1 }], []).utilisation], [0], 'no customers, no load');
});

t.test('the least bytes to move', async (t) => {
  const members = twoMembers();
  // Ten extents at m1 with a tenth of its requests each: 1.15 of half may stay, so 0.425 of 1 go: 4.25 extents.
  const even = {
    members,
    volumes: [volumeAt(members, 0, { heat: Array<number>(10).fill(0.1), perSecond: 100 })],
  };
  isNear(t, leastBytes(even), 4.25 * 1024 * 1024, 1e-6, 'even heat');
  // The hottest has them all but for a tenth: a part of it is enough.
  const hot = { members, volumes: [volumeAt(members, 0, { heat: [0.05, 0.9, 0.05], perSecond: 100 })] };
  isNear(t, leastBytes(hot), (0.425 / 0.9) * 1024 * 1024, 1e-6, 'one hot extent');
  const fair = [0, 1].map((m) => volumeAt(members, m, { heat: [0.5, 0.5], perSecond: 100, name: `v${m}` }));
  t.equal(leastBytes({ members, volumes: fair }), 0, 'nothing where all is even');
});
