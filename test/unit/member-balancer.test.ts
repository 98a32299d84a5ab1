/** A member's part in balancing: who proposes, what is asked for, what is remembered; on a store in memory. */
import t from 'tap';
import type { GroupPicture } from '../../lib/balance/contract.js';
import type { Decision } from '../../lib/balance/decision.js';
import { systemClock } from '../../lib/base/clock.js';
import { BlockferryError } from '../../lib/base/errors.js';
import { DECISIONS_MAX } from '../../lib/base/limits.js';
import {
  cancelMove,
  createMove,
  getBalance,
  listDecisions,
  listMoves,
  putDecision,
  setBalance,
  setPlacement,
  shareOf,
} from '../../lib/group/admin.js';
import { BalanceRecord, keys, type MoveRecord } from '../../lib/group/records.js';
import { SetBalance } from '../../lib/manage/api.js';
import { figuresOf } from '../../lib/member/group-picture.js';
import { BalancerRig, MiB, NOTHING, act, random, toMove } from '../support/balancer-rig.js';

t.test('the member that serves the most proposes, by weight, among those that are heard of', async (t) => {
  const rig = await BalancerRig.make(t);
  const plannedBy = async (): Promise<string> => {
    const planners: string[] = [];
    for (const name of ['m1', 'm2', 'm3']) {
      rig.pictures = [];
      await rig.balancer(name).windowEnded();
      if (rig.pictures.length > 0) planners.push(name);
    }
    return planners.join(' ');
  };
  t.equal(await plannedBy(), 'm1');
  rig.tell('m1', 900, false);
  t.equal(await plannedBy(), 'm2', 'a stale vector does not count; of two alike the first name');
  rig.tell('m1', 900);
  rig.balance = { ...rig.balance, members: { m3: { weight: 0.01, labels: {} } } };
  t.equal(await plannedBy(), 'm3', 'fifty are much for a hundredth');
  rig.balance = { settings: { ...rig.balance.settings, policy: 'none' }, members: {} };
  t.equal(await plannedBy(), '', 'policy none plans nothing');
});

t.test('a plan becomes moves in the store, and is remembered with its outcome', async (t) => {
  const rig = await BalancerRig.make(t);
  const balancer = rig.balancer();
  rig.plan = () => act(toMove('a', 'm2'), toMove('b', 'm3', { first: 2, last: 3 }));
  await balancer.windowEnded();
  // Both are of one instant, and the store lists those by their names, which are random.
  const moves = (await listMoves(rig.store)).sort((a, b) => a.volume.localeCompare(b.volume));
  t.match(
    moves.map(({ volume, to, range }) => ({ volume, to, range })),
    [
      { volume: 'a', to: 'm2', range: null },
      { volume: 'b', to: 'm3', range: { first: 2, last: 3 } },
    ],
  );
  const [decision] = await listDecisions(rig.store);
  t.match(decision, {
    ...{ by: 'm1', policy: 'heat', verdict: 'act', times: 1, outcome: null },
    before: { requestsPerSecond: 1000, latencyMs: 1 },
    moves: [
      { move: moves[0]?.id, refusal: '', predicted: { payBackMs: null } },
      { move: moves[1]?.id, refusal: '' },
    ],
  });
  t.ok(Math.abs((decision?.before?.imbalance ?? 0) - 2.7) < 1e-9, 'the most over the mean');
  for (const move of moves)
    t.equal(move.balancing?.decision, decision?.id, 'a move says which decision it comes from');
  t.equal(await rig.store.get(keys.planner), undefined, 'the planner has left its office');

  rig.plan = () => NOTHING;
  await rig.end(moves[0]?.id ?? '');
  for (let window = 0; window < 4; window++) await balancer.windowEnded();
  t.equal((await listDecisions(rig.store))[0]?.outcome, null, 'not while a move is under way');
  await rig.end(moves[1]?.id ?? '');
  for (const name of ['m1', 'm2', 'm3']) rig.tell(name, 400, true, 0.5);
  await balancer.windowEnded();
  await balancer.windowEnded();
  t.equal((await listDecisions(rig.store))[0]?.outcome, null, 'nor before a whole window has passed');
  await balancer.windowEnded();
  const after = { imbalance: 1, requestsPerSecond: 1200, latencyMs: 0.5 };
  t.match(
    (await listDecisions(rig.store)).find(({ id }) => id === decision?.id),
    { outcome: { after } },
  );
});

