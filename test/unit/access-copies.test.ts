/**
 * EXTENDED COPY of a unit that is served here from and to one that is served at another member, over peers that lose
 * pieces on purpose: who is let in, what is judged where, homes that move or die in the midst of it, and what is sent again.
 */
import t, { type Test } from 'tap';
import { CopyGuests } from '../../lib/access/copy-guests.js';
import { CopyLanes, LANE_PIECES_MAX } from '../../lib/access/copy-lanes.js';
import { CopyVisit, type CopyPlace } from '../../lib/access/copy-visit.js';
import { GuestService, type GuestPlace } from '../../lib/access/guest-service.js';
import { systemClock } from '../../lib/base/clock.js';
import { COPY_GUESTS_MAX, PIECE_BYTES_MAX } from '../../lib/base/limits.js';
import { SeededRandom } from '../../lib/base/random.js';
import { IoError, type BlockIo } from '../../lib/block/device.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../../lib/peer/contract.js';
import type { Copying, Visit } from '../../lib/scsi/copy/visit.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { KeptUnitState, UnitMemory } from '../../lib/scsi/kept-state.js';
import type { Sense } from '../../lib/scsi/sense.js';
import { beginCopy, copyList, cscd, endOf, HOST, NAA_A, NAA_B, segment, SIZE } from '../support/copy-rig.js';
import { pattern } from '../support/device-suite.js';
import { FakePeers } from '../support/fake-peers.js';
import { RamDevice } from '../support/ram-device.js';
import { hex } from '../support/scsi-rig.js';
import { IDENTITY, nexusOf, type RunnerTask, SAID, said, scsiRunner } from '../support/scsi-runner.js';
import { until } from '../support/wait.js';

const BLOCK = 512;
const PIECE = PIECE_BYTES_MAX / BLOCK;
const VOLUME = 2;
const [OWN, OTHER] = [cscd(NAA_A), cscd(NAA_B)];
const NOT_REACHABLE = 'a/0d/02';
const DEVICE_FAILURE = 'a/0d/01';
/** Two pieces of the own unit, to block 100 of the other. */
const TO = copyList([OWN, OTHER], [segment({ destination: 1, to: 100, blocks: 2 * PIECE })]);
/** ... and the other way round. */
const FROM = copyList([OWN, OTHER], [segment({ source: 1, from: 100, blocks: 2 * PIECE })]);

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const turns = async (count = 40): Promise<void> => {
  for (let i = 0; i < count; i++) await turn();
};
const soon = (): Promise<string> => new Promise((resolve) => setTimeout(resolve, 100, 'still under way'));

/** What all members hold of the other unit in common, which can keep I/O waiting. */
class CommonDisk extends RamDevice {
  held: (() => void)[] | null = null;
  holds: BlockIo['op'] = 'write';
  /** The last one that waits. */
  private readonly last: BlockIo[] = [];

  override submit(io: BlockIo): void {
    if (this.held === null || io.op !== this.holds) return super.submit(io);
    this.last.splice(0, 1, io);
    this.held.push(() => super.submit(io));
  }

  /** Resolves when one waits. */
  async holdsOne(): Promise<void> {
    await until('a request is held', () => this.held?.length !== 0);
  }

  release(): void {
    const held = this.held ?? [];
    this.held = null;
    for (const go of held) go();
  }

  /** As a volume that was suspended drops what nobody waits for. Whether that was all. */
  drop(): boolean {
    const dropped = this.last.splice(0);
    this.held = null;
    for (const io of dropped) io.complete(new IoError('aborted', 'nobody waits for it any more'));
    return dropped.length > 0 && dropped.every(({ isWanted }) => !isWanted);
  }
}

class World {
  readonly peers = new FakePeers(new SeededRandom(3));
  readonly disk = new CommonDisk(SIZE, BLOCK);
  /** By the store; each member knows it as of some epoch. */
  home = 'm2';
  epoch = 1;
  /** Skips a clock to the end of anybody's patience. */
  readonly clock = { ...systemClock, nowMs: () => systemClock.nowMs() * this.haste };
  haste = 1;
  readonly facts = new UnitMemory();
  readonly members = new Map<string, Place>();
  /** Processes that are not in the group any more. */
  readonly left = new Set<string>();
  /** By type, what has come to members. */
  readonly came: number[] = [];

  constructor() {
    pattern(SIZE, 2).copy(this.disk.bytes);
    this.peers.fate = (_member, { type }) => {
      this.came.push(type);
      return null;
    };
  }

  start(name: string, incarnation = `${name}-1`): Place {
    const place = new Place(this, name, incarnation);
    this.members.set(name, place);
    return place;
  }

