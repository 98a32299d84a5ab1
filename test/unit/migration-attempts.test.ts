/**
 * The ends of attempts: one is aborted while the next begins, an abort comes for what was committed after all, a source
 * leaves the group with its attempts open, or was away from it for a moment. In the world of migration-world.test.ts.
 */
import t from 'tap';
import { ORPHANS_LOOK_MS } from '../../lib/base/limits.js';
import { IoError, submitAndWait, type BlockIo } from '../../lib/block/device.js';
import { formatRecord, keys } from '../../lib/group/records.js';
import { formatSeal } from '../../lib/migration/messages.js';
import type { Receptions } from '../../lib/migration/reception.js';
import { ask } from '../../lib/peer/ask.js';
import { PeerStatus, PeerType } from '../../lib/peer/contract.js';
import { hurriedClock, MoveWorld, send, VOLUME, type WorldMember } from '../support/move-world.js';
import { turns, until } from '../support/wait.js';

const HURRY = 100;

/** A world whose pauses take a hundredth of their time. */
async function startWorld(seed: number, ...names: string[]): Promise<MoveWorld> {
  const world = Object.assign(new MoveWorld(seed, 2), { clock: hurriedClock(HURRY) });
  await world.start(...names);
  return world;
}

/** Keeps operations of one kind until they are let go. */
function hold({ file }: WorldMember, isHeld: (io: BlockIo) => boolean): { held: BlockIo[]; letGo(): void } {
  const held: BlockIo[] = [];
  const submit = file.submit.bind(file);
  file.submit = (io) => void (isHeld(io) ? held.push(io) : submit(io));
  return {
    held,
    letGo: () => {
      file.submit = submit;
      for (const io of held.splice(0)) submit(io);
    },
  };
}

async function giveAway(world: MoveWorld, by: string, to: string): Promise<void> {
  const { table } = world.member(by);
  const routed = await table.refresh(VOLUME);
  if (routed !== undefined) await table.commit(routed, routed.route.withHolder([0], to));
}

for (const first of ['EXTENT_BEGIN', 'EXTENT_ABORT'] as const) {
  t.test(`an attempt is aborted while the next one begins, ${first} first`, async (t) => {
    const world = await startWorld(31, 'm1', 'm2');
    const m2 = world.member('m2');
    t.equal(await send(world, PeerType.EXTENT_BEGIN, 5), PeerStatus.OK);
    t.equal(await send(world, PeerType.MIRROR_WRITE, 5, 5), PeerStatus.OK);
    const writes = hold(m2, (io) => io.op === 'write');
    const late = send(world, PeerType.MIRROR_WRITE, 5, 55);
    await until('a write is held', () => writes.held.length > 0);
    const steps = [() => send(world, PeerType.EXTENT_BEGIN, 6), () => send(world, PeerType.EXTENT_ABORT, 5)];
    if (first === 'EXTENT_ABORT') steps.reverse();
    const answers: Promise<number>[] = [];
    for (const step of steps) {
      answers.push(step());
      await turns(20);
    }
    writes.letGo();
    t.same(await Promise.all([late, ...answers]), [PeerStatus.OK, PeerStatus.OK, PeerStatus.OK]);
    const punches = hold(m2, (io) => io.op === 'discard');
    t.equal(await send(world, PeerType.MIRROR_WRITE, 6, 6), PeerStatus.OK);
    t.equal(await send(world, PeerType.MIRROR_WRITE, 5, 5), PeerStatus.STALE, 'a write of the old one');
    t.equal(await send(world, PeerType.EXTENT_ABORT, 5), PeerStatus.OK, 'another abort of the old one');
    await turns(20);
    t.equal(punches.held.length, 0, 'nothing of the new one is punched');
    punches.letGo();
    await turns(20);
    t.equal(m2.file.ram.bytes[0], 6);
    t.same(m2.givenUp, first === 'EXTENT_BEGIN' ? [] : m2.givenUp, 'the next one had the space already');
    await world.close();
  });
}

