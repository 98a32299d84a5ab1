/** One member's volumes on a real data folder, over a memory store; it can be away, and its lease is the test's. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { systemClock, type Clock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { noWaypoints } from '../../lib/base/waypoints.js';
import { submitAndWait } from '../../lib/block/device.js';
import { createVolume, type WantedVolume } from '../../lib/group/admin-volumes.js';
import { Creations } from '../../lib/group/creations.js';
import { ensureGroup } from '../../lib/group/admin.js';
import { MemoryStore } from '../../lib/group/memory-store.js';
import { formatRecord, keys } from '../../lib/group/records.js';
import type { EveryPath } from '../../lib/member/every-path.js';
import { removeLeftovers } from '../../lib/member/leftovers.js';
import { VolumeHost } from '../../lib/member/host.js';
import { MemberIds } from '../../lib/routing/member-ids.js';
import { RoutingTable, type RoutedVolume } from '../../lib/routing/table.js';
import { UnitMemory } from '../../lib/scsi/kept-state.js';
import { LocalKeeper } from '../../lib/scsi/reservations/keeper.js';
import { DataFolder } from '../../lib/storage/data-folder.js';
import { systemDoors } from '../../lib/storage/doors.js';
import { FakePeers } from './fake-peers.js';
import { until } from './wait.js';

export const EXTENT_BYTES = 64 * 1024;
const random = new SeededRandom(5);
const doors = { clock: systemClock, random };

/** A group of one member that can be away. */
const GROUP = 'group-of-the-rig';

export class MemberRig {
  readonly store = new MemoryStore(doors);
  readonly peers = new FakePeers(random);
  host!: VolumeHost;
  table!: RoutingTable;
  private folder!: DataFolder;
  readonly cutOff: string[] = [];
  /** What their end waits for. */
  sessionsEnd = Promise.resolve();
  /** By the clock; a loss is told at once. */
  leaseIsValid = true;
  /** The facts of its units, and what catching up with them waits for. */
  readonly unitMemory = new UnitMemory();
  catchingUp = Promise.resolve();
  /** Its disk, by the next start. */
  storage = systemDoors();
  /** Where every member serves every volume, by the next start. */
  everyPath = (): EveryPath | null => null;

  /** @param clock its own, by the next start; the store has the system's */
  constructor(
    readonly path: string,
    public clock: Clock = systemClock,
  ) {}

  async found(): Promise<void> {
    await ensureGroup(this.store, doors);
    await this.join('m1');
  }

  async join(name: string): Promise<void> {
    const address = { host: '127.0.0.1', port: 1 };
    const record = { name, portal: address, peer: address, pid: 1, incarnation: 'i', startedAtMs: 0 };
    await this.store.txn([], [{ put: keys.member(name), value: formatRecord(record) }]);
  }

  async start(): Promise<void> {
    const ids = new MemberIds();
    this.folder = await DataFolder.open(this.path, { log: silentLog }, this.storage);
    this.table = await this.openTable(ids);
    await removeLeftovers({
      folder: this.folder,
      table: this.table,
      self: 'm1',
      group: GROUP,
      log: silentLog,
    });
    this.host = new VolumeHost({
      ...{ self: 'm1', ids, hub: this.peers.hub('m1'), folder: this.folder, clock: this.clock },
      ...{ log: silentLog, waypoints: noWaypoints, incarnation: 'i', table: this.table },
      sessionCount: () => 0,
      hasSessions: () => false,
      cutOff: (iqn) => {
        this.cutOff.push(iqn);
        return this.sessionsEnd;
      },
      leaseIsValid: () => this.checkLease(),
      connect: () => undefined,
      isPresent: () => true,
      keeperOf: () => new LocalKeeper(),
      vacateOthers: () => Promise.resolve(),
      units: {
        keeperOf: () => this.unitMemory,
        catchUp: () => this.catchingUp,
        homeCondition: (name) => ({ key: keys.unit(name), revision: 0 }),
      },
      creations: new Creations(this.store),
      everyPath: this.everyPath(),
      hasLeft: () => Promise.resolve(false),
      loopIdleMs: () => 0,
    });
    this.host.resume();
  }

  /** The routes as another member, or this one later, sees them. */
  openTable(ids = new MemberIds()): Promise<RoutingTable> {
    return RoutingTable.open(this.store, ids, silentLog, this.clock);
  }

  /** The volume by this member's table. */
  get routed(): RoutedVolume {
    const routed = this.table.get('v');
    if (routed === undefined) throw new Error('no volume');
    return routed;
  }

  async stop(): Promise<void> {
    await this.host.close();
    this.table.close();
    await this.folder.close();
  }

  async create(kind: Partial<WantedVolume> = {}): Promise<void> {
    const size = { sizeBytes: 3 * EXTENT_BYTES - 4096, blockBytes: 4096 as const, extentBytes: EXTENT_BYTES };
    await createVolume(this.store, doors, { name: 'v', home: 'm1', ...size, ...kind });
  }

  private checkLease(): boolean {
    if (!this.leaseIsValid) this.host.suspend();
    return this.leaseIsValid;
  }

  /** Waits for the volume with that number to be here. */
  async volume(id: number) {
    await until(`volume ${id} is here`, () => this.host.volumeById(id) !== undefined);
    const volume = this.host.volumeById(id);
    if (volume === undefined) throw new Error(`volume ${id} has gone again`);
    return volume;
  }

  async write(id: number, byte: number): Promise<void> {
    await submitAndWait(await this.volume(id), 'write', 4096, 4096, Buffer.alloc(4096, byte), true);
  }

  async read(id: number): Promise<number | undefined> {
    const data = Buffer.alloc(4096, 0xee);
    await submitAndWait(await this.volume(id), 'read', 4096, 4096, data);
    return data[0];
  }
}

export async function makeRig(t: Test, clock?: Clock): Promise<MemberRig> {
  const path = await mkdtemp(join(tmpdir(), 'blockferry-'));
  const rig = new MemberRig(path, clock);
  await rig.found();
  await rig.start();
  t.teardown(async () => {
    await rig.stop();
    await rig.store.close();
    await rm(path, { recursive: true });
  });
  return rig;
}
