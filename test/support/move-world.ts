/**
 * A few members in one process, without sockets, files or processes: real routing tables, volumes, forwarding, sources
 * and destinations over a memory store, fake peers and RAM files that answer late. Everything random comes from a seed.
 */
import type { ByteRange } from '../../lib/base/byte-range.js';
import { systemClock, type Clock } from '../../lib/base/clock.js';
import { silentLog, type Logger } from '../../lib/base/log.js';
import { noWaypoints } from '../../lib/base/waypoints.js';
import { SeededRandom, randomBelow } from '../../lib/base/random.js';
import { type IoError, submitAndWait, type BlockIo } from '../../lib/block/device.js';
import { MemoryStore } from '../../lib/group/memory-store.js';
import { formatRecord, keys, type MemberRecord, type VolumeRecord } from '../../lib/group/records.js';
import type { BatchContext } from '../../lib/migration/batch.js';
import { DestinationLink } from '../../lib/migration/destination-link.js';
import { Destination } from '../../lib/migration/destination.js';
import type { HeldFile } from '../../lib/migration/held-file.js';
import { MoveStats } from '../../lib/migration/move-stats.js';
import { Pacer } from '../../lib/migration/pacer.js';
import { moveExtents } from '../../lib/migration/source-move.js';
import { ask } from '../../lib/peer/ask.js';
import { HolderService, isHolderRequest } from '../../lib/peer/holder-service.js';
import { PeerStatus, PeerType, type PeerTypeCode } from '../../lib/peer/contract.js';
import { RemoteSlot } from '../../lib/peer/remote-slot.js';
import { MemberIds } from '../../lib/routing/member-ids.js';
import { RoutingTable } from '../../lib/routing/table.js';
import { VolumeTraffic } from '../../lib/load/traffic.js';
import { LocalSlot } from '../../lib/volume/local-slot.js';
import { Volume } from '../../lib/volume/volume.js';
import { FakePeers } from './fake-peers.js';
import { RamDevice } from './ram-device.js';
import { turn } from './wait.js';

const PAGE_BYTES = 4096;
const NOTHING = Buffer.alloc(PAGE_BYTES);
export const VOLUME = 'v';

/** A RAM file that completes after a few turns of the event loop, knows its holes, and what of it is durable. */
export class LateFile implements HeldFile {
  readonly sizeBytes: number;
  readonly blockBytes = 512;
  readonly readOnly = false;
  readonly ram: RamDevice;
  /** What a crash of the machine would leave. */
  durable: Buffer;
  isSpent = false;
  /** Fails the next operations that it accepts. */
  fault: (io: BlockIo) => IoError | null = () => null;

  constructor(
    sizeBytes: number,
    private readonly random: SeededRandom,
  ) {
    this.sizeBytes = sizeBytes;
    this.ram = new RamDevice(sizeBytes);
    this.durable = Buffer.alloc(sizeBytes);
  }

  submit(io: BlockIo): void {
    const turns = randomBelow(this.random, 3);
    const step = (left: number): void => {
      if (left > 0) setImmediate(step, left - 1);
      else this.serve(io);
    };
    step(turns);
  }

  private serve(io: BlockIo): void {
    const failure = this.fault(io);
    if (failure !== null) {
      io.complete(failure);
      return;
    }
    const { op, fua, offsetBytes, lengthBytes } = io;
    const toBytes = lengthBytes === 0 ? this.durable.length : offsetBytes + lengthBytes;
    if (op === 'flush') this.ram.bytes.copy(this.durable, offsetBytes, offsetBytes, toBytes);
    this.ram.submit(io);
    if (fua) this.ram.bytes.copy(this.durable, offsetBytes, offsetBytes, offsetBytes + lengthBytes);
  }

  dataRanges(offsetBytes: number, lengthBytes: number): ByteRange[] {
    const ranges: { fromBytes: number; toBytes: number }[] = [];
    const end = offsetBytes + lengthBytes;
    for (let at = offsetBytes; at < end; at += PAGE_BYTES) {
      const toBytes = Math.min(at + PAGE_BYTES, end);
      if (this.ram.bytes.subarray(at, toBytes).equals(NOTHING.subarray(0, toBytes - at))) continue;
      const last = ranges.at(-1);
      if (last?.toBytes === at) last.toBytes = toBytes;
      else ranges.push({ fromBytes: at, toBytes });
    }
    return ranges;
  }

