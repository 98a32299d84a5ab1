/** Membership, the view of the group, and the changes that people ask for, on a store in memory. */
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { sleep, systemClock, type Clock, type Timer } from '../../lib/base/clock.js';
import { CREATIONS_REMEMBERED_MAX, LABELS_MAX, MOVES_REMEMBERED_MAX } from '../../lib/base/limits.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import {
  cancelMove,
  createMove,
  createVolume,
  deleteVolume,
  ensureGroup,
  getMove,
  listMoves,
  listVolumes,
  setBalance,
  setPlacement,
  type WantedMove,
  type WantedVolume,
} from '../../lib/group/admin.js';
import { Creations, listCreations, refuseIfFailed } from '../../lib/group/creations.js';
import { GroupView, type MemberChange } from '../../lib/group/group-view.js';
import { Membership, type MembershipOptions } from '../../lib/group/membership.js';
import { MemoryStore } from '../../lib/group/memory-store.js';
import { openStore } from '../../lib/group/open-store.js';
import {
  type MoveRecord,
  ROUTE_CHUNK_EXTENTS,
  RouteHeadRecord,
  VolumeRecord,
  formatRecord,
  keys,
  parseRecord,
} from '../../lib/group/records.js';
import type { GroupStore, StoreLease, StoreWatcher } from '../../lib/group/store.js';
import { until } from '../support/wait.js';

const random = new SeededRandom(5);
const doors = { clock: systemClock, random };
const GiB = 1024 ** 3;

function makeStore(t: { teardown(fn: () => unknown): unknown }, clock: Clock = systemClock): MemoryStore {
  const store = new MemoryStore({ clock, random });
  t.teardown(() => store.close());
  return store;
}

function member(name: string, more: Partial<MembershipOptions> = {}): MembershipOptions {
  const address = (port: number): { host: string; port: number } => ({ host: '127.0.0.1', port });
  const base = {
    name,
    portal: address(3260),
    peer: address(7000),
    pid: process.pid,
    incarnation: `${name}-1`,
  };
  return { ...base, clock: systemClock, log: silentLog, ...more };
}

/** A process number that is certainly nobody's. */
function deadPid(): number {
  return spawnSync(process.execPath, ['-e', '']).pid;
}

async function makeGroup(t: { teardown(fn: () => unknown): unknown }): Promise<GroupStore> {
  const store = makeStore(t);
  await ensureGroup(store, doors, 'g');
  for (const name of ['m1', 'm2', 'm3']) {
    const membership = await Membership.join(store, member(name));
    t.teardown(() => membership.leave());
  }
  return store;
}

const volume = (more: Partial<WantedVolume> = {}): WantedVolume => ({
  ...{ name: 'v1', sizeBytes: GiB, blockBytes: 512, extentBytes: 4 * 1024 ** 2, home: 'm1' },
  ...more,
});

const move = (more: Partial<WantedMove> = {}): WantedMove => ({
  ...{ volume: 'v1', to: 'm2', range: null, rateBytesPerSecond: null, handover: 'ask' as const },
  ...more,
});

t.test('a member joins, is seen, and leaves', async (t) => {
  const store = makeStore(t);
  const seen: string[] = [];
  const saw: MemberChange = (name, record) => seen.push(`${name} ${record?.pid ?? 'gone'}`);
  const view = await GroupView.open(store, silentLog, saw, systemClock);
  t.teardown(() => view.close());
  const m1 = await Membership.join(store, member('m1', { pid: 11 }));
  t.ok(m1.isValid);
  await until('m1 is seen', () => seen.length === 1);
  t.equal(view.get('m1')?.incarnation, 'm1-1');
  const late: string[] = [];
  const second = await GroupView.open(store, silentLog, (name) => late.push(name), systemClock);
  t.same(late, ['m1'], 'present members are told of before open() resolves');
  second.close();
  await store.txn([], [{ put: 'members/bad', value: '{}' }]);
  await m1.leave();
  t.notOk(m1.isValid);
  await until('m1 is gone', () => seen.length === 2);
  t.same(seen, ['m1 11', 'm1 gone']);
  t.same(view.members, []);
});

