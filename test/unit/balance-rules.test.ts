/** What every policy keeps to: pins, labels, weights, cool-down, budget, room, cost; and the policies beside 'heat'. */
import t from 'tap';
import type { Plan } from '../../lib/balance/contract.js';
import { plan } from '../../lib/balance/plan.js';
import { BalanceSettings } from '../../lib/balance/settings.js';
import { apply, GiB, imbalance, member, picture, volume, zipf } from '../support/balance-pictures.js';

const settings = BalanceSettings.parse({});
const whole = { ...settings, splitsVolumes: false };
const two = [member('m1'), member('m2')];
const busy = () => [volume('a', 'm1', 500), volume('b', 'm1', 300), volume('c', 'm1', 100)];

function because({ alternatives }: Plan, name: string): string {
  return alternatives.find(({ volume }) => volume === name)?.because ?? 'it is no alternative';
}

t.test('what may not move says why', (t) => {
  const cooling = [{ first: 3, last: 3, untilMs: 100 }];
  const held = (given: object) => [volume('a', 'm1', 500, given), volume('b', 'm1', 400, given)];
  const cases: [object, RegExp][] = [
    [{ isPinned: true }, /pinned/],
    [{ isMoving: true }, /under way/],
    [{ cooling }, /not long ago/],
  ];
  for (const [given, why] of cases) {
    const result = plan(picture(two, held(given)), whole);
    t.match(result, { verdict: 'held', moves: [] }, String(why));
    t.match(because(result, 'a'), why);
    t.match(result.reason, why);
  }
  t.equal(plan(picture(two, held({ cooling }), { nowMs: 100 }), whole).verdict, 'act', 'it has cooled');
  t.end();
});

t.test('a range leaves what is cooling', (t) => {
  const cooling = [{ first: 16, last: 47, untilMs: 100 }];
  const { moves } = plan(picture(two, [volume('a', 'm1', 900, { cooling })]), settings);
  t.equal(moves.length, 1);
  const { first, last } = moves[0]?.extents ?? { first: 16, last: 47 };
  t.ok(last < 16 || first > 47, `${first}-${last}`);
  t.end();
});

t.test('a volume of a kind goes to its kind, or to members of none', (t) => {
  const members = [
    member('m1'),
    member('m2', { labels: { kind: 'disk' } }),
    member('m3', { labels: { kind: 'flash' } }),
  ];
  const flash = { labels: { kind: 'flash' } };
  const volumes = [volume('a', 'm1', 400, flash), volume('b', 'm1', 450, flash)];
  for (const { to } of plan(picture(members, volumes), settings).moves) t.equal(to, 'm3');
  const tape = volumes.map(({ name }) => volume(name, 'm1', 400, { labels: { kind: 'tape' } }));
  t.match(plan(picture(members, tape), settings), { verdict: 'held', moves: [] });
  t.end();
});

t.test('a member of weight 0 gives all and takes nothing', (t) => {
  const members = [member('m1', { weight: 0 }), member('m2'), member('m3')];
  const volumes = [
    volume('a', 'm1', 10),
    volume('idle', 'm1', 0),
    volume('part', 'm2', 50, { holders: Array.from({ length: 64 }, (_, i) => (i < 8 ? 'm1' : 'm2')) }),
    volume('hot', 'm2', 900),
  ];
  for (let round = 0; round < 4; round++) {
    const result = plan(picture(members, volumes), settings);
    t.ok(result.moves.every(({ to }) => to !== 'm1'));
    apply(result, volumes, 0);
  }
  t.ok(volumes.every(({ home, holders }) => home !== 'm1' && !holders.includes('m1')));
  const full = [member('m1', { weight: 0 }), member('m2', { capacityBytes: 1 })];
  t.equal(plan(picture(full, [volume('a', 'm1', 10)]), settings).verdict, 'held');
  t.end();
});

