/**
 * Commands on their way to the home of a unit, over peers that lose them on purpose: what is done once, what is done again,
 * and what is said to be in doubt; and homes that move under them.
 */
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { AccessServer } from '../../lib/access/access-server.js';
import { HomeService } from '../../lib/access/home-service.js';
import type { BlockIo } from '../../lib/block/device.js';
import { CONNECTIONS_MAX } from '../../lib/base/limits.js';
import { PeerStatus, PeerType, type IncomingRequest, type PeerRequest } from '../../lib/peer/contract.js';
import { SeededRandom } from '../../lib/base/random.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { KeptUnitState, UnitMemory } from '../../lib/scsi/kept-state.js';
import type { Office } from '../../lib/scsi/office.js';
import { FakePeers } from '../support/fake-peers.js';
import { RamDevice } from '../support/ram-device.js';
import { decodeScsiResponse } from '../../lib/iscsi/wire/scsi.js';
import { Opcode } from '../../lib/iscsi/wire/opcodes.js';
import { cdb10 } from '../support/scsi-rig.js';
import { IDENTITY, nexusOf, said, scsiRunner, type Runner } from '../support/scsi-runner.js';
import { read10 } from '../support/target-initiator.js';
import { IQN, TargetRig } from '../support/target-rig.js';
import { until } from '../support/wait.js';

const WRITE = cdb10('2a', 0, 8, 1);
const READ = cdb10('28', 0, 8, 1);
const READY = '00 00 00 00 00 00';
const BUSY = 'status 8';
const STATE_CHANGED = '6/2a/06';
const block = (byte: number): Buffer => Buffer.alloc(512, byte);

/** A disk that all members hold in common, which can keep writes waiting, and counts them. */
class CommonDisk extends RamDevice {
  writes = 0;
  held: (() => void)[] | null = null;

  override submit(io: BlockIo): void {
    if (io.op === 'write') this.writes += 1;
    if (this.held !== null && io.op === 'write') this.held.push(() => super.submit(io));
    else super.submit(io);
  }

  release(): void {
    const held = this.held ?? [];
    this.held = null;
    for (const go of held) go();
  }
}

class World {
  readonly peers = new FakePeers(new SeededRandom(3));
  readonly disk = new CommonDisk(1024 * 512);
  /** By the store; each member knows it as of some epoch. */
  home = 'm1';
  epoch = 1;
  /** Skips a clock to the end of anybody's patience. */
  readonly clock = { ...systemClock, nowMs: () => systemClock.nowMs() * this.haste };
  haste = 1;
  readonly members = new Map<string, Place>();
  /** What all members know of the unit. */
  readonly facts = new UnitMemory();

  start(name: string): Place {
    const place = new Place(this, name);
    this.members.set(name, place);
    return place;
  }

  /** The commit of a new home, of which nobody has heard yet. */
  move(to: string): void {
    this.home = to;
    this.epoch += 1;
  }
}

/** The unit at one member. */
class Place {
  readonly access: AccessServer;
  knownHome: string;
  knownEpoch: number;
  hasLease = true;
  timesLeftBehind = 0;
  busy = 0;
  readonly ended: string[] = [];
  /** Lets in who waits; whoever comes later enters at once. */
  openOffice: (() => void)[] | null = null;
  private readonly office: Office = {
    enter: (entered) => (this.openOffice === null ? entered() : void this.openOffice.push(entered)),
    leave: () => undefined,
  };
  private readonly service: HomeService;

  constructor(
    readonly world: World,
    readonly name: string,
  ) {
    const { peers, disk, clock } = world;
    this.knownHome = world.home;
    this.knownEpoch = world.epoch;
    peers.incarnations.set(name, `${name}-1`);
    const state = new KeptUnitState(world.facts);
    const unit = new DiskServer({ device: disk, identity: IDENTITY, state, office: this.office });
    const decoder = new DiskServer({ device: disk, identity: IDENTITY });
    this.access = new AccessServer({
      ...{ disk: unit, decoder, volumeId: 1, hub: peers.hub(name), clock },
      self: { name, incarnation: `${name}-1` },
      home: () => this.knownHome,
      epoch: () => this.knownEpoch,
      mayServe: () => this.hasLease,
      refresh: (_epoch, done) => {
        this.hear();
        setImmediate(done);
      },
      timesLeftBehind: () => this.timesLeftBehind,
      busy: () => this.busy,
      endTasksHere: (done) => done(),
      endTasksElsewhere: (except, done) => {
        this.ended.push(except);
        done(true);
      },
    });
    this.access.stand(this.knownHome === name ? 'here' : 'elsewhere');
    const units = {
      accessOf: (id: number) => (id === 1 ? this.access : undefined),
      mayServe: () => this.hasLease,
      refresh: (_id: number, done: () => void) => {
        this.hear();
        done();
      },
    };
    this.service = new HomeService(units, `${name}-1`);
    this.serve();
  }

