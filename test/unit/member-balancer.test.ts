/** A member's part in balancing: who proposes, what is asked for, what is remembered; on a store in memory. */
import { pino } from 'pino';
import t, { type Test } from 'tap';
import type { GroupPicture, Plan, ProposedMove } from '../../lib/balance/contract.js';
import type { Decision } from '../../lib/balance/decision.js';
import { systemClock } from '../../lib/base/clock.js';
import { BlockferryError } from '../../lib/base/errors.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import {
  cancelMove,
  createMove,
  createVolume,
  ensureGroup,
  getBalance,
  listDecisions,
  listMoves,
  putDecision,
  setBalance,
  setPlacement,
  shareOf,
} from '../../lib/group/admin.js';
import { MemoryStore } from '../../lib/group/memory-store.js';
import { BalanceRecord, MoveRecord, formatRecord, keys, parseRecord } from '../../lib/group/records.js';
import { DECISIONS_MAX } from '../../lib/base/limits.js';
import type { DatedVector, LoadVector } from '../../lib/load/vector.js';
import { SetBalance } from '../../lib/manage/api.js';
import { GroupDesk } from '../../lib/manage/group-desk.js';
import type { GroupView } from '../../lib/group/membership.js';
import type { SessionRegistry } from '../../lib/iscsi/target/registry.js';
import { Balancer } from '../../lib/member/balancer.js';
import { Balancing } from '../../lib/member/balancing.js';
import { figuresOf } from '../../lib/member/group-picture.js';
import type { VolumeHost } from '../../lib/member/host.js';
import { MemberIds } from '../../lib/routing/member-ids.js';
import { RoutingTable } from '../../lib/routing/table.js';
import { FakePeers } from '../support/fake-peers.js';
import { SteppedClock } from '../support/hand-clock.js';

const random = new SeededRandom(7);
const MiB = 1024 ** 2;

function vector(member: string, requestsPerSecond: number, serviceMs = 1): LoadVector {
  return {
    ...{ member, incarnation: 'i', sequence: 1, measuredAtMs: 1, windowMs: 1000 },
    server: {
      ...{ processors: 0.1, loopBusy: 0.1, loopDelayMsP99: 1, sessions: 1, bytesIn: 0, bytesOut: 0 },
      roundTripMs: {},
    },
    storage: {
      ...{
        readsPerSecond: requestsPerSecond,
        writesPerSecond: 0,
        readBytesPerSecond: 0,
        writeBytesPerSecond: 0,
      },
      ...{
        queueDepth: 1,
        serviceMs: { mean: serviceMs, p50: 1, p99: 1 },
        usedBytes: 32 * MiB,
        freeBytes: 1024 * MiB,
      },
    },
    volumes: [],
  };
}

const NOTHING: Plan = { verdict: 'balanced', measure: null, reason: 'even', moves: [], alternatives: [] };

function toMove(volume: string, to: string, extents: ProposedMove['extents'] = null): ProposedMove {
  const predicted = { measure: 1.1, latencyMsBefore: 2, latencyMsAfter: 1, payBackMs: Infinity };
  return {
    volume,
    extents,
    from: 'm1',
    to,
    requestsPerSecond: 5,
    bytes: MiB,
    predicted,
    reason: 'it is hot',
    after: null,
  };
}

function act(...moves: ProposedMove[]): Plan {
  return {
    verdict: 'act',
    measure: { name: 'share of m1', value: 2, limit: 1.25 },
    reason: 'much',
    moves,
    alternatives: [],
  };
}

/** A group of three on a memory store, as m1 sees it: it serves 900 of 1,000 requests. */
class Rig {
  readonly store = new MemoryStore({ clock: systemClock, random });
  readonly vectors = new Map<string, DatedVector>();
  table!: RoutingTable;
  balance = BalanceRecord.parse({});
  pictures: GroupPicture[] = [];
  /** What was warned of. */
  readonly warnings: string[] = [];
  plan: (picture: GroupPicture) => Plan | Promise<Plan> = () => NOTHING;
  present = ['m1', 'm2', 'm3'];