  /** The commit of a new home; who is told hears of it at once. */
  move(to: string, ...told: Place[]): void {
    this.home = to;
    this.epoch += 1;
    for (const place of told) place.hear();
  }

  /** Nobody waits for anybody any more. */
  end(): void {
    for (const place of this.members.values()) place.isClosed = true;
  }

  cameOf(type: number): number {
    return this.came.filter((one) => one === type).length;
  }
}

/** The other unit at one member. */
class Place implements GuestPlace {
  readonly server: DiskServer;
  readonly guests: CopyGuests;
  readonly disk: GuestPlace['disk'];
  knownHome: string;
  knownEpoch: number;
  hasLease = true;
  /** The commit of a new home is under way. */
  isHeld = false;
  isClosed = false;
  isNewHome = false;
  timesLeftBehind = 0;
  introduced: string[] = [];
  readonly service: GuestService;
  readonly lanes = new CopyLanes();
  private lastVisit = 0;

  constructor(
    readonly world: World,
    readonly name: string,
    readonly incarnation: string,
  ) {
    this.knownHome = world.home;
    this.knownEpoch = world.epoch;
    const identity = { ...IDENTITY, naa: NAA_B };
    const state = new KeptUnitState(world.facts);
    const visit = (copying: Copying): Visit => new CopyVisit(this.copyPlace(), copying, ++this.lastVisit);
    this.server = new DiskServer({ device: world.disk, identity, state, visit });
    this.disk = this.server.unit;
    this.guests = new CopyGuests(this.disk, incarnation);
    const units = {
      guestPlaceOf: (id: number) => (id === VOLUME ? this : undefined),
      mayServe: () => this.hasLease,
      refresh: (_id: number, done: () => void) => {
        this.hear();
        done();
      },
    };
    this.service = new GuestService(units, incarnation);
    this.serve();
  }

  /** Its peers reach it. */
  serve(): void {
    this.world.peers.incarnations.set(this.name, this.incarnation);
    this.world.peers.join(this.name, { handle: (request) => void this.service.handle(request) });
  }

  epoch(): number {
    return this.knownEpoch;
  }
  get isHome(): boolean {
    return this.knownHome === this.name;
  }
  get isServedHere(): boolean {
    return this.isHome && !this.isHeld;
  }

  hear(): void {
    this.knownHome = this.world.home;
    this.knownEpoch = this.world.epoch;
    if (!this.isHome) this.guests.leave();
  }

  /** What it knows of a copy that m1 makes. */
  guest(token = 1): unknown {
    return this.guests.find({ from: 'm1', incarnation: 'm1-1', token });
  }

  run = async (cdb: string, data?: Buffer, nexus = HOST): Promise<string> =>
    said(await scsiRunner(this.world.disk, this.server).run(cdb, data, 0, nexus));

  introduce(initiatorName: string): void {
    this.introduced.push(initiatorName);
  }

  private copyPlace(): CopyPlace {
    const { world, name, disk, guests, incarnation } = this;
    const standing = () => (this.isServedHere ? 'here' : this.isHome ? 'held' : 'elsewhere');
    const isClosed = () => this.isClosed;
    const isNewHome = () => this.isNewHome;
    return {
      ...{ disk, guests, volumeId: VOLUME, self: { name, incarnation } },
      ...{ hub: world.peers.hub(name), clock: world.clock, lanes: this.lanes },
      get standing() {
        return standing();
      },
      get isClosed() {
        return isClosed();
      },
      get isNewHome() {
        return isNewHome();
      },
      home: () => this.knownHome,
      epoch: () => this.knownEpoch,
      mayServe: () => this.hasLease,
      refresh: (_epoch, done) => {
        this.hear();
        setImmediate(done);
      },
      timesLeftBehind: () => this.timesLeftBehind,
      introduce: (initiatorName) => this.introduce(initiatorName),
      hasLeft: (_member, process) => Promise.resolve(world.left.has(process)),
    };
  }
}

/** The unit that copies are sent to, at m1, and the other one, whose home is m2; HOST is logged in to both. */
function twoHomes(t: Test) {
  const world = new World();
  t.teardown(() => world.end());
  const [here, there, third] = [world.start('m1'), world.start('m2'), world.start('m3')];
  const own = new RamDevice(SIZE, BLOCK);
  pattern(SIZE, 1).copy(own.bytes);
  let isThere = true;
  const others = () => (isThere ? [here.disk] : []);
  const server = new DiskServer({ device: own, identity: { ...IDENTITY, naa: NAA_A }, others });
  server.nexusBegan(HOST);
  there.server.nexusBegan(HOST);
  const begin = (list: Buffer, nexus = HOST): RunnerTask => beginCopy(server, list, nexus);
  return {
    ...{ world, here, there, third, own, server, begin },
    copy: (list: Buffer, nexus = HOST): Promise<string> => endOf(begin(list, nexus)),
    delete: () => (isThere = false),
  };
}