  /** Its peers reach it. */
  serve(): void {
    this.world.peers.join(this.name, { handle: (request) => void this.service.handle(request) });
  }

  /** The route comes here. */
  hear(): void {
    this.knownHome = this.world.home;
    this.knownEpoch = this.world.epoch;
    this.access.stand(this.knownHome === this.name ? 'here' : 'elsewhere');
  }

  session(initiator: string): {
    run: Runner['run'];
    says: (cdb: string, data?: Buffer) => Promise<string>;
    /** Of the last command, its transport waits for the end alone. */
    stop(): void;
    end(): Promise<void>;
  } {
    const nexus = nexusOf(`iqn.2026-11.test:${initiator}`);
    const device = this.access.nexusBegan(nexus);
    const { run, last } = scsiRunner(device, this.access);
    return {
      run,
      stop: () => last().markEnding(),
      says: async (cdb, data) => said(await run(cdb, data, 0, nexus)),
      end: () => new Promise((resolve) => this.access.nexusEnded(nexus, resolve)),
    };
  }
}

function twoMembers(): { world: World; home: Place; other: Place } {
  const world = new World();
  return { world, home: world.start('m1'), other: world.start('m2') };
}

const turns = async (count = 30): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

const soon = (): Promise<string> => new Promise((resolve) => setTimeout(resolve, 100, 'still under way'));

/** Breaks the link under the next requests of a type. */
function breakLink(world: World, type: number, times: number): void {
  world.peers.fate = (_member: string, request: PeerRequest) => {
    if (request.type !== type || times === 0) return null;
    times -= 1;
    return PeerStatus.LINK_LOST;
  };
}

t.test('a WRITE whose link breaks is said to be in doubt, and never sent again', async (t) => {
  const { world, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(WRITE, block(1)), 'GOOD');
  breakLink(world, PeerType.COMMAND_WRITE, 1);
  const before = world.disk.writes;
  t.equal(await session.says(WRITE, block(2)), BUSY);
  t.equal(world.disk.writes, before);
  t.equal(await session.says(WRITE, block(3)), 'GOOD', 'the initiator may');
  t.equal(world.disk.writes, before + 1);
});

t.test('so is one that is carried out all the same, once', async (t) => {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  world.disk.held = [];
  const writing = session.says(WRITE, block(2));
  await turns();
  world.peers.lose('m1');
  home.serve();
  const pause = new Promise((resolve) => setTimeout(resolve, 100, 'still under way'));
  t.equal(await Promise.race([writing, pause]), 'still under way');
  world.disk.release();
  t.equal(await writing, BUSY);
  t.equal(world.disk.writes, 1);
});