t.test('a route that has changed since drops the rest of the plan', async (t) => {
  const rig = await BalancerRig.make(t);
  rig.plan = async () => NOTHING;
  // The planner sees the routes of before: the table learns of the change after the plan.
  const head = await rig.store.get(keys.routeHead('a'));
  rig.plan = () => act(toMove('a', 'm2'), toMove('b', 'm3'));
  const raced = rig.store.txn.bind(rig.store);
  rig.store.txn = async (compares, operations) => {
    const [first] = operations;
    if (first !== undefined && 'put' in first && first.put === keys.planner) {
      await raced([], [{ put: keys.routeHead('a'), value: head?.value ?? '' }]);
      rig.table.close();
    }
    return raced(compares, operations);
  };
  await rig.balancer().windowEnded();
  t.strictSame(await listMoves(rig.store), [], 'nothing of it was asked for');
  const [decision] = await listDecisions(rig.store);
  for (const move of decision?.moves ?? []) t.match(move, { move: null, refusal: /route of a has changed/ });
  t.equal(decision?.moves.length, 2);
});

t.test('two plans never cross', async (t) => {
  const rig = await BalancerRig.make(t);
  rig.plan = () => act(toMove('a', 'm2'));
  const lease = await rig.store.lease(60_000);
  await rig.store.txn([], [{ put: keys.planner, value: 'm3', lease }]);
  await rig.balancer().windowEnded();
  t.strictSame(await listMoves(rig.store), [], 'somebody else is at it');
  await lease.revoke();
  await Promise.all([rig.balancer().windowEnded(), rig.balancer().windowEnded()]);
  t.equal((await listMoves(rig.store)).length, 1);
});

t.test('doing nothing is remembered once for as long as it is the same', async (t) => {
  const rig = await BalancerRig.make(t);
  const balancer = rig.balancer();
  for (let window = 0; window < 5; window++) await balancer.windowEnded();
  t.match(await listDecisions(rig.store), [{ verdict: 'balanced', times: 1, moves: [] }]);
  rig.plan = () => ({ ...NOTHING, verdict: 'held' });
  await balancer.windowEnded();
  const verdicts = (await listDecisions(rig.store)).map(({ verdict }) => verdict);
  t.strictSame(verdicts.sort(), ['balanced', 'held']);
  const [one] = await listDecisions(rig.store);
  if (one === undefined) throw new Error('no decision');
  for (let i = 0; i < DECISIONS_MAX + 5; i++)
    await putDecision(rig.store, { ...one, id: `d${i}`, atMs: 1e13 + i });
  const remembered = await listDecisions(rig.store);
  t.equal(remembered.length, DECISIONS_MAX, 'the oldest are forgotten');
  t.equal(remembered.at(-1)?.id, `d${DECISIONS_MAX + 4}`);
});

t.test('the picture: pins, labels, weights, what cools down, what is on its way', async (t) => {
  const rig = await BalancerRig.make(t);
  await setPlacement(rig.store, 'a', { isPinned: true, labels: { kind: 'database' } });
  await setBalance(rig.store, { members: { m2: { weight: 2 } }, settings: { coolDownMs: 1000 } });
  rig.balance = await getBalance(rig.store);
  const doors = { clock: systemClock, random };
  const about = { handover: 'ask' as const, rateBytesPerSecond: null };
  const done = await createMove(rig.store, doors, {
    volume: 'b',
    to: 'm2',
    range: { first: 1, last: 2 },
    ...about,
  });
  await rig.end(done.id, 5000);
  await createMove(rig.store, doors, { volume: 'b', to: 'm3', range: { first: 4, last: 7 }, ...about });
  await rig.balancer().windowEnded();
  const [picture] = rig.pictures;
  t.match(picture?.volumes.get('a'), {
    isPinned: true,
    labels: { kind: 'database' },
    isMoving: false,
    cooling: [],
  });
  t.match(picture?.volumes.get('b'), { isPinned: false, isMoving: true, home: 'm1', extents: 16 });
  t.strictSame(picture?.volumes.get('b')?.cooling, [
    { first: 1, last: 2, untilMs: 6000, movedAtMs: 5000, from: undefined },
  ]);
  t.strictSame(picture?.volumes.get('b')?.runs(), [{ first: 0, last: 15, holder: 'm1' }]);
  t.equal(picture?.volumes.get('b')?.usedBytes, 16 * MiB, 'of 32 MiB used for 32 MiB held');
  t.match(
    picture?.members.find(({ name }) => name === 'm2'),
    { weight: 2, freeBytes: 1024 * MiB, ageMs: 10 },
  );
  t.equal(picture?.members.find(({ name }) => name === 'm3')?.freeBytes, 1020 * MiB, 'less what comes');
  t.equal(picture?.movesUnderWay, 1);
  t.ok(
    Math.abs((figuresOf(picture as GroupPicture)?.imbalance ?? 0) - 3.6) < 1e-9,
    'by weight: 0.9 over a quarter',
  );
});

