/**
 * A member's volumes on a real data folder, over a memory store and without peers: what a restart finds, what a deleted
 * volume leaves, and what becomes of I/O while the lease is lost (I1, I4, I8).
 */
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { submitAndWait } from '../../lib/block/device.js';
import { createVolume, deleteVolume } from '../../lib/group/admin-volumes.js';
import { ensureGroup } from '../../lib/group/admin.js';
import { MemoryStore } from '../../lib/group/memory-store.js';
import { formatRecord, keys } from '../../lib/group/records.js';
import { VolumeHost } from '../../lib/member/host.js';
import { MemberIds } from '../../lib/routing/member-ids.js';
import { RoutingTable } from '../../lib/routing/table.js';
import { DataFolder } from '../../lib/storage/data-folder.js';
import { FakePeers } from '../support/fake-peers.js';

const EXTENT_BYTES = 64 * 1024;
const random = new SeededRandom(5);
const doors = { clock: systemClock, random };

/** A group of one member that can be away. */
class Rig {
  readonly store = new MemoryStore(doors);
  host!: VolumeHost;
  table!: RoutingTable;
  private folder!: DataFolder;
  readonly cutOff: string[] = [];
  /** By the clock; a loss is told at once. */
  leaseIsValid = true;

  constructor(readonly path: string) {}

  async found(): Promise<void> {
    await ensureGroup(this.store, doors);
    const address = { host: '127.0.0.1', port: 1 };
    const record = { name: 'm1', portal: address, peer: address, pid: 1, incarnation: 'i', startedAtMs: 0 };
    await this.store.txn([], [{ put: keys.member('m1'), value: formatRecord(record) }]);
  }

  async start(): Promise<void> {
    const ids = new MemberIds();
    this.folder = await DataFolder.open(this.path, { log: silentLog });
    this.table = await RoutingTable.open(this.store, ids, silentLog);
    this.host = new VolumeHost({
      ...{ self: 'm1', ids, hub: new FakePeers(random).hub('m1'), folder: this.folder, clock: systemClock },
      ...{ log: silentLog, incarnation: 'i', table: this.table },
      sessionCount: () => 0,
      cutOff: (iqn) => void this.cutOff.push(iqn),
      leaseIsValid: () => this.checkLease(),
      connect: () => undefined,
    });
    this.host.resume();
  }

  async stop(): Promise<void> {
    await this.host.close();
    this.table.close();
    await this.folder.close();
  }

  async create(): Promise<void> {
    const size = { sizeBytes: 3 * EXTENT_BYTES - 4096, blockBytes: 4096 as const, extentBytes: EXTENT_BYTES };
    await createVolume(this.store, doors, { name: 'v', home: 'm1', ...size });
  }

  private checkLease(): boolean {
    if (!this.leaseIsValid) this.host.suspend();
    return this.leaseIsValid;
  }

  /** Waits for the volume with that number to be here. */
  async volume(id: number) {
    for (;;) {
      const volume = this.host.volumeById(id);
      if (volume !== undefined) return volume;
      await new Promise((resolve) => setImmediate(resolve));
    }
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

async function makeRig(t: Test): Promise<Rig> {
  const path = t.testdir({});
  const rig = new Rig(path);
  await rig.found();
  await rig.start();
  t.teardown(async () => {
    await rig.stop();
    await rig.store.close();
  });
  return rig;
}

t.test('a restart finds what was written', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.write(1, 7);
  await rig.stop();
  await rig.start();
  t.equal(await rig.read(1), 7);
});

t.test('a holder whose file is missing refuses instead of serving zeros (I1)', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.write(1, 7);
  await rig.stop();
  fs.unlinkSync(join(rig.path, 'v.volume'));
  await rig.start();
  await t.rejects(rig.read(1), { code: 'medium-read', message: /does not exist/ });
  t.notOk(fs.existsSync(join(rig.path, 'v.volume')), 'none is made in its place');
});

t.test('a volume made anew under the name of one just deleted is empty, and stays', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.write(1, 7);
  await deleteVolume(rig.store, 'v');
  await rig.create();
  t.equal(await rig.read(2), 0);
  await rig.write(2, 9);
  await rig.stop();
  await rig.start();
  t.equal(await rig.read(2), 9);
});

t.test('so is one whose namesake was deleted while the member was away', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.write(1, 7);
  await rig.stop();
  await deleteVolume(rig.store, 'v');
  await rig.create();
  await rig.start();
  t.equal(await rig.read(2), 0);
});

for (const home of ['m1', 'm2']) {
  const isHome = home === 'm1';
  const outcome = isHome ? 'is served' : 'ends, since its initiator may be served elsewhere (I8)';
  t.test(`home ${home}: what waits for the lease of m1 ${outcome}`, async (t) => {
    const rig = await makeRig(t);
    await rig.create();
    await rig.write(1, 7);
    const routed = rig.table.get('v');
    if (routed === undefined) throw new Error('no volume');
    if (!isHome) await rig.table.commit(routed, routed.route.withHome(home));
    await rig.write(1, 8);
    rig.leaseIsValid = false; // seen before any timer has come to it
    if (isHome) rig.host.suspend();
    const late = rig.write(1, 9).then(
      () => 'served',
      (error: { code: string }) => error.code,
    );
    await new Promise((resolve) => setImmediate(resolve));
    t.notOk(rig.host.serving, 'nothing is served without a lease (I4)');
    rig.leaseIsValid = true;
    rig.host.regain();
    t.equal(await late, isHome ? 'served' : 'aborted');
    t.same(rig.cutOff, isHome ? [] : [routed.record.iqn]);
    const now = rig.table.get('v');
    if (now !== undefined && !isHome) {
      await t.rejects(rig.write(1, 9), { code: 'aborted' }, 'nothing more of old sessions');
      await rig.table.commit(now, now.route.withHome('m1'));
    }
    t.equal(await rig.read(1), isHome ? 9 : 8, 'the home serves');
  });
}