t.test('not before the home has ended what the link had brought', async (t) => {
  const { world, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  let isBack = false;
  world.peers.fate = (_member, { type }) => {
    if (type === PeerType.COMMAND_ENDS) return isBack ? null : PeerStatus.LINK_LOST;
    return type === PeerType.COMMAND_WRITE ? PeerStatus.LINK_LOST : null;
  };
  let answer = '';
  const writing = session.says(WRITE, block(2)).then((outcome) => (answer = outcome));
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.equal(answer, '', 'it may still be under way');
  isBack = true;
  t.equal(await writing, BUSY);
});

t.test('nor is it overtaken by that while the home reads its route', async (t) => {
  const { world, home, other } = twoMembers();
  t.equal(await other.session('a').says(READY), 'GOOD');
  const reads: (() => void)[] = [];
  const units = {
    accessOf: () => home.access,
    mayServe: () => true,
    refresh: (_id: number, done: () => void) => void reads.push(done),
  };
  const service = new HomeService(units, 'm1-1');
  const answers: string[] = [];
  const send = (name: string, fields: Partial<IncomingRequest>): void => {
    service.handle({
      ...{ from: 'm2', incarnation: 'm2-1', token: 1, volumeId: 1, extent: 1, epoch: 2 },
      ...{ offsetBytes: 0, lengthBytes: 512, fua: false, payload: block(0), type: 0 },
      allocateAnswer: () => Buffer.alloc(512),
      takesMapped: false,
      answerMapped: () => undefined,
      answer: (status) => void answers.push(`${name} ${status}`),
      ...fields,
    });
  };
  const { COMMAND_WRITE, COMMAND_ENDS } = PeerType;
  send('first', { type: COMMAND_WRITE, payload: block(1) });
  home.knownEpoch = 2; // the watch is faster
  send('ends', { type: COMMAND_ENDS });
  send('second', { type: COMMAND_WRITE, payload: block(2), extent: 2 });
  send('third', { type: COMMAND_WRITE, payload: block(3), extent: 3, epoch: 3 });
  send('fourth', { type: COMMAND_WRITE, payload: block(4), extent: 4 });
  t.same(answers, []);
  reads.shift()?.();
  t.same(answers, ['first 0', 'ends 0', 'second 0']);
  t.equal(world.disk.bytes[0], 2);
  t.equal(reads.length, 1, 'the third knows of a later route');
  reads.shift()?.();
  t.same(answers.slice(3), ['third 0', 'fourth 0']);
  t.equal(world.disk.bytes[0], 4);
  send('fifth', { type: COMMAND_WRITE });
  t.equal(answers.length, 6, 'nobody waits any more');
});

t.test('a READ whose link breaks is sent again; a home that stays away makes it BUSY', async (t) => {
  const { world, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(WRITE, block(5)), 'GOOD');
  breakLink(world, PeerType.COMMAND_READ, 2);
  const { status, dataIn } = await session.run(READ, undefined, 0, nexusOf('iqn.2026-11.test:a'));
  t.equal(status, 0);
  t.equal(dataIn[0], 5);
  world.peers.lose('m1');
  world.haste = 1000;
  t.equal(await session.says(READ), BUSY);
});

t.test(
  'a home finishes what it has begun before it goes; what comes meanwhile is done once, at the next',
  async (t) => {
    const { world, home, other } = twoMembers();
    const third = world.start('m3');
    const session = third.session('a');
    const atHome = home.session('b');
    t.equal(await session.says(READY), 'GOOD');
    world.disk.held = [];
    const first = session.says(WRITE, block(1));
    await turns();
    t.equal(world.disk.held.length, 1);
    home.access.stand('held');
    let isQuiet = false;
    const quiet = home.access.quieten().then((done) => (isQuiet = done));
    const second = session.says(cdb10('2a', 0, 9, 1), block(2));
    const third_ = atHome.says(cdb10('2a', 0, 10, 1), block(3));
    home.busy = 1; // its own session's command waits here
    await turns();
    t.equal(isQuiet, false, 'the first is still under way');
    world.disk.release();
    t.equal(await first, 'GOOD');
    await quiet;
    t.equal(isQuiet, true);
    t.equal(world.disk.writes, 1, 'nothing else was begun');
    world.move('m2');
    home.hear();
    home.busy = 0;
    t.equal(await second, STATE_CHANGED, 'at the new home');
    t.equal(await third_, STATE_CHANGED);
    t.equal(await session.says(cdb10('2a', 0, 9, 1), block(2)), 'GOOD');
    t.equal(world.disk.writes, 2);
    t.equal(other.access.standing, 'here');
  },
);

t.test('a home that cannot finish in time goes on, and is left in peace for a while', async (t) => {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  world.disk.held = [];
  const writing = session.says(WRITE, block(1));
  await turns();
  world.haste = 200;
  home.access.stand('held');
  t.equal(await home.access.quieten(), false);
  home.access.stand('here');
  world.disk.release();
  t.equal(await writing, 'GOOD');
  home.access.stand('held');
  world.haste = 200;
  t.equal(await home.access.quieten(), false, 'nothing is under way, but it was tried just now');
  home.access.stand('here');
  t.equal(await session.says(READY), 'GOOD', 'nothing has happened to the unit');
});

t.test('what was begun without the group is not done behind its back (I8)', async (t) => {
  const { world, other } = twoMembers();
  const old = other.session('a');
  t.equal(await old.says(WRITE, block(1)), 'GOOD');
  other.hasLease = false;
  t.equal(await old.says(WRITE, block(2)), BUSY, 'no lease');
  other.hasLease = true;
  other.timesLeftBehind += 1;
  t.equal(await old.says(WRITE, block(3)), BUSY, 'its session is from before');
  t.equal(world.disk.writes, 1);
  t.equal(await other.session('a').says(WRITE, block(4)), 'GOOD');
});

t.test('an abort does not wait until it is known who is home', async (t) => {
  const { home } = twoMembers();
  const nexus = nexusOf('iqn.2026-11.test:a');
  const device = home.access.nexusBegan(nexus);
  home.access.stand('held');
  const { submitAndWait, BlockIo: Io } = await import('../../lib/block/device.js');
  let isWanted = true;
  const outcome = new Promise<string>((resolve) => {
    class Unwanted extends Io {
      override get isWanted(): boolean {
        return isWanted;
      }
      protected override completed(error: Error | null): void {
        resolve(error === null ? 'done' : 'refused');
      }
    }
    device.submit(new Unwanted().prepare('read', 0, 512, block(0)));
  });
  isWanted = false;
  t.equal(await outcome, 'refused');
  home.access.stand('here');
  await submitAndWait(device, 'read', 0, 512, block(0));
});

t.test('sessions that have ended are forgotten, also where that was not heard', async (t) => {
  const { world, home, other } = twoMembers();
  const [one, two] = [other.session('a'), other.session('b')];
  t.equal(await one.says(READY), 'GOOD');
  t.equal(await two.says(READY), 'GOOD');
  const sender = (token: number) => ({ from: 'm2', incarnation: 'm2-1', token });
  t.ok(home.access.visitors.find(sender(1)));
  await one.end();
  t.notOk(home.access.visitors.find(sender(1)));
  world.peers.fate = (_member, { type }) => (type === PeerType.NEXUS_ENDED ? PeerStatus.LINK_LOST : null);
  void two.end();
  await turns();
  t.ok(home.access.visitors.find(sender(2)));
  t.equal(await other.session('c').says(READY), 'GOOD');
  t.notOk(home.access.visitors.find(sender(2)), 'the next one tells');
  home.access.visitors.gone({ name: 'm2', incarnation: 'm2-0' });
  t.ok(home.access.visitors.find(sender(3)), 'it is of the process that has the name now');
  home.access.visitors.gone({ name: 'm2', incarnation: 'm2-1' });
  t.notOk(home.access.visitors.find(sender(3)));
});

t.test('the end of a session does not wait for a home that is out of reach', async (t) => {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(WRITE, block(1)), 'GOOD');
  world.peers.lose('m1');
  t.equal(await Promise.race([session.end().then(() => 'over'), soon()]), 'over');
  const sender = { from: 'm2', incarnation: 'm2-1', token: 1 };
  t.ok(home.access.visitors.find(sender));
  home.serve();
  await soon();
  t.notOk(home.access.visitors.find(sender), 'which is told all the same');
});