t.test('settings and placements', async (t) => {
  const rig = await BalancerRig.make(t);
  t.match(await getBalance(rig.store), { settings: { policy: 'heat', shareHigh: 1.25 }, members: {} });
  await setBalance(rig.store, { settings: { policy: 'share', windowMs: undefined } });
  await setBalance(rig.store, { members: { m1: { labels: { kind: 'x' } } } });
  const { settings, members } = await setBalance(rig.store, { members: { m1: { weight: 3 } } });
  t.match(
    { settings, members },
    {
      settings: { policy: 'share', windowMs: 30_000 },
      members: { m1: { weight: 3, labels: { kind: 'x' } } },
    },
  );
  await t.rejects(setBalance(rig.store, { settings: { shareHigh: 1.05 } }), { code: 'INVALID' });
  await t.rejects(setBalance(rig.store, { settings: { windowMs: 1 } }), {
    code: 'INVALID',
    message: /windowMs/,
  });
  await t.rejects(setPlacement(rig.store, 'none', { isPinned: true }), { code: 'NOT_FOUND' });
  await setPlacement(rig.store, 'a', { labels: { kind: 'x', tier: 'gold' } });
  t.strictSame((await setPlacement(rig.store, 'a', { labels: { kind: null } })).labels, { tier: 'gold' });
  const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, 'v']));
  await t.rejects(setPlacement(rig.store, 'a', { labels: many }), { code: 'INVALID', message: /labels/ });
});

t.test('a change says what changes, and nothing else', async (t) => {
  const rig = await BalancerRig.make(t);
  await setBalance(rig.store, SetBalance.parse({ settings: { policy: 'none', windowMs: 4000 } }));
  await setBalance(rig.store, SetBalance.parse({ settings: {}, members: { m2: { weight: 0 } } }));
  await setBalance(rig.store, SetBalance.parse({ members: { m2: { labels: { kind: 'x', tier: 'y' } } } }));
  const { settings, members } = await setBalance(rig.store, { members: { m2: { labels: { kind: null } } } });
  t.match(settings, { policy: 'none', windowMs: 4000, movesMax: 2 });
  t.strictSame(members, { m2: { weight: 0, labels: { tier: 'y' } } });
  for (const wrong of [{ weight: 1e-9 }, { weight: -1 }, { weight: 1e9 }, { labels: { K: 'v' } }]) {
    t.notOk(SetBalance.safeParse({ members: { m2: wrong } }).success, JSON.stringify(wrong));
  }
  t.strictSame(shareOf(BalanceRecord.parse({}), 'constructor'), { weight: 1, labels: {} });
});

t.test("what cannot be remembered is in nobody's way", async (t) => {
  const rig = await BalancerRig.make(t);
  rig.plan = () => {
    const move = toMove('a', 'm2');
    const predicted = { ...move.predicted, measure: -0.01, payBackMs: 3e19, latencyMsBefore: 1e300 };
    return {
      ...act({ ...move, predicted, reason: 'x'.repeat(5000) }),
      measure: { name: 'n', value: 4e19, limit: 1 },
    };
  };
  await rig.balancer().windowEnded();
  t.match(await listDecisions(rig.store), [
    { measure: { value: Number.MAX_SAFE_INTEGER }, moves: [{ predicted: { measure: 0, payBackMs: null } }] },
  ]);
  await rig.store.txn([], [{ put: keys.decision('bad'), value: '{' }]);
  const [good] = await listDecisions(rig.store);
  t.ok(good, 'one that cannot be read is left out');
  for (let i = 0; i < DECISIONS_MAX; i++)
    await putDecision(rig.store, { ...(good as Decision), id: `d${i}`, atMs: 10 + i });
  t.equal(await rig.store.get(keys.decision('bad')), undefined, 'and is the first to be forgotten');
});