  punch(offsetBytes: number, lengthBytes: number): Promise<void> {
    return submitAndWait(this, 'discard', offsetBytes, lengthBytes);
  }

  sync(): Promise<void> {
    return submitAndWait(this, 'flush', 0, 0);
  }

  syncRange(offsetBytes: number, lengthBytes: number): Promise<void> {
    return submitAndWait(this, 'flush', offsetBytes, lengthBytes);
  }
}

/** One member. */
export class WorldMember {
  readonly ids = new MemberIds();
  readonly file: LateFile;
  readonly local = new LocalSlot(new VolumeTraffic(systemClock, 256 * 1024));
  volume!: Volume;
  table!: RoutingTable;
  incarnation = '';
  stats = new MoveStats();
  cancelled = false;
  /** The move is over, and this member has not heard of it. */
  isOverUnheard = false;
  /** What it had received of attempts that were given up. */
  readonly givenUp: number[] = [];
  destination: Destination | null = null;
  /** Members whose records it has not heard of. */
  readonly thinksAbsent = new Set<string>();
  /** Files that it left, since they could make nothing durable. */
  renewals = 0;
  strict = false;
  /** Of its moves. */
  log: Logger = silentLog;
  /** What was asked for. */
  rateBytesPerSecond: number | null = null;
  /** I/Os of initiators, ever, as the pacer of a move asks for them. */
  operations: () => number = () => 0;
  private token = 1;

  constructor(
    readonly world: MoveWorld,
    readonly name: string,
  ) {
    this.file = new LateFile(world.sizeBytes, world.random);
  }

  async start(): Promise<void> {
    await this.join();
    this.table = await RoutingTable.open(this.world.store, this.ids, silentLog, this.world.clock);
    const routed = this.table.get(VOLUME);
    if (routed === undefined) throw new Error('the world has no volume');
    const slots = new Map<number, RemoteSlot>();
    const remote = (holder: number): RemoteSlot => {
      const slot = slots.get(holder) ?? this.remoteSlot(holder);
      slots.set(holder, slot);
      return slot;
    };
    this.volume = new Volume(routed.record, routed.route, this.ids.idOf(this.name), this.local, remote);
    this.local.opened(this.file);
    this.table.onChange((now) => {
      if (now !== undefined) this.volume.adopt(now.route);
    });
    this.serve();
  }

  /** A new process in this member's place: what the destination had in memory is gone, its file is not. */
  async restart(): Promise<void> {
    this.world.peers.lose(this.name);
    this.destination?.close();
    await this.join();
    await this.table.refresh(VOLUME);
    for (let extent = 0; extent < this.world.extents; extent++) {
      if (!this.volume.holdsHere(extent))
        await this.file.punch(extent * this.world.extentBytes, this.world.lengthOf(extent));
    }
    this.serve();
  }

  private async join(): Promise<void> {
    this.incarnation = `${this.name}-${(this.world.incarnations += 1)}`;
    this.world.peers.incarnations.set(this.name, this.incarnation);
    const address = { host: '127.0.0.1', port: 1 };
    const record: MemberRecord = {
      ...{ name: this.name, portal: address, peer: address, pid: 1, startedAtMs: 0 },
      incarnation: this.incarnation,
    };
    await this.world.store.txn([], [{ put: keys.member(this.name), value: formatRecord(record) }]);
  }

  private serve(): void {
    const holder = new HolderService({
      volumeById: (id) => (id === 1 ? this.volume : undefined),
      serving: true,
      refresh: (_id, done) => void this.table.refresh(VOLUME).then(done),
    });
    const destination = new Destination(
      {
        incarnation: this.incarnation,
        loopIdleMs: () => 0,
        current: async (id, epoch) => {
          if (this.volume.epoch < epoch) await this.table.refresh(VOLUME);
          return id === 1 ? this.asDestination() : undefined;
        },
        reread: () =>
          this.table.refresh(VOLUME).then(
            () => true,
            () => false,
          ),
        isPresent: (name, incarnation) =>
          !this.thinksAbsent.has(name) && this.world.member(name).incarnation === incarnation,
        hasLeft: (name, incarnation) => Promise.resolve(this.world.member(name).incarnation !== incarnation),
        connect: () => undefined,
      },
      this.world.clock,
      silentLog,
      noWaypoints,
    );
    this.destination = destination;
    this.world.peers.join(this.name, {
      handle: (request) => {
        if (isHolderRequest(request)) holder.handle(request);
        else if (!destination.handle(request)) request.answer(PeerStatus.REFUSED);
      },
    });
  }