t.test('one whose introduction was not answered is told of its end', async (t) => {
  const { world, home, other } = twoMembers();
  let isLost = false;
  world.peers.fate = (_member, { type }) => {
    // The home has heard of it; its answer does not come.
    if (type === PeerType.NEXUS_BEGAN && !isLost) setImmediate(() => world.peers.lose('m1'));
    isLost ||= type === PeerType.NEXUS_BEGAN;
    return null;
  };
  const session = other.session('a');
  const saying = session.says(READY);
  const sender = { from: 'm2', incarnation: 'm2-1', token: 1 };
  while (!isLost) await turns(1);
  await turns();
  t.ok(home.access.visitors.find(sender));
  await session.end();
  t.equal(await saying, BUSY);
  home.serve();
  await soon();
  t.notOk(home.access.visitors.find(sender));
});

t.test('but where a command may be under way there (I8)', async (t) => {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  world.peers.lose('m1');
  world.haste = 1000;
  t.equal(await session.says(WRITE, block(1)), BUSY);
  world.haste = 1;
  let isOver = false;
  const over = session.end().then(() => (isOver = true));
  await soon();
  t.equal(isOver, false);
  home.serve();
  t.equal(await over, true);
});

/** A mode parameter header, and the caching page with WCE off. */
const WRITE_THROUGH = Buffer.from(`000000000812${'00'.repeat(18)}`, 'hex');