t.test('who has a name is told of with who had it before', async (t) => {
  const store = makeStore(t);
  const seen: string[] = [];
  const saw: MemberChange = (_name, record, before) =>
    seen.push(`${before?.incarnation ?? 'nobody'}, ${record?.incarnation ?? 'nobody'}`);
  const view = await GroupView.open(store, silentLog, saw, systemClock);
  t.teardown(() => view.close());
  const first = await Membership.join(store, member('m1'));
  const second = await Membership.join(store, member('m1', { incarnation: 'm1-2', isGone: () => true }));
  await first.leave();
  await second.leave();
  await until('m1 is gone', () => seen.length === 3);
  t.same(seen, ['nobody, m1-1', 'm1-1, m1-2', 'm1-2, nobody']);
});

t.test('a name is one living process; a dead one is replaced at once', async (t) => {
  const store = makeStore(t);
  const first = await Membership.join(store, member('m1'));
  await t.rejects(Membership.join(store, member('m1', { incarnation: 'm1-2' })), { code: 'BUSY' });
  t.ok(await store.get('members/m1'), 'the refused one took nothing with it');
  await first.leave();
  const pid = deadPid();
  const dead = await Membership.join(store, member('m1', { pid, incarnation: 'm1-3' }));
  const elsewhere = { host: '10.0.0.9', port: 7000 };
  await t.rejects(
    Membership.join(store, member('m1', { incarnation: 'm1-4', peer: elsewhere })),
    { code: 'BUSY' },
    'a process number of another machine says nothing',
  );
  const successor = await Membership.join(store, member('m1', { incarnation: 'm1-5' }));
  await dead.leave();
  t.match((await store.get('members/m1'))?.value, /m1-5/, 'the end of the old lease leaves the new record');
  await successor.leave();
});

/** A clock whose timers run only when the test says so. */
class HandClock implements Clock {
  now = 1_000;
  private readonly timers = new Map<object, { atMs: number; fire: () => void }>();
  nowMs = (): number => this.now;
  wallMs = (): number => this.now;
  after(delayMs: number, fire: () => void): Timer {
    const key = {};
    this.timers.set(key, { atMs: this.now + delayMs, fire });
    return { cancel: () => void this.timers.delete(key) };
  }
  /** Moves on in small steps, so that what is due happens in order. */
  async advance(ms: number): Promise<void> {
    const end = this.now + ms;
    while (this.now < end) {
      this.now = Math.min(end, this.now + 50);
      for (const [key, timer] of [...this.timers]) {
        if (timer.atMs <= this.now && this.timers.delete(key)) timer.fire();
      }
      for (let i = 0; i < 12; i++) await Promise.resolve();
    }
  }
}

t.test('the view of the group outlives a lost history and a store that is away', async (t) => {
  const clock = new HandClock();
  const store = makeStore(t, clock);
  let compact: () => void = () => undefined;
  let isAway = false;
  const flaky: GroupStore = Object.create(store, {
    list: {
      value: (prefix: string) => (isAway ? Promise.reject(new Error('away')) : store.list(prefix)),
    },
    watch: {
      value: (prefix: string, from: number, watcher: StoreWatcher) => {
        const watch = store.watch(prefix, from, watcher);
        compact = () => {
          watch.close();
          watcher.compacted();
        };
        return watch;
      },
    },
  }) as GroupStore;
  const view = await GroupView.open(flaky, silentLog, () => undefined, clock);
  isAway = true;
  compact();
  await clock.advance(2_500);
  await Membership.join(store, member('m1', { clock }));
  isAway = false;
  await clock.advance(1_100);
  t.equal(view.get('m1')?.incarnation, 'm1-1', 'listed as soon as the store answers');
  view.close();
});

