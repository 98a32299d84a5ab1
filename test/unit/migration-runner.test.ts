/** The end of a move's record at one member, beside others that end it too: nobody goes on with a move that is over. */
import t, { type Test } from 'tap';
import { AccessServer } from '../../lib/access/access-server.js';
import { systemClock, type Clock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { noWaypoints } from '../../lib/base/waypoints.js';
import { submitAndWait } from '../../lib/block/device.js';
import { cancelMove, createMove } from '../../lib/group/admin-moves.js';
import { formatRecord, keys } from '../../lib/group/records.js';
import { MoveRunner, type MoveRunnerOptions } from '../../lib/migration/move-runner.js';
import { PeerStatus, PeerType } from '../../lib/peer/contract.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { EXTENT_BYTES, makeRig } from '../support/member-rig.js';
import { RamDevice } from '../support/ram-device.js';
import { IDENTITY } from '../support/scsi-runner.js';
import { until } from '../support/wait.js';

/** Pauses take a hundredth of their time. */
const clock: Clock = {
  ...systemClock,
  nowMs: () => systemClock.nowMs() * 100,
  after: (delayMs, fire) => systemClock.after(delayMs / 100, fire),
};

const doors = { clock, random: new SeededRandom(3), log: silentLog, waypoints: noWaypoints };
const WANTED = {
  ...{ volume: 'v', to: 'm2', range: null, rateBytesPerSecond: null, handover: 'ask' as const },
  strict: false,
};
type Rig = Awaited<ReturnType<typeof makeRig>>;

/** The moves of m1, by another store or other volumes where the test has them. */
async function startRunner(
  t: Test,
  { store, table, peers, host }: Rig,
  more: Partial<MoveRunnerOptions> = {},
): Promise<MoveRunner> {
  const own = { self: 'm1', incarnation: 'i', store, table, hub: peers.hub('m1'), volumes: host };
  const runner = new MoveRunner({ ...own, ...doors, ...more });
  await runner.start();
  t.teardown(() => runner.stop());
  return runner;
}

/** m2 is in the group, and answers everything with `status`. */
async function joinM2({ store, peers }: Rig, status: number, payload?: Buffer): Promise<void> {
  const address = { host: '127.0.0.1', port: 1 };
  const m2 = { name: 'm2', portal: address, peer: address, pid: 2, incarnation: 'i2', startedAtMs: 0 };
  await store.txn([], [{ put: keys.member('m2'), value: formatRecord(m2) }]);
  peers.join('m2', { handle: (request) => request.answer(status, payload) });
}

/** m1 is home of a volume whose extents m2 holds, who answers nothing. */
async function homeWithoutExtents(t: Test): Promise<Rig> {
  const rig = await makeRig(t);
  await rig.create();
  await joinM2(rig, PeerStatus.UNAVAILABLE);
  await rig.volume(1);
  await rig.table.commit(rig.routed, rig.routed.route.withHolder([0, 1, 2], 'm2'));
  return rig;
}

/** m1 has data to give to m2, who refuses all moves. */
async function startRefused(t: Test) {
  const rig = await makeRig(t);
  await rig.create();
  await rig.write(1, 7);
  await joinM2(rig, PeerStatus.REFUSED);
  const refused = { opens: 0 };
  rig.peers.fate = (_member, { type }) => {
    if (type === PeerType.MOVE_OPEN) refused.opens += 1;
    return null;
  };
  return { refused, store: rig.store, runner: await startRunner(t, rig) };
}

t.test('a move that is called off while its failure cannot be written is not taken up again', async (t) => {
  const { refused, store, runner } = await startRefused(t);
  const txn = store.txn.bind(store);
  let ended = 0;
  store.txn = async (compares, operations) => {
    const isEnd = operations.some((each) => 'put' in each && /"state":"failed"/.test(each.value));
    if (!isEnd) return txn(compares, operations);
    store.txn = txn;
    ended += 1;
    await cancelMove(store, systemClock, move.id);
    await new Promise((resolve) => setTimeout(resolve, 20)); // it is heard of
    throw new Error('the store is away');
  };
  const move = await createMove(store, doors, WANTED);
  await until('the move has failed', () => ended > 0);
  t.equal(ended, 1, 'it failed');
  const opensBefore = refused.opens;
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.equal(refused.opens, opensBefore, 'and is over');
  t.equal(runner.statsOf('v'), undefined, 'the next one has figures of its own');
});

t.test('a move whose failure cannot be written gives nothing until it is', async (t) => {
  const { refused, store } = await startRefused(t);
  const move = await createMove(store, doors, WANTED);
  const txn = store.txn.bind(store);
  let tries = 0;
  store.txn = async (compares, operations) => {
    const isEnd = operations.some((each) => 'put' in each && /"state":"failed"/.test(each.value));
    if (!isEnd) return txn(compares, operations);
    tries += 1;
    throw new Error('the disk is full');
  };
  await until('it has failed', () => tries > 0);
  const opensBefore = refused.opens;
  await until('that is tried again', () => tries > 2);
  t.equal(refused.opens, opensBefore, 'and nothing else');
  store.txn = txn;
  const isWritten = async (): Promise<boolean> =>
    /"state":"failed".*refused the request.*"sparesDestination":false/.test(
      (await store.get(keys.move(move.id)))?.value ?? '',
    );
  await until('it is written', isWritten);
  t.equal(refused.opens, opensBefore);
});

t.test('a rate is shared by the members that give', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  const volume = await rig.volume(1);
  const data = Buffer.alloc(EXTENT_BYTES - 4096, 7); // the last extent has no more
  for (const extent of [1, 2]) await submitAndWait(volume, 'write', extent * EXTENT_BYTES, data.length, data);
  await rig.table.commit(rig.routed, rig.routed.route.withHolder([0], 'm3'));
  await joinM2(rig, PeerStatus.OK, Buffer.from(JSON.stringify({ loopIdleMs: 0 })));
  const copiedMs: number[] = [];
  rig.peers.fate = (_member, { type }) => {
    if (type === PeerType.COPY) copiedMs.push(clock.nowMs());
    return null;
  };
  await startRunner(t, rig);
  await createMove(rig.store, doors, { ...WANTED, rateBytesPerSecond: data.length / 8 });
  await until('both extents are copied', () => copiedMs.length >= 2);
  const [first = 0, second = 0] = copiedMs;
  t.ok(second - first > 12_000, `the second after ${second - first} ms: m3 gives as much`);
});