t.test('an abort of what was committed here all the same takes nothing away (I1)', async (t) => {
  const world = await startWorld(32, 'm1', 'm2');
  const m2 = world.member('m2');
  m2.table.close(); // hears nothing of its own accord
  t.equal(await send(world, PeerType.EXTENT_BEGIN, 5), PeerStatus.OK);
  t.equal(await send(world, PeerType.MIRROR_WRITE, 5, 5), PeerStatus.OK);
  await giveAway(world, 'm1', 'm2');
  t.equal(m2.volume.holdsHere(0), false, 'by its old route');
  const list = world.store.list.bind(world.store);
  world.store.list = () => Promise.reject(new Error('the store is away'));
  t.equal(await send(world, PeerType.EXTENT_ABORT, 5), PeerStatus.UNAVAILABLE, 'nobody can say');
  world.store.list = list;
  t.equal(await send(world, PeerType.EXTENT_ABORT, 5), PeerStatus.OK);
  await turns(20);
  t.same(m2.givenUp, []);
  t.equal(m2.file.ram.bytes[0], 5);
  await world.close();
});

t.test('what fails after the commit undoes nothing of it (I1, I3)', async (t) => {
  const world = await startWorld(33, 'm1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 7));
  let aborts = 0;
  world.peers.fate = (_member, { type }) => {
    if (type === PeerType.EXTENT_ABORT) aborts += 1;
    return null;
  };
  m1.file.punch = () => {
    throw new Error('the space cannot be given back');
  };
  await t.rejects(m1.give('m2'), /cannot be given back/);
  await turns(50);
  t.equal(aborts, 0);
  t.equal(m1.volume.moving.size, 0);
  const data = Buffer.alloc(512);
  await submitAndWait(m1.volume, 'read', 0, 512, data);
  t.equal(data[0], 7, 'served by the new holder');
  t.equal(m2.volume.holdsHere(0), true);
  await world.close();
});

t.test('nothing is given for a move that is over, whose end its source has not heard of', async (t) => {
  const world = await startWorld(36, 'm1', 'm2');
  const m1 = world.member('m1');
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 7));
  m1.isOverUnheard = true;
  await t.rejects(m1.give('m2'), /it is over/);
  t.equal(m1.volume.holdsHere(0), true);
  t.equal(m1.volume.moving.size, 0, 'and its interceptors are out');
  await submitAndWait(m1.volume, 'write', 512, 512, Buffer.alloc(512, 8));
  m1.isOverUnheard = false;
  await m1.give('m2');
  t.equal(m1.volume.holdsHere(0), false, 'the next one is given');
  await world.close();
});