t.test('I4: who cannot renew stops before its lease can have run out, and comes back', async (t) => {
  const clock = new HandClock();
  const store = makeStore(t, clock);
  let isCut = false;
  let expiredAtMs = 0;
  const cut = (lease: StoreLease): StoreLease => ({
    id: lease.id,
    get validUntilMs() {
      return lease.validUntilMs;
    },
    renew: () => (isCut ? new Promise(() => {}) : lease.renew()),
    revoke: () => lease.revoke(),
  });
  const flaky: GroupStore = Object.create(store, {
    lease: {
      value: async (ttlMs: number) =>
        isCut ? Promise.reject(new Error('cut')) : cut(await store.lease(ttlMs)),
    },
  }) as GroupStore;
  const events: string[] = [];
  const m1 = await Membership.join(flaky, member('m1', { clock }));
  m1.onLost = () => events.push(`lost ${clock.now}`);
  m1.onRegained = () => events.push('regained');
  await clock.advance(20_000);
  t.ok(m1.isValid, 'renewed many times');
  t.same(events, []);
  isCut = true; // from here on the store does not even answer
  for (let i = 0; i < 200 && expiredAtMs === 0; i++) {
    await clock.advance(50);
    if ((await store.get('members/m1')) === undefined) expiredAtMs = clock.now;
  }
  t.notOk(m1.isValid);
  t.equal(events.length, 1);
  const lostAtMs = Number(events[0]?.split(' ')[1]);
  t.ok(lostAtMs < expiredAtMs, `stopped at ${lostAtMs}, the lease ended at ${expiredAtMs}`);
});

t.test('a lost lease is replaced by a new one', async (t) => {
  const clock = new HandClock();
  const store = makeStore(t, clock);
  const events: string[] = [];
  const m1 = await Membership.join(store, member('m1', { clock }));
  m1.onLost = () => events.push('lost');
  m1.onRegained = () => events.push('regained');
  // The process stands still for longer than its lease; others go on.
  const timerless = clock.now;
  clock.now = timerless + 10_000;
  t.notOk(m1.isValid, 'known without any timer');
  await clock.advance(3_000);
  t.same(events, ['lost', 'regained']);
  t.ok(m1.isValid);
  t.ok(await store.get('members/m1'));
  await m1.leave();
  t.equal(await store.get('members/m1'), undefined);
});

t.test('a volume is made whole, with an identity of its own', async (t) => {
  const store = await makeGroup(t);
  t.equal((await ensureGroup(store, doors, 'other')).name, 'g', 'a group keeps its name');
  const made = await createVolume(store, doors, volume());
  const other = await createVolume(
    store,
    doors,
    volume({ name: 'v2', sizeBytes: GiB + 4096, blockBytes: 4096, home: 'm2' }),
  );
  t.match(made, { id: 1, iqn: 'iqn.2026-11.org.blockferry:v1', sizeBytes: GiB });
  t.equal(other.id, 2);
  t.not(made.serial, other.serial);
  t.same(await listVolumes(store), [made, other]);
  const entry = await store.get(keys.volume('v1'));
  t.same(entry && parseRecord(VolumeRecord, entry), made, 'as the schema reads it');
  const head = await store.get(keys.routeHead('v2'));
  t.same(head && parseRecord(RouteHeadRecord, head), { epoch: 1, home: 'm2', base: 'm2', extents: 257 });
});

t.test('what a volume cannot be', async (t) => {
  const store = await makeGroup(t);
  await createVolume(store, doors, volume());
  const refused: [Partial<WantedVolume>, string][] = [
    [{}, 'EXISTS'],
    [{ name: 'V1' }, 'INVALID'],
    [{ name: '../x' }, 'INVALID'],
    [{ name: 'v2', sizeBytes: 1000 }, 'INVALID'],
    [{ name: 'v2', sizeBytes: 0 }, 'INVALID'],
    [{ name: 'v2', sizeBytes: 512 * 3, blockBytes: 4096 }, 'INVALID'],
    [{ name: 'v2', extentBytes: 100_000 }, 'INVALID'],
    [{ name: 'v2', extentBytes: 2 * GiB }, 'INVALID'],
    [{ name: 'v2', sizeBytes: 1024 * 1024 * GiB }, 'INVALID'],
    [{ name: 'v2', home: 'm9' }, 'NOT_FOUND'],
    [{ name: 'v2', serial: '' }, 'INVALID'],
    [{ name: 'v2', serial: 'x'.repeat(33) }, 'INVALID'],
    [{ name: 'v2', serial: 'söre' }, 'INVALID'],
    [{ name: 'v2', vendor: 'ninechars' }, 'INVALID'],
    [{ name: 'v2', product: 'seventeen charact' }, 'INVALID'],
  ];
  for (const [more, code] of refused) {
    await t.rejects(createVolume(store, doors, volume(more)), { code }, JSON.stringify(more));
  }
  t.equal((await listVolumes(store)).length, 1);
});

