/**
 * Commands on their way to the home of a unit, over peers that lose them on purpose: what is done once, what is done again,
 * and what is said to be in doubt; and homes that move under them.
 */
import t, { type Test } from 'tap';
import { HomeService } from '../../lib/access/home-service.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../../lib/peer/contract.js';
import { cdb10 } from '../support/scsi-rig.js';
import { nexusOf } from '../support/scsi-runner.js';
import {
  BUSY,
  READ,
  READY,
  STATE_CHANGED,
  WRITE,
  block,
  breakLink,
  twoMembers,
  type Place,
} from '../support/errand-rig.js';
import { late, soon, turns } from '../support/wait.js';

t.test('a WRITE whose link breaks is said to be in doubt, and never sent again', async (t) => {
  const { world, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(WRITE, block(1)), 'GOOD');
  breakLink(world, PeerType.COMMAND_WRITE, 1);
  const before = world.disk.writes;
  t.equal(await session.says(WRITE, block(2)), BUSY);
  t.equal(world.disk.writes, before);
  t.equal(await session.says(WRITE, block(3)), 'GOOD', 'the initiator may');
  t.equal(world.disk.writes, before + 1);
});

/** A WRITE of a session elsewhere, which the home has begun and the disk holds. */
async function writeUnderWay(t: Test) {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  world.disk.held = [];
  const writing = session.says(WRITE, block(2));
  await turns();
  return { world, home, other, session, writing };
}

/** The link breaks, and the next one is there at once: the WRITE is not over for that. */
async function breaksUnder(t: Test, { world, home, writing }: Awaited<ReturnType<typeof writeUnderWay>>) {
  world.peers.lose('m1');
  home.serve();
  t.equal(await Promise.race([writing, soon()]), 'still under way');
}

t.test('so is one that is carried out all the same, once', async (t) => {
  const rig = await writeUnderWay(t);
  const { world, writing } = rig;
  await breaksUnder(t, rig);
  world.disk.release();
  t.equal(await writing, BUSY);
  t.equal(world.disk.writes, 1);
});

t.test('nor is it answered for the loss of its member’s lease (I8)', async (t) => {
  for (const lose of [
    (other: Place) => (other.hasLease = false),
    (other: Place) => (other.timesLeftBehind += 1),
  ]) {
    const rig = await writeUnderWay(t);
    const { world, home, session, writing } = rig;
    lose(rig.other);
    await breaksUnder(t, rig);
    world.disk.release();
    t.equal(await writing, BUSY);
    t.equal(world.disk.writes, 1);
    await session.end();
    const sender = { from: 'm2', incarnation: 'm2-1', token: 1 };
    t.notOk(home.access.visitors.find(sender), 'its home hears of its end, too');
  }
});

t.test('a member whose store is away learns of no later home, and does not ask for ever', async (t) => {
  const rig = await writeUnderWay(t);
  const { world, home, other, writing } = rig;
  other.hear = () => undefined;
  world.move('m3');
  home.hear();
  other.hasLease = false;
  await breaksUnder(t, rig);
  world.haste = 1000;
  t.equal(await Promise.race([writing, late()]), BUSY);
  world.disk.release();
});