/** The FUA of each write that comes to the disk. */
function fuasOf({ disk }: World): boolean[] {
  const fuas: boolean[] = [];
  const submit = disk.submit.bind(disk);
  disk.submit = (io) => {
    if (io.op === 'write') fuas.push(io.fua);
    submit(io);
  };
  return fuas;
}

t.test('a write that the home has to make durable is (WCE 0), whoever asks where', async (t) => {
  const { world, home, other } = twoMembers();
  const fuas = fuasOf(world);
  t.equal(await home.session('b').says('15 10 00 00 18 00', WRITE_THROUGH), 'GOOD');
  t.equal(await other.session('a').says(READY), 'GOOD');
  t.equal(await other.session('a').says(WRITE, block(1)), 'GOOD');
  t.same(fuas, [true]);
});

t.test('a home waits for the commands of its own sessions, too', async (t) => {
  const { home } = twoMembers();
  home.busy = 1;
  home.access.stand('held');
  let isQuiet = false;
  const quiet = home.access.quieten().then((done) => (isQuiet = done));
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.equal(isQuiet, false);
  home.busy = 0;
  await quiet;
  t.equal(isQuiet, true);
});

t.test('a home does not wait for what waits for other members, which may wait for it', async (t) => {
  const { home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  const { reservations } = home.access.disk.unit;
  const change = reservations.change.bind(reservations);
  let everybodyHasHeard = (): void => undefined;
  reservations.change = (...asked) => void (everybodyHasHeard = () => change(...asked));
  const reserving = session.says('16 00 00 00 00 00');
  await turns();
  home.access.stand('held');
  const quiet = home.access.quieten().then(() => 'quiet');
  t.equal(await Promise.race([quiet, soon()]), 'quiet');
  home.access.stand('elsewhere');
  everybodyHasHeard();
  t.equal(await reserving, 'GOOD', 'it ends where it began');
});

t.test('but for SANITIZE it does', async (t) => {
  const { home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  const inside: (() => void)[] = [];
  home.openOffice = inside;
  const erasing = session.says('48 82 0000 0000 0000 00 00');
  await turns();
  t.equal(inside.length, 1);
  home.access.stand('held');
  const quiet = home.access.quieten().then(() => 'quiet');
  t.equal(await Promise.race([quiet, soon()]), 'still under way');
  for (const entered of inside) entered();
  t.equal(await erasing, 'GOOD');
  t.equal(await quiet, 'quiet');
});

t.test('a home that comes takes over the unit as it was left', async (t) => {
  const { world, home, other } = twoMembers();
  const session = home.session('a');
  const fuas = fuasOf(world);
  t.equal(await session.says('15 10 00 00 18 00', WRITE_THROUGH), 'GOOD');
  t.equal(await session.says(WRITE, block(1)), 'GOOD');
  for (const to of ['m2', 'm1']) {
    world.move(to);
    home.hear();
    other.hear();
  }
  t.equal(await session.says(READY), STATE_CHANGED);
  t.equal(await session.says(WRITE, block(1)), 'GOOD');
  t.same(fuas, [true, true]);
});

t.test('a fence waits for what absent members had sent, and for nothing else (I8)', async (t) => {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  world.disk.held = [];
  const writing = session.says(WRITE, block(1));
  await turns();
  const { visitors } = home.access;
  await visitors.endAbsent([{ name: 'm2', incarnation: 'm2-1' }]);
  visitors.gone({ name: 'm2', incarnation: 'm2-1' });
  let isOver = false;
  const over = visitors.endAbsent([{ name: 'm2', incarnation: 'm2-2' }]).then(() => (isOver = true));
  await turns();
  t.equal(isOver, false, 'though its session is forgotten');
  world.disk.release();
  await over;
  t.equal(await writing, 'GOOD');
});

t.test('what takes long at the home stops when nobody waits for it any more', async (t) => {
  const { world, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  world.disk.held = [];
  const writing = session.says(cdb10('41', 0, 0, 1024), block(7)); // WRITE SAME
  await turns();
  session.stop();
  await turns();
  world.disk.release();
  t.equal(await writing, 'b/00/00');
});

const COMPARE_AND_WRITE = '89 00 0000000000000008 000000 01 00 00';

t.test('what waits at a home for other members is let go with its process, undone', async (t) => {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  const inside: (() => void)[] = [];
  home.openOffice = inside;
  const swapping = session.says(COMPARE_AND_WRITE, Buffer.concat([block(0), block(1)]));
  await turns();
  t.equal(inside.length, 1);
  await home.access.visitors.endAbsent([{ name: 'm2', incarnation: 'm2-2' }]);
  t.equal(await swapping, 'status 40');
  for (const entered of inside) entered();
  t.equal(world.disk.writes, 0);
});

/** A copy from another unit at the home of this one, as that session of m2. */
function copyIn(home: Place, token: number) {
  const host = home.access.visitors.find({ from: 'm2', incarnation: 'm2-1', token });
  const { nexuses } = home.access.disk.unit;
  if (host === undefined) throw new Error('no such session');
  const aborted: (() => void)[] = [];
  const guest = {
    ...nexusOf('iqn.2026-11.test:a'),
    isAtWork: true,
    abortTasks: (done: () => void) => void aborted.push(done),
  };
  nexuses.addGuest(guest, host);
  return { aborted, end: () => nexuses.deleteGuest(guest) };
}

t.test('a home waits for copies that come in from other units', async (t) => {
  const { home, other } = twoMembers();
  t.equal(await other.session('a').says(READY), 'GOOD');
  const copy = copyIn(home, 1);
  home.access.stand('held');
  let isQuiet = false;
  const quiet = home.access.quieten().then((done) => (isQuiet = done));
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.equal(isQuiet, false);
  copy.end();
  await quiet;
  t.equal(isQuiet, true);
});

t.test('a session is over when nothing is copied in its name at the home (I8)', async (t) => {
  const { home, other } = twoMembers();
  const [one, two] = [other.session('a'), other.session('b')];
  t.equal(await one.says(READY), 'GOOD');
  t.equal(await two.says(READY), 'GOOD');
  const [first, second] = [copyIn(home, 1), copyIn(home, 2)];
  let isOver = false;
  const over = one.end().then(() => (isOver = true));
  await turns();
  t.equal(first.aborted.length, 1);
  t.equal(isOver, false);
  for (const done of first.aborted) done();
  await over;
  const fence = home.access.visitors.endAbsent([]).then(() => (isOver = false));
  await turns();
  t.equal(second.aborted.length, 1, 'nor is that of a process that is gone');
  t.equal(isOver, true);
  for (const done of second.aborted) done();
  await fence;
});

t.test('a home that has come serves nobody before it knows the unit', async (t) => {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(WRITE, block(1)), 'GOOD');
  world.move('m2');
  home.hear();
  other.knownHome = 'm2';
  other.access.stand('held');
  const writing = session.says(WRITE, block(2));
  await turns();
  t.equal(world.disk.writes, 1);
  other.access.stand('here');
  t.equal(await writing, STATE_CHANGED);
  t.equal(await session.says(WRITE, block(2)), 'GOOD');
});

t.test('a READ that has waited for memory while the home came here is judged here', async (t) => {
  const { other } = twoMembers();
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const { access } = other;
  rig.answer = { kind: 'serve', target: { iqn: IQN, server: access } };
  const initiator = await rig.session();
  const nobody = nexusOf('iqn.2026-11.test:a');
  access.nexusBegan(nobody);
  access.stand('held');
  const reads = 40;
  for (let i = 0; i < reads; i++)
    initiator.command({ cdb: read10(0, 1024), read: true, expectedBytes: 512 * 1024 });
  const [session] = rig.registry.sessionsOf(IQN);
  await until('all reads are at the session', () => session?.tasks.size === reads);
  const waiting = session?.stalled.length ?? 0;
  t.ok(waiting > 0 && waiting < reads, `${waiting} wait for memory, the others for the home`);
  const { reservations } = access.disk.unit;
  const { initiatorPortName: reservedBy } = nobody;
  const notices: [] = [];
  reservations.change(
    (state) => ({ kind: 'done', state: { ...state, reservedBy }, notices, aborts: [] }),
    () => access.stand('here'),
  );
  for (let i = 0; i < reads; i++) {
    const { bhs } = await initiator.expect(Opcode.SCSI_RESPONSE);
    t.equal(decodeScsiResponse(bhs).status, 0x18, 'RESERVATION CONFLICT');
  }
});

t.test('a reset goes to the home, and from there to everybody else', async (t) => {
  const { home, other } = twoMembers();
  const session = other.session('a');
  const atHome = home.session('b');
  t.equal(await session.says(READY), 'GOOD');
  t.equal(await new Promise((resolve) => other.access.reset(resolve)), true);
  t.same(home.ended, ['m2'], 'but not back');
  t.equal(await session.says(READY), '6/29/03');
  t.equal(await atHome.says(READY), '6/29/03');
  t.equal(await new Promise((resolve) => home.access.clearTaskSet(resolve)), true);
  t.same(home.ended, ['m2', '']);
});

t.test('what no member would send is refused', async (t: Test) => {
  const { home, other } = twoMembers();
  t.equal(await other.session('a').says(READY), 'GOOD');
  const service = new HomeService(
    { accessOf: () => home.access, mayServe: () => true, refresh: (_id, done) => done() },
    'm1-1',
  );
  const send = (fields: Partial<IncomingRequest>): number => {
    let answered = -1;
    service.handle({
      ...{ from: 'm2', incarnation: 'm2-1', token: 1, volumeId: 1, extent: 0, epoch: 1 },
      ...{ offsetBytes: 0, lengthBytes: 512, fua: false, payload: Buffer.alloc(0), type: 0 },
      allocateAnswer: () => Buffer.alloc(512),
      takesMapped: false,
      answerMapped: () => undefined,
      answer: (status) => void (answered = status),
      ...fields,
    });
    return answered;
  };
  const { REFUSED, NOT_FOUND, OK, NOT_GOOD, STALE } = PeerStatus;
  const type = PeerType.COMMAND_WRITE;
  t.equal(send({ type, payload: block(1) }), OK);
  t.equal(send({ type, payload: block(1), token: 9 }), NOT_FOUND, 'a session nobody knows');
  t.equal(send({ type, payload: block(1).subarray(1) }), REFUSED);
  t.equal(send({ type, payload: block(1), offsetBytes: 1024 * 512 }), REFUSED);
  t.equal(send({ type, payload: block(1), offsetBytes: 1 }), REFUSED);
  t.equal(send({ type: PeerType.COMMAND_READ, lengthBytes: 0 }), REFUSED);
  t.equal(send({ type: PeerType.COMMAND, payload: Buffer.alloc(15) }), REFUSED);
  t.equal(send({ type: PeerType.COMMAND_ENDS, extent: 99 }), OK, 'it is over');
  const read = Buffer.from('28000000000000000100000000000000', 'hex');
  t.equal(send({ type: PeerType.COMMAND, payload: read }), NOT_GOOD, 'its data has no place');
  t.equal(send({ type: PeerType.NEXUS_BEGAN, payload: Buffer.from('{') }), REFUSED);
  t.equal(send({ type: PeerType.TASK_SET, payload: Buffer.from('{"what":"x"}') }), REFUSED);
  const begin = (token: number, live = [token]): number => {
    const me = { initiatorName: 'iqn.2026-11.test:a', initiatorPortName: 'iqn.2026-11.test:a,i,0x1' };
    const began = { ...me, before: { name: '', incarnation: '' }, live };
    return send({ type: PeerType.NEXUS_BEGAN, token, payload: Buffer.from(JSON.stringify(began)) });
  };
  // Numbers that fall: each comes with what looks like later ones.
  const last = 10 * CONNECTIONS_MAX;
  const begun = Array.from({ length: CONNECTIONS_MAX }, (_, i) => begin(last - i));
  t.same([...new Set(begun)], [OK]);
  t.equal(begin(2), REFUSED, 'one session more than there can be connections');
  t.equal(begin(last), OK, 'it is known, and takes the place of the others');
  t.equal(begin(2), OK);
  home.access.stand('elsewhere');
  t.equal(send({ type, payload: block(1) }), STALE);
});
