/**
 * Reservations that the members of a group share (I9): what an initiator is granted at one holds at the others when it is
 * answered, is there after a restart, and is not lost with an answer of the store.
 */
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { FENCE_DEADLINE_MS } from '../../lib/base/limits.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { MemoryStore } from '../../lib/group/memory-store.js';
import type { MemberRecord } from '../../lib/group/records.js';
import { keys } from '../../lib/group/records.js';
import { Everywhere } from '../../lib/member/everywhere.js';
import { SharedReservations } from '../../lib/member/shared-reservations.js';
import { PeerStatus } from '../../lib/peer/contract.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { type ScsiNexus, ScsiStatus } from '../../lib/scsi/task.js';
import { FakePeers } from '../support/fake-peers.js';
import { RamDevice } from '../support/ram-device.js';
import { cdb10, hex } from '../support/scsi-rig.js';
import { IDENTITY, nexusOf, RunnerTask, said, scsiRunner } from '../support/scsi-runner.js';
import { sleepMs, turns, until } from '../support/wait.js';

const A = 'a'.repeat(16);
const B = 'b'.repeat(16);
const NONE = '0'.repeat(16);
const CONFLICT = 'status 18';
const BUSY = 'status 8';
const WRITE = cdb10('2a', 0, 0, 1);
const [REGISTER, RESERVE, RELEASE, PREEMPT_AND_ABORT] = [0, 1, 2, 5];
const random = new SeededRandom(9);
/** Than other clocks is that of Everywhere. */
const FASTER = 100;

/** Members m1 and m2 of one group, by what matters here. */
class World {
  readonly store = new MemoryStore({ clock: systemClock, random });
  readonly peers = new FakePeers(random);
  readonly present = new Map<string, string>();
  readonly device = new RamDevice(64 * 512);
  readonly ended: string[] = [];

  constructor(t: Test) {
    t.teardown(() => this.store.close());
    this.peers.deadlineMs = FENCE_DEADLINE_MS / FASTER;
  }

  /** A life of a member, and the unit as it serves it. */
  async start(name: string, incarnation: string, volumeId = 1): Promise<Place> {
    this.present.set(name, incarnation);
    const others = (): MemberRecord[] =>
      [...this.present].filter(([other]) => other !== name).map(([other, life]) => recordOf(other, life));
    const endAbsent = (): Promise<void> => {
      this.ended.push(name);
      return Promise.resolve();
    };
    const everywhere = new Everywhere({
      hub: this.peers.hub(name),
      self: { name, incarnation },
      clock: { ...systemClock, nowMs: () => systemClock.nowMs() * FASTER },
      others,
      mayBeRunning: () => true,
      endAbsent,
    });
    const shared = await SharedReservations.open({
      ...{ store: this.store, clock: systemClock, log: silentLog, incarnation, everywhere },
      endAbsent,
      isThere: (process) => [...this.present.values()].includes(process),
    });
    this.peers.join(name, {
      handle: (request) =>
        void shared.serve(request).catch(() => request.answer(PeerStatus.REFUSED, Buffer.from('thrown'))),
    });
    const reservations = shared.keeperOf('v', volumeId);
    const server = new DiskServer({ device: this.device, identity: IDENTITY, reservations });
    return { shared, server };
  }

  /** @param incarnation the process that has the session, where that is another than the one that serves it */
  at({ server }: Place, name: string, incarnation?: string) {
    const nexus = { ...nexusOf(`iqn.2026-11.test:${name}`), ...(incarnation && { incarnation }) };
    server.nexusBegan(nexus);
    const { run } = scsiRunner(this.device, server);
    const says = async (cdb: string, data = Buffer.alloc(512)): Promise<string> =>
      said(await run(cdb, data, 0, nexus));
    const out = (action: number, key: string, to = NONE, type = 0): Promise<string> =>
      says(
        `5f ${hex(action, 2)} ${hex(type, 2)} 0000 00000018 00`,
        Buffer.from(key + to + '00'.repeat(8), 'hex'),
      );
    const keysThere = async (): Promise<string> =>
      (await run('5e 00 0000000000 1000 00', Buffer.alloc(0), 0, nexus)).dataIn.toString('hex', 8);
    return { nexus, says, out, keysThere };
  }
}

interface Place {
  readonly shared: SharedReservations;
  readonly server: DiskServer;
}

function recordOf(name: string, incarnation: string): MemberRecord {
  const address = { host: '127.0.0.1', port: 1 };
  return { name, portal: address, peer: address, pid: 1, incarnation, startedAtMs: 0 };
}

