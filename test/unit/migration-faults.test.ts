/** Single faults at chosen moments of a move and of forwarding, in the world of migration-world.test.ts. */
import t from 'tap';
import { EXTENT_BYTES_MIN, MOVE_HOLD_MS_MAX, MOVE_STEP_MS_MAX } from '../../lib/base/limits.js';
import { submitAndWait, type BlockIo } from '../../lib/block/device.js';
import { PeerStatus, PeerType } from '../../lib/peer/contract.js';
import { Foreground, hurriedClock, MoveWorld, send } from '../support/move-world.js';
import { turns, until } from '../support/wait.js';

/** A world whose pauses take a hundredth of their time. */
function hurried(world: MoveWorld): MoveWorld {
  return Object.assign(world, { clock: hurriedClock(100) });
}

t.test('a flush by an old route reaches the holders of the current one (I1, I4)', async (t) => {
  const world = new MoveWorld(12, 2);
  await world.start('m1', 'm2', 'm3');
  const [m1, m2, m3] = [world.member('m1'), world.member('m2'), world.member('m3')];
  m3.table.close(); // hears nothing more of its own accord
  await m1.give('m2', 0, 0);
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 5));
  t.equal(m2.file.durable[0], 0, 'acknowledged, not durable');
  t.equal(m3.volume.epoch, 1, 'm3 believes in m1');
  await submitAndWait(m3.volume, 'flush', 0, 0);
  t.equal(m2.file.durable[0], 5);
  await world.close();
});

t.test('what was received is made durable, not what else was written there (I3)', async (t) => {
  const world = new MoveWorld(14, 8);
  await world.start('m1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  const { extentBytes } = m1.volume;
  const write = (extent: number, value: number): Promise<void> =>
    submitAndWait(m1.volume, 'write', extent * extentBytes, 512, Buffer.alloc(512, value));
  for (const extent of [2, 5]) await write(extent, extent);
  await m1.give('m2', 0, 0);
  await m1.give('m2', 7, 7);
  for (const extent of [0, 7]) await write(extent, 9);
  t.equal(m2.file.ram.bytes[0], 9);
  await m1.give('m2', 2, 5);
  const { durable } = m2.file;
  t.strictSame(
    [2, 5].map((extent) => durable[extent * extentBytes]),
    [2, 5],
    'all of the batch',
  );
  t.strictSame(
    [0, 7].map((extent) => durable[extent * extentBytes]),
    [0, 0],
    'acknowledged, no more',
  );
  await submitAndWait(m1.volume, 'flush', 0, 0);
  t.strictSame(
    [0, 7].map((extent) => durable[extent * extentBytes]),
    [9, 9],
  );
  await world.close();
});

t.test('a destination whose disk never becomes durable ends the move', { timeout: 120_000 }, async (t) => {
  const world = hurried(new MoveWorld(13, 1));
  await world.start('m1', 'm2');
  const m1 = world.member('m1');
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 1));
  let syncs = 0;
  world.peers.fate = (_member, request) => {
    if (request.type !== PeerType.MOVE_SYNC) return null;
    syncs += 1;
    if (syncs > 40) m1.cancelled = true;
    return PeerStatus.IO_ERROR;
  };
  await t.rejects(m1.give('m2'), { code: 'IO', message: /m2 failed to write/ });
  t.ok(syncs <= 20, `${syncs} syncs`);
  t.equal(m1.volume.moving.size, 0);
  await world.close();
});

t.test('a commit whose answer is lost counts, even when the extent has gone on since (I2, I3)', async (t) => {
  const world = new MoveWorld(14, 1);
  await world.start('m1', 'm2', 'm3');
  const [m1, m2, m3] = [world.member('m1'), world.member('m2'), world.member('m3')];
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 1));
  const txn = world.store.txn.bind(world.store);
  let held: Promise<void> = Promise.resolve();
  world.store.txn = async (compares, operations) => {
    world.store.txn = txn;
    await txn(compares, operations);
    held = submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 2));
    await m2.give('m3');
    throw new Error('the answer is lost');
  };
  await m1.give('m2');
  await held;
  t.equal(m3.file.ram.bytes[0], 2, 'the write that waited went to the holder');
  t.equal(m1.volume.moving.size, 0);
  await world.close();
});

