/**
 * EXTENDED COPY between a unit that is served here and one that is served at another member, when something happens in the
 * midst of it: links that break, homes that die, stay away, move and come here, and what no home would send.
 */
import t from 'tap';
import { COPY_GUESTS_MAX } from '../../lib/base/limits.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../../lib/peer/contract.js';
import { copyList, endOf, HOST, segment, SIZE } from '../support/copy-rig.js';
import { type RunnerTask, SAID } from '../support/scsi-runner.js';
import {
  BLOCK,
  FROM,
  NOT_REACHABLE,
  OTHER,
  OWN,
  PIECE,
  TO,
  VOLUME,
  held,
  inTheMidst,
  isCopied,
  nothingIsLeft,
  senseOf,
  twoHomes,
  type Place,
  type Rig,
} from '../support/guest-rig.js';
import { late, soon, turns } from '../support/wait.js';

/** Breaks the link under the next requests of a type, before they are read. */
function breakLink({ world }: Rig, types: readonly number[], times = 1): void {
  world.peers.fate = (_member, { type }) => {
    world.came.push(type);
    if (!types.includes(type) || times === 0) return null;
    times -= 1;
    return PeerStatus.LINK_LOST;
  };
}

t.test('a link that breaks', async (t) => {
  const { GUEST_BEGAN, GUEST_READ, GUEST_WRITE, GUEST_ENDED } = PeerType;
  for (const [types, list] of [
    [[GUEST_BEGAN], TO],
    [[GUEST_READ], FROM],
    [[GUEST_WRITE], TO],
    [[GUEST_WRITE, GUEST_ENDED], TO],
  ] as const) {
    const rig = twoHomes(t);
    breakLink(rig, types, types.length);
    t.equal(await rig.copy(list), SAID.GOOD, `under ${types.join()}`);
    t.ok(isCopied(rig));
    await nothingIsLeft(t, rig);
    if (types.length === 2) t.equal(rig.world.cameOf(GUEST_ENDED), 3, 'its home was asked until it answered');
  }
});

t.test('a piece in doubt is not sent again, nor the copy answered, while it is under way', async (t) => {
  const rig = twoHomes(t);
  const { world, there } = rig;
  const outcome = inTheMidst(rig, async (task) => {
    const writes = world.cameOf(PeerType.GUEST_WRITE);
    world.peers.lose('m2');
    there.serve();
    t.equal(await Promise.race([endOf(task), soon()]), 'still under way');
    task.isEnding = true;
    t.equal(await Promise.race([endOf(task), soon()]), 'still under way', 'not even when it is aborted');
    task.isEnding = false;
    t.equal(world.cameOf(PeerType.GUEST_WRITE), writes);
    t.equal(world.disk.held?.length, 1);
    world.disk.release();
  });
  t.equal(await outcome, SAID.GOOD);
  t.ok(isCopied(rig));
  await nothingIsLeft(t, rig);
});

t.test('a home that dies', async (t) => {
  const inDoubt = twoHomes(t);
  let writes = 0;
  const outcome = inTheMidst(inDoubt, async (task) => {
    const { world } = inDoubt;
    world.disk.held = null; // what it had begun never was
    writes = world.cameOf(PeerType.GUEST_WRITE);
    world.peers.lose('m2');
    t.equal(await Promise.race([endOf(task), soon()]), 'still under way', 'it may be stopped only');
    world.left.add('m2-1');
  });
  t.equal(await outcome, NOT_REACHABLE, 'its last piece is in doubt');
  t.equal(inDoubt.world.cameOf(PeerType.GUEST_WRITE), writes, 'nothing is sent again');

  const restarted = twoHomes(t);
  const again = await inTheMidst(restarted, () => {
    const { world } = restarted;
    world.disk.held = null;
    world.peers.lose('m2');
    world.start('m2', 'm2-2').server.nexusBegan(HOST);
  });
  t.equal(again, NOT_REACHABLE, 'the next process knows nothing of it');
  t.equal(restarted.world.cameOf(PeerType.GUEST_WRITE), 2);

  const reading = twoHomes(t);
  reading.world.disk.holds = 'read';
  const read = await inTheMidst(
    reading,
    async (task) => {
      const { world } = reading;
      world.disk.held = null;
      world.peers.lose('m2');
      t.equal(await Promise.race([endOf(task), soon()]), 'still under way', 'a READ waits');
      world.left.add('m2-1');
      const next = world.start('m2', 'm2-2');
      t.equal(await Promise.race([endOf(task), soon()]), 'still under way', 'until the initiator is back');
      next.server.nexusBegan(HOST);
    },
    FROM,
  );
  t.equal(read, SAID.GOOD);
  t.ok(isCopied(reading));
});

