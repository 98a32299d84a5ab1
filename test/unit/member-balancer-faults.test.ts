/** Balancing where something is broken: records, clocks, the store, members that leave or are started anew. */
import { pino } from 'pino';
import t from 'tap';
import type { Decision } from '../../lib/balance/decision.js';
import { systemClock } from '../../lib/base/clock.js';
import { BlockferryError } from '../../lib/base/errors.js';
import { DECISIONS_MAX, MOVES_REMEMBERED_MAX } from '../../lib/base/limits.js';
import {
  cancelMove,
  createMove,
  getBalance,
  listDecisions,
  listMoves,
  putDecision,
  setBalance,
} from '../../lib/group/admin.js';
import type { GroupView } from '../../lib/group/group-view.js';
import { BalanceRecord, type MoveRecord, keys } from '../../lib/group/records.js';
import type { SessionRegistry } from '../../lib/iscsi/target/registry.js';
import { GroupDesk } from '../../lib/manage/group-desk.js';
import { Balancing } from '../../lib/member/balancing.js';
import type { VolumeHost } from '../../lib/member/host.js';
import { BalancerRig, NOTHING, act, random, toMove } from '../support/balancer-rig.js';
import { FakePeers } from '../support/fake-peers.js';
import { SteppedClock } from '../support/hand-clock.js';

t.test('what was said of a volume cannot be read: it stays, and nobody else does', async (t) => {
  const rig = await BalancerRig.make(t);
  const balancer = rig.balancer();
  const say = (value: string) => rig.store.txn([], [{ put: keys.placement('a'), value }]);
  const pinned = async (): Promise<boolean | undefined> => {
    rig.pictures = [];
    await balancer.windowEnded();
    t.equal(rig.pictures.length, 1, 'the group is planned for');
    t.equal(rig.pictures[0]?.volumes.get('b')?.isPinned, false);
    return rig.pictures[0]?.volumes.get('a')?.isPinned;
  };
  t.equal(await pinned(), false);
  for (const bad of ['{', '{"volumeId":1}', '[]', `{"labels":"${'x'.repeat(2 ** 19)}"}`]) {
    await say(bad);
    t.equal(await pinned(), true, bad.slice(0, 20));
  }
  t.equal(rig.warnings.length, 1, 'told once');
  t.match(rig.warnings[0], /"volume":"a".*placements\/a is not JSON/);

  const desk = new GroupDesk({
    ...{ store: rig.store, table: rig.table, clock: systemClock, random, group: 'g', portal: 'p:1' },
    ...{ hub: new FakePeers(random).hub(''), manageUrl: () => '', watched: () => [] },
  });
  await say('{"volumeId":1,"isPinned":false,"labels":{"k":7}}');
  t.match(await desk.volume('a'), { pinned: true, unreadable: /placements\/a: labels.k / });
  t.match(await desk.volume('b'), { pinned: false, unreadable: '' });
  t.strictSame(Object.keys((await desk.balance()).unreadable), ['a']);

  t.match(await desk.setVolume('a', { labels: { kind: 'x' } }), { pinned: true, unreadable: '' });
  t.match(await desk.setVolume('a', { pinned: false }), { pinned: false, labels: { kind: 'x' } });
  t.strictSame((await desk.balance()).unreadable, {});
  t.equal(await pinned(), false, 'said anew');
  await say('{');
  t.equal(await pinned(), true);
  t.equal(rig.warnings.length, 2);
});