t.test('and it does not come back before its old holder is sure that it left (I2, I3)', async (t) => {
  const world = hurried(new MoveWorld(16, 1));
  await world.start('m1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 1));
  const txn = world.store.txn.bind(world.store);
  let back: Promise<void> = Promise.resolve();
  world.store.txn = async (compares, operations) => {
    world.store.txn = txn;
    await txn(compares, operations);
    back = m2.give('m1');
    await Promise.race([back, turns(500)]);
    throw new Error('the answer is lost');
  };
  await m1.give('m2');
  await back;
  await m1.table.refresh('v');
  t.equal(m1.volume.holdsHere(0), true, 'it is back');
  const data = Buffer.alloc(512);
  await submitAndWait(m1.volume, 'read', 0, 512, data);
  t.equal(data[0], 1, 'with its bytes, and not given away again as it was');
  await world.close();
});

t.test('a member that could not read a changed route reads it again', async (t) => {
  const world = hurried(new MoveWorld(17, 1));
  await world.start('m1', 'm2', 'm3');
  const [txn, list] = [world.store.txn.bind(world.store), world.store.list.bind(world.store)];
  let failing = 0;
  world.store.list = (prefix) => {
    if (!prefix.startsWith('routes/') || failing === 0) return list(prefix);
    failing -= 1;
    return Promise.reject(new Error('the store is away'));
  };
  world.store.txn = async (compares, operations) => {
    const result = await txn(compares, operations);
    failing = 4; // m2 and m3 are told of the commit once, and find the store away
    return result;
  };
  await world.member('m1').give('m2');
  const epochs = (): (number | undefined)[] =>
    ['m2', 'm3'].map((name) => world.member(name).table.get('v')?.route.epoch);
  await until('both know the commit', () => !epochs().includes(1));
  t.strictSame(epochs(), [2, 2]);
  t.equal(failing, 0);
  await world.close();
});

t.test('a large extent may take long to be emptied and made durable', async (t) => {
  const world = new MoveWorld(15, 1);
  await world.start('m1', 'm2');
  const m1 = world.member('m1');
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 1));
  const deadlines: number[] = [];
  world.peers.fate = (_member, { type, deadlineMs }) => {
    if (type === PeerType.EXTENT_BEGIN || type === PeerType.MOVE_SYNC) deadlines.push(deadlineMs);
    return null;
  };
  await m1.give('m2');
  // To begin the extent, two syncs, and the seal that writes wait for.
  t.same(deadlines, [MOVE_STEP_MS_MAX, MOVE_STEP_MS_MAX, MOVE_STEP_MS_MAX, MOVE_HOLD_MS_MAX]);
  await world.close();
});

t.test('I/O by an old route is sent back to find the holder, not forwarded further (I4)', async (t) => {
  const world = new MoveWorld(16, 2);
  await world.start('m1', 'm2', 'm3');
  const [m1, m2, m3] = [world.member('m1'), world.member('m2'), world.member('m3')];
  m3.table.close(); // hears nothing more of its own accord
  await m1.give('m2', 0, 0);
  await submitAndWait(m3.volume, 'write', 0, 512, Buffer.alloc(512, 5));
  t.equal(m2.file.ram.bytes[0], 5);
  t.equal(m1.file.ram.bytes[0], 0);
  t.equal(m3.volume.epoch, m1.volume.epoch, 'm3 was told of the epoch');
  await world.close();
});

t.test('a move begins when what was in flight before it has ended (rule 1)', async (t) => {
  const world = new MoveWorld(17, 1);
  await world.start('m1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  const late: BlockIo[] = [];
  const submit = m1.file.submit.bind(m1.file);
  m1.file.submit = (io) => void (io.op === 'write' ? late.push(io) : submit(io));
  let begun = false;
  world.peers.fate = (_member, { type }) => {
    begun ||= type === PeerType.EXTENT_BEGIN;
    return null;
  };
  const written = submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 5));
  const moved = m1.give('m2');
  await turns(50);
  t.notOk(begun, 'the move waits');
  m1.file.submit = submit;
  for (const io of late) submit(io);
  await written;
  await moved;
  t.equal(m2.file.ram.bytes[0], 5);
  await world.close();
});

t.test('nothing of an attempt that is over lands in the next one', async (t) => {
  const world = new MoveWorld(18, 1);
  await world.start('m1', 'm2');
  const { file } = world.member('m2');
  t.equal(await send(world, PeerType.EXTENT_BEGIN, 5), PeerStatus.OK);
  t.equal(await send(world, PeerType.MIRROR_WRITE, 4, 4), PeerStatus.STALE, 'of an attempt before');
  const late: BlockIo[] = [];
  const submit = file.submit.bind(file);
  file.submit = (io) => void (io.op === 'write' ? late.push(io) : submit(io));
  const slow = send(world, PeerType.MIRROR_WRITE, 5, 5);
  while (late.length === 0) await turns(1);
  file.submit = submit;
  const aborted = send(world, PeerType.EXTENT_ABORT, 5);
  await turns(20);
  const begun = send(world, PeerType.EXTENT_BEGIN, 6);
  await turns(20);
  t.equal(
    await send(world, PeerType.MIRROR_WRITE, 5, 5),
    PeerStatus.STALE,
    'of the one that is being aborted',
  );
  for (const io of late) submit(io);
  t.same(await Promise.all([slow, aborted, begun]), [PeerStatus.OK, PeerStatus.OK, PeerStatus.OK]);
  t.equal(await send(world, PeerType.MIRROR_WRITE, 6, 6), PeerStatus.OK);
  await turns(20);
  t.equal(file.ram.bytes[0], 6);
  await world.close();
});