type Rig = ReturnType<typeof twoHomes>;

/** [lba, lba + blocks) of a medium, as it is now. */
function held({ bytes }: RamDevice, lba: number, blocks: number): Buffer {
  return Buffer.from(bytes.subarray(lba * BLOCK, (lba + blocks) * BLOCK));
}

function senseOf(task: RunnerTask): Sense {
  const sense = task.outcomes[0]?.sense;
  if (!sense) throw new Error('no sense');
  return sense;
}

/** A copy to the other unit, in whose second piece something happens: what comes of it. */
async function inTheMidst(rig: Rig, happens: (task: RunnerTask) => unknown, list = TO): Promise<string> {
  const { disk } = rig.world;
  disk.held = [];
  const task = rig.begin(list);
  await disk.holdsOne();
  const [first] = disk.held;
  disk.held = [];
  first?.();
  await disk.holdsOne();
  await happens(task);
  return endOf(task);
}

/** Whether all of TO is where it was to go. */
function isCopied({ own, world }: Rig): boolean {
  return held(world.disk, 100, 2 * PIECE).equals(held(own, 0, 2 * PIECE));
}

/** Nobody knows of a copy that has ended. */
async function nothingIsLeft(t: Test, { world, there, third, here }: Rig): Promise<void> {
  await turns();
  for (const place of [here, there, third]) {
    for (let token = 1; token < 4; token++) t.notOk(place.guest(token), `${place.name} knows no copy`);
    t.notOk(place.disk.nexuses.hasGuestsAtWork);
  }
  t.equal(world.disk.held, null);
}

t.test('to a unit that is served elsewhere, from it, and within it', async (t) => {
  const rig = twoHomes(t);
  const { world, own, copy } = rig;
  const before = Buffer.from(world.disk.bytes);
  t.equal(await copy(TO), SAID.GOOD);
  held(own, 0, 2 * PIECE).copy(before, 100 * BLOCK);
  t.ok(world.disk.bytes.equals(before), 'that much and nothing else');
  t.equal(world.cameOf(PeerType.GUEST_BEGAN), 1, 'let in once');
  world.disk.bytes.fill(0xa5, 100 * BLOCK, 101 * BLOCK);
  t.equal(await copy(FROM), SAID.GOOD);
  t.equal(own.bytes[0], 0xa5);
  t.ok(held(own, 0, 2 * PIECE).equals(held(world.disk, 100, 2 * PIECE)));
  const copied = held(world.disk, 100, PIECE + 1);
  const within = segment({ source: 0, destination: 0, from: 100, to: 101, blocks: PIECE + 1 });
  t.equal(await copy(copyList([OTHER], [within])), SAID.GOOD, 'partly on itself');
  t.ok(held(world.disk, 101, PIECE + 1).equals(copied));
  await nothingIsLeft(t, rig);
});

t.test('what is empty takes no space, and what is written is as durable as its home wants it', async (t) => {
  const { world, own, there, copy } = twoHomes(t);
  world.disk.bytes.fill(0, 100 * BLOCK, (100 + PIECE) * BLOCK);
  t.equal(await copy(FROM), SAID.GOOD);
  t.equal(own.counts.discard, 1, 'the empty piece');
  t.ok(held(own, 0, 2 * PIECE).equals(held(world.disk, 100, 2 * PIECE)));
  const within = segment({ source: 0, destination: 0, from: 100, to: 5000, blocks: PIECE });
  t.equal(await copy(copyList([OTHER], [within])), SAID.GOOD);
  t.equal(world.cameOf(PeerType.GUEST_CLEAR), 1);
  t.equal(world.disk.counts.discard, 1);
  t.ok(held(world.disk, 5000, PIECE).equals(Buffer.alloc(PIECE_BYTES_MAX)));
  const writeCacheOff = Buffer.from(`000000000812${'00'.repeat(18)}`, 'hex');
  t.equal(await there.run('15 10 00 00 18 00', writeCacheOff), SAID.GOOD);
  t.equal(world.disk.fuaCount, 0);
  t.equal(await copy(TO), SAID.GOOD);
  t.equal(world.disk.fuaCount, 2);
});