  static async make(t: Test): Promise<Rig> {
    const rig = new Rig();
    t.teardown(() => {
      rig.table.close();
      return rig.store.close();
    });
    const doors = { clock: systemClock, random };
    await ensureGroup(rig.store, doors);
    const at = { host: '127.0.0.1', port: 1 };
    for (const name of ['m1', 'm2', 'm3']) {
      const record = { name, portal: at, peer: at, pid: 1, incarnation: 'i', startedAtMs: 0 };
      await rig.store.txn([], [{ put: keys.member(name), value: formatRecord(record) }]);
      rig.tell(name, name === 'm1' ? 900 : 50);
    }
    for (const name of ['a', 'b']) {
      const size = { sizeBytes: 16 * MiB, extentBytes: MiB, blockBytes: 512 as const };
      await createVolume(rig.store, doors, { name, home: 'm1', ...size });
    }
    rig.table = await RoutingTable.open(rig.store, new MemberIds(), silentLog);
    return rig;
  }

  tell(name: string, requestsPerSecond: number, isFresh = true, serviceMs = 1): void {
    this.vectors.set(name, { vector: vector(name, requestsPerSecond, serviceMs), ageMs: 10, isFresh });
  }

  balancer(self = 'm1'): Balancer {
    const { store, table } = this;
    return new Balancer({
      ...{ self, store, table, random, clock: systemClock },
      log: pino({ level: 'warn' }, { write: (line) => void this.warnings.push(line) }),
      plan: (picture) => {
        this.pictures.push(picture);
        return this.plan(picture) as Plan;
      },
      members: () => this.present,
      vectors: () => this.vectors,
      balance: () => this.balance,
    });
  }

  async end(
    id: string,
    finishedAtMs = systemClock.wallMs(),
    state: MoveRecord['state'] = 'done',
  ): Promise<void> {
    const entry = await this.store.get(keys.move(id));
    if (entry === undefined) throw new Error(`no move ${id}`);
    const move = parseRecord(MoveRecord, entry);
    const ended = { ...move, state, finishedAtMs: Math.floor(finishedAtMs) };
    await this.store.txn(
      [],
      [{ put: keys.move(id), value: formatRecord(ended) }, { delete: keys.moving(move.volume) }],
    );
  }
}

t.test('the member that serves the most proposes, by weight, among those that are heard of', async (t) => {
  const rig = await Rig.make(t);
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
  const rig = await Rig.make(t);
  const balancer = rig.balancer();
  rig.plan = () => act(toMove('a', 'm2'), toMove('b', 'm3', { first: 2, last: 3 }));
  await balancer.windowEnded();
  const moves = await listMoves(rig.store);
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
  const rig = await Rig.make(t);
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
  const rig = await Rig.make(t);
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
  const rig = await Rig.make(t);
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
  const rig = await Rig.make(t);
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
    { weight: 2, freeBytes: 1024 * MiB },
  );
  t.equal(picture?.members.find(({ name }) => name === 'm3')?.freeBytes, 1020 * MiB, 'less what comes');
  t.equal(picture?.movesUnderWay, 1);
  t.ok(
    Math.abs((figuresOf(picture as GroupPicture)?.imbalance ?? 0) - 3.6) < 1e-9,
    'by weight: 0.9 over a quarter',
  );
});

t.test('settings and placements', async (t) => {
  const rig = await Rig.make(t);
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
  const rig = await Rig.make(t);
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
  const rig = await Rig.make(t);
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
  const rig = await Rig.make(t);
  const doors = { clock: systemClock, random };
  const about = { handover: 'ask' as const, rateBytesPerSecond: null, range: null };
  const { id } = await createMove(rig.store, doors, { volume: 'a', to: 'm2', ...about });
  await cancelMove(rig.store, systemClock, id);
  await rig.balancer().windowEnded();
  t.match(rig.pictures[0]?.volumes.get('a')?.cooling, [{ first: 0, last: 15, from: undefined }]);
});

t.test('the answer of the store was lost: the move is there all the same', async (t) => {
  const rig = await Rig.make(t);
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
  const rig = await Rig.make(t);
  const balancer = rig.balancer();
  rig.plan = () => {
    balancer.close();
    return act(toMove('a', 'm2'));
  };
  await balancer.windowEnded();
  t.strictSame(await listMoves(rig.store), []);
});

