/** What no plan may do, whatever the picture; and how long a plan takes in a group as large as any. */
import fc from 'fast-check';
import t from 'tap';
import type { CoolingRun, GroupPicture, Plan } from '../../lib/balance/contract.js';
import type { LoadVector } from '../../lib/load/vector.js';
import { demandsOf, utilisationAt, type Demand } from '../../lib/balance/model.js';
import { plan } from '../../lib/balance/plan.js';
import { BalanceSettings, POLICIES } from '../../lib/balance/settings.js';
import {
  apply,
  GiB,
  member,
  picture,
  requestsByMember,
  volume,
  type TestMember,
  type TestVolume,
} from '../support/balance-pictures.js';

const NOW_MS = 1000;

const members = fc
  .array(
    fc.record({
      storageMs: fc.double({ min: 0.05, max: 5, noNaN: true }),
      weight: fc.constantFrom(1, 1, 1, 0.5, 2, 0),
      capacityBytes: fc.constantFrom(1024 * GiB, 2 * GiB, 0),
      isFresh: fc.constantFrom(true, true, true, true, false),
      labels: fc.constantFrom<Record<string, string>>({}, {}, { kind: 'a' }, { kind: 'b' }),
      restsUntilMs: fc.constantFrom(undefined, undefined, undefined, NOW_MS, NOW_MS + 1),
    }),
    { minLength: 2, maxLength: 6 },
  )
  .map((all) => all.map((given, index) => member(`m${index}`, given)));

const volumes = fc
  .array(
    fc.record({
      at: fc.nat(5),
      other: fc.nat(5),
      /** So many of 16 extents are held by the other. */
      split: fc.constantFrom(0, 0, 0, 4),
      heat: fc.array(fc.nat(60), { minLength: 16, maxLength: 16 }),
      isPinned: fc.constantFrom(false, false, false, true),
      isMoving: fc.constantFrom(false, false, false, true),
      labels: fc.constantFrom<Record<string, string>>({}, {}, { kind: 'a' }),
      cooling: fc.constantFrom<CoolingRun[]>([], [], [{ first: 2, last: 5, untilMs: NOW_MS + 1 }]),
    }),
    { minLength: 1, maxLength: 14 },
  )
  .map(
    (all) => (count: number) =>
      all.map(({ at, other, split, heat, ...given }, index) => {
        const [home, elsewhere] = [`m${at % count}`, `m${other % count}`];
        const holders = heat.map((_, extent) => (extent < split ? elsewhere : home));
        return volume(`v${index}`, home, 0, { ...given, heat, holders });
      }),
  );

const settings = fc.record({
  policy: fc.constantFrom(...POLICIES),
  movesMax: fc.integer({ min: 1, max: 5 }),
  splitsVolumes: fc.boolean(),
  busyMin: fc.constantFrom(0, 0.3),
  latencyGapMs: fc.constantFrom(0, 2, 20),
  payBackMs: fc.constantFrom(600_000, 86_400_000),
});

const groups = fc.tuple(members, volumes, settings, fc.nat(2)).map(([all, make, given, movesUnderWay]) => {
  const own = make(all.length);
  const group = picture(all, own, { nowMs: NOW_MS, movesUnderWay });
  return { members: all, volumes: own, settings: BalanceSettings.parse(given), group };
});

/** How busy the busiest is, over its weight, as far as the vectors of `group` tell what a request asks of each. */
function worst(group: GroupPicture, own: readonly TestVolume[]): number {
  const demands = demandsOf(group.members.map(({ vector }) => vector as LoadVector));
  const requests = requestsByMember(group.members, own);
  const levels = group.members.map(
    ({ name, weight }, index) =>
      utilisationAt(demands[index] as Demand, requests.get(name) as number) / weight,
  );
  return Math.max(...levels);
}