t.test('a move that fails at its source says that its destination had no part in it', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await joinM2(rig, PeerStatus.OK);
  const volumes = Object.create(rig.host) as MoveRunnerOptions['volumes'];
  volumes.source = () => Promise.reject(new Error('the file cannot be opened'));
  await startRunner(t, rig, { volumes });
  const { id } = await createMove(rig.store, doors, WANTED);
  const written = async (): Promise<string> => (await rig.store.get(keys.move(id)))?.value ?? '';
  await until('it has failed', async () => /"state":"failed"/.test(await written()));
  t.match(await written(), /cannot be opened.*"sparesDestination":true/);
});

t.test('a home whose commit is in doubt is doubted until the store says (I8)', async (t) => {
  const rig = await homeWithoutExtents(t);
  const { store, host } = rig;
  await startRunner(t, rig);
  const held = host.get('v');
  const { txn, get } = store;
  let asked = 0;
  const away = (): Promise<never> => Promise.reject(new Error('the store is away'));
  store.txn = (compares, operations) => {
    const isHome = operations.some((each) => 'put' in each && each.put.endsWith('/head'));
    if (!isHome) return txn.call(store, compares, operations);
    asked += 1;
    store.get = store.txn = away;
    return away();
  };
  const move = await createMove(store, doors, WANTED);
  await until('it is asked', () => asked > 0);
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(held?.isSurelyHome, false, 'nobody knows');
  t.equal(held?.unit.isHomeInDoubt, true, 'so nobody is let in');
  store.txn = txn;
  await cancelMove(
    { ...store, get: get.bind(store), txn: txn.bind(store), list: store.list.bind(store) } as typeof store,
    systemClock,
    move.id,
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(held?.isSurelyHome, false, 'the move is over, and still nobody knows');
  store.get = get;
  await until('the home is sure', () => held?.isSurelyHome === true);
  t.equal(held?.isSurelyHome, true, 'it was not given away');
  t.equal(held?.unit.isHomeInDoubt, false);
});

t.test('the home is not given to a member that has left, nor to one that leaves meanwhile', async (t) => {
  const rig = await homeWithoutExtents(t);
  const { store, host } = rig;
  const record = await store.get(keys.member('m2'));
  if (record === undefined) throw new Error('m2 is not there');
  let quietened = 0;
  const quieten = async (): Promise<boolean> => {
    quietened += 1;
    await store.txn([], [{ delete: record.key }]);
    return true;
  };
  const volumes = Object.assign(Object.create(host) as typeof host, { quieten });
  await startRunner(t, rig, { volumes });
  await createMove(store, doors, WANTED);
  await until('it is about to be given', () => quietened > 0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(rig.routed.route.home, 'm1');
  t.equal(quietened, 1, 'to nobody that is away');
  t.equal(host.get('v')?.isSurelyHome, true, 'it is served meanwhile');
  volumes.quieten = () => Promise.resolve(true);
  await store.txn([], [{ put: record.key, value: record.value }]);
  await until('the home has gone', () => rig.routed.route.home === 'm2');
});

t.test('a home that is busy is not given away yet', async (t) => {
  const rig = await homeWithoutExtents(t);
  const { store, host } = rig;
  const homes: string[] = [];
  const quieten = async (): Promise<boolean> => {
    t.equal(host.get('v')?.isSurelyHome, false, 'it is about to be given away');
    t.equal(host.get('v')?.unit.isHomeInDoubt, false, 'and is not yet');
    homes.push(rig.routed.route.home);
    await new Promise((resolve) => setTimeout(resolve, 5));
    return homes.length > 2;
  };
  const volumes = Object.assign(Object.create(host) as typeof host, { quieten });
  await startRunner(t, rig, { volumes });
  await createMove(store, doors, WANTED);
  await until('the home has gone', () => rig.routed.route.home !== 'm1');
  t.same(homes, ['m1', 'm1', 'm1'], 'asked until it could be had');
  t.equal(rig.routed.route.home, 'm2');
});

t.test('a home is not given away for a move that is over, whose end has not been heard of', async (t) => {
  const rig = await homeWithoutExtents(t);
  const { host } = rig;
  let isLate = false;
  const store = Object.assign(Object.create(rig.store) as typeof rig.store, {
    watch: (prefix: string, after: number, listener: Parameters<typeof rig.store.watch>[2]) =>
      rig.store.watch(prefix, after, {
        ...listener,
        events: (events) => (isLate ? undefined : listener.events(events)),
      }),
  });
  let isQuiet = false;
  let asked = 0;
  const quieten = (): Promise<boolean> => {
    asked += 1;
    return Promise.resolve(isQuiet);
  };
  const volumes = Object.assign(Object.create(host) as typeof host, { quieten });
  await startRunner(t, rig, { store, volumes });
  const { id } = await createMove(rig.store, doors, WANTED);
  await until('it is asked', () => asked > 0);
  isLate = true;
  await cancelMove(rig.store, systemClock, id);
  isQuiet = true;
  const askedBefore = asked;
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.equal(rig.routed.route.home, 'm1', 'the store says that it is over');
  t.equal(asked, askedBefore + 1, 'and is believed: it is not asked for again');
  t.equal(host.get('v')?.isSurelyHome, true);
});

t.test('a home that cannot be quietened is asked now and then, and the loop goes on', async (t) => {
  const rig = await homeWithoutExtents(t);
  const { store, host, peers } = rig;
  let busy = 1;
  const unit = () => new DiskServer({ device: new RamDevice(512), identity: IDENTITY });
  const access = new AccessServer({
    ...{ disk: unit(), decoder: unit(), volumeId: 1, hub: peers.hub('m1'), clock },
    self: { name: 'm1', incarnation: 'i' },
    home: () => rig.routed.route.home,
    epoch: () => rig.routed.route.epoch,
    mayServe: () => true,
    refresh: (_epoch, done) => void setImmediate(done),
    timesLeftBehind: () => 0,
    busy: () => busy,
    endTasksHere: (done) => done(),
    endTasksElsewhere: (_except, done) => done(true),
  });
  let asked = 0;
  let refused = 0;
  const quieten = async (): Promise<boolean> => {
    asked += 1;
    const isQuiet = await access.quieten();
    if (!isQuiet) refused += 1;
    return isQuiet;
  };
  const volumes = Object.assign(Object.create(host) as typeof host, { quieten });
  await startRunner(t, rig, { volumes });
  await createMove(store, doors, WANTED);
  await until('it is refused twice', () => refused >= 2);
  t.ok(asked >= 2 && asked < 50, `asked ${asked} times`);
  t.equal(host.get('v')?.isSurelyHome, true, 'and serves meanwhile');
  busy = 0;
  await until('the home has gone', () => rig.routed.route.home !== 'm1');
  t.equal(rig.routed.route.home, 'm2', 'until it could be had');
});