t.test(
  'what a member has left open when it was started anew is closed, or measured if that is still to come',
  async (t) => {
    const rig = await BalancerRig.make(t);
    const opened = async (self: string): Promise<Decision> => {
      rig.tell(self, 2000);
      rig.plan = () => act(toMove('a', 'm3'));
      await rig.balancer(self).windowEnded(); // and never again: this process is gone
      rig.plan = () => NOTHING;
      rig.tell(self, 50);
      const open = (await listDecisions(rig.store)).filter(
        ({ moves, outcome }) => moves.length > 0 && !outcome,
      );
      const [decision] = open.filter(({ unmeasured }) => unmeasured === '');
      if (decision === undefined) throw new Error('nothing was decided');
      return decision;
    };
    const now = async ({ id }: Decision): Promise<Decision | undefined> =>
      (await listDecisions(rig.store)).find((decision) => decision.id === id);

    const ended = await opened('m2');
    await rig.end(ended.moves[0]?.move ?? '');
    await rig.balancer('m1').windowEnded();
    t.match(await now(ended), { outcome: null, unmeasured: '' }, 'not by another member');
    await rig.balancer('m2').windowEnded();
    t.match(await now(ended), { outcome: null, unmeasured: 'm2 was started anew' });
    await rig.balancer('m2').windowEnded();

    const underWay = await opened('m2');
    const anew = rig.balancer('m2');
    await anew.windowEnded();
    t.match(await now(underWay), { outcome: null, unmeasured: '' }, 'its moves are under way');
    await rig.end(underWay.moves[0]?.move ?? '');
    for (let window = 0; window < 3; window++) await anew.windowEnded();
    t.match(await now(underWay), {
      ...{ unmeasured: '', outcome: { after: {} } },
      moves: [{ brought: null }],
    });

    const [first, second] = [rig.balancer('m1'), rig.balancer('m3')];
    for (const balancer of [first, second]) await balancer.windowEnded();
    const orphan = await opened('m2');
    rig.present = ['m1', 'm3'];
    for (const balancer of [first, second]) await balancer.windowEnded();
    t.match(
      await now(orphan),
      { outcome: null, unmeasured: '' },
      'of who has left: as long as it is under way',
    );
    await rig.end(orphan.moves[0]?.move ?? '');
    await second.windowEnded();
    t.match(await now(orphan), { unmeasured: '' }, 'one member sees to it');
    await first.windowEnded();
    t.match(await now(orphan), { outcome: null, unmeasured: 'm2 has left the group' });
  },
);

t.test(
  'an outcome that cannot be written yet is written later, and one that cannot be measured is closed',
  async (t) => {
    const rig = await BalancerRig.make(t);
    const balancer = rig.balancer();
    const txn = rig.store.txn.bind(rig.store);
    rig.plan = () => act(toMove('a', 'm2'));
    await balancer.windowEnded();
    rig.plan = () => NOTHING;
    const decisions = async () => (await listDecisions(rig.store)).filter(({ moves }) => moves.length > 0);
    const [decision] = await decisions();
    await rig.end(decision?.moves[0]?.move ?? '');
    rig.store.txn = async (compares, operations) => {
      const [first] = operations;
      if (first !== undefined && 'put' in first && first.put === keys.decision(decision?.id ?? ''))
        throw new BlockferryError('UNAVAILABLE', 'the disk is full');
      return txn(compares, operations);
    };
    for (let window = 0; window < 4; window++) await balancer.windowEnded();
    t.equal((await decisions())[0]?.outcome, null);
    t.match(rig.warnings.at(-1), /cannot be remembered yet/);
    t.ok(rig.pictures.length >= 4, 'and keeps nobody from planning');
    rig.store.txn = txn;
    for (const name of ['m1', 'm2', 'm3'])
      rig.tell(name, Number.MAX_SAFE_INTEGER, true, Number.MAX_SAFE_INTEGER);
    await balancer.windowEnded();
    t.match((await decisions())[0], { outcome: { after: { requestsPerSecond: Number.MAX_SAFE_INTEGER } } });

    for (const name of ['m1', 'm2', 'm3']) rig.tell(name, name === 'm1' ? 2000 : 50);
    rig.plan = () => act(toMove('b', 'm2'));
    const another = rig.balancer();
    await another.windowEnded();
    rig.plan = () => NOTHING;
    const last = (await decisions()).find(({ moves }) => moves[0]?.volume === 'b');
    await rig.end(last?.moves[0]?.move ?? '');
    const nobody = { weight: 0, labels: {} };
    rig.balance = { ...rig.balance, members: { m1: nobody, m2: nobody, m3: nobody } };
    for (let window = 0; window < 30; window++) await another.windowEnded();
    t.match(
      (await decisions()).find(({ id }) => id === last?.id),
      {
        outcome: null,
        unmeasured: 'nobody says what it serves',
      },
    );
  },
);