t.test('what was called off, or failed, cools down as well', async (t) => {
  const rig = await BalancerRig.make(t);
  const doors = { clock: systemClock, random };
  const about = { handover: 'ask' as const, rateBytesPerSecond: null, range: null };
  const { id } = await createMove(rig.store, doors, { volume: 'a', to: 'm2', ...about });
  await cancelMove(rig.store, systemClock, id);
  await rig.balancer().windowEnded();
  t.match(rig.pictures[0]?.volumes.get('a')?.cooling, [{ first: 0, last: 15, from: undefined }]);
});

t.test(
  'who could not take what was sent to it rests, longer than what was sent, until it takes something',
  async (t) => {
    const rig = await BalancerRig.make(t);
    const doors = { clock: systemClock, random };
    const about = { handover: 'ask' as const, rateBytesPerSecond: null, range: null };
    const coolDownMs = 60_000;
    rig.balance = BalanceRecord.parse({ settings: { coolDownMs } });
    let endedMs = Math.floor(systemClock.wallMs());
    /** How long m2 and the volume rest afterwards, in cool-downs; 0: not at all. */
    const rests = async (volume: string, ending: Partial<MoveRecord>): Promise<number[]> => {
      const { id } = await createMove(rig.store, doors, { volume, to: 'm2', ...about });
      endedMs += 1;
      await rig.end(id, endedMs, ending);
      rig.pictures = [];
      await rig.balancer().windowEnded();
      const [picture] = rig.pictures;
      t.strictSame(
        picture?.members.filter(({ name }) => name !== 'm2').map(({ restsUntilMs }) => restsUntilMs),
        [undefined, undefined],
      );
      const member = picture?.members.find(({ name }) => name === 'm2')?.restsUntilMs ?? endedMs;
      const stays = picture?.volumes.get(volume)?.cooling.at(-1)?.untilMs ?? endedMs;
      return [member, stays].map((untilMs) => (untilMs - endedMs) / coolDownMs);
    };
    t.strictSame(await rests('a', { state: 'failed' }), [2, 1]);
    t.strictSame(await rests('b', { state: 'failed' }), [4, 1], 'whichever volume it was');
    t.match(await rests('a', { state: 'done' }), [0, 1], 'it takes something');
    t.match(await rests('b', { state: 'failed', sparesDestination: true }), [0, 2], 'the source failed');
    t.strictSame(await rests('a', { state: 'failed' }), [2, 1]);
    await new Promise((resolve) => setTimeout(resolve, 2));
    endedMs += 3_600_000;
    t.match(
      await rests('b', { state: 'done' }),
      [(2 * coolDownMs - 3_600_001) / coolDownMs],
      'by a wrong clock',
    );
  },
);

t.test('the answer of the store was lost: the move is there all the same', async (t) => {
  const rig = await BalancerRig.make(t);
  rig.plan = () => act(toMove('a', 'm2'), toMove('b', 'm3'));
  const txn = rig.store.txn.bind(rig.store);
  rig.store.txn = async (compares, operations) => {
    const result = await txn(compares, operations);
    const isMove = operations.some((one) => 'put' in one && one.put === keys.moving('a'));
    if (isMove) throw new BlockferryError('UNAVAILABLE', 'lost');
    return result;
  };
  await rig.balancer().windowEnded();
  const [decision] = await listDecisions(rig.store);
  const moves = await listMoves(rig.store);
  t.equal(moves.length, 2);
  for (const { volume, move } of decision?.moves ?? []) {
    t.equal(move, moves.find((one) => one.volume === volume)?.id, volume);
  }
});

t.test('a member that stops asks for nothing more', async (t) => {
  const rig = await BalancerRig.make(t);
  const balancer = rig.balancer();
  rig.plan = () => {
    balancer.close();
    return act(toMove('a', 'm2'));
  };
  await balancer.windowEnded();
  t.strictSame(await listMoves(rig.store), []);
});
