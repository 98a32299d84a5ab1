/** A source whose disk has lost acknowledged writes: what it has is given, and the home hears that something is gone (I1). */
import t, { type Test } from 'tap';
import { type Clock, systemClock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { IoError, submitAndWait } from '../../lib/block/device.js';
import { OtherHolders } from '../../lib/member/other-holders.js';
import { PeerStatus, PeerType } from '../../lib/peer/contract.js';
import { hurriedClock, MoveWorld, VOLUME, type WorldMember } from '../support/move-world.js';
import { settledVolume } from '../support/peer-rig.js';
import { until } from '../support/wait.js';

const NAMES = ['m1', 'm2', 'm3'];

/** m1 is home and has all; every member has a write verifier. */
async function start(t: Test, seed: number, clock: Clock = systemClock) {
  const world = Object.assign(new MoveWorld(seed, 4), { clock });
  await world.start(...NAMES);
  t.teardown(() => world.close());
  for (const name of NAMES) world.peers.verifiers.set(name, `of ${name}`);
  const [m1, m2, m3] = [world.member('m1'), world.member('m2'), world.member('m3')];
  await submitAndWait(m1.volume, 'write', 0, world.sizeBytes, Buffer.alloc(world.sizeBytes, 1));
  return { m1, m2, m3, extentBytes: world.extentBytes };
}

/** What a home expects of the holders, with an initiator that may have unflushed writes at each of them. */
function homeAt({ table, ids, name, world }: WorldMember): OtherHolders {
  const route = table.get(VOLUME)?.route;
  if (route === undefined) throw new Error('there is no volume');
  const context = { hub: world.peers.hub(name), ids, self: name, clock: world.clock, log: silentLog };
  const others = new OtherHolders(VOLUME, settledVolume(), route, context);
  table.onChange((now) => now && others.adopt(now.route));
  others.admit();
  return others;
}

/** Counts the syncs of a source's file. */
function watchSyncs(member: WorldMember, before = (): Promise<void> => Promise.resolve()): { count: number } {
  const sync = member.file.sync.bind(member.file);
  const watch = { count: 0 };
  member.file.sync = async () => {
    watch.count += 1;
    await before();
    await sync();
  };
  return watch;
}

function breakDisk({ file }: WorldMember): void {
  file.fault = ({ op }) => (op === 'flush' ? new IoError('medium-write', 'write-back failed') : null);
}

const gaveOf = ({ table, name }: WorldMember): string | undefined => table.get(VOLUME)?.route.gave[name];

t.test('the source is synced with its last extent, and has lost nothing', async (t) => {
  const { m1 } = await start(t, 91);
  const others = homeAt(m1);
  const syncs = watchSyncs(m1);
  await m1.give('m2', 0, 2);
  t.equal(syncs.count, 0, 'who flushes asks it still');
  t.equal(gaveOf(m1), 'of m1');
  await m1.give('m3', 3);
  t.equal(syncs.count, 1);
  t.equal(gaveOf(m1), 'of m1');
  t.equal(others.losses, 0);
});

t.test('a home that gives its last extent, and whose disk lost a write', async (t) => {
  const { m1, m2, m3, extentBytes } = await start(t, 92);
  const others = homeAt(m1);
  breakDisk(m1);
  await m1.give('m2', 0, 2);
  t.equal(others.losses, 0, 'a flush comes here still, and fails');
  const held = Buffer.alloc(512, 7);
  const syncs = watchSyncs(m1, () => submitAndWait(m1.volume, 'write', 3 * extentBytes, 512, held));
  await m1.give('m3', 3);
  t.equal(syncs.count, 1, 'while writes go on');
  t.equal(m3.file.durable[3 * extentBytes], 7, 'what the source has is given');
  t.match(gaveOf(m1), /^\d+-m1-\d+$/, 'under a verifier that nobody knows');
  t.equal(others.losses, 1, 'the next flush of every initiator fails');
  t.equal(others.unflushed(0)['m1'], 'lost', 'and at the next home');
  await m2.give('m3', 0, 2);
  t.equal(others.losses, 1, 'once');
});

t.test('another holder whose disk lost a write', async (t) => {
  const { m1, m2, m3 } = await start(t, 93);
  await m1.give('m2');
  const others = homeAt(m1);
  breakDisk(m2);
  await m2.give('m3');
  await m1.table.refresh(VOLUME);
  t.equal(others.losses, 1);
  t.ok(m3.file.durable.equals(m1.file.ram.bytes.fill(1)));
});

t.test('the same, and it has got extents back before the home reads that', async (t) => {
  const { m1, m2, m3 } = await start(t, 97);
  await m1.give('m2');
  await m1.table.refresh(VOLUME);
  const route = m1.table.get(VOLUME)?.route;
  if (route === undefined) throw new Error('there is no volume');
  const hub = m1.world.peers.hub('m1');
  const context = { hub, ids: m1.ids, self: 'm1', clock: m1.world.clock, log: silentLog };
  const others = new OtherHolders(VOLUME, settledVolume(), route, context);
  const slot = others.slotOf(m1.ids.idOf('m2'));
  slot.unflushed.acknowledged(); // a write, through that home
  breakDisk(m2);
  await m2.give('m3');
  m2.file.fault = () => null; // its next file is a new one
  await m3.give('m2');
  const later = await m1.table.refresh(VOLUME);
  t.equal(later?.route.gave['m2'], undefined, 'what it gave is old');
  if (later !== undefined) others.adopt(later.route);
  slot.unflushed.flushed(slot.unflushed.count); // which its new file takes
  t.equal(others.losses, 1);
});

t.test('what is lost while the batch is tried again', async (t) => {
  const { m1 } = await start(t, 94);
  const others = homeAt(m1);
  const syncs = watchSyncs(m1, () => {
    if (syncs.count === 2) breakDisk(m1);
    return Promise.resolve();
  });
  let refused = 0;
  m1.world.peers.fate = (_member, { type }) =>
    type === PeerType.MOVE_SYNC && refused++ === 0 ? PeerStatus.IO_ERROR : null;
  await m1.give('m2');
  t.equal(syncs.count, 2, 'each try looks');
  t.equal(others.losses, 1);
  t.notOk(m1.volume.holdsHere(0));
});

t.test('a source whose disk hangs gives what it has, or hears that it need not', async (t) => {
  const hang = (): Promise<void> => new Promise(() => undefined);
  const patient = (await start(t, 95, hurriedClock(1000))).m1;
  watchSyncs(patient, hang);
  await patient.give('m2');
  t.match(gaveOf(patient), /^(?!of m1)/, 'what is gone with it, if anything, is found');

  const { m1 } = await start(t, 96);
  const syncs = watchSyncs(m1, hang);
  const giving = m1.give('m2').catch(() => 'called off');
  await until('it waits for its disk', () => syncs.count === 1);
  m1.cancelled = true;
  t.equal(await giving, 'called off');
});