t.test('only for an initiator that is logged in to both', async (t) => {
  const rig = twoHomes(t);
  const { world, server, there, here, begin, copy } = rig;
  const stranger = nexusOf('iqn.2026-11.test:stranger');
  server.nexusBegan(stranger);
  const task = begin(TO, stranger);
  t.equal(await endOf(task), NOT_REACHABLE);
  t.match(senseOf(task), { field: { inCdb: false, byte: 16 + 32 + 4 }, copy: { segment: 0 } });
  const range = copyList([OTHER], [segment({ source: 0, destination: 0, from: 8192 })]);
  t.equal(await copy(range, stranger), NOT_REACHABLE, 'it does not learn how large it is');
  t.equal(await copy(range), 'a/00/00');
  t.ok(world.came.every((type) => type === PeerType.GUEST_BEGAN || type === PeerType.GUEST_ENDED));
  here.server.nexusBegan(stranger);
  const waiting = begin(TO, stranger);
  t.equal(
    await Promise.race([endOf(waiting), soon()]),
    'still under way',
    'a session here: the home may not know',
  );
  t.ok(here.introduced.includes(stranger.initiatorName), 'it is told');
  there.server.nexusBegan(stranger);
  t.equal(await endOf(waiting), SAID.GOOD);
  for (const home of ['m2', 'm1']) {
    const follower = nexusOf('iqn.2026-11.test:follower');
    world.move(home, here, there);
    const place = home === 'm1' ? here : there;
    place.isNewHome = true;
    const following = begin(TO, follower);
    t.equal(await Promise.race([endOf(following), soon()]), 'still under way', 'it may follow the home');
    place.isNewHome = false;
    t.equal(await endOf(following), NOT_REACHABLE, 'for some time');
  }
  await nothingIsLeft(t, rig);
});

const KEY = 'a'.repeat(16);
const NONE = '0'.repeat(16);
const [REGISTER, RESERVE, PREEMPT_AND_ABORT] = [0, 1, 5];
const fencer = nexusOf('iqn.2026-11.test:fencer');
const out = (place: Place, action: number, nexus: typeof HOST, keys: string, type = 0): Promise<string> =>
  place.run(`5f ${hex(action, 2)} ${hex(type, 2)} 0000 00000018 00`, Buffer.from(keys + NONE, 'hex'), nexus);

t.test('its home judges: reservations, write protection, the medium', async (t) => {
  const rig = twoHomes(t);
  const { world, there, begin } = rig;
  there.server.nexusBegan(fencer);
  const before = Buffer.from(world.disk.bytes);
  const failure = async (list = TO) => {
    const task = begin(list);
    t.equal(await endOf(task), DEVICE_FAILURE);
    return senseOf(task).copy?.answer;
  };
  t.equal(await out(there, REGISTER, fencer, NONE + KEY), SAID.GOOD);
  t.equal(await out(there, RESERVE, fencer, KEY + NONE, 1), SAID.GOOD, 'Write Exclusive');
  t.match(await failure(), { by: 'destination', status: 0x18, sense: null });
  t.equal(await rig.copy(FROM), SAID.GOOD, 'it may be read');
  t.equal(await out(there, 2, fencer, KEY + NONE, 1), SAID.GOOD);
  t.equal(await out(there, RESERVE, fencer, KEY + NONE, 3), SAID.GOOD, 'Exclusive Access');
  t.match(await failure(FROM), { by: 'source', status: 0x18, sense: null });
  t.equal(await out(there, 2, fencer, KEY + NONE, 3), SAID.GOOD);
  const protect = Buffer.from(`000000000a0a00100840${'00'.repeat(6)}`, 'hex');
  t.equal(await there.run(`15 10 00 00 ${hex(protect.length, 2)} 00`, protect), SAID.GOOD, 'SWP');
  t.match(await failure(), { by: 'destination', status: 2, sense: { senseKey: 7, asc: 0x27 } });
  t.ok(world.disk.bytes.equals(before));
});

for (const [name, end] of [
  ['PREEMPT AND ABORT', ({ there }: Rig) => out(there, PREEMPT_AND_ABORT, fencer, 'b'.repeat(16) + KEY)],
  ['a reset', ({ there }: Rig) => new Promise((resolve) => there.server.reset(resolve))],
  [
    'the end of the session',
    ({ there }: Rig) => new Promise<void>((resolve) => there.server.nexusEnded(HOST, resolve)),
  ],
] as const) {
  t.test(`${name} at the home waits for what is written, and ends the copy`, async (t) => {
    const rig = twoHomes(t);
    const { world, there } = rig;
    there.server.nexusBegan(fencer);
    await out(there, REGISTER, HOST, NONE + KEY);
    await out(there, REGISTER, fencer, NONE + 'b'.repeat(16));
    let after: Buffer = Buffer.alloc(0);
    const list = copyList([OWN, OTHER], [segment({ destination: 1, blocks: 3 * PIECE })]);
    const outcome = inTheMidst(
      rig,
      async () => {
        const ended = end(rig);
        t.equal(await Promise.race([ended.then(() => 'ended'), soon()]), 'still under way');
        world.disk.release();
        await ended;
        after = held(world.disk, 0, 8192);
      },
      list,
    );
    t.equal(await outcome, DEVICE_FAILURE);
    t.ok(held(world.disk, 0, 8192).equals(after), 'nothing came after that');
    await nothingIsLeft(t, rig);
  });
}