t.test('who could not take what was sent to it takes nothing for a while', (t) => {
  const resting = [member('m1'), member('m2', { restsUntilMs: 100 }), member('m3', { loopMs: 0.02 })];
  for (const weight of [1, 0]) {
    const members = [member('m1', { weight }), ...resting.slice(1)];
    const destinations = (nowMs: number): string[] =>
      plan(picture(members, [...busy(), volume('d', 'm3', 10)], { nowMs }), whole).moves.map(({ to }) => to);
    t.ok(destinations(0).length > 0, `weight ${weight}`);
    t.ok(
      destinations(0).every((to) => to === 'm3'),
      `weight ${weight}: the idle one rests`,
    );
    t.equal(destinations(100)[0], 'm2', `weight ${weight}: it has rested`);
  }
  t.match(plan(picture(resting.slice(0, 2), busy()), settings), { verdict: 'held', moves: [] });
  t.end();
});

t.test('a weight is a part of the load', (t) => {
  const members = [member('m1', { weight: 0.5 }), member('m2')];
  const volumes = zipf(12, 900, 0.1).map((requests, i) => volume(`v${i}`, 'm1', requests));
  for (let round = 0; round < 20; round++) apply(plan(picture(members, volumes), settings), volumes, 0);
  t.ok(imbalance(members, volumes) < 1.2, String(imbalance(members, volumes)));
  t.end();
});

t.test('the budget counts what is under way', (t) => {
  const volumes = zipf(40, 950, 0).map((requests, i) => volume(`v${i}`, 'm1', requests));
  const own = { ...settings, movesMax: 5 };
  t.equal(plan(picture(two, volumes, { movesUnderWay: 2 }), own).moves.length, 3);
  t.match(plan(picture(two, volumes, { movesUnderWay: 5 }), own), { verdict: 'busy', moves: [] });
  t.end();
});

t.test('what is under way counts where it goes', (t) => {
  const underWay = { isMoving: true, underWay: { extents: null, to: 'm2' } };
  const volumes = [volume('a', 'm1', 450, underWay), volume('b', 'm1', 450)];
  t.equal(plan(picture(two, volumes, { movesUnderWay: 1 }), settings).verdict, 'balanced');
  t.end();
});

t.test('a vector that is older than the route counts for the new holder', (t) => {
  const volumes = [volume('a', 'm1', 450), volume('b', 'm1', 450)];
  const before = picture(two, volumes);
  apply(plan(before, settings), volumes, 0);
  t.equal(plan({ ...picture(two, volumes), members: before.members }, settings).verdict, 'balanced');
  t.end();
});

t.test('what a member said before a move is not taken for what it serves since', (t) => {
  const three = [member('m1'), member('m2'), member('m3')];
  const [nowMs, movedAtMs] = [100_000, 69_000];
  const cooling = [{ first: 0, last: 63, untilMs: 600_000, movedAtMs, from: 'm1' }];
  const others = [volume('b', 'm1', 400), volume('c', 'm1', 350), volume('d', 'm3', 700)];
  const before = picture(three, [volume('a', 'm1', 700), ...others], { nowMs });
  const after = picture(three, [volume('a', 'm2', 700, { cooling }), ...others], { nowMs });
  /** With what m2 said so long ago, of a window of 30 s. */
  const heard = (said: typeof before, ageMs: number) => {
    const [m1, , m3] = after.members;
    const m2 = said.members[1];
    return plan({ ...after, members: [m1, m2 && { ...m2, ageMs }, m3].filter((one) => !!one) }, settings);
  };
  t.match(heard(before, 29_000), { verdict: 'held', moves: [] }, 'of before');
  t.match(heard(after, 500), { verdict: 'balanced' }, 'a whole window since');
  t.end();
});

t.test('what has left a member since it measured is counted where it is', (t) => {
  const half = Array.from({ length: 64 }, (_, extent) => (extent < 32 ? 'm2' : 'm1'));
  const [nowMs, movedAtMs] = [100_000, 69_000];
  const cooling = [{ first: 0, last: 31, untilMs: 600_000, movedAtMs, from: 'm1' }];
  const before = picture(
    [member('m1', { ageMs: 29_000 }), member('m2', { ageMs: 29_000 })],
    [volume('a', 'm1', 800)],
  );
  const after = picture(two, [volume('a', 'm1', 800, { cooling, holders: half })], { nowMs });
  t.match(plan({ ...after, members: before.members }, settings), { verdict: 'balanced' });
  t.end();
});

