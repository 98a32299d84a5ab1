/** A unit at two members that both serve it, over peers that lose what a test wants lost. */
import { systemClock } from '../../lib/base/clock.js';
import { AccessServer } from '../../lib/access/access-server.js';
import { HomeService } from '../../lib/access/home-service.js';
import type { BlockIo } from '../../lib/block/device.js';
import { PeerStatus, type PeerRequest } from '../../lib/peer/contract.js';
import { SeededRandom } from '../../lib/base/random.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { KeptUnitState, UnitMemory } from '../../lib/scsi/kept-state.js';
import type { Office } from '../../lib/scsi/office.js';
import { FakePeers } from './fake-peers.js';
import { RamDevice } from './ram-device.js';
import { cdb10 } from './scsi-rig.js';
import { IDENTITY, nexusOf, said, scsiRunner, type Runner } from './scsi-runner.js';

export const WRITE = cdb10('2a', 0, 8, 1);
export const READ = cdb10('28', 0, 8, 1);
export const READY = '00 00 00 00 00 00';
export const BUSY = 'status 8';
export const STATE_CHANGED = '6/2a/06';
export const block = (byte: number): Buffer => Buffer.alloc(512, byte);

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

export class World {
  readonly peers = new FakePeers(new SeededRandom(3));
  readonly disk: CommonDisk;
  /** By the store; each member knows it as of some epoch. */
  home = 'm1';
  epoch = 1;
  /** Skips a clock to the end of anybody's patience. */
  readonly clock = { ...systemClock, nowMs: () => systemClock.nowMs() * this.haste };
  haste = 1;
  readonly members = new Map<string, Place>();
  /** What all members know of the unit. */
  readonly facts = new UnitMemory();

  constructor(diskBytes: number) {
    this.disk = new CommonDisk(diskBytes);
  }

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
export class Place {
  readonly access: AccessServer;
  knownHome: string;
  knownEpoch: number;
  hasLease = true;
  timesLeftBehind = 0;
  /** See AccessUnits. */
  term = 0;
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
    const term = (): number => this.term;
    const units = {
      get term() {
        return term();
      },
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

/** Of tests that are over: what still waits in one gives up as the next begins, or the process would stay for it. */
const earlier: World[] = [];

export function twoMembers(diskBytes = 1024 * 512): { world: World; home: Place; other: Place } {
  for (const world of earlier.splice(0)) world.haste = 1e6;
  const world = new World(diskBytes);
  earlier.push(world);
  return { world, home: world.start('m1'), other: world.start('m2') };
}

/** Breaks the link under the next requests of a type. */
export function breakLink(world: World, type: number, times: number): void {
  world.peers.fate = (_member: string, request: PeerRequest) => {
    if (request.type !== type || times === 0) return null;
    times -= 1;
    return PeerStatus.LINK_LOST;
  };
}