t.test('how a group cannot balance itself, and which options say otherwise', async (t) => {
  const store = await makeGroup(t);
  await createVolume(store, doors, volume());
  const labels = Object.fromEntries(Array.from({ length: LABELS_MAX + 1 }, (_, i) => [`k${i}`, 'v']));
  await t.rejects(setBalance(store, { settings: { shareLow: 2 } }), {
    ...{ code: 'INVALID', message: /until \(2\) is above the one to give from \(1.25\)/ },
    hint: /--share-low and --share-high/,
  });
  await t.rejects(setBalance(store, { members: { m1: { labels } } }), {
    ...{ code: 'INVALID', message: 'members m1: more than 16 labels', hint: /--member-label/ },
  });
  await t.rejects(setPlacement(store, 'v1', { labels }), {
    ...{ code: 'INVALID', message: 'volume v1: more than 16 labels', hint: /--label/ },
  });
});

t.test('the kind of a volume is in its record, and no serial is given twice', async (t) => {
  const store = await makeGroup(t);
  const kind = {
    removable: true,
    readOnly: true,
    full: true,
    serial: 'FLOPPY 1',
    vendor: 'ACME',
    product: 'Floppy disk',
  };
  const made = await createVolume(store, doors, volume({ ...kind, blockBytes: 4096 }));
  t.match(made, { ...kind, blockBytes: 4096 });
  t.same(await listVolumes(store), [made]);
  const again = createVolume(store, doors, volume({ name: 'v2', serial: 'FLOPPY 1' }));
  await t.rejects(again, { code: 'EXISTS', message: /volume v1 has the serial/ });
  const both = ['v2', 'v3'].map((name) => createVolume(store, doors, volume({ name, serial: 'S' })));
  t.same((await Promise.allSettled(both)).map((one) => one.status).sort(), ['fulfilled', 'rejected']);
});

t.test('a record from before there were kinds is of a plain disk', (t) => {
  const old = { id: 1, name: 'v1', iqn: 'iqn.2026-11.org.blockferry:v1', sizeBytes: GiB, blockBytes: 512 };
  const rest = {
    extentBytes: 4 * 1024 ** 2,
    serial: '0'.repeat(16),
    naa: `3${'0'.repeat(15)}`,
    createdAtMs: 1,
  };
  const record = parseRecord(VolumeRecord, {
    ...{ key: 'volumes/v1', value: JSON.stringify({ ...old, ...rest }), revision: 1 },
  });
  t.match(record, { removable: false, readOnly: false, full: false, vendor: 'BLKFERRY', product: 'VOLUME' });
  t.end();
});

t.test('a full volume while it is made', async (t) => {
  const store = await makeGroup(t);
  const creations = new Creations(store);
  const made = await createVolume(store, doors, volume({ full: true }));
  const revision = (await store.get(keys.routeHead('v1')))?.revision ?? 0;
  t.same(await listCreations(store), new Map([['v1', 0]]));
  await creations.allocated(made, revision, 4096);
  t.same(await listCreations(store), new Map([['v1', 4096]]));
  await t.rejects(createMove(store, doors, move()), { code: 'BUSY', message: /v1 is being allocated/ });
  await creations.allocated(made, revision - 1, 8192);
  await creations.failed(made, revision - 1, { code: 'IO', reason: 'of another life' });
  t.same(await listCreations(store), new Map([['v1', 4096]]), 'not by the route of now');
  await refuseIfFailed(store, 'v1');
  await deleteVolume(store, 'v1');
  t.same(await listCreations(store), new Map());
});