t.test('who is not fresh gives nothing and takes nothing', (t) => {
  const members = [member('m1'), member('m2', { isFresh: false }), member('m3')];
  t.ok(plan(picture(members, busy()), settings).moves.every(({ to }) => to === 'm3'));
  const silent = [member('m1', { isFresh: false }), member('m2'), member('m3')];
  t.match(plan(picture(silent, busy()), settings), { verdict: 'balanced', measure: null });
  t.match(plan(picture([...two.slice(0, 1), member('m2', { isFresh: false })], busy()), settings), {
    verdict: 'stale',
    measure: null,
  });
  t.end();
});

t.test('a member alone, and a group of nobody, are as even as they can be', (t) => {
  for (const members of [[], [member('m1')], [member('m1', { weight: 0 })]]) {
    for (const policy of ['share', 'latency-gap', 'heat'] as const)
      t.match(
        plan(picture(members, members.length === 0 ? [] : [volume('a', 'm1', 990)]), { ...settings, policy }),
        {
          ...{ verdict: 'balanced', reason: 'there is no other member', moves: [] },
        },
      );
  }
  t.end();
});

t.test('where room is tight, cold data comes back first', (t) => {
  const members = [member('m1'), member('m2', { capacityBytes: GiB })];
  const cold = { usedBytes: GiB };
  const volumes = [volume('hot', 'm1', 450), volume('warm', 'm1', 500), volume('cold', 'm2', 1, cold)];
  const result = plan(picture(members, volumes), whole);
  t.match(result.moves, [
    { volume: 'cold', from: 'm2', to: 'm1', after: null, reason: /room at m2 for hot/ },
    { volume: 'hot', from: 'm1', to: 'm2', after: 'cold' },
  ]);
  const pinned = [...volumes.slice(0, 2), volume('cold', 'm2', 1, { ...cold, isPinned: true })];
  const none = plan(picture(members, pinned), whole);
  t.equal(none.verdict, 'held');
  t.match(because(none, 'hot'), /no room at m2/);
  t.end();
});

t.test('what would not pay for itself in time stays', (t) => {
  const vast = { usedBytes: 200 * GiB };
  const volumes = [volume('a', 'm1', 200, vast), volume('b', 'm1', 220, vast)];
  const result = plan(picture(two, volumes), whole);
  t.equal(result.verdict, 'no-gain');
  t.match(because(result, 'a'), /pay for itself only after \d+ s/);
  t.ok((result.alternatives[0]?.predicted.payBackMs ?? 0) > whole.payBackMs);
  t.equal(plan(picture(two, volumes), { ...whole, payBackMs: 86_400_000 }).verdict, 'act');
  t.end();
});

t.test('a hot spot in a volume too vast to go leaves it', (t) => {
  const heat = Array.from({ length: 60_000 }, (_, extent) => (extent >= 700 && extent < 720 ? 20 : 0.001));
  const volumes = [volume('vast', 'm1', 0, { heat }), volume('other', 'm1', 0)];
  const [move] = plan(picture(two, volumes), settings).moves;
  t.match(move, { volume: 'vast', from: 'm1', to: 'm2' });
  t.ok((move?.bytes ?? Infinity) < GiB, String(move?.bytes));
  t.end();
});

t.test('load that swings moves an extent at most once a cool-down', (t) => {
  const volumes = [volume('a', 'm1', 0), volume('b', 'm1', 0), volume('c', 'm2', 0)];
  const movedAt = new Map<string, number>();
  let moves = 0;
  for (let round = 0; round < 200; round++) {
    const nowMs = round * settings.windowMs;
    const isUp = round % 4 < 2;
    for (const one of volumes) {
      const requests = one.name === 'c' ? (isUp ? 50 : 800) : isUp ? 430 : 20;
      one.heat = one.heat.map(() => requests / one.heat.length);
    }
    const next = plan(picture(two, volumes, { nowMs }), settings);
    for (const { volume: name, extents } of next.moves) {
      for (let extent = extents?.first ?? 0; extent <= (extents?.last ?? 63); extent++) {
        const last = movedAt.get(`${name} ${extent}`) ?? -Infinity;
        if (nowMs - last < settings.coolDownMs) t.fail(`${name} ${extent} at ${last} and ${nowMs}`);
        movedAt.set(`${name} ${extent}`, nowMs);
      }
    }
    moves += next.moves.length;
    apply(next, volumes, nowMs + settings.coolDownMs);
  }
  t.ok(moves > 0, 'something has moved');
  t.end();
});