t.test('what is reserved at one member is reserved at the others when it is answered', async (t) => {
  const world = new World(t);
  const [m1, m2] = [await world.start('m1', 'm1-1'), await world.start('m2', 'm2-1')];
  const [one, two] = [world.at(m1, 'one'), world.at(m2, 'two')];
  t.equal(await two.says(WRITE), 'GOOD');
  t.equal(await one.out(REGISTER, NONE, A), 'GOOD');
  t.equal(await one.out(RESERVE, A, NONE, 1), 'GOOD');
  t.equal(await two.says(WRITE), CONFLICT);
  t.equal(await one.says(WRITE), 'GOOD');
  t.equal(await two.keysThere(), A);
  t.equal(await two.out(REGISTER, NONE, B), 'GOOD');
  t.equal(await two.out(PREEMPT_AND_ABORT, B, A, 1), 'GOOD');
  t.equal(one.nexus.aborts, 1, 'at the other member, before the answer');
  t.ok(
    world.ended.includes('m1') && world.ended.includes('m2'),
    'with what is left of processes that are gone',
  );
  t.equal(await one.says(WRITE), '6/2a/05', 'told there');
  t.equal(await one.says(WRITE), CONFLICT);
  t.equal(await two.says(WRITE), 'GOOD');
});

/** Two members, and a registration by each of them. */
async function twoRegistered(t: Test) {
  const world = new World(t);
  const [m1, m2] = [await world.start('m1', 'm1-1'), await world.start('m2', 'm2-1')];
  const [two, there] = [world.at(m1, 'two'), world.at(m2, 'one')];
  t.equal(await two.out(REGISTER, NONE, B), 'GOOD');
  t.equal(await there.out(REGISTER, NONE, A), 'GOOD');
  return { world, m1, two, there };
}

/** The commands of a nexus that are at the device end when the test says so. */
function endsLate({ nexus }: { nexus: ReturnType<typeof nexusOf> }): () => void {
  const waiting: (() => void)[] = [];
  nexus.abortTasks = function (done) {
    this.aborts += 1;
    waiting.push(done);
  };
  return () => waiting.splice(0).forEach((done) => done());
}

const TWO_DEADLINES_MS = (2 * FENCE_DEADLINE_MS) / FASTER;

t.test('PREEMPT AND ABORT is answered when all has ended, however long that takes', async (t) => {
  const world = new World(t);
  const [m1, m2] = [await world.start('m1', 'm1-1'), await world.start('m2', 'm2-1')];
  const [two, here, there] = [world.at(m1, 'two'), world.at(m1, 'one'), world.at(m2, 'one')];
  t.equal(await two.out(REGISTER, NONE, B), 'GOOD');
  t.equal(await here.out(REGISTER, NONE, A), 'GOOD');
  const ends = endsLate(there);
  let answer = '';
  const answered = two.out(PREEMPT_AND_ABORT, B, A).then((said) => (answer = said));
  await sleepMs(TWO_DEADLINES_MS / 4);
  t.equal(here.nexus.aborts, 1, 'what is at the member itself waits for nobody');
  t.equal(await there.says(WRITE), '6/2a/05');
  t.equal(await there.out(REGISTER, NONE, A), 'GOOD');
  await sleepMs(TWO_DEADLINES_MS);
  t.equal(answer, '');
  t.equal(await there.says(WRITE), 'GOOD', 'told once, however often it is asked');
  t.equal(there.nexus.aborts, 1, 'nor is it what comes later that is aborted');
  ends();
  await answered;
  t.equal(answer, 'GOOD');
  t.equal(there.nexus.aborts, 1);
});

t.test('who is absent by then is ended when PREEMPT AND ABORT begins to end commands', async (t) => {
  const { world, two, there } = await twoRegistered(t);
  const ends = endsLate(there);
  world.ended.length = 0;
  const answered = two.out(PREEMPT_AND_ABORT, B, A);
  await until('m2 has them end', () => there.nexus.aborts === 1);
  t.ok(world.ended.includes('m2'), 'one that comes back meanwhile is not on this list');
  ends();
  t.equal(await answered, 'GOOD');
});

t.test('PREEMPT AND ABORT while the member that has not answered leaves', async (t) => {
  const { world, two, there } = await twoRegistered(t);
  endsLate(there);
  const answered = two.out(PREEMPT_AND_ABORT, B, A);
  await sleepMs(TWO_DEADLINES_MS);
  world.present.delete('m2');
  world.peers.lose('m2');
  t.equal(await answered, 'GOOD');
});