t.test('a home that stays away', async (t) => {
  const rig = twoHomes(t);
  rig.world.peers.lose('m2');
  const task = rig.begin(TO);
  t.equal(await Promise.race([endOf(task), soon()]), 'still under way', 'it may be started again');
  rig.world.haste = 1000;
  t.equal(await endOf(task), NOT_REACHABLE, 'for some time');
});

t.test('a home that moves', async (t) => {
  for (const told of ['everybody', 'the copy later', 'the next home later'] as const) {
    const rig = twoHomes(t);
    const { world, here, there, third } = rig;
    const outcome = inTheMidst(rig, async (task) => {
      world.move('m3', there);
      if (told !== 'the next home later') third.hear();
      if (told !== 'the copy later') here.hear();
      world.disk.release();
      t.equal(await Promise.race([endOf(task), late()]), SAID.GOOD, 'what was under way was the last piece');
    });
    t.equal(await outcome, SAID.GOOD);
    t.ok(isCopied(rig));

    const three = copyList([OWN, OTHER], [segment({ destination: 1, to: 100, blocks: 3 * PIECE })]);
    world.move('m2', here, there, third);
    const further = inTheMidst(
      rig,
      async (task) => {
        world.move('m3', there);
        if (told !== 'the next home later') third.hear();
        if (told !== 'the copy later') here.hear();
        world.disk.release();
        t.equal(await Promise.race([endOf(task), soon()]), 'still under way', 'the initiator has to follow');
        third.server.nexusBegan(HOST);
      },
      three,
    );
    t.equal(await further, SAID.GOOD, `told: ${told}`);
    t.ok(held(world.disk, 100, 3 * PIECE).equals(held(rig.own, 0, 3 * PIECE)));
    await nothingIsLeft(t, rig);
  }
});

t.test('a home that moves, and an initiator that does not follow', async (t) => {
  const rig = twoHomes(t);
  const { world, here, there, third } = rig;
  const three = copyList([OWN, OTHER], [segment({}), segment({ destination: 1, blocks: 3 * PIECE })]);
  const task = await new Promise<RunnerTask>((resolve) => {
    void inTheMidst(
      rig,
      async (begun) => {
        world.move('m3', here, there, third);
        world.disk.release();
        await turns();
        world.haste = 1000;
        resolve(begun);
      },
      three,
    );
  });
  t.equal(await endOf(task), NOT_REACHABLE);
  t.equal(senseOf(task).copy?.segment, 1, 'it is said which segment it was');
  await nothingIsLeft(t, rig);
});

t.test('a home that comes here, and goes from here', async (t) => {
  const rig = twoHomes(t);
  const { world, here, there, third } = rig;
  for (const place of [here, third]) place.server.nexusBegan(HOST);
  const list = copyList([OWN, OTHER], [segment({ destination: 1, to: 100, blocks: 3 * PIECE })]);
  for (const to of ['m1', 'm3', 'm1', 'm2']) {
    const outcome = inTheMidst(
      rig,
      () => {
        world.move(to, here, there, third);
        world.disk.release();
      },
      list,
    );
    t.equal(await outcome, SAID.GOOD);
    t.ok(held(world.disk, 100, 3 * PIECE).equals(held(rig.own, 0, 3 * PIECE)), `to ${to}`);
    await nothingIsLeft(t, rig);
    world.disk.bytes.fill(1);
  }
});

