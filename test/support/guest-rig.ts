/**
 * A unit that is served here, and another one at three members over peers that lose what a test wants lost: copies from the
 * one to the other, what holds them up, and what is left of them.
 */
import type { Test } from 'tap';
import { CopyGuests } from '../../lib/access/copy-guests.js';
import { CopyLanes } from '../../lib/access/copy-lanes.js';
import { CopyVisit, type CopyPlace } from '../../lib/access/copy-visit.js';
import { GuestService, type GuestPlace } from '../../lib/access/guest-service.js';
import { systemClock } from '../../lib/base/clock.js';
import { PIECE_BYTES_MAX } from '../../lib/base/limits.js';
import { SeededRandom } from '../../lib/base/random.js';
import { IoError, type BlockIo } from '../../lib/block/device.js';
import type { Copying, Visit } from '../../lib/scsi/copy/visit.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { KeptUnitState, UnitMemory } from '../../lib/scsi/kept-state.js';
import type { Sense } from '../../lib/scsi/sense.js';
import { beginCopy, copyList, cscd, endOf, HOST, NAA_A, NAA_B, segment, SIZE } from './copy-rig.js';
import { pattern } from './device-suite.js';
import { FakePeers } from './fake-peers.js';
import { RamDevice } from './ram-device.js';
import { IDENTITY, type RunnerTask, said, scsiRunner } from './scsi-runner.js';
import { turns, until } from './wait.js';

export const BLOCK = 512;
export const PIECE = PIECE_BYTES_MAX / BLOCK;
export const VOLUME = 2;
export const [OWN, OTHER] = [cscd(NAA_A), cscd(NAA_B)];
export const NOT_REACHABLE = 'a/0d/02';
export const DEVICE_FAILURE = 'a/0d/01';
/** Two pieces of the own unit, to block 100 of the other. */
export const TO = copyList([OWN, OTHER], [segment({ destination: 1, to: 100, blocks: 2 * PIECE })]);
/** ... and the other way round. */
export const FROM = copyList([OWN, OTHER], [segment({ source: 1, from: 100, blocks: 2 * PIECE })]);

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
export class Place implements GuestPlace {
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
  readonly lanes: CopyLanes;
  private lastVisit = 0;

  constructor(
    readonly world: World,
    readonly name: string,
    readonly incarnation: string,
  ) {
    this.lanes = new CopyLanes(world.clock);
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
export function twoHomes(t: Test) {
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

export type Rig = ReturnType<typeof twoHomes>;

/** [lba, lba + blocks) of a medium, as it is now. */
export function held({ bytes }: RamDevice, lba: number, blocks: number): Buffer {
  return Buffer.from(bytes.subarray(lba * BLOCK, (lba + blocks) * BLOCK));
}

export function senseOf(task: RunnerTask): Sense {
  const sense = task.outcomes[0]?.sense;
  if (!sense) throw new Error('no sense');
  return sense;
}

/** A copy to the other unit, in whose second piece something happens: what comes of it. */
export async function inTheMidst(
  rig: Rig,
  happens: (task: RunnerTask) => unknown,
  list = TO,
): Promise<string> {
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
export function isCopied({ own, world }: Rig): boolean {
  return held(world.disk, 100, 2 * PIECE).equals(held(own, 0, 2 * PIECE));
}

/** Nobody knows of a copy that has ended. */
export async function nothingIsLeft(t: Test, { world, there, third, here }: Rig): Promise<void> {
  await turns();
  for (const place of [here, there, third]) {
    for (let token = 1; token < 4; token++) t.notOk(place.guest(token), `${place.name} knows no copy`);
    t.notOk(place.disk.nexuses.hasGuestsAtWork);
  }
  t.equal(world.disk.held, null);
}