t.test('PREEMPT AND ABORT at a member that stops before it has ended', async (t) => {
  const { m1, two, there } = await twoRegistered(t);
  const ends = endsLate(there);
  const answered = two.out(PREEMPT_AND_ABORT, B, A);
  await sleepMs(TWO_DEADLINES_MS / 4);
  m1.shared.stopAsking();
  t.equal(await answered, 'b/00/00', 'neither done nor BUSY, which says that nothing was');
  ends();
});

t.test('a member that stops asks nobody again', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1', 'm1-1');
  await world.start('m2', 'm2-1');
  let asked = 0;
  world.peers.fate = () => {
    asked += 1;
    return PeerStatus.LINK_LOST;
  };
  const answered = world.at(m1, 'one').out(REGISTER, NONE, A);
  await until('m2 was asked again', () => asked > 1);
  m1.shared.stopAsking();
  t.equal(await answered, 'b/00/00');
  const before = asked;
  await sleepMs(TWO_DEADLINES_MS / 4);
  t.ok(asked <= before + 1, 'but for what was on its way');
});

t.test('it is there after a restart of all, and at the home that comes', async (t) => {
  const world = new World(t);
  const one = world.at(await world.start('m1', 'm1-1'), 'one');
  await one.out(REGISTER, NONE, A);
  await one.out(RESERVE, A, NONE, 3);
  world.present.clear();
  const again = await world.start('m1', 'm1-2');
  const other = await world.start('m2', 'm2-2');
  t.equal(await world.at(again, 'two').says(WRITE), CONFLICT);
  t.equal(await world.at(other, 'two').says(WRITE), CONFLICT);
  t.equal(await world.at(other, 'one').says(WRITE), 'GOOD', 'the same initiator port, elsewhere');
  const anew = await world.start('m2', 'm2-3', 2);
  t.equal(await world.at(anew, 'two').says(WRITE), 'GOOD', 'but not for a volume made anew under that name');
});

t.test('RESERVE ends with the session, and with the member that had it', async (t) => {
  const world = new World(t);
  const [m1, m2] = [await world.start('m1', 'm1-1'), await world.start('m2', 'm2-1')];
  const [one, two] = [world.at(m1, 'one'), world.at(m2, 'two')];
  const reserved = async (): Promise<boolean> => (await two.says(WRITE)) === CONFLICT;
  t.equal(await one.says('16 00 00 00 00 00'), 'GOOD');
  t.equal(await reserved(), true);
  m1.server.nexusEnded(one.nexus);
  await until('the reservation ends', async () => !(await reserved()));
  t.equal(await reserved(), false);
  m1.server.nexusBegan(one.nexus);
  t.equal(await one.says('16 00 00 00 00 00'), 'GOOD');
  world.present.delete('m1');
  world.peers.lose('m1');
  t.equal(await reserved(), true, 'until it is known to be gone');
  m2.shared.memberLeft();
  await until('the reservation ends', async () => !(await reserved()));
  t.equal(await reserved(), false);
});

const RESERVE_UNIT = '16 00 00 00 00 00';
const RELEASE_UNIT = '17 00 00 00 00 00';

async function isFree(other: { says(cdb: string): Promise<string> }): Promise<boolean> {
  for (let i = 0; i < 50; i++) {
    if ((await other.says(WRITE)) === 'GOOD') return true;
    await sleepMs(10);
  }
  return false;
}

t.test('RESERVE ends with the process that had it, also where its name is taken over at once', async (t) => {
  const world = new World(t);
  const [m1, m2] = [await world.start('m1', 'm1-1'), await world.start('m2', 'm2-1')];
  const [one, two] = [world.at(m1, 'one'), world.at(m2, 'two')];
  t.equal(await one.says(RESERVE_UNIT), 'GOOD');
  t.equal(await two.says(WRITE), CONFLICT);
  await world.start('m1', 'm1-2');
  t.equal(await isFree(two), true, 'whoever reads it first releases it');
});

t.test('who keeps its session is told that others have released its RESERVE', async (t) => {
  const world = new World(t);
  const [m1, m2] = [await world.start('m1', 'm1-1'), await world.start('m2', 'm2-1')];
  const [one, two] = [world.at(m1, 'one'), world.at(m2, 'two')];
  t.equal(await one.says(RESERVE_UNIT), 'GOOD');
  world.present.delete('m1');
  m2.shared.memberLeft();
  t.equal(await isFree(two), true);
  world.present.set('m1', 'm1-1');
  await m1.shared.records.refresh();
  t.equal(await one.says(WRITE), '6/2a/04');
  t.equal(await one.says(WRITE), 'GOOD', 'once');
});