t.test('a home that is about to go waits for what is written, and for nothing else', async (t) => {
  const rig = twoHomes(t);
  const { world, there } = rig;
  const list = copyList([OWN, OTHER], [segment({ destination: 1, to: 100, blocks: 3 * PIECE })]);
  const outcome = inTheMidst(
    rig,
    async (task) => {
      there.isHeld = true;
      t.ok(there.disk.nexuses.hasGuestsAtWork);
      world.disk.release();
      t.equal(await Promise.race([endOf(task), soon()]), 'still under way');
      t.notOk(there.disk.nexuses.hasGuestsAtWork);
      there.isHeld = false;
    },
    list,
  );
  t.equal(await outcome, SAID.GOOD);
});

t.test('an abort of the copy does not wait for a home that is away', async (t) => {
  const rig = twoHomes(t);
  rig.world.disk.holds = 'read';
  const outcome = inTheMidst(
    rig,
    async (task) => {
      rig.world.disk.held = null;
      rig.world.peers.lose('m2');
      t.equal(await Promise.race([endOf(task), soon()]), 'still under way');
      task.isEnding = true;
      t.not(await Promise.race([endOf(task), late()]), 'still under way');
    },
    FROM,
  );
  t.not(await outcome, SAID.GOOD);
});

t.test('what was begun without the group is not done behind its back (I8)', async (t) => {
  for (const lose of [
    (here: Place) => (here.hasLease = false),
    (here: Place) => (here.timesLeftBehind += 1),
  ]) {
    const rig = twoHomes(t);
    const { world, here } = rig;
    const outcome = inTheMidst(
      rig,
      () => {
        lose(here);
        world.disk.release();
      },
      copyList([OWN, OTHER], [segment({ destination: 1, blocks: 3 * PIECE })]),
    );
    t.equal(await outcome, NOT_REACHABLE);
    t.equal(world.cameOf(PeerType.GUEST_WRITE), 2);
    here.hasLease = true;
    t.equal(await rig.copy(TO), SAID.GOOD, 'the next copy is one of its own');
  }
});

t.test('a fence at the home ends what an absent member had sent', async (t) => {
  const rig = twoHomes(t);
  const { world, there } = rig;
  const outcome = inTheMidst(rig, async () => {
    const fence = there.guests.endAbsent([{ name: 'm3', incarnation: 'm3-1' }]).then(() => 'fenced');
    t.equal(await Promise.race([fence, soon()]), 'still under way');
    world.peers.lose('m2');
    t.notOk(there.guest());
    world.disk.release();
    t.equal(await fence, 'fenced');
    rig.here.timesLeftBehind += 1;
    there.serve();
  });
  t.equal(await outcome, NOT_REACHABLE);
  await nothingIsLeft(t, rig);

  const gone = twoHomes(t);
  gone.world.disk.held = [];
  const task = gone.begin(TO);
  await gone.world.disk.holdsOne();
  gone.there.guests.gone({ name: 'm1', incarnation: 'm1-0' });
  t.ok(gone.there.guest());
  gone.there.guests.gone({ name: 'm1', incarnation: 'm1-1' });
  t.notOk(gone.there.guest());
  gone.world.disk.release();
  await endOf(task);
});

t.test('a volume that is deleted in the midst', async (t) => {
  const rig = twoHomes(t);
  const list = copyList([OWN, OTHER], [segment({ destination: 1, blocks: 3 * PIECE })]);
  const outcome = inTheMidst(
    rig,
    () => {
      rig.delete();
      rig.world.disk.release();
    },
    list,
  );
  t.equal(await outcome, NOT_REACHABLE);
  const waiting = twoHomes(t);
  waiting.world.disk.holds = 'read';
  const read = inTheMidst(
    waiting,
    async () => {
      waiting.world.disk.held = null;
      waiting.world.peers.lose('m2');
      await turns();
      waiting.here.isClosed = true;
    },
    FROM,
  );
  t.equal(await read, NOT_REACHABLE, 'while its home was away');
});