t.test('attempts of a source that has left the group end, and their space is given back', async (t) => {
  const world = await startWorld(34, 'm1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  t.equal(await send(world, PeerType.EXTENT_BEGIN, 5), PeerStatus.OK);
  t.equal(await send(world, PeerType.MIRROR_WRITE, 5, 5), PeerStatus.OK);
  await new Promise((resolve) => setTimeout(resolve, (2.5 * ORPHANS_LOOK_MS) / HURRY));
  t.equal(m2.file.ram.bytes[0], 5, 'not while it is there');
  const list = world.store.list.bind(world.store);
  world.store.list = () => Promise.reject(new Error('the store is away'));
  m1.incarnation = 'another';
  await new Promise((resolve) => setTimeout(resolve, (2.5 * ORPHANS_LOOK_MS) / HURRY));
  t.equal(m2.file.ram.bytes[0], 5, 'not while the store does not say who holds it');
  t.equal(await send(world, PeerType.MIRROR_WRITE, 5, 6), PeerStatus.STALE, 'but it is over');
  world.store.list = list;
  await until('the space is given back', () => m2.file.ram.bytes[0] === 0);
  t.equal(m2.file.ram.bytes[0], 0);
  t.same(m2.givenUp, [0]);
  await world.close();
});

t.test('of a source that only seems to have left they end, but nothing is given back (I1)', async (t) => {
  const world = await startWorld(41, 'm1', 'm2');
  const m2 = world.member('m2');
  t.equal(await send(world, PeerType.EXTENT_BEGIN, 5), PeerStatus.OK);
  t.equal(await send(world, PeerType.MIRROR_WRITE, 5, 5), PeerStatus.OK);
  t.equal(await seal(world, 5), PeerStatus.OK, 'its commit may be on the way');
  m2.thinksAbsent.add('m1');
  await new Promise((resolve) => setTimeout(resolve, (2.5 * ORPHANS_LOOK_MS) / HURRY));
  t.equal(await seal(world, 5), PeerStatus.STALE, 'they have ended');
  await giveAway(world, 'm1', 'm2');
  await turns(50);
  t.same(m2.givenUp, []);
  t.equal(m2.file.ram.bytes[0], 5);
  m2.thinksAbsent.clear();
  await world.close();
});

t.test('an attempt that is given up while it is being emptied is not begun', async (t) => {
  const world = await startWorld(42, 'm1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  m2.file.ram.bytes.fill(9, 0, 4096);
  const punches = hold(m2, (io) => io.op === 'discard');
  const begun = send(world, PeerType.EXTENT_BEGIN, 5);
  await until('a punch is held', () => punches.held.length === 1);
  m1.incarnation = 'another';
  await new Promise((resolve) => setTimeout(resolve, (1.5 * ORPHANS_LOOK_MS) / HURRY));
  punches.letGo();
  t.equal(await begun, PeerStatus.STALE);
  t.equal(await seal(world, 5), PeerStatus.STALE);
  await world.close();
});

t.test('unless the last thing it did was to commit (I1)', async (t) => {
  const world = await startWorld(35, 'm1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  m2.table.close();
  t.equal(await send(world, PeerType.EXTENT_BEGIN, 5), PeerStatus.OK);
  t.equal(await send(world, PeerType.MIRROR_WRITE, 5, 5), PeerStatus.OK);
  await giveAway(world, 'm1', 'm2');
  m1.incarnation = 'another';
  await until('m2 holds the extent', () => m2.volume.holdsHere(0));
  await turns(50);
  t.same(m2.givenUp, []);
  t.equal(m2.file.ram.bytes[0], 5);
  await world.close();
});

for (const back of [true, false]) {
  const when = back ? 'and had it again' : 'for good';
  t.test(`a source that lost its place in the group before the commit, ${when} (I3)`, async (t) => {
    const world = await startWorld(36, 'm1', 'm2');
    const [m1, m2] = [world.member('m1'), world.member('m2')];
    await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 3));
    const [place, revision] = [await world.store.get(keys.member('m1')), m1.volume.epoch];
    let seals = 0;
    world.peers.fate = (_member, { type }) => {
      // The third is the last before the commit: the place is lost after it was asked for.
      if (type !== PeerType.MOVE_SYNC || ++seals !== 3) return null;
      const record = back ? [{ put: place?.key ?? '', value: place?.value ?? '' }] : [];
      void world.store.txn([], [{ delete: place?.key ?? '' }]).then(() => world.store.txn([], record));
      return null;
    };
    const moved = m1.give('m2').catch((error: Error) => error.message);
    if (!back) {
      await until('the extent has begun again and again', () => m1.stats.restarts > 3);
      t.equal(m1.volume.epoch, revision, 'nothing is committed');
      await world.store.txn([], [{ put: place?.key ?? '', value: place?.value ?? '' }]);
    }
    t.equal(await moved, undefined);
    t.ok(m1.stats.restarts > 0, 'it began anew');
    t.ok(seals >= 6, 'and the destination was asked again');
    await until('m2 holds the extent', () => m2.volume.holdsHere(0));
    t.equal(m2.volume.holdsHere(0), true);
    t.equal(m2.file.ram.bytes[0], 3);
    await world.close();
  });
}

t.test('nor does it commit under the place of another process of its name (I3)', async (t) => {
  const world = await startWorld(37, 'm1', 'm2');
  const m1 = world.member('m1');
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 3));
  const place = await world.store.get(keys.member('m1'));
  const other = { ...(JSON.parse(place?.value ?? '') as object), incarnation: 'another' };
  await world.store.txn([], [{ put: keys.member('m1'), value: formatRecord(other) }]);
  const moved = m1.give('m2').catch((error: Error) => error.message);
  await until('the extent has begun again and again', () => m1.stats.restarts > 3);
  t.equal(m1.volume.epoch, 1);
  t.match(m1.stats.lastError, /m1 is not in the group now/);
  m1.cancelled = true;
  t.equal(await moved, 'cancelled');
  await world.close();
});