t.test('what was said of a volume cannot be read: it stays, and nobody else does', async (t) => {
  const rig = await Rig.make(t);
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

t.test('what a member has left open when it was started anew is closed, or measured if that is still to come', async (t) => {
  const rig = await Rig.make(t);
  const opened = async (self: string): Promise<Decision> => {
    rig.tell(self, 2000);
    rig.plan = () => act(toMove('a', 'm3'));
    await rig.balancer(self).windowEnded(); // and never again: this process is gone
    rig.plan = () => NOTHING;
    rig.tell(self, 50);
    const open = (await listDecisions(rig.store)).filter(({ moves, outcome }) => moves.length > 0 && !outcome);
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
  t.match(await now(orphan), { outcome: null, unmeasured: '' }, 'of who has left: as long as it is under way');
  await rig.end(orphan.moves[0]?.move ?? '');
  await second.windowEnded();
  t.match(await now(orphan), { unmeasured: '' }, 'one member sees to it');
  await first.windowEnded();
  t.match(await now(orphan), { outcome: null, unmeasured: 'm2 has left the group' });
});

t.test('an outcome that cannot be written yet is written later, and one that cannot be measured is closed', async (t) => {
  const rig = await Rig.make(t);
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
  for (const name of ['m1', 'm2', 'm3']) rig.tell(name, Number.MAX_SAFE_INTEGER, true, Number.MAX_SAFE_INTEGER);
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
  t.match((await decisions()).find(({ id }) => id === last?.id), {
    outcome: null,
    unmeasured: 'nobody says what it serves',
  });
});

t.test('a plan whose office is lost on the way is dropped', async (t) => {
  const rig = await Rig.make(t);
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

t.test('a store that fails halfway: what was asked for is remembered, and no office stays taken', async (t) => {
  const rig = await Rig.make(t);
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
});

t.test('a move that is refused window after window is one decision', async (t) => {
  const rig = await Rig.make(t);
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

t.test("a move whose record cannot be read is in the way of its volume alone", async (t) => {
  const rig = await Rig.make(t);
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
  const rig = await Rig.make(t);
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
  const rig = await Rig.make(t);
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
  const rig = await Rig.make(t);
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

t.test('settings that cannot be read: a member that never knew them moves nothing, and they are said anew', async (t) => {
  const rig = await Rig.make(t);
  const clock = new SteppedClock();
  await rig.store.txn([], [{ put: keys.balance, value: '{"settings":{"policy":"none","windowMs":"soon"}}' }]);
  await t.rejects(getBalance(rig.store), { code: 'INVALID', hint: /blockferry balance/ });
  const balancing = new Balancing({
    ...{ self: 'm1', incarnation: 'i', store: rig.store, table: rig.table, random, clock, windowMs: undefined },
    log: pino({ level: 'error' }, { write: (line) => void rig.warnings.push(line) }),
    view: { members: [{ name: 'm1' }], get: () => ({ incarnation: 'i' }) } as unknown as GroupView,
    hub: { send: () => undefined, stats: () => [] },
    registry: {
      counts: { bytesIn: 0, bytesOut: 0, sessions: 0 },
      initiators: () => new Map(),
    } as unknown as SessionRegistry,
    host: { all: [] } as unknown as VolumeHost,
    folder: { space: () => Promise.resolve({ usedBytes: 0, freeBytes: 0 }) },
    loop: { maxPauseMs: 0, idleMs: 0, processorMs: 0, takeDelayMs: () => 0, close: () => undefined },
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
  t.match(await getBalance(rig.store), { settings: { policy: 'none', shareHigh: 2 } }, 'nor by another setting');
  t.strictSame(await decisionsOf(3), []);
  await setBalance(rig.store, { settings: { policy: 'heat' } });
  t.match(await decisionsOf(3), [{ by: 'm1', policy: 'heat' }]);
  await rig.store.txn([], [{ put: keys.balance, value: '{' }]);
  await decisionsOf(1);
  t.match(rig.warnings.slice(1), [/are left as they were/]);
});