t.test('why a full volume could not be made is known, of the last few', async (t) => {
  const store = await makeGroup(t);
  const creations = new Creations(store);
  const fail = async (name: string, code: 'NO_SPACE' | 'IO'): Promise<void> => {
    const made = await createVolume(store, doors, volume({ name, full: true }));
    const revision = (await store.get(keys.routeHead(name)))?.revision ?? 0;
    await creations.failed(made, revision, { code, reason: 'the disk' });
  };
  for (let i = 0; i < CREATIONS_REMEMBERED_MAX; i++) await fail(`v${i}`, 'NO_SPACE');
  await fail('v0', 'IO');
  t.same(await listVolumes(store), []);
  t.same((await store.list(keys.routes)).entries, []);
  await t.rejects(refuseIfFailed(store, 'v0'), {
    code: 'IO',
    message: 'volume v0 could not be made: the disk',
  });
  await t.rejects(refuseIfFailed(store, 'v1'), { code: 'NO_SPACE' });
  await fail('one-more', 'IO');
  t.equal((await store.list(keys.creations)).entries.length, CREATIONS_REMEMBERED_MAX);
  await store.txn([], [{ put: keys.creation('unreadable'), value: '{' }]);
  t.equal((await listCreations(store)).get('unreadable'), 0, 'and is in the way of no other');
  await refuseIfFailed(store, 'unreadable');
  await refuseIfFailed(store, 'v1'); // the oldest is forgotten
  await createVolume(store, doors, volume({ name: 'v2' }));
  await refuseIfFailed(store, 'v2');
});

t.test('volumes made at the same time get different ids', async (t) => {
  const store = await makeGroup(t);
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const made = await Promise.all(names.map((name) => createVolume(store, doors, volume({ name }))));
  t.same(made.map((one) => one.id).sort(), [1, 2, 3, 4, 5, 6]);
  const twice = await Promise.allSettled(
    [1, 2].map(() => createVolume(store, doors, volume({ name: 'same' }))),
  );
  t.same(twice.map((one) => one.status).sort(), ['fulfilled', 'rejected']);
});

t.test('a move is asked for once at a time, looked at, called off', async (t) => {
  const store = await makeGroup(t);
  await createVolume(store, doors, volume());
  const asked = await createMove(
    store,
    doors,
    move({ range: { first: 0, last: 255 }, rateBytesPerSecond: 1000 }),
  );
  t.match(asked, { from: 'm1', to: 'm2', state: 'active', finishedAtMs: null });
  await t.rejects(createMove(store, doors, move({ to: 'm3' })), { code: 'BUSY' });
  await t.rejects(deleteVolume(store, 'v1'), { code: 'BUSY' });
  const figures = { extents: 4, extentsDone: 1, bytesCopied: 10, bytesRecopied: 2, restarts: 1, sessions: 1 };
  const put = (from: string, more: object): Promise<unknown> =>
    store.txn([], [{ put: keys.progressOf(asked.id, from), value: formatRecord({ ...figures, ...more }) }]);
  await put('m1', { stallMsMax: 3.5, lastError: '' });
  await put('m3', { stallMsMax: 1, lastError: 'the disk of m2 is full' });
  t.match(await getMove(store, asked.id), {
    ...{
      id: asked.id,
      extents: 8,
      extentsDone: 2,
      bytesCopied: 20,
      bytesRecopied: 4,
      restarts: 2,
      sessions: 2,
    },
    ...{ stallMsMax: 3.5, lastError: 'the disk of m2 is full' },
  });
  await store.txn([], [{ put: keys.progressOf(asked.id, 'm3'), value: '{"extents":1}' }]);
  t.match(await getMove(store, asked.id), { extents: 4, stallMsMax: 3.5, lastError: '' }, 'what can be read');
  t.match(await listMoves(store), [{ id: asked.id, extents: 4 }]);
  t.equal((await cancelMove(store, systemClock, asked.id)).state, 'cancelled');
  t.equal((await cancelMove(store, systemClock, asked.id)).state, 'cancelled', 'again');
  const next = await createMove(store, doors, move());
  await cancelMove(store, systemClock, asked.id);
  t.equal(
    (await store.get(keys.moving('v1')))?.value,
    next.id,
    'an old move does not free the volume of a new one',
  );
  t.same((await listMoves(store)).map((one) => one.state).sort(), ['active', 'cancelled']);
});