t.test('an abort is known at the next home, too', async (t) => {
  const rig = twoHomes(t);
  const { world, there, third } = rig;
  third.server.nexusBegan(HOST);
  const before = held(world.disk, 2 * PIECE, PIECE);
  const outcome = await inTheMidst(
    rig,
    async () => {
      there.server.reset(() => undefined);
      world.move('m3', there, third);
      world.disk.release();
      rig.here.hear();
    },
    copyList([OWN, OTHER], [segment({ destination: 1, blocks: 3 * PIECE })]),
  );
  t.equal(outcome, DEVICE_FAILURE);
  t.ok(held(world.disk, 2 * PIECE, PIECE).equals(before), 'its last piece is not written');
  await nothingIsLeft(t, rig);
});

t.test('nor is it forgotten at a home that was without its lease', async (t) => {
  const rig = twoHomes(t);
  const { world, there } = rig;
  const before = held(world.disk, 2 * PIECE, PIECE);
  const outcome = await inTheMidst(
    rig,
    () => {
      there.server.reset(() => undefined);
      there.guests.lapse();
      world.disk.release();
    },
    copyList([OWN, OTHER], [segment({ destination: 1, blocks: 3 * PIECE })]),
  );
  t.equal(outcome, DEVICE_FAILURE);
  t.ok(held(world.disk, 2 * PIECE, PIECE).equals(before), 'its last piece is not written');
  await nothingIsLeft(t, rig);
});

t.test('a new home is told of the session that stays here', async (t) => {
  const rig = twoHomes(t);
  const { here, there } = rig;
  await new Promise<void>((resolve) => there.server.nexusEnded(HOST, resolve));
  there.isNewHome = true;
  const task = rig.begin(TO);
  await until('the session is introduced', () => here.introduced.length > 0);
  there.server.nexusBegan(HOST);
  t.equal(await endOf(task), SAID.GOOD);
  t.same(here.introduced, [HOST.initiatorName], 'once');
  await nothingIsLeft(t, rig);
});

t.test('a piece that was held back without a lease goes again with it', async (t) => {
  const rig = twoHomes(t);
  const { world, there } = rig;
  let isDropped = false;
  const outcome = inTheMidst(rig, () => {
    there.guests.lapse();
    isDropped = world.disk.drop();
  });
  t.equal(await outcome, SAID.GOOD);
  t.ok(isDropped);
  t.ok(isCopied(rig));
  await nothingIsLeft(t, rig);
});

t.test('many copies leave room on the link for what their pieces wait for', async (t) => {
  const rig = twoHomes(t);
  const { disk } = rig.world;
  disk.held = [];
  const list = copyList([OWN, OTHER], [segment({ destination: 1, to: 100, blocks: 2 * PIECE })], {
    usage: 2,
  });
  const tasks = Array.from({ length: 3 * LANE_PIECES_MAX }, () => rig.begin(list));
  await turns(200);
  t.equal(disk.held.length, LANE_PIECES_MAX);
  disk.release();
  for (const task of tasks) t.equal(await endOf(task), SAID.GOOD);
  t.ok(isCopied(rig));
  await turns();
  rig.here.lanes.enter('m2', () => t.pass('all have left'));
});

/** Breaks the link under the next requests of a type, before they are read. */
function breakLink({ world }: Rig, types: readonly number[], times = 1): void {
  world.peers.fate = (_member, { type }) => {
    world.came.push(type);
    if (!types.includes(type) || times === 0) return null;
    times -= 1;
    return PeerStatus.LINK_LOST;
  };
}

t.test('a link that breaks', async (t) => {
  const { GUEST_BEGAN, GUEST_READ, GUEST_WRITE, GUEST_ENDED } = PeerType;
  for (const [types, list] of [
    [[GUEST_BEGAN], TO],
    [[GUEST_READ], FROM],
    [[GUEST_WRITE], TO],
    [[GUEST_WRITE, GUEST_ENDED], TO],
  ] as const) {
    const rig = twoHomes(t);
    breakLink(rig, types, types.length);
    t.equal(await rig.copy(list), SAID.GOOD, `under ${types.join()}`);
    t.ok(isCopied(rig));
    await nothingIsLeft(t, rig);
    if (types.length === 2) t.equal(rig.world.cameOf(GUEST_ENDED), 3, 'its home was asked until it answered');
  }
});