for (const [what, extentBytes, missingBytes] of [
  ['the smallest extents, the last of one block', EXTENT_BYTES_MIN, EXTENT_BYTES_MIN - 512],
  ['extents of no whole number of chunks, the last short', 3.5 * EXTENT_BYTES_MIN, 12_800],
] as const) {
  t.test(`${what}: there and back under load, with a failing destination`, async (t) => {
    const world = hurried(new MoveWorld(19, 10, extentBytes, missingBytes));
    await world.start('m1', 'm2');
    const [m1, m2] = [world.member('m1'), world.member('m2')];
    const load = new Foreground(world, m1);
    load.start(6);
    let failures = 0;
    world.peers.fate = (_member, { type }) =>
      (type === PeerType.MIRROR_WRITE || type === PeerType.COPY) && failures++ < 280 && failures % 7 === 3
        ? PeerStatus.NO_SPACE
        : null;
    await m1.give('m2');
    await m2.give('m1');
    await load.stop();
    await load.checkAll();
    t.same(load.wrong, [], `after ${load.operations} operations and ${failures} failures`);
    t.ok(m1.file.ram.bytes.equals(load.model), 'the holder has every byte');
    await world.close();
  });
}

t.test('a destination that cannot open the volume ends the move, one that is away does not', async (t) => {
  const world = hurried(new MoveWorld(20, 1));
  await world.start('m1', 'm2');
  const m1 = world.member('m1');
  let status: number = PeerStatus.LINK_LOST;
  let opens = 0;
  world.peers.fate = (_member, { type }) => {
    if (type !== PeerType.MOVE_OPEN) return null;
    opens += 1;
    if (opens === 30) status = PeerStatus.IO_ERROR;
    if (opens > 60) m1.cancelled = true;
    return status;
  };
  await t.rejects(m1.give('m2'), { code: 'IO', message: /m2 failed to write/ });
  t.ok(opens > 30 && opens <= 45, `${opens} tries`);
  await world.close();
});

for (const strict of [false, true]) {
  const outcome = strict ? 'fails, and succeeds when it is sent again' : 'stands';
  t.test(
    `a ${strict ? 'strict ' : ''}move: a write that the destination does not take ${outcome} (I6)`,
    async (t) => {
      const world = hurried(new MoveWorld(21, 4));
      await world.start('m1', 'm2', 'm3');
      const [m1, m2, m3] = [world.member('m1'), world.member('m2'), world.member('m3')];
      m1.strict = strict;
      await submitAndWait(m1.volume, 'write', 0, world.sizeBytes, Buffer.alloc(world.sizeBytes, 1));
      const at = 2 * world.extentBytes + 512;
      const write = (byte: number, by = m1): Promise<string> =>
        submitAndWait(by.volume, 'write', at, 512, Buffer.alloc(512, byte)).then(
          () => 'good',
          (error: { code: string }) => error.code,
        );
      const written: Promise<string>[] = [];
      let failures = 0;
      world.peers.fate = (_member, { type, extent }) => {
        // Once all is copied, so that the only thing to copy again is what this write leaves.
        if (type === PeerType.MOVE_SYNC && written.length === 0) written.push(write(7));
        const isIt = type === PeerType.MIRROR_WRITE && extent === 2;
        return isIt && failures++ === 0 ? PeerStatus.IO_ERROR : null;
      };
      const moving = m1.give('m2');
      while (written.length === 0) await turns(1);
      t.equal(await written[0], strict ? 'aborted' : 'good');
      if (strict) t.equal(await write(8, m3), 'good', 'sent again, through another member this time');
      await moving;
      t.equal(failures >= 1, true);
      t.equal(m1.stats.restarts, 1, 'one extent went back to copying');
      const again = m1.stats.bytesRecopied;
      t.ok(again > 0 && again <= world.extentBytes, `${again} bytes were copied again, one extent at most`);
      t.equal(m1.stats.bytesCopied, world.sizeBytes + again, 'and nothing else');
      t.equal(m2.file.ram.bytes[at], strict ? 8 : 7, 'the destination holds the write');
      await world.close();
    },
  );
}

t.test('a strict move answers a forwarded write so that its host sends it again', async (t) => {
  const world = hurried(new MoveWorld(22, 1));
  await world.start('m1', 'm2', 'm3');
  const [m1, m3] = [world.member('m1'), world.member('m3')];
  m1.strict = true;
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 1));
  let written: Promise<unknown> | undefined;
  let failures = 0;
  world.peers.fate = (_member, { type }) => {
    if (type === PeerType.MOVE_SYNC)
      written ??= submitAndWait(m3.volume, 'write', 0, 512, Buffer.alloc(512, 2));
    return type === PeerType.MIRROR_WRITE && failures++ === 0 ? PeerStatus.NO_SPACE : null;
  };
  const moving = m1.give('m2');
  while (written === undefined) await turns(1);
  await t.rejects(written, { code: 'aborted' }, 'ABORTED COMMAND, not an error of the medium');
  await moving;
  await world.close();
});