t.test('a destination that could not be told of an abort is told later', async (t) => {
  const world = await startWorld(38, 'm1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 3));
  let aborts = 0;
  world.peers.fate = (_member, { type, extent }) => {
    if (type === PeerType.MOVE_SYNC) m1.cancelled = true;
    if (type === PeerType.MOVE_SYNC) return PeerStatus.IO_ERROR;
    return type === PeerType.EXTENT_ABORT && extent === 0 && aborts++ < 3 ? PeerStatus.LINK_LOST : null;
  };
  await t.rejects(m1.give('m2'), /cancelled/);
  await until('m2 has given the extent up', () => m2.givenUp.includes(0));
  t.same([...m2.givenUp].sort(), [0, 1]);
  t.equal(aborts, 4);
  await turns(20);
  t.equal(m2.file.ram.bytes[0], 0);
  await world.close();
});

t.test('a volume of which nothing is received takes no room at a destination (I11)', async (t) => {
  const world = await startWorld(39, 'm1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  const volumes = (): unknown => (Reflect.get(m2.destination ?? {}, 'receptions') as Receptions).volumes;
  for (const volumeId of [7, 8, 0xffffffff]) {
    const fields = { volumeId, epoch: 1 };
    const payload = formatSeal({ attempts: [{ extent: 0, token: 1 }], sync: true });
    await ask(world.peers.hub('m1'), 'm2', { ...fields, type: PeerType.MOVE_SYNC }, payload);
    await ask(world.peers.hub('m1'), 'm2', { ...fields, type: PeerType.COMMITTED }, Buffer.alloc(0));
  }
  t.same(volumes(), []);
  await send(world, PeerType.EXTENT_BEGIN, 5);
  t.same(volumes(), [1]);
  await send(world, PeerType.EXTENT_ABORT, 5);
  t.same(volumes(), []);
  await m1.give('m2');
  await until('it has heard of the commit', () => JSON.stringify(volumes()) === '[]');
  await world.close();
});

/** From now on nothing reaches the disk, as after a write-back that failed. */
function spend({ file }: WorldMember): void {
  file.fault = (io) => (io.op === 'flush' || io.fua ? new IoError('medium-write', 'planted') : null);
}

/** Asks for a sync of what m1 sends under that token, or whether all is well. */
async function seal(world: MoveWorld, token: number, sync = true): Promise<number> {
  const payload = formatSeal({ attempts: [{ extent: 0, token }], sync });
  return (
    await ask(world.peers.hub('m1'), 'm2', { type: PeerType.MOVE_SYNC, volumeId: 1, epoch: 1 }, payload)
  ).status;
}

t.test('a destination whose file can make nothing durable begins a new one (I6)', async (t) => {
  const world = await startWorld(38, 'm1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  await submitAndWait(m1.volume, 'write', 0, world.sizeBytes, Buffer.alloc(world.sizeBytes, 3));
  spend(m2);
  await m1.give('m2');
  t.equal(m2.renewals, 1);
  t.equal(m1.stats.restarts, 2, 'each extent was begun anew, once');
  t.ok(m2.file.durable.every((byte) => byte === 3));
  await world.close();
});

t.test('but not where it holds an extent, or another may be about to give it one (I1)', async (t) => {
  const world = await startWorld(39, 'm1', 'm2', 'm3');
  const m2 = world.member('m2');
  t.equal(await send(world, PeerType.EXTENT_BEGIN, 5), PeerStatus.OK);
  spend(m2);
  await giveAway(world, 'm1', 'm2'); // which m2 has not heard of
  t.equal(await seal(world, 5), PeerStatus.IO_ERROR);
  t.equal(m2.renewals, 0, 'an extent is held');
  await world.close();

  const other = await startWorld(40, 'm1', 'm2', 'm3');
  const there = other.member('m2');
  const { table } = other.member('m1');
  const routed = await table.refresh(VOLUME);
  if (routed !== undefined) await table.commit(routed, routed.route.withHolder([1], 'm3'));
  await other.member('m3').table.refresh(VOLUME);
  t.equal(await send(other, PeerType.EXTENT_BEGIN, 6), PeerStatus.OK);
  const fields = { type: PeerType.EXTENT_BEGIN, volumeId: 1, extent: 1, token: 7, epoch: 2 };
  t.equal((await ask(other.peers.hub('m3'), 'm2', fields, Buffer.alloc(0))).status, PeerStatus.OK);
  spend(there);
  t.equal(await seal(other, 6), PeerStatus.IO_ERROR);
  t.equal(there.renewals, 0, 'm3 may have sealed its extent before');
  await other.close();
});

t.test('a destination seals nothing that its disk lost after it was synced (I1)', async (t) => {
  const world = await startWorld(41, 'm1', 'm2');
  const m2 = world.member('m2');
  t.equal(await send(world, PeerType.EXTENT_BEGIN, 5), PeerStatus.OK);
  t.equal(await seal(world, 5), PeerStatus.OK);
  t.equal(await seal(world, 5, false), PeerStatus.OK);
  m2.file.isSpent = true;
  t.equal(await seal(world, 5, false), PeerStatus.IO_ERROR);
  t.equal(m2.renewals, 1, 'a new file takes the next attempt');
  await world.close();
});