t.test('what a move cannot be', async (t) => {
  const store = await makeGroup(t);
  await createVolume(store, doors, volume());
  const refused: [Partial<WantedMove>, string][] = [
    [{ volume: 'v9' }, 'NOT_FOUND'],
    [{ to: 'm9' }, 'NOT_FOUND'],
    [{ to: 'm1' }, 'INVALID'],
    [{ range: { first: 0, last: 256 } }, 'INVALID'],
    [{ range: { first: 5, last: 4 } }, 'INVALID'],
  ];
  for (const [more, code] of refused) {
    await t.rejects(createMove(store, doors, move(more)), { code }, JSON.stringify(more));
  }
  await t.rejects(getMove(store, 'x'), { code: 'NOT_FOUND' });
  await t.rejects(cancelMove(store, systemClock, 'x'), { code: 'NOT_FOUND' });
  const asked = await createMove(store, doors, move());
  const done: MoveRecord = { ...asked, state: 'done', finishedAtMs: 1 };
  await store.txn([], [{ put: keys.move(asked.id), value: formatRecord(done) }]);
  await t.rejects(cancelMove(store, systemClock, asked.id), {
    ...{ code: 'INVALID', message: /ended: done/, hint: /nothing is left to cancel/ },
  });
});

t.test('a move of extents says who holds them', async (t) => {
  const store = await makeGroup(t);
  const extents = 3 * ROUTE_CHUNK_EXTENTS - 5;
  await createVolume(store, doors, volume({ sizeBytes: extents * 65536, extentBytes: 65536, home: 'm1' }));
  const runs = [
    [100, 'm2'],
    [ROUTE_CHUNK_EXTENTS - 100, 'm3'],
  ];
  await store.txn([], [{ put: keys.routeChunk('v1', 1), value: formatRecord({ runs }) }]);
  const last = ROUTE_CHUNK_EXTENTS;
  const cases: readonly [first: number, last: number, sources: string[]][] = [
    [0, last - 1, ['m1']],
    [last - 1, last, ['m1']],
    [last, last + 99, []],
    [last + 99, last + 100, ['m3']],
    [last + 99, extents - 1, ['m3', 'm1']],
  ];
  for (const [first, last, sources] of cases) {
    const asked = await createMove(store, doors, move({ range: { first, last } }));
    t.strictSame([asked.from, asked.sources], ['m1', sources], `${first}-${last}`);
    await cancelMove(store, systemClock, asked.id);
  }
  t.equal((await createMove(store, doors, move())).sources, null, 'the whole volume: its home goes');
});

t.test('ended moves are forgotten beyond a number, with their figures', async (t) => {
  const store = await makeGroup(t);
  await createVolume(store, doors, volume());
  const first = await createMove(store, doors, move());
  await store.txn([], [{ put: keys.progressOf(first.id, 'm1'), value: '{}' }]);
  await cancelMove(store, systemClock, first.id);
  for (let i = 0; i <= MOVES_REMEMBERED_MAX; i++) {
    await sleep(systemClock, i === 0 ? 3 : 0);
    const { id } = await createMove(store, doors, move());
    await cancelMove(store, systemClock, id);
  }
  const kept = await createMove(store, doors, move());
  const moves = await listMoves(store);
  t.equal(moves.filter((one) => one.state !== 'active').length, MOVES_REMEMBERED_MAX);
  t.ok(moves.some((one) => one.id === kept.id));
  t.notOk(moves.some((one) => one.id === first.id));
  t.same((await store.list('progress/')).entries, []);
});

t.test('deleting a volume deletes its route and nothing of its neighbour', async (t) => {
  const store = await makeGroup(t);
  await createVolume(store, doors, volume());
  await createVolume(store, doors, volume({ name: 'v1.x' }));
  await store.txn([], [{ put: keys.routeChunk('v1', 0), value: '{"runs":[[256,"m2"]]}' }]);
  await deleteVolume(store, 'v1');
  t.same(
    (await listVolumes(store)).map((one) => one.name),
    ['v1.x'],
  );
  t.same(
    (await store.list('routes/')).entries.map((entry) => entry.key),
    ['routes/v1.x/head'],
  );
  await t.rejects(deleteVolume(store, 'v1'), { code: 'NOT_FOUND' });
  t.equal((await createVolume(store, doors, volume())).id, 3, 'an id is never given twice');
});

t.test('a store URL that is none', async (t) => {
  for (const url of ['etcd:x', 'embedded:', 'embedded:relative', '/path']) {
    await t.rejects(openStore(url, { ...doors, log: silentLog }), { code: 'USAGE' }, url);
  }
});
