/**
 * EXTENDED COPY of a unit that is served here from and to one that is served at another member, over peers that lose
 * pieces on purpose: who is let in, what is judged where, what ends it, and what is sent again.
 */
import t from 'tap';
import { LANE_PIECES_MAX } from '../../lib/access/copy-lanes.js';
import { PIECE_BYTES_MAX } from '../../lib/base/limits.js';
import { PeerType } from '../../lib/peer/contract.js';
import { copyList, endOf, HOST, segment } from '../support/copy-rig.js';
import { hex } from '../support/scsi-rig.js';
import { nexusOf, type RunnerTask, SAID } from '../support/scsi-runner.js';
import { late, soon, turns, until } from '../support/wait.js';
import {
  BLOCK,
  DEVICE_FAILURE,
  FROM,
  NOT_REACHABLE,
  OTHER,
  OWN,
  PIECE,
  TO,
  held,
  inTheMidst,
  isCopied,
  nothingIsLeft,
  senseOf,
  twoHomes,
  type Place,
  type Rig,
} from '../support/guest-rig.js';

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
  await until('the home is told', () => here.introduced.includes(stranger.initiatorName));
  t.same(waiting.outcomes, [], 'a session here: the home may not know');
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
      void there.guests.lapse();
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
    void there.guests.lapse();
    isDropped = world.disk.drop();
  });
  t.equal(await outcome, SAID.GOOD);
  t.ok(isDropped);
  t.ok(isCopied(rig));
  await nothingIsLeft(t, rig);
});

/** So many copies to the other unit, whose first pieces its disk keeps waiting, or the lane to its home. */
async function manyCopies(rig: Rig, copies: number): Promise<RunnerTask[]> {
  const { disk } = rig.world;
  disk.held = [];
  const segments = [segment({ destination: 1, to: 100, blocks: 2 * PIECE })];
  const list = copyList([OWN, OTHER], segments, { usage: 2 });
  const tasks = Array.from({ length: copies }, () => rig.begin(list));
  await turns(200);
  return tasks;
}

t.test('many copies leave room on the link for what their pieces wait for', async (t) => {
  const rig = twoHomes(t);
  const { disk } = rig.world;
  const tasks = await manyCopies(rig, 3 * LANE_PIECES_MAX);
  t.equal(disk.held?.length, LANE_PIECES_MAX);
  disk.release();
  for (const task of tasks) t.equal(await endOf(task), SAID.GOOD);
  t.ok(isCopied(rig));
  await turns();
  const later = { go: () => undefined };
  for (let i = 0; i < LANE_PIECES_MAX; i++) t.ok(rig.here.lanes.enter('m2', later), 'all have left');
  t.notOk(rig.here.lanes.enter('m2', later));
});

t.test('a copy that waits for others on the link ends all the same', async (t) => {
  const rig = twoHomes(t);
  const { disk } = rig.world;
  const tasks = await manyCopies(rig, LANE_PIECES_MAX + 2);
  const [stopped, last] = tasks.slice(-2) as [RunnerTask, RunnerTask];
  stopped.markEnding();
  t.equal(await Promise.race([endOf(stopped), late()]), DEVICE_FAILURE);
  t.equal(disk.held?.length, LANE_PIECES_MAX, 'nothing else has ended');
  t.same(last.outcomes, []);
  disk.release();
  for (const task of tasks.filter((one) => one !== stopped)) t.equal(await endOf(task), SAID.GOOD);
  await nothingIsLeft(t, rig);
});

for (const [name, change] of [
  ['its member has lost its lease', (here: Place) => (here.hasLease = false)],
  ['its member was left behind', (here: Place) => (here.timesLeftBehind += 1)],
] as const) {
  t.test(`nothing goes that has waited for others on the link until ${name} (I8)`, async (t) => {
    const rig = twoHomes(t);
    const { world, here } = rig;
    const tasks = await manyCopies(rig, LANE_PIECES_MAX + 1);
    change(here);
    world.disk.release();
    for (const task of tasks) t.equal(await endOf(task), NOT_REACHABLE);
    t.equal(world.cameOf(PeerType.GUEST_WRITE), LANE_PIECES_MAX);
  });
}

t.test('a copy that waits on the link to one home goes to the next', async (t) => {
  const rig = twoHomes(t);
  const { world, here, third } = rig;
  third.server.nexusBegan(HOST);
  const tasks = await manyCopies(rig, LANE_PIECES_MAX + 1);
  const last = tasks.at(-1) as RunnerTask;
  world.move('m3', here, third);
  world.disk.holds = 'read'; // as of now: what waits goes on waiting
  t.equal(await Promise.race([endOf(last), late()]), SAID.GOOD, 'before those at the home before have ended');
  world.move('m2', here, third);
  world.disk.release();
  for (const task of tasks) t.equal(await endOf(task), SAID.GOOD);
});