t.test('who has begun to give goes on to shareLow', (t) => {
  const cooling = [{ first: 0, last: 63, untilMs: 100, from: 'm1' }];
  const rest = () => zipf(10, 470, 0).map((requests, i) => volume(`v${i}`, 'm1', requests));
  const gift = (given: object) => volume('gift', 'm2', 350, given);
  t.equal(plan(picture(two, [...rest(), gift({})]), settings).verdict, 'balanced');
  t.equal(plan(picture(two, [...rest(), gift({ cooling })]), settings).verdict, 'act');
  t.equal(plan(picture(two, [...rest(), gift({ cooling })], { nowMs: 100 }), settings).verdict, 'balanced');
  t.end();
});

t.test('none does nothing', (t) => {
  t.match(plan(picture(two, busy()), { ...settings, policy: 'none' }), { verdict: 'off', moves: [] });
  t.end();
});

t.test('share counts requests, whatever they ask of a member', (t) => {
  const own = { ...settings, policy: 'share' as const };
  const members = [member('m1', { storageMs: 4 }), member('m2')];
  const volumes = [volume('a', 'm1', 100), volume('b', 'm1', 100), volume('c', 'm2', 200)];
  t.equal(plan(picture(members, volumes), own).verdict, 'balanced');
  t.equal(plan(picture(members, volumes), settings).verdict, 'act', 'where heat sees a slow member');
  const result = plan(picture(two, busy()), own);
  t.match(result.measure, { name: 'share of m1 over its fair one', value: 2, limit: 1.25 });
  t.ok(result.moves.length > 0);
  t.end();
});

t.test('latency-gap acts on 20 ms and more', (t) => {
  const own = { ...settings, policy: 'latency-gap' as const };
  const at = (requests: number) => {
    const volumes = [volume('a', 'm1', requests), volume('b', 'm1', 40), volume('c', 'm2', 100)];
    return plan(picture(two, volumes), own);
  };
  t.match(at(880), { verdict: 'balanced', moves: [] }, 'some 11 ms');
  t.match(at(920), { verdict: 'act', measure: { limit: 20 }, moves: [{ from: 'm1', to: 'm2' }] });
  const high = [volume('a', 'm1', 960), volume('b', 'm2', 965)];
  t.match(plan(picture(two, high), own), { verdict: 'balanced', moves: [] }, 'all high');
  t.end();
});

t.test('latency-gap prefers who holds some of the volume, and leaves what comes and goes', (t) => {
  const own = { ...settings, policy: 'latency-gap' as const };
  const members = [...two, member('m3')];
  const holders = Array.from({ length: 64 }, (_, extent) => (extent < 4 ? 'm3' : 'm1'));
  const shared = (given: object) => [
    volume('a', 'm1', 1000, { holders, ...given }),
    volume('b', 'm1', 30, given),
    volume('c', 'm3', 20),
  ];
  t.match(plan(picture(members, shared({})), own).moves[0], { volume: 'a', from: 'm1', to: 'm3' });
  const bursts = plan(picture(members, shared({ burstiness: 2 })), own);
  t.equal(bursts.verdict, 'held');
  t.match(because(bursts, 'a'), /comes and goes/);
  t.end();
});

t.test('the order of members and volumes makes no difference', (t) => {
  const volumes = zipf(9, 900, 0.3).map((requests, i) =>
    volume(`v${i}`, i % 4 === 3 ? 'm2' : 'm1', requests),
  );
  const members = [...two, member('m3')];
  const one = picture(members, volumes);
  const other = picture([...members].reverse(), [...volumes].reverse());
  t.ok(plan(one, settings).moves.length > 0);
  t.same(plan(other, settings), plan(one, settings));
  t.end();
});