t.test('a plan whose office is lost on the way is dropped', async (t) => {
  const rig = await BalancerRig.make(t);
  rig.plan = () => act(toMove('a', 'm2'), toMove('b', 'm3'));
  const txn = rig.store.txn.bind(rig.store);
  rig.store.txn = async (compares, operations) => {
    const isFirst = operations.some((one) => 'put' in one && one.put === keys.moving('a'));
    const done = await txn(compares, operations);
    // It took so long that the lease ran out, and another member took office.
    if (isFirst) await txn([], [{ put: keys.planner, value: 'm3' }]);
    return done;
  };
  await rig.balancer().windowEnded();
  t.match(await listMoves(rig.store), [{ volume: 'a' }]);
  const [decision] = await listDecisions(rig.store);
  t.match(decision?.moves, [{ move: String }, { move: null, refusal: /somebody else plans/ }]);
  t.equal((await rig.store.get(keys.planner))?.value, 'm3', 'whose office it is');
});

t.test(
  'a store that fails halfway: what was asked for is remembered, and no office stays taken',
  async (t) => {
    const rig = await BalancerRig.make(t);
    rig.plan = () => act(toMove('a', 'm2'), toMove('b', 'm3'));
    const { store } = rig;
    const [txn, list] = [store.txn.bind(store), store.list.bind(store)];
    let isDown = false;
    store.txn = (compares, operations) => {
      isDown = operations.some((one) => 'put' in one && one.put === keys.moving('b'));
      return isDown ? Promise.reject(new BlockferryError('UNAVAILABLE', 'away')) : txn(compares, operations);
    };
    store.list = (prefix) =>
      isDown ? Promise.reject(new BlockferryError('UNAVAILABLE', 'away')) : list(prefix);
    await rig.balancer().windowEnded();
    t.match((await listDecisions(store))[0]?.moves, [{ move: String }, { move: null, refusal: /away/ }]);

    const ended: string[] = [];
    const lease = store.lease.bind(store);
    store.lease = async (ttlMs) => {
      const given = await lease(ttlMs);
      const revoke = given.revoke.bind(given);
      given.revoke = () => {
        ended.push(given.id);
        return revoke();
      };
      return given;
    };
    store.txn = () => Promise.reject(new BlockferryError('UNAVAILABLE', 'away'));
    await rig.balancer().windowEnded();
    t.equal(ended.length, 1, 'a lease that nobody uses is given back');
  },
);

t.test('a move that is refused window after window is one decision', async (t) => {
  const rig = await BalancerRig.make(t);
  const balancer = rig.balancer();
  await rig.store.txn([], [{ delete: keys.member('m2') }]);
  rig.plan = () => act(toMove('a', 'm2'));
  for (let window = 0; window < 5; window++) await balancer.windowEnded();
  t.match(await listDecisions(rig.store), [{ moves: [{ move: null, refusal: /no member m2 up/ }] }]);
  rig.plan = () => act(toMove('a', 'm3'));
  for (let window = 0; window < 2; window++) await balancer.windowEnded();
  const decisions = await listDecisions(rig.store);
  t.equal(decisions.length, 3, 'another one, or the same when it was asked for, is new');
});

t.test('a move whose record cannot be read is in the way of its volume alone', async (t) => {
  const rig = await BalancerRig.make(t);
  const bad = [
    { put: keys.move('x'), value: '{"id":"x"}' },
    { put: keys.moving('a'), value: 'x' },
  ];
  await rig.store.txn([], bad);
  await rig.balancer().windowEnded();
  const [picture] = rig.pictures;
  t.match(picture?.volumes.get('a'), { isMoving: true });
  t.match(picture?.volumes.get('b'), { isMoving: false });
  rig.plan = () => act(toMove('b', 'm2'));
  await rig.balancer().windowEnded();
  t.match(await listMoves(rig.store), [{ volume: 'b' }]);
  t.match(rig.warnings, []);
});