t.test('not before the home has ended what the link had brought', async (t) => {
  const { world, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  let isBack = false;
  world.peers.fate = (_member, { type }) => {
    if (type === PeerType.COMMAND_ENDS) return isBack ? null : PeerStatus.LINK_LOST;
    return type === PeerType.COMMAND_WRITE ? PeerStatus.LINK_LOST : null;
  };
  let answer = '';
  const writing = session.says(WRITE, block(2)).then((outcome) => (answer = outcome));
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.equal(answer, '', 'it may still be under way');
  isBack = true;
  t.equal(await writing, BUSY);
});

/** A home that m2 sends to by hand, whose reads of its route the test answers. */
async function homeThatReads() {
  const { world, home, other } = twoMembers();
  await other.session('a').says(READY);
  const reads: (() => void)[] = [];
  const units = {
    term: 0,
    accessOf: () => home.access,
    mayServe: () => true,
    refresh: (_id: number, done: () => void) => void reads.push(done),
  };
  const service = new HomeService(units, 'm1-1');
  const answers: string[] = [];
  const send = (name: string, fields: Partial<IncomingRequest>): void => {
    service.handle({
      ...{ from: 'm2', incarnation: 'm2-1', token: 1, volumeId: 1, extent: 1, epoch: 2 },
      ...{ offsetBytes: 0, lengthBytes: 512, fua: false, payload: block(0), type: 0 },
      allocateAnswer: () => Buffer.alloc(512),
      takesMapped: false,
      answerMapped: () => undefined,
      answer: (status) => void answers.push(`${name} ${status}`),
      ...fields,
    });
  };
  return { world, home, units, reads, answers, send };
}

const { COMMAND_WRITE, COMMAND_ENDS } = PeerType;

t.test('nor is it overtaken by that while the home reads its route', async (t) => {
  const { world, home, reads, answers, send } = await homeThatReads();
  send('first', { type: COMMAND_WRITE, payload: block(1) });
  home.knownEpoch = 2; // the watch is faster
  send('ends', { type: COMMAND_ENDS });
  send('second', { type: COMMAND_WRITE, payload: block(2), extent: 2 });
  send('third', { type: COMMAND_WRITE, payload: block(3), extent: 3, epoch: 3 });
  send('fourth', { type: COMMAND_WRITE, payload: block(4), extent: 4 });
  t.same(answers, []);
  reads.shift()?.();
  t.same(answers, ['first 0', 'ends 0', 'second 0']);
  t.equal(world.disk.bytes[0], 2);
  t.equal(reads.length, 1, 'the third knows of a later route');
  reads.shift()?.();
  t.same(answers.slice(3), ['third 0', 'fourth 0']);
  t.equal(world.disk.bytes[0], 4);
  send('fifth', { type: COMMAND_WRITE });
  t.equal(answers.length, 6, 'nobody waits any more');
});

t.test('what waits for the route goes on in the term in which it came, or not at all (I8)', async (t) => {
  const { world, home, units, reads, answers, send } = await homeThatReads();
  send('first', { type: COMMAND_WRITE, payload: block(1), epoch: 2 });
  send('second', { type: COMMAND_WRITE, payload: block(2), extent: 2, epoch: 2 });
  units.term += 1;
  send('ends', { type: COMMAND_ENDS, epoch: 2 });
  send('third', { type: COMMAND_WRITE, payload: block(3), extent: 3, epoch: 2 });
  home.knownEpoch = 2;
  for (const read of reads.splice(0)) read();
  const { UNAVAILABLE } = PeerStatus;
  t.same(answers, [`first ${UNAVAILABLE}`, `second ${UNAVAILABLE}`, 'ends 0', 'third 0']);
  t.equal(world.disk.bytes[0], 3);
  t.equal(world.disk.writes, 1);
});

t.test('a READ whose link breaks is sent again; a home that stays away makes it BUSY', async (t) => {
  const { world, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(WRITE, block(5)), 'GOOD');
  breakLink(world, PeerType.COMMAND_READ, 2);
  const { status, dataIn } = await session.run(READ, undefined, 0, nexusOf('iqn.2026-11.test:a'));
  t.equal(status, 0);
  t.equal(dataIn[0], 5);
  world.peers.lose('m1');
  world.haste = 1000;
  t.equal(await session.says(READ), BUSY);
});

t.test(
  'a home finishes what it has begun before it goes; what comes meanwhile is done once, at the next',
  async (t) => {
    const { world, home, other } = twoMembers();
    const third = world.start('m3');
    const session = third.session('a');
    const atHome = home.session('b');
    t.equal(await session.says(READY), 'GOOD');
    world.disk.held = [];
    const first = session.says(WRITE, block(1));
    await turns();
    t.equal(world.disk.held.length, 1);
    home.access.stand('held');
    let isQuiet = false;
    const quiet = home.access.quieten().then((done) => (isQuiet = done));
    const second = session.says(cdb10('2a', 0, 9, 1), block(2));
    const third_ = atHome.says(cdb10('2a', 0, 10, 1), block(3));
    home.busy = 1; // its own session's command waits here
    await turns();
    t.equal(isQuiet, false, 'the first is still under way');
    world.disk.release();
    t.equal(await first, 'GOOD');
    await quiet;
    t.equal(isQuiet, true);
    t.equal(world.disk.writes, 1, 'nothing else was begun');
    world.move('m2');
    home.hear();
    home.busy = 0;
    t.equal(await second, STATE_CHANGED, 'at the new home');
    t.equal(await third_, STATE_CHANGED);
    t.equal(await session.says(cdb10('2a', 0, 9, 1), block(2)), 'GOOD');
    t.equal(world.disk.writes, 2);
    t.equal(other.access.standing, 'here');
  },
);

t.test('a home that cannot finish in time goes on, and is left in peace for a while', async (t) => {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  world.disk.held = [];
  const writing = session.says(WRITE, block(1));
  await turns();
  world.haste = 20;
  home.access.stand('held');
  t.equal(await home.access.quieten(), false);
  home.access.stand('here');
  world.disk.release();
  t.equal(await writing, 'GOOD');
  home.access.stand('held');
  world.haste = 20;
  t.equal(await home.access.quieten(), false, 'nothing is under way, but it was tried just now');
  home.access.stand('here');
  t.equal(await session.says(READY), 'GOOD', 'nothing has happened to the unit');
});

t.test('what was begun without the group is not done behind its back (I8)', async (t) => {
  const { world, other } = twoMembers();
  const old = other.session('a');
  t.equal(await old.says(WRITE, block(1)), 'GOOD');
  other.hasLease = false;
  t.equal(await old.says(WRITE, block(2)), BUSY, 'no lease');
  other.hasLease = true;
  other.timesLeftBehind += 1;
  t.equal(await old.says(WRITE, block(3)), BUSY, 'its session is from before');
  t.equal(world.disk.writes, 1);
  t.equal(await other.session('a').says(WRITE, block(4)), 'GOOD');
});

t.test('an abort does not wait until it is known who is home', async (t) => {
  const { home } = twoMembers();
  const nexus = nexusOf('iqn.2026-11.test:a');
  const device = home.access.nexusBegan(nexus);
  home.access.stand('held');
  const { submitAndWait, BlockIo: Io } = await import('../../lib/block/device.js');
  let isWanted = true;
  const outcome = new Promise<string>((resolve) => {
    class Unwanted extends Io {
      override get isWanted(): boolean {
        return isWanted;
      }
      protected override completed(error: Error | null): void {
        resolve(error === null ? 'done' : 'refused');
      }
    }
    device.submit(new Unwanted().prepare('read', 0, 512, block(0)));
  });
  isWanted = false;
  t.equal(await outcome, 'refused');
  home.access.stand('here');
  await submitAndWait(device, 'read', 0, 512, block(0));
});

t.test('sessions that have ended are forgotten, also where that was not heard', async (t) => {
  const { world, home, other } = twoMembers();
  const [one, two] = [other.session('a'), other.session('b')];
  t.equal(await one.says(READY), 'GOOD');
  t.equal(await two.says(READY), 'GOOD');
  const sender = (token: number) => ({ from: 'm2', incarnation: 'm2-1', token });
  t.ok(home.access.visitors.find(sender(1)));
  await one.end();
  t.notOk(home.access.visitors.find(sender(1)));
  world.peers.fate = (_member, { type }) => (type === PeerType.NEXUS_ENDED ? PeerStatus.LINK_LOST : null);
  void two.end();
  await turns();
  t.ok(home.access.visitors.find(sender(2)));
  t.equal(await other.session('c').says(READY), 'GOOD');
  t.notOk(home.access.visitors.find(sender(2)), 'the next one tells');
  home.access.visitors.gone({ name: 'm2', incarnation: 'm2-0' });
  t.ok(home.access.visitors.find(sender(3)), 'it is of the process that has the name now');
  home.access.visitors.gone({ name: 'm2', incarnation: 'm2-1' });
  t.notOk(home.access.visitors.find(sender(3)));
});

t.test('the end of a session does not wait for a home that is out of reach', async (t) => {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(WRITE, block(1)), 'GOOD');
  world.peers.lose('m1');
  t.equal(await Promise.race([session.end().then(() => 'over'), late()]), 'over');
  const sender = { from: 'm2', incarnation: 'm2-1', token: 1 };
  t.ok(home.access.visitors.find(sender));
  home.serve();
  await soon();
  t.notOk(home.access.visitors.find(sender), 'which is told all the same');
});

t.test('one whose introduction was not answered is told of its end', async (t) => {
  const { world, home, other } = twoMembers();
  let isLost = false;
  world.peers.fate = (_member, { type }) => {
    // The home has heard of it; its answer does not come.
    if (type === PeerType.NEXUS_BEGAN && !isLost) setImmediate(() => world.peers.lose('m1'));
    isLost ||= type === PeerType.NEXUS_BEGAN;
    return null;
  };
  const session = other.session('a');
  const saying = session.says(READY);
  const sender = { from: 'm2', incarnation: 'm2-1', token: 1 };
  while (!isLost) await turns(1);
  await turns();
  t.ok(home.access.visitors.find(sender));
  await session.end();
  t.equal(await saying, BUSY);
  home.serve();
  await soon();
  t.notOk(home.access.visitors.find(sender));
});

t.test('but where a command may be under way there (I8)', async (t) => {
  const { world, home, other } = twoMembers();
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  world.peers.lose('m1');
  world.haste = 1000;
  t.equal(await session.says(WRITE, block(1)), BUSY);
  world.haste = 1;
  let isOver = false;
  const over = session.end().then(() => (isOver = true));
  await soon();
  t.equal(isOver, false);
  home.serve();
  t.equal(await over, true);
});