  private asDestination() {
    const { volume, table, file } = this;
    return {
      extentBytes: volume.extentBytes,
      sizeBytes: volume.sizeBytes,
      epoch: volume.epoch,
      holdsHere: (extent: number) => volume.holdsHere(extent),
      expect: () => undefined,
      giveBack: (extents: readonly number[]) => {
        this.givenUp.push(...extents);
        for (const extent of extents)
          void file.punch(extent * this.world.extentBytes, this.world.lengthOf(extent));
      },
      isLeaving: (extent: number) => volume.moving.has(extent),
      holderAt: (extent: number) => table.get(VOLUME)?.route.holderNameAt(extent) ?? '',
      file: () => Promise.resolve(file),
      leaveSpentFile: () => {
        if (table.get(VOLUME)?.route.holders.includes(this.ids.idOf(this.name)) === true)
          return Promise.resolve();
        this.renewals += 1;
        file.fault = () => null;
        file.isSpent = false;
        file.ram.bytes.fill(0);
        return Promise.resolve();
      },
    };
  }

  private remoteSlot(holder: number): RemoteSlot {
    const volume = {
      volumeId: 1,
      blockBytes: this.volume.blockBytes,
      epoch: () => this.volume.epoch,
      refresh: (_seen: number, done: () => void) => void this.table.refresh(VOLUME).then(done),
      timesLeftBehind: () => 0,
    };
    return new RemoteSlot(this.world.peers.hub(this.name), this.ids.nameOf(holder), volume, this.world.clock);
  }

  /** Gives every extent of [first, last] that is held here to another member. */
  async give(to: string, first = 0, last = this.world.extents - 1): Promise<void> {
    const routed = await this.table.refresh(VOLUME);
    const extents = (routed?.route ?? failNoVolume()).extentsHeldBy(this.name, first, last);
    if (extents.length > 0) await moveExtents(this.context(to), extents);
  }

  private context(to: string): BatchContext {
    const { world, table, volume, local, file, stats } = this;
    const givenBack: Promise<void>[] = [];
    return {
      ...{ table, volume, local, file, stats, volumeName: VOLUME, self: this.name, strict: this.strict },
      incarnation: this.incarnation,
      isStopping: () => world.isClosed,
      ...{
        clock: world.clock,
        log: this.log,
        waypoints: noWaypoints,
        store: world.store,
        idleBuffers: [],
        pacer: new Pacer(world.clock, this.rateBytesPerSecond, {
          operations: () => this.operations(),
          reads: () => 0,
          idleMs: () => 0,
          givers: () => 1,
        }),
      },
      destination: new DestinationLink(world.peers.hub(this.name), to, 1),
      epoch: () => volume.epoch,
      nextToken: () => (this.token += 1) + 1000 * world.incarnations,
      checkGoing: () => {
        if (this.cancelled) throw new Error('cancelled');
      },
      moveCondition: () => ({ key: keys.move('asked-for'), revision: this.isOverUnheard ? 1 : 0 }),
      rereadMove: () => (this.isOverUnheard ? Promise.reject(new Error('it is over')) : Promise.resolve()),
      giveBack: (extents) => {
        for (const extent of extents)
          givenBack.push(file.punch(extent * world.extentBytes, world.lengthOf(extent)));
      },
    };
  }
}

function failNoVolume(): never {
  throw new Error('the world has no volume');
}

/** What m1 would send m2 about extent 0, by hand. */
export async function send(world: MoveWorld, type: PeerTypeCode, token: number, byte = 0): Promise<number> {
  const data = type === PeerType.MIRROR_WRITE ? Buffer.alloc(512, byte) : Buffer.alloc(0);
  const fields = { type, volumeId: 1, token, epoch: 1, lengthBytes: data.length };
  return (await ask(world.peers.hub('m1'), 'm2', fields, data)).status;
}

/** The machine's clock, so many times as fast. */
export function hurriedClock(times: number): Clock {
  return {
    ...systemClock,
    nowMs: () => systemClock.nowMs() * times,
    after: (delayMs, fire) => systemClock.after(delayMs / times, fire),
  };
}

export class MoveWorld {
  isClosed = false;
  readonly random: SeededRandom;
  readonly peers: FakePeers;
  readonly store: MemoryStore;
  readonly clock: Clock = systemClock;
  readonly extents: number;
  readonly sizeBytes: number;
  readonly members = new Map<string, WorldMember>();
  incarnations = 0;