t.test('what a session, or its end, releases itself is no news to it', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1', 'm1-1');
  await world.start('m2', 'm2-1');
  const one = world.at(m1, 'one');
  t.equal(await one.says(RESERVE_UNIT), 'GOOD');
  t.equal(await one.says(RELEASE_UNIT), 'GOOD');
  t.equal(await one.says(WRITE), 'GOOD');
  t.equal(await one.says(RESERVE_UNIT), 'GOOD');
  m1.server.nexusEnded(one.nexus);
  m1.server.nexusBegan(one.nexus);
  await until('the store has it', async () => {
    const entry = await world.store.get(keys.reservation('v'));
    return entry?.value.includes('"reservedBy":null') === true;
  });
  await sleepMs(20);
  t.equal(await one.says(WRITE), 'GOOD');
});

t.test('RESERVE of a process that is gone by the time others hear of it', async (t) => {
  const world = new World(t);
  const two = world.at(await world.start('m2', 'm2-1'), 'two');
  const value = { volumeId: 1, generation: 0, aptpl: false, registrations: [], persistent: null };
  const reserve = (at: string): Promise<unknown> => {
    const record = { ...value, reservedBy: 'iqn.2026-11.test:one,i,0x1', reservedAt: at };
    return world.store.txn([], [{ put: keys.reservation('v'), value: JSON.stringify(record) }]);
  };
  await world.store.txn([], [{ put: keys.member('m3'), value: JSON.stringify(recordOf('m3', 'm3-1')) }]);
  await reserve('m3-1');
  await sleepMs(100);
  t.equal(await two.says(WRITE), CONFLICT, 'one that is there, and was not heard of yet, keeps it');
  await reserve('m1-1');
  t.equal(await isFree(two), true);
});

t.test('RESERVE ends with its session though the store is away just then', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1', 'm1-1');
  const [one, two] = [world.at(m1, 'one'), world.at(m1, 'two')];
  const { get } = world.store;
  const away = (): void => void (world.store.get = () => Promise.reject(new Error('away')));
  t.equal(await one.says(RESERVE_UNIT), 'GOOD');
  away();
  m1.server.nexusEnded(one.nexus);
  t.equal(await two.says(WRITE), 'GOOD', 'it holds here at once');
  await sleepMs(50);
  world.store.get = get;
  await until('the store has it', async () => {
    const entry = await get.call(world.store, keys.reservation('v'));
    return entry?.value.includes('"reservedBy":null') === true;
  });
  t.equal(await two.says(WRITE), 'GOOD');
  m1.server.nexusBegan(one.nexus);
  t.equal(await one.says(RESERVE_UNIT), 'GOOD');
  away();
  m1.server.nexusEnded(one.nexus);
  await sleepMs(20);
  m1.server.nexusBegan(one.nexus);
  const again = one.says(RESERVE_UNIT);
  await sleepMs(20);
  world.store.get = get;
  t.equal(await again, BUSY, 'nothing is done before it');
  await sleepMs(200);
  t.equal(await one.says(RESERVE_UNIT), 'GOOD');
  t.equal(await two.says(WRITE), CONFLICT, 'what the next session was given is not what ends');
  away();
  let asked = 0;
  m1.server.nexusEnded(one.nexus);
  await sleepMs(20);
  m1.shared.close();
  world.store.get = () => Promise.reject(new Error(`away ${(asked += 1)}`));
  await sleepMs(300);
  t.equal(asked, 0, 'a member that has stopped asks for nothing');
});

/** A command begun, and its end, as a transport brings that about. */
function begin({ server }: Place, { nexus }: { nexus: ScsiNexus }, cdb: string, dataOut: Buffer) {
  const task = new RunnerTask();
  task.cdb = Buffer.concat([Buffer.from(cdb.replaceAll(' ', ''), 'hex'), Buffer.alloc(10)]);
  task.nexus = nexus;
  task.expectedDataOutBytes = dataOut.length;
  if (server.prepare(task) !== 'control') throw new Error('it was refused');
  task.dataOut = dataOut;
  server.execute(task);
  const end = (): void => {
    task.markEnding();
    if (task.letGo === null) return;
    task.letGo();
    task.finish(ScsiStatus.TASK_ABORTED, null);
  };
  return { task, end };
}

