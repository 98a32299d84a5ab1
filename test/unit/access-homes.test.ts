/**
 * The home of a unit that every member serves: whom it waits for and whom not, what it makes durable, what a new one takes
 * over, what ends with a session or its process; and what no member would send.
 */
import t, { type Test } from 'tap';
import { HomeService } from '../../lib/access/home-service.js';
import type { BlockIo } from '../../lib/block/device.js';
import { CONNECTIONS_MAX } from '../../lib/base/limits.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../../lib/peer/contract.js';
import { decodeScsiResponse } from '../../lib/iscsi/wire/scsi.js';
import { Opcode } from '../../lib/iscsi/wire/opcodes.js';
import { cdb10 } from '../support/scsi-rig.js';
import { nexusOf } from '../support/scsi-runner.js';
import { read10 } from '../support/target-initiator.js';
import { IQN, TargetRig } from '../support/target-rig.js';
import { late, soon, turns, until } from '../support/wait.js';
import {
  READY,
  STATE_CHANGED,
  WRITE,
  block,
  twoMembers,
  type Place,
  type World,
} from '../support/errand-rig.js';

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
  t.equal(await Promise.race([quiet, late()]), 'quiet');
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

t.test('a home that was without its lease ends what others had sent (I8)', async (t) => {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  const ios: BlockIo[] = [];
  const submit = world.disk.submit.bind(world.disk);
  world.disk.submit = (io) => {
    ios.push(io);
    submit(io);
  };
  world.disk.held = [];
  const writing = [session.says(WRITE, block(1)), session.says(WRITE_SAME, block(7))];
  await until('both are at the disk', () => ios.length === 2);
  const isWanted = (): boolean[] => ios.map((io) => io.isWanted);
  t.same(isWanted(), [true, true]);
  let isOver = false;
  const over = home.access.visitors.endAll().then(() => (isOver = true));
  t.same(isWanted(), [false, false], 'what has not begun need not');
  await turns();
  t.equal(isOver, false, 'what is at the disk runs to its end');
  world.disk.release();
  await over;
  t.same(await Promise.all(writing), ['GOOD', 'b/00/00']);
});

/** WRITE SAME (10) of many blocks. */
const WRITE_SAME = cdb10('41', 0, 0, 1024);

t.test('what takes long at the home stops when nobody waits for it any more', async (t) => {
  const { world, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  world.disk.held = [];
  const writing = session.says(WRITE_SAME, block(7));
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

t.test('what was held when a home lost its lease is not begun when it has it again (I8)', async (t) => {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  home.access.stand('held');
  const writing = session.says(WRITE, block(1));
  await turns();
  home.term += 1;
  world.peers.lose('m1'); // m2 says that it is undone
  home.access.stand('here');
  await turns();
  t.equal(world.disk.writes, 0);
  home.serve();
  t.equal(await writing, 'status 8');
  t.equal(await session.says(WRITE, block(2)), 'GOOD');
  t.equal(world.disk.writes, 1);
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
    { term: 0, accessOf: () => home.access, mayServe: () => true, refresh: (_id, done) => done() },
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