  /** @param missingBytes what the last extent is short of */
  constructor(
    seed: number,
    extents = 6,
    readonly extentBytes = 256 * 1024,
    missingBytes = 0,
  ) {
    this.random = new SeededRandom(seed);
    this.peers = new FakePeers(this.random);
    this.store = new MemoryStore({ clock: this.clock, random: this.random });
    this.extents = extents;
    this.sizeBytes = extents * this.extentBytes - missingBytes;
  }

  /** The last extent may be short. */
  lengthOf(extent: number): number {
    return Math.min(this.extentBytes, this.sizeBytes - extent * this.extentBytes);
  }

  async start(...names: string[]): Promise<void> {
    const record: VolumeRecord = {
      ...{
        id: 1,
        name: VOLUME,
        iqn: 'iqn.2026-11.org.blockferry:v',
        sizeBytes: this.sizeBytes,
        blockBytes: 512,
      },
      ...{ extentBytes: this.extentBytes, serial: '0'.repeat(16), naa: `3${'0'.repeat(15)}`, createdAtMs: 0 },
      ...{ removable: false, readOnly: false, full: false, vendor: 'BLKFERRY', product: 'VOLUME' },
    };
    const head = { epoch: 1, home: names[0] ?? 'm1', base: names[0] ?? 'm1', extents: this.extents };
    await this.store.txn(
      [],
      [
        { put: keys.volume(VOLUME), value: formatRecord(record) },
        { put: keys.routeHead(VOLUME), value: formatRecord(head) },
      ],
    );
    for (const name of names) {
      const member = new WorldMember(this, name);
      this.members.set(name, member);
      await member.start();
    }
  }

  member(name: string): WorldMember {
    return this.members.get(name) ?? failNoVolume();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    for (const { table, destination } of this.members.values()) {
      table.close();
      destination?.close();
    }
    await this.store.close();
  }
}

/**
 * Writes, discards and reads at random through one member's volume, never two at once on the same bytes, and compares
 * every byte read with a model.
 */
export class Foreground {
  readonly model: Buffer;
  operations = 0;
  readonly wrong: string[] = [];
  private readonly busy: { from: number; to: number }[] = [];
  private stopped = false;
  private lanes: Promise<void>[] = [];

  constructor(
    private readonly world: MoveWorld,
    public through: WorldMember,
  ) {
    this.model = Buffer.alloc(world.sizeBytes);
  }

  start(depth: number): void {
    this.lanes = Array.from({ length: depth }, () => this.lane());
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.lanes);
  }

  private async lane(): Promise<void> {
    while (!this.stopped) {
      const range = this.pick();
      if (range !== null) {
        this.busy.push(range);
        await this.operate(range.from, range.to - range.from);
        this.busy.splice(this.busy.indexOf(range), 1);
        this.operations += 1;
      }
      await turn();
    }
  }

  private pick(): { from: number; to: number } | null {
    const { random, sizeBytes } = this.world;
    const length = 512 * (1 + randomBelow(random, randomBelow(random, 16) === 0 ? 600 : 16));
    const from = 512 * randomBelow(random, Math.floor((sizeBytes - length) / 512));
    const to = from + length;
    return this.busy.some((other) => from < other.to && other.from < to) ? null : { from, to };
  }

  private async operate(from: number, length: number): Promise<void> {
    const { random } = this.world;
    const choice = randomBelow(random, 10);
    const { volume } = this.through;
    if (choice < 5) {
      const data = Buffer.alloc(length, 1 + randomBelow(random, 255));
      data.writeUInt32LE(random.uint32(), 0);
      await submitAndWait(volume, 'write', from, length, data);
      data.copy(this.model, from);
    } else if (choice < 6) {
      await submitAndWait(volume, 'discard', from, length);
      this.model.fill(0, from, from + length);
    } else {
      await this.check(from, length);
    }
  }

  private async check(from: number, length: number): Promise<void> {
    const data = Buffer.alloc(length, 0xee);
    await submitAndWait(this.through.volume, 'read', from, length, data);
    if (!data.equals(this.model.subarray(from, from + length))) this.wrong.push(`${from}+${length}`);
  }

  /** Everything, at the end. */
  async checkAll(): Promise<void> {
    const { extents, extentBytes } = this.world;
    for (let extent = 0; extent < extents; extent++) {
      await this.check(extent * extentBytes, this.world.lengthOf(extent));
    }
  }
}