t.test('a piece in doubt is not sent again, nor the copy answered, while it is under way', async (t) => {
  const rig = twoHomes(t);
  const { world, there } = rig;
  const outcome = inTheMidst(rig, async (task) => {
    const writes = world.cameOf(PeerType.GUEST_WRITE);
    world.peers.lose('m2');
    there.serve();
    t.equal(await Promise.race([endOf(task), soon()]), 'still under way');
    task.isEnding = true;
    t.equal(await Promise.race([endOf(task), soon()]), 'still under way', 'not even when it is aborted');
    task.isEnding = false;
    t.equal(world.cameOf(PeerType.GUEST_WRITE), writes);
    t.equal(world.disk.held?.length, 1);
    world.disk.release();
  });
  t.equal(await outcome, SAID.GOOD);
  t.ok(isCopied(rig));
  await nothingIsLeft(t, rig);
});

t.test('a home that dies', async (t) => {
  const inDoubt = twoHomes(t);
  let writes = 0;
  const outcome = inTheMidst(inDoubt, async (task) => {
    const { world } = inDoubt;
    world.disk.held = null; // what it had begun never was
    writes = world.cameOf(PeerType.GUEST_WRITE);
    world.peers.lose('m2');
    t.equal(await Promise.race([endOf(task), soon()]), 'still under way', 'it may be stopped only');
    world.left.add('m2-1');
  });
  t.equal(await outcome, NOT_REACHABLE, 'its last piece is in doubt');
  t.equal(inDoubt.world.cameOf(PeerType.GUEST_WRITE), writes, 'nothing is sent again');

  const restarted = twoHomes(t);
  const again = await inTheMidst(restarted, () => {
    const { world } = restarted;
    world.disk.held = null;
    world.peers.lose('m2');
    world.start('m2', 'm2-2').server.nexusBegan(HOST);
  });
  t.equal(again, NOT_REACHABLE, 'the next process knows nothing of it');
  t.equal(restarted.world.cameOf(PeerType.GUEST_WRITE), 2);

  const reading = twoHomes(t);
  reading.world.disk.holds = 'read';
  const read = await inTheMidst(
    reading,
    async (task) => {
      const { world } = reading;
      world.disk.held = null;
      world.peers.lose('m2');
      t.equal(await Promise.race([endOf(task), soon()]), 'still under way', 'a READ waits');
      world.left.add('m2-1');
      const next = world.start('m2', 'm2-2');
      t.equal(await Promise.race([endOf(task), soon()]), 'still under way', 'until the initiator is back');
      next.server.nexusBegan(HOST);
    },
    FROM,
  );
  t.equal(read, SAID.GOOD);
  t.ok(isCopied(reading));
});

t.test('a home that stays away', async (t) => {
  const rig = twoHomes(t);
  rig.world.peers.lose('m2');
  const task = rig.begin(TO);
  t.equal(await Promise.race([endOf(task), soon()]), 'still under way', 'it may be started again');
  rig.world.haste = 1000;
  t.equal(await endOf(task), NOT_REACHABLE, 'for some time');
});

t.test('a home that moves', async (t) => {
  for (const told of ['everybody', 'the copy later', 'the next home later'] as const) {
    const rig = twoHomes(t);
    const { world, here, there, third } = rig;
    const outcome = inTheMidst(rig, async (task) => {
      world.move('m3', there);
      if (told !== 'the next home later') third.hear();
      if (told !== 'the copy later') here.hear();
      world.disk.release();
      t.equal(await Promise.race([endOf(task), soon()]), SAID.GOOD, 'what was under way was the last piece');
    });
    t.equal(await outcome, SAID.GOOD);
    t.ok(isCopied(rig));

    const three = copyList([OWN, OTHER], [segment({ destination: 1, to: 100, blocks: 3 * PIECE })]);
    world.move('m2', here, there, third);
    const further = inTheMidst(
      rig,
      async (task) => {
        world.move('m3', there);
        if (told !== 'the next home later') third.hear();
        if (told !== 'the copy later') here.hear();
        world.disk.release();
        t.equal(await Promise.race([endOf(task), soon()]), 'still under way', 'the initiator has to follow');
        third.server.nexusBegan(HOST);
      },
      three,
    );
    t.equal(await further, SAID.GOOD, `told: ${told}`);
    t.ok(held(world.disk, 100, 3 * PIECE).equals(held(rig.own, 0, 3 * PIECE)));
    await nothingIsLeft(t, rig);
  }
});