t.test('what no home would send', async (t) => {
  const { world, there } = twoHomes(t);
  const before = Buffer.from(world.disk.bytes);
  const ask = (type: number, fields: Partial<IncomingRequest> = {}): number => {
    let said = -1;
    const isTaken = there.service.handle({
      ...{ type, from: 'm1', incarnation: 'm1-1', token: 1, volumeId: VOLUME, extent: 0, epoch: 1 },
      ...{ offsetBytes: 0, lengthBytes: BLOCK, fua: false, payload: Buffer.alloc(0) },
      allocateAnswer: () => Buffer.alloc(BLOCK),
      takesMapped: false,
      answerMapped: () => undefined,
      answer: (status) => (said = status),
      ...fields,
    });
    return isTaken ? said : -2;
  };
  const { GUEST_BEGAN, GUEST_READ, GUEST_WRITE, GUEST_CLEAR, GUEST_ENDED, READ } = PeerType;
  const { OK, NOT_FOUND, REFUSED, STALE, UNAVAILABLE } = PeerStatus;
  const began = (name: unknown) => ({ payload: Buffer.from(JSON.stringify({ initiatorName: name })) });
  t.equal(ask(READ), -2, 'nothing of a copy');
  t.equal(ask(GUEST_WRITE, { payload: Buffer.alloc(BLOCK) }), NOT_FOUND, 'not let in');
  t.equal(ask(GUEST_BEGAN, began(7)), REFUSED);
  t.equal(ask(GUEST_BEGAN, { payload: Buffer.from('{') }), REFUSED);
  t.equal(ask(GUEST_BEGAN, began('iqn.2026-11.test:stranger')), NOT_FOUND);
  t.equal(ask(GUEST_BEGAN, began(HOST.initiatorName)), OK);
  for (const [type, fields] of [
    [GUEST_WRITE, { payload: Buffer.alloc(BLOCK - 1) }],
    [GUEST_READ, { payload: Buffer.alloc(BLOCK) }],
    [GUEST_READ, { offsetBytes: 1 }],
    [GUEST_READ, { lengthBytes: 1 }],
    [GUEST_READ, { lengthBytes: 0 }],
    [GUEST_READ, { offsetBytes: SIZE }],
    [GUEST_CLEAR, { lengthBytes: 2 ** 32 - BLOCK }],
  ] as const)
    t.equal(ask(type, fields), REFUSED, `${type} ${JSON.stringify(fields)}`);
  t.equal(ask(GUEST_READ, { volumeId: 9 }), UNAVAILABLE, 'no such volume yet');
  t.equal(ask(GUEST_READ, { epoch: 2 }), UNAVAILABLE, 'it knows of a later route');
  there.hasLease = false;
  t.equal(ask(GUEST_READ), UNAVAILABLE);
  there.hasLease = true;
  t.equal(ask(GUEST_READ), OK);
  for (let token = 2; token <= COPY_GUESTS_MAX; token++)
    ask(GUEST_BEGAN, { ...began(HOST.initiatorName), token });
  const more = { ...began(HOST.initiatorName), token: COPY_GUESTS_MAX + 1 };
  t.equal(ask(GUEST_BEGAN, more), OK);
  t.equal(ask(GUEST_READ), NOT_FOUND, 'more than there can be: the oldest comes again, if it is still there');
  t.equal(ask(GUEST_READ, { token: 2 }), OK);
  t.equal(ask(GUEST_ENDED), REFUSED);
  t.equal(ask(GUEST_ENDED, began(HOST.initiatorName)), OK);
  t.equal(ask(GUEST_BEGAN, more), OK);
  t.equal(
    ask(GUEST_ENDED, { ...began(HOST.initiatorName), volumeId: 9 }),
    OK,
    'of a volume that is gone nothing is under way',
  );
  world.move('m3', there);
  t.equal(ask(GUEST_READ), STALE);
  t.equal(ask(GUEST_ENDED, { ...began(HOST.initiatorName), token: 2 }), OK);
  t.same(there.introduced, [HOST.initiatorName], 'where it goes its sessions here are made known');
  t.ok(world.disk.bytes.equals(before));
});