t.test('what fails again and again is left alone for longer, up to a limit, until it succeeds', async (t) => {
  const rig = await BalancerRig.make(t);
  const doors = { clock: systemClock, random };
  const about = { handover: 'ask' as const, rateBytesPerSecond: null, range: null };
  const coolDownMs = 1000;
  rig.balance = BalanceRecord.parse({ settings: { coolDownMs, windowMs: 500 } });
  /** @returns how long it stays, in cool-downs */
  const stays = async (state: MoveRecord['state']): Promise<number> => {
    const { id } = await createMove(rig.store, doors, { volume: 'a', to: 'm2', ...about });
    const endedMs = Math.floor(systemClock.wallMs());
    await rig.end(id, endedMs, state);
    await new Promise((resolve) => setTimeout(resolve, 2)); // one after the other, by their dates
    rig.pictures = [];
    await rig.balancer().windowEnded();
    const last = rig.pictures[0]?.volumes.get('a')?.cooling.at(-1);
    t.equal(last?.movedAtMs, endedMs);
    return ((last?.untilMs ?? 0) - endedMs) / coolDownMs;
  };
  const failed: number[] = [];
  for (let i = 0; i < 9; i++) failed.push(await stays('failed'));
  t.strictSame(failed, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
  t.equal(await stays('cancelled'), 1);
  t.equal(await stays('failed'), 64, 'calling it off is no success');
  t.equal(await stays('done'), 1);
  t.equal(await stays('failed'), 1, 'it begins anew');
  rig.balance = BalanceRecord.parse({ settings: { coolDownMs: 0, windowMs: 5000 } });
  t.equal(await stays('failed'), 10, 'a window at least, even where nothing cools');
});

t.test('a move that ended by a wrong clock keeps nothing in its place', async (t) => {
  const rig = await BalancerRig.make(t);
  const doors = { clock: systemClock, random };
  const about = { handover: 'ask' as const, rateBytesPerSecond: null, range: null };
  const { id } = await createMove(rig.store, doors, { volume: 'a', to: 'm2', ...about });
  const coolingOf = async (finishedAtMs: number): Promise<number | undefined> => {
    await rig.end(id, finishedAtMs);
    rig.pictures = [];
    await rig.balancer().windowEnded();
    return rig.pictures[0]?.volumes.get('a')?.cooling.length;
  };
  const { coolDownMs } = rig.balance.settings;
  t.equal(await coolingOf(systemClock.wallMs() + 1000), 1, 'a second ahead');
  t.equal(await coolingOf(systemClock.wallMs() + coolDownMs + 60_000), 0, 'for years it would');
});

t.test('a move that waits for members that are away takes nothing of the budget', async (t) => {
  const rig = await BalancerRig.make(t);
  const doors = { clock: systemClock, random };
  const about = { handover: 'ask' as const, rateBytesPerSecond: null };
  const underWay = async (...present: string[]): Promise<number | undefined> => {
    rig.present = present;
    rig.tell('m3', 1000);
    rig.pictures = [];
    await rig.balancer('m3').windowEnded();
    return rig.pictures[0]?.movesUnderWay;
  };
  await createMove(rig.store, doors, { volume: 'a', to: 'm2', range: null, ...about });
  await createMove(rig.store, doors, { volume: 'b', to: 'm2', range: { first: 2, last: 3 }, ...about });
  t.equal(await underWay('m1', 'm2', 'm3'), 2);
  t.equal(await underWay('m1', 'm3'), 0, 'the destination is away');
  t.equal(await underWay('m2', 'm3'), 0, 'all that has it is away');
  t.match(rig.pictures[0]?.volumes.get('a'), { isMoving: true });
});

t.test(
  'settings that cannot be read: a member that never knew them moves nothing, and they are said anew',
  async (t) => {
    const rig = await BalancerRig.make(t);
    const clock = new SteppedClock();
    await rig.store.txn(
      [],
      [{ put: keys.balance, value: '{"settings":{"policy":"none","windowMs":"soon"}}' }],
    );
    await t.rejects(getBalance(rig.store), { code: 'INVALID', hint: /blockferry balance/ });
    const balancing = new Balancing({
      ...{
        self: 'm1',
        incarnation: 'i',
        store: rig.store,
        table: rig.table,
        random,
        clock,
        windowMs: undefined,
      },
      log: pino({ level: 'error' }, { write: (line) => void rig.warnings.push(line) }),
      view: { members: [{ name: 'm1' }], get: () => ({ incarnation: 'i' }) } as unknown as GroupView,
      hub: { send: () => undefined, stats: () => [] },
      registry: {
        counts: { bytesIn: 0, bytesOut: 0, sessions: 0 },
        initiators: () => new Map(),
      } as unknown as SessionRegistry,
      host: { all: [] } as unknown as VolumeHost,
      folder: { space: () => Promise.resolve({ usedBytes: 0, freeBytes: 0 }) },
      loop: { idleMs: 0, processorMs: 0, takeDelayMs: () => 0, close: () => undefined },
    });
    t.teardown(() => balancing.close());
    const decisionsOf = async (windows: number): Promise<Decision[]> => {
      for (let i = 0; i < windows; i++) {
        clock.pass(30_000);
        for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
      }
      return listDecisions(rig.store);
    };
    await balancing.start();
    t.match(rig.warnings, [/cannot be read: nothing is balanced/]);
    t.strictSame(await decisionsOf(3), [], 'nothing is planned');
    await setBalance(rig.store, { settings: { shareHigh: 2 } });
    t.match(
      await getBalance(rig.store),
      { settings: { policy: 'none', shareHigh: 2 } },
      'nor by another setting',
    );
    t.strictSame(await decisionsOf(3), []);
    await setBalance(rig.store, { settings: { policy: 'heat' } });
    t.match(await decisionsOf(3), [{ by: 'm1', policy: 'heat' }]);
    await rig.store.txn([], [{ put: keys.balance, value: '{' }]);
    await decisionsOf(1);
    t.match(rig.warnings.slice(1), [/are left as they were/]);
  },
);

t.test('what was remembered by a clock that was ahead keeps nothing new out', async (t) => {
  const rig = await BalancerRig.make(t);
  await rig.balancer().windowEnded();
  const [one] = await listDecisions(rig.store);
  const put = (id: string, atMs: number) => putDecision(rig.store, { ...(one as Decision), id, atMs });
  for (let i = 0; i < DECISIONS_MAX; i++) await put(`ahead${i}`, 4e12 + i);
  await put('now', 2e12);
  const kept = (await listDecisions(rig.store)).map(({ id }) => id);
  t.equal(kept.length, DECISIONS_MAX);
  t.ok(kept.includes('now'));
  t.notOk(kept.includes('ahead0'));
  await t.rejects(put('never', 9e15), 'a date that nobody could be shown');

  const doors = { clock: systemClock, random };
  const about = { handover: 'ask' as const, rateBytesPerSecond: null, range: null };
  const moved = async (wallMs: number): Promise<string> => {
    const clock = { ...systemClock, wallMs: () => wallMs };
    const { id } = await createMove(rig.store, { ...doors, clock }, { volume: 'a', to: 'm2', ...about });
    await cancelMove(rig.store, clock, id);
    return id;
  };
  for (let i = 0; i < MOVES_REMEMBERED_MAX; i++) await moved(4e12 + i);
  const last = await moved(2e12);
  await moved(2e12);
  t.ok((await listMoves(rig.store)).some(({ id }) => id === last));
});