t.test('a home that moves, and an initiator that does not follow', async (t) => {
  const rig = twoHomes(t);
  const { world, here, there, third } = rig;
  const three = copyList([OWN, OTHER], [segment({}), segment({ destination: 1, blocks: 3 * PIECE })]);
  const task = await new Promise<RunnerTask>((resolve) => {
    void inTheMidst(
      rig,
      async (begun) => {
        world.move('m3', here, there, third);
        world.disk.release();
        await turns();
        world.haste = 1000;
        resolve(begun);
      },
      three,
    );
  });
  t.equal(await endOf(task), NOT_REACHABLE);
  t.equal(senseOf(task).copy?.segment, 1, 'it is said which segment it was');
  await nothingIsLeft(t, rig);
});

t.test('a home that comes here, and goes from here', async (t) => {
  const rig = twoHomes(t);
  const { world, here, there, third } = rig;
  for (const place of [here, third]) place.server.nexusBegan(HOST);
  const list = copyList([OWN, OTHER], [segment({ destination: 1, to: 100, blocks: 3 * PIECE })]);
  for (const to of ['m1', 'm3', 'm1', 'm2']) {
    const outcome = inTheMidst(
      rig,
      () => {
        world.move(to, here, there, third);
        world.disk.release();
      },
      list,
    );
    t.equal(await outcome, SAID.GOOD);
    t.ok(held(world.disk, 100, 3 * PIECE).equals(held(rig.own, 0, 3 * PIECE)), `to ${to}`);
    await nothingIsLeft(t, rig);
    world.disk.bytes.fill(1);
  }
});

t.test('a home that is about to go waits for what is written, and for nothing else', async (t) => {
  const rig = twoHomes(t);
  const { world, there } = rig;
  const list = copyList([OWN, OTHER], [segment({ destination: 1, to: 100, blocks: 3 * PIECE })]);
  const outcome = inTheMidst(
    rig,
    async (task) => {
      there.isHeld = true;
      t.ok(there.disk.nexuses.hasGuestsAtWork);
      world.disk.release();
      t.equal(await Promise.race([endOf(task), soon()]), 'still under way');
      t.notOk(there.disk.nexuses.hasGuestsAtWork);
      there.isHeld = false;
    },
    list,
  );
  t.equal(await outcome, SAID.GOOD);
});

t.test('an abort of the copy does not wait for a home that is away', async (t) => {
  const rig = twoHomes(t);
  rig.world.disk.holds = 'read';
  const outcome = inTheMidst(
    rig,
    async (task) => {
      rig.world.disk.held = null;
      rig.world.peers.lose('m2');
      t.equal(await Promise.race([endOf(task), soon()]), 'still under way');
      task.isEnding = true;
      t.not(await Promise.race([endOf(task), soon()]), 'still under way');
    },
    FROM,
  );
  t.not(await outcome, SAID.GOOD);
});

t.test('what was begun without the group is not done behind its back (I8)', async (t) => {
  for (const lose of [
    (here: Place) => (here.hasLease = false),
    (here: Place) => (here.timesLeftBehind += 1),
  ]) {
    const rig = twoHomes(t);
    const { world, here } = rig;
    const outcome = inTheMidst(
      rig,
      () => {
        lose(here);
        world.disk.release();
      },
      copyList([OWN, OTHER], [segment({ destination: 1, blocks: 3 * PIECE })]),
    );
    t.equal(await outcome, NOT_REACHABLE);
    t.equal(world.cameOf(PeerType.GUEST_WRITE), 2);
    here.hasLease = true;
    t.equal(await rig.copy(TO), SAID.GOOD, 'the next copy is one of its own');
  }
});

t.test('a fence at the home ends what an absent member had sent', async (t) => {
  const rig = twoHomes(t);
  const { world, there } = rig;
  const outcome = inTheMidst(rig, async () => {
    const fence = there.guests.endAbsent([{ name: 'm3', incarnation: 'm3-1' }]).then(() => 'fenced');
    t.equal(await Promise.race([fence, soon()]), 'still under way');
    world.peers.lose('m2');
    t.notOk(there.guest());
    world.disk.release();
    t.equal(await fence, 'fenced');
    rig.here.timesLeftBehind += 1;
    there.serve();
  });
  t.equal(await outcome, NOT_REACHABLE);
  await nothingIsLeft(t, rig);

  const gone = twoHomes(t);
  gone.world.disk.held = [];
  const task = gone.begin(TO);
  await gone.world.disk.holdsOne();
  gone.there.guests.gone({ name: 'm1', incarnation: 'm1-0' });
  t.ok(gone.there.guest());
  gone.there.guests.gone({ name: 'm1', incarnation: 'm1-1' });
  t.notOk(gone.there.guest());
  gone.world.disk.release();
  await endOf(task);
});