for (const [name, cdb, dataOut] of [
  ['RESERVE', RESERVE_UNIT, Buffer.alloc(0)],
  ['PERSISTENT RESERVE OUT', '5f 00 00 0000 00000018 00', Buffer.alloc(24).fill(1, 8, 16)],
] as const) {
  t.test(`${name} ends with its session while a member cannot be reached`, async (t) => {
    const world = new World(t);
    const m1 = await world.start('m1', 'm1-1');
    await world.start('m2', 'm2-1');
    world.peers.fate = () => PeerStatus.LINK_LOST;
    t.teardown(() => m1.shared.close());
    const one = world.at(m1, 'one');
    const isWritten = async (): Promise<boolean> =>
      (await world.store.get(keys.reservation('v')))?.value.includes('iqn.2026-11.test:one') === true;

    const late = begin(m1, one, cdb, dataOut);
    await until('it is written', isWritten);
    await turns();
    t.strictSame(late.task.outcomes, [], 'it is not answered before everybody goes by it');
    late.end();
    t.match(late.task.outcomes, [{ status: ScsiStatus.TASK_ABORTED }]);
  });

  t.test(`${name} ends with a session that has ended before it is written`, async (t) => {
    const world = new World(t);
    const m1 = await world.start('m1', 'm1-1');
    await world.start('m2', 'm2-1');
    world.peers.fate = () => PeerStatus.LINK_LOST;
    t.teardown(() => m1.shared.close());
    const txn = world.store.txn.bind(world.store);
    let write = (): void => undefined;
    const mayWrite = new Promise<void>((resolve) => (write = resolve));
    world.store.txn = (...asked) => mayWrite.then(() => txn(...asked));
    const early = begin(m1, world.at(m1, 'one'), cdb, dataOut);
    await turns();
    early.end();
    t.strictSame(early.task.outcomes, [], 'it may still be refused, and is to be kept, or not');
    write();
    await until('it ends', () => early.task.outcomes.length > 0, 2_000);
    await turns();
    t.match(early.task.outcomes, [{ status: ScsiStatus.TASK_ABORTED }], 'once');
    t.equal(early.task.outcomes.length, 1);
  });
}

t.test('a reset that cannot end RESERVE says so', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1', 'm1-1');
  const [one, two] = [world.at(m1, 'one'), world.at(m1, 'two')];
  const reset = (): Promise<boolean> => new Promise((resolve) => m1.server.reset(resolve));
  t.equal(await one.says(RESERVE_UNIT), 'GOOD');
  const { get } = world.store;
  world.store.get = () => Promise.reject(new Error('away'));
  t.equal(await reset(), false);
  world.store.get = get;
  t.equal(await reset(), true);
  t.equal(await two.says(WRITE), '6/29/03');
  t.equal(await two.says(WRITE), 'GOOD');
});

t.test('RESERVE is of the process that has the session, wherever the home is', async (t) => {
  const world = new World(t);
  const [m1, m3] = [await world.start('m1', 'm1-1'), await world.start('m3', 'm3-1')];
  world.present.set('m2', 'm2-1');
  world.peers.join('m2', { handle: (request) => request.answer(PeerStatus.OK) });
  const visitor = world.at(m1, 'one', 'm2-1');
  const three = world.at(m3, 'three');
  t.equal(await visitor.says('16 00 00 00 00 00'), 'GOOD', 'at m1, of a session at m2');
  m1.server.nexusLeft(visitor.nexus); // the home goes to m3
  world.present.delete('m1');
  m3.shared.memberLeft();
  await sleepMs(50);
  t.equal(await three.says(WRITE), CONFLICT, 'where the home was when it came is nobody');
  const after = world.at(m3, 'one', 'm2-1');
  t.equal(await after.says(WRITE), 'GOOD');
  world.present.delete('m2');
  m3.shared.memberLeft();
  await sleepMs(50);
  t.equal(await three.says(WRITE), 'GOOD');
});