function movesAllowedOnly(
  { members: all, volumes: own, settings: { movesMax }, group }: Group,
  { moves }: Plan,
): void {
  if (moves.length > Math.max(0, movesMax - group.movesUnderWay)) throw new Error('over the budget');
  const seen = new Set<string>();
  for (const { volume: name, extents, from, to, after } of moves) {
    const moved = own.find((one) => one.name === name) as TestVolume;
    const target = all.find((one) => one.name === to) as TestMember;
    const source = all.find((one) => one.name === from) as TestMember;
    const { first, last } = extents ?? { first: 0, last: moved.heat.length - 1 };
    if (from === to || seen.has(name)) throw new Error('it crosses another');
    seen.add(name);
    if (moved.isPinned || moved.isMoving) throw new Error('it is pinned, or moving');
    if (moved.cooling.some((run) => run.first <= last && run.last >= first)) throw new Error('it is cooling');
    if (!target.isFresh || !source.isFresh || target.weight === 0) throw new Error(`${to} may not take it`);
    if ((target.restsUntilMs ?? 0) > NOW_MS) throw new Error(`${to} rests`);
    const held = moved.holders.slice(first, last + 1);
    if (extents !== null && !held.every((holder) => holder === from)) throw new Error('not its own');
    const [wanted, kind] = [moved.labels['kind'], target.labels['kind']];
    if (wanted !== undefined && kind !== undefined && wanted !== kind) throw new Error('of another kind');
    if (after !== null && !seen.has(after)) throw new Error('after what does not come before');
  }
  roomIsEnough(group, moves);
}

/** With what an exchange takes away, and without counting on anything else that leaves. */
function roomIsEnough({ members: all }: GroupPicture, moves: Plan['moves']): void {
  const free = new Map(all.map(({ name, freeBytes }) => [name, freeBytes]));
  const makesRoom = new Set(moves.map(({ after }) => after));
  for (const { volume: name, bytes, from, to } of moves) {
    const left = (free.get(to) as number) - bytes;
    if (left < 0) throw new Error(`${to} is full`);
    free.set(to, left);
    if (makesRoom.has(name)) free.set(from, (free.get(from) as number) + bytes);
  }
}

type Group = typeof groups extends fc.Arbitrary<infer G> ? G : never;

t.test('no plan does what it may not', (t) => {
  let acts = 0;
  fc.assert(
    fc.property(groups, (all) => {
      const result = plan(all.group, all.settings);
      movesAllowedOnly(all, result);
      if ((result.verdict === 'act') !== result.moves.length > 0) throw new Error(result.verdict);
      if (result.reason === '') throw new Error('no reason');
      acts += result.moves.length;
    }),
    { numRuns: 2000, seed: 1 },
  );
  t.ok(acts > 500, `${acts} moves were looked at`);
  t.end();
});

t.test('the busiest is never busier after a plan of heat', (t) => {
  let acts = 0;
  fc.assert(
    fc.property(groups, ({ members: all, volumes: own, settings: given }) => {
      const known = all.map((one) => ({ ...one, isFresh: true, weight: one.weight === 0 ? 1 : one.weight }));
      // No more than a member can serve: beyond, a vector tells of what was served, not of what was asked for.
      const requests = requestsByMember(known, own);
      const most = Math.max(
        ...known.map(({ name, storageMs }) => (requests.get(name) as number) * storageMs),
      );
      for (const one of own) one.heat = one.heat.map((heat) => heat * Math.min(1, 950 / most));
      const group = picture(known, own, { nowMs: NOW_MS });
      const before = worst(group, own);
      const result = plan(group, { ...given, policy: 'heat' });
      apply(result, own, Infinity);
      acts += result.moves.length;
      const after = worst(group, own);
      if (after > before * (1 + 1e-6)) throw new Error(`${before} to ${after}`);
    }),
    { numRuns: 2000, seed: 2 },
  );
  t.ok(acts > 500, `${acts} moves were looked at`);
  t.end();
});

t.test('a plan for 100 members and 10,000 volumes takes less than a second', (t) => {
  const all = Array.from({ length: 100 }, (_, index) => member(`m${index}`));
  const own = all.flatMap(({ name }, index) =>
    Array.from({ length: 100 }, (_, n) => {
      const each = (index % 10 === 0 ? 1.9 : 1) * (0.5 + (n % 10) / 10);
      return volume(`${name}-${n}`, name, 0, { heat: Array.from({ length: 8 }, () => each / 2) });
    }),
  );
  const group = picture(all, own);
  const begin = process.cpuUsage();
  const result = plan(group, BalanceSettings.parse({ movesMax: 64 }));
  const { user, system } = process.cpuUsage(begin);
  t.equal(result.verdict, 'act');
  t.ok((user + system) / 1000 < 1000, `${(user + system) / 1000} ms`);
  t.end();
});