t.test('a volume that is deleted in the midst', async (t) => {
  const rig = twoHomes(t);
  const list = copyList([OWN, OTHER], [segment({ destination: 1, blocks: 3 * PIECE })]);
  const outcome = inTheMidst(
    rig,
    () => {
      rig.delete();
      rig.world.disk.release();
    },
    list,
  );
  t.equal(await outcome, NOT_REACHABLE);
  const waiting = twoHomes(t);
  waiting.world.disk.holds = 'read';
  const read = inTheMidst(
    waiting,
    async () => {
      waiting.world.disk.held = null;
      waiting.world.peers.lose('m2');
      await turns();
      waiting.here.isClosed = true;
    },
    FROM,
  );
  t.equal(await read, NOT_REACHABLE, 'while its home was away');
});

t.test('what no home would send', async (t) => {
  const { world, there } = twoHomes(t);
  const before = Buffer.from(world.disk.bytes);
  const ask = (type: number, fields: Partial<IncomingRequest> = {}): number => {
    let said = -1;
    const isTaken = there.service.handle({
      ...{ type, from: 'm1', incarnation: 'm1-1', token: 1, volumeId: VOLUME, extent: 0, epoch: 1 },
      ...{ offsetBytes: 0, lengthBytes: BLOCK, fua: false, payload: Buffer.alloc(0) },
      allocateAnswer: () => Buffer.alloc(BLOCK),
      takesMapped: false,
      answerMapped: () => undefined,
      answer: (status) => (said = status),
      ...fields,
    });
    return isTaken ? said : -2;
  };
  const { GUEST_BEGAN, GUEST_READ, GUEST_WRITE, GUEST_CLEAR, GUEST_ENDED, READ } = PeerType;
  const { OK, NOT_FOUND, REFUSED, STALE, UNAVAILABLE } = PeerStatus;
  const began = (name: unknown) => ({ payload: Buffer.from(JSON.stringify({ initiatorName: name })) });
  t.equal(ask(READ), -2, 'nothing of a copy');
  t.equal(ask(GUEST_WRITE, { payload: Buffer.alloc(BLOCK) }), NOT_FOUND, 'not let in');
  t.equal(ask(GUEST_BEGAN, began(7)), REFUSED);
  t.equal(ask(GUEST_BEGAN, { payload: Buffer.from('{') }), REFUSED);
  t.equal(ask(GUEST_BEGAN, began('iqn.2026-11.test:stranger')), NOT_FOUND);
  t.equal(ask(GUEST_BEGAN, began(HOST.initiatorName)), OK);
  for (const [type, fields] of [
    [GUEST_WRITE, { payload: Buffer.alloc(BLOCK - 1) }],
    [GUEST_READ, { payload: Buffer.alloc(BLOCK) }],
    [GUEST_READ, { offsetBytes: 1 }],
    [GUEST_READ, { lengthBytes: 1 }],
    [GUEST_READ, { lengthBytes: 0 }],
    [GUEST_READ, { offsetBytes: SIZE }],
    [GUEST_CLEAR, { lengthBytes: 2 ** 32 - BLOCK }],
  ] as const)
    t.equal(ask(type, fields), REFUSED, `${type} ${JSON.stringify(fields)}`);
  t.equal(ask(GUEST_READ, { volumeId: 9 }), UNAVAILABLE, 'no such volume yet');
  t.equal(ask(GUEST_READ, { epoch: 2 }), UNAVAILABLE, 'it knows of a later route');
  there.hasLease = false;
  t.equal(ask(GUEST_READ), UNAVAILABLE);
  there.hasLease = true;
  t.equal(ask(GUEST_READ), OK);
  for (let token = 2; token <= COPY_GUESTS_MAX; token++)
    ask(GUEST_BEGAN, { ...began(HOST.initiatorName), token });
  const more = { ...began(HOST.initiatorName), token: COPY_GUESTS_MAX + 1 };
  t.equal(ask(GUEST_BEGAN, more), OK);
  t.equal(ask(GUEST_READ), NOT_FOUND, 'more than there can be: the oldest comes again, if it is still there');
  t.equal(ask(GUEST_READ, { token: 2 }), OK);
  t.equal(ask(GUEST_ENDED), REFUSED);
  t.equal(ask(GUEST_ENDED, began(HOST.initiatorName)), OK);
  t.equal(ask(GUEST_BEGAN, more), OK);
  t.equal(
    ask(GUEST_ENDED, { ...began(HOST.initiatorName), volumeId: 9 }),
    OK,
    'of a volume that is gone nothing is under way',
  );
  world.move('m3', there);
  t.equal(ask(GUEST_READ), STALE);
  t.equal(ask(GUEST_ENDED, { ...began(HOST.initiatorName), token: 2 }), OK);
  t.same(there.introduced, [HOST.initiatorName], 'where it goes its sessions here are made known');
  t.ok(world.disk.bytes.equals(before));
});