t.test('RESERVE does not end with a nexus of the same initiator port at another member', async (t) => {
  const world = new World(t);
  const [m1, m2] = [await world.start('m1', 'm1-1'), await world.start('m2', 'm2-1')];
  const [one, visitor] = [world.at(m1, 'one'), world.at(m1, 'one', 'm2-1')];
  const [there, other] = [world.at(m2, 'one'), world.at(m1, 'other')];
  const ends = async ({ server }: Place, { nexus }: typeof one): Promise<string> => {
    server.nexusEnded(nexus);
    await new Promise((resolve) => setTimeout(resolve, 50));
    return other.says(WRITE);
  };
  t.equal(await one.says('16 00 00 00 00 00'), 'GOOD');
  t.equal(await ends(m2, there), CONFLICT);
  t.equal(await ends(m1, visitor), CONFLICT);
  t.equal(await ends(m1, one), 'GOOD');
  m1.server.nexusBegan(one.nexus);
  m1.server.nexusBegan(visitor.nexus);
  t.equal(await one.says('16 00 00 00 00 00'), 'GOOD');
  t.equal(await visitor.says('16 00 00 00 00 00'), 'GOOD', 'of two from one port');
  t.equal(await ends(m1, one), CONFLICT, 'the last to ask has it');
  t.equal(await ends(m1, visitor), 'GOOD');
  m1.server.nexusBegan(one.nexus);
  m1.server.nexusBegan(visitor.nexus);
  t.equal(await one.says('16 00 00 00 00 00'), 'GOOD');
  t.equal(await ends(m1, one), 'GOOD', 'the other does not keep it');
});

t.test('a RESERVE right behind the end of the session that had it, with a slow store', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1', 'm1-1');
  const [one, two] = [world.at(m1, 'one'), world.at(m1, 'two')];
  t.equal(await one.says('16 00 00 00 00 00'), 'GOOD');
  const txn = world.store.txn.bind(world.store);
  world.store.txn = async (...asked) => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    return txn(...asked);
  };
  m1.server.nexusEnded(one.nexus);
  t.equal(await two.says('16 00 00 00 00 00'), 'GOOD');
  t.equal(await two.says('16 00 00 00 00 00'), 'GOOD');
  m1.server.nexusBegan(one.nexus);
  t.equal(await one.says('16 00 00 00 00 00'), CONFLICT);
});

t.test('a store that does not answer, or whose answer is lost', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1', 'm1-1');
  const one = world.at(m1, 'one');
  const { txn, get } = world.store;
  world.store.get = () => Promise.reject(new Error('away'));
  t.equal(await one.out(REGISTER, NONE, A), BUSY, 'nothing was done');
  world.store.get = get;
  t.equal(await one.keysThere(), '');
  world.store.txn = async (compares, operations) => {
    world.store.txn = txn;
    await world.store.txn(compares, operations);
    throw new Error('the answer was lost');
  };
  t.equal(await one.out(REGISTER, NONE, A), 'GOOD', 'it was done');
  world.store.txn = () => {
    world.store.txn = txn;
    return Promise.reject(new Error('it never came there'));
  };
  t.equal(await one.out(RESERVE, A, NONE, 1), 'GOOD', 'and tried again where it was not');
  t.equal(await one.keysThere(), A);
  t.equal(await one.out(RELEASE, A, NONE, 1), 'GOOD');
});

t.test('two that change the same at once both have what they asked for', async (t) => {
  const world = new World(t);
  const [m1, m2] = [await world.start('m1', 'm1-1'), await world.start('m2', 'm2-1')];
  const all = ['a', 'b', 'c', 'd', 'e', 'f'].map((name, i) => world.at(i % 2 === 0 ? m1 : m2, name));
  const answers = await Promise.all(all.map((one, i) => one.out(REGISTER, NONE, String(i + 1).repeat(16))));
  t.same(
    answers,
    answers.map(() => 'GOOD'),
  );
  const entry = await world.store.get(keys.reservation('v'));
  t.equal((JSON.parse(entry?.value ?? '{}') as { generation: number }).generation, 6);
  t.equal((await all[0]?.keysThere())?.length, 6 * 16);
});

t.test('a late answer of the store, or a record that is wrong, releases nothing', async (t) => {
  const world = new World(t);
  const [m1, m2] = [await world.start('m1', 'm1-1'), await world.start('m2', 'm2-1')];
  const [one, two] = [world.at(m1, 'one'), world.at(m2, 'two')];
  const { get } = world.store;
  const before = await world.store.get(keys.reservation('v'));
  t.equal(await one.out(REGISTER, NONE, A), 'GOOD');
  t.equal(await one.out(RESERVE, A, NONE, 3), 'GOOD');
  world.store.get = () => Promise.resolve(before);
  await m2.shared.records.read('v');
  world.store.get = get;
  t.equal(await two.says(WRITE), CONFLICT, 'what was asked for before there was one');
  await world.store.txn([], [{ put: keys.reservation('v'), value: '{"no":"record"}' }]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(await two.says(WRITE), CONFLICT);
});
