/**
 * The simulation itself: the same seed is the same history, and the parts that judge (the model of a volume, the disk that
 * loses power) find what they are there for.
 */
import t from 'tap';
import { Chance } from '../../lib/base/chance.js';
import { fillSector } from '../../lib/sim/block-pattern.js';
import { Inode, PAGE_BYTES, SECTOR_BYTES } from '../../lib/sim/inode.js';
import { VolumeModel, type ModelWrite } from '../../lib/sim/model.js';
import { SimNet } from '../../lib/sim/net.js';
import { drawPlan } from '../../lib/sim/draw.js';
import type { Plan } from '../../lib/sim/plan.js';
import { SimProcess } from '../../lib/sim/process.js';
import { runPlan, type Outcome } from '../../lib/sim/run.js';
import { shrink } from '../../lib/sim/shrink.js';
import { Timeline } from '../../lib/sim/timeline.js';

t.test('the same seed is the same history, to the last byte', async (t) => {
  const [once, again, other] = [
    await runPlan(drawPlan(7)),
    await runPlan(drawPlan(7)),
    await runPlan(drawPlan(8)),
  ];
  t.strictSame(once.wrongs, [], 'and a clean one');
  t.equal(again.hash, once.hash);
  t.not(other.hash, once.hash);
  t.ok((once.counts.get('commands') ?? 0) > 20, 'in which something happens');
});

t.test('a plan that goes wrong is cut down to what it takes', async (t) => {
  const plan = drawPlan(3);
  const guilty = plan.events[1];
  const clean: Outcome = { seed: 3, hash: '', wrongs: [], counts: new Map(), simulatedMs: 0, lines: [] };
  const run = (tried: Plan): Promise<Outcome> => {
    const isWrong = tried.events.some((event) => event === guilty);
    return Promise.resolve({ ...clean, wrongs: isWrong ? [`at ${tried.durationMs} ms: it went wrong`] : [] });
  };
  const shrunk = await shrink(plan, await run(plan), run);
  t.strictSame(shrunk.plan.events, [guilty], 'the one event that matters is left');
  t.equal(shrunk.plan.initiators.length, 1);
  t.ok(shrunk.runs < 60, `${shrunk.runs} runs`);
});

/** A volume of eight sectors and the bytes that a read of it would bring. */
function makeModel() {
  let id = 0;
  const model = new VolumeModel('v', 8 * SECTOR_BYTES, 512, new Timeline(), () => ++id);
  const bytes = Buffer.alloc(8 * SECTOR_BYTES);
  const put = (write: ModelWrite): void => {
    for (let i = 0; i < write.sectors; i++) {
      const sector = write.firstSector + i;
      fillSector(bytes, sector * SECTOR_BYTES, write.id, sector);
    }
  };
  const write = (fua = false, first = 0, sectors = 2): ModelWrite => {
    const begun = model.beginWrite('data', first, sectors, fua, 'i');
    put(begun);
    model.endWrite(begun, true);
    return begun;
  };
  return { model, bytes, put, write, look: () => model.endRead(model.beginRead(0, 8), bytes) };
}

t.test('the model of a volume', async (t) => {
  t.test('knows what was answered', async (t) => {
    const { write, put, look } = makeModel();
    t.equal(look(), null, 'zeros at first');
    const old = write();
    t.equal(look(), null);
    write();
    t.equal(look(), null);
    put(old);
    t.match(look(), /write 1 .* where there may be 2/, 'a lost write is found');
  });

  t.test('lets what is unanswered land at any time, and again', async (t) => {
    const { model, put, write, look } = makeModel();
    const open = model.beginWrite('data', 0, 2, false, 'i');
    t.equal(look(), null, 'not yet');
    const done = write();
    put(open);
    t.equal(look(), null, 'over one that came later');
    put(done);
    t.match(look(), /write 2 .* where there may be 1/, 'which is gone then, being over');
    write();
    put(open);
    t.equal(look(), null, 'and again, for it may be sent again');
    model.endWrite(open, true);
    write();
    put(open);
    t.match(look(), /where there may be/, 'but not after it was answered and written over');
  });

  t.test('a read settles which of two it was', async (t) => {
    const { model, put, look } = makeModel();
    const [a, b] = [model.beginWrite('data', 0, 1, false, 'i'), model.beginWrite('data', 0, 1, false, 'j')];
    model.endWrite(a, true);
    model.endWrite(b, true);
    put(b);
    t.equal(look(), null);
    put(a);
    t.match(look(), /where there may be 2/, 'what was seen to be gone does not come back');
  });

  t.test('a loss of power takes back what was not durable, and nothing else', async (t) => {
    const { model, bytes, put, write, look } = makeModel();
    const durable = write(true);
    const soft = write();
    put(durable);
    t.not(look(), null, 'no power was lost yet');
    put(soft);
    model.crashed(0, 7);
    put(durable);
    t.equal(look(), null, 'I1: an unflushed write may be lost in a crash');
    bytes.fill(0, 0, SECTOR_BYTES);
    t.match(look(), /zeros where/, 'I1: a durable one may not');
  });

  t.test('a flush, and a move, make durable what was answered before', async (t) => {
    for (const how of ['flushed', 'moved'] as const) {
      const { model, put, write, look } = makeModel();
      const old = write();
      write();
      if (how === 'flushed') void model.flushed(model.tick());
      else model.moved(0, 7);
      model.crashed(0, 7);
      t.equal(look(), null);
      put(old);
      t.not(look(), null, how);
    }
  });

  t.test('lets a read that was under way find what a loss of power brought back', async (t) => {
    const { model, bytes, put, write, look } = makeModel();
    const old = write(true);
    write();
    const [early, read] = [look(), model.beginRead(0, 8)];
    t.equal(early, null);
    model.crashed(0, 7);
    write(true);
    put(old);
    t.equal(model.endRead(read, bytes), null);
    t.not(look(), null, 'but not one that begins after it was written over');
  });

  t.test('finds what nobody wrote, and what belongs elsewhere', async (t) => {
    const { bytes, write, look } = makeModel();
    const { id } = write();
    bytes[100] = 0xff;
    t.match(look(), /nobody wrote/);
    fillSector(bytes, 0, id, 1);
    t.match(look(), /sector 0: write 1/, 'the right write at the wrong place');
  });
});

t.test('a disk that loses power', async (t) => {
  const make = (): Inode => {
    const inode = new Inode(1, false);
    inode.resize(2 * PAGE_BYTES);
    inode.endSync(inode.beginSync());
    inode.write(0, Buffer.alloc(PAGE_BYTES, 1));
    return inode;
  };
  const lost = make();
  lost.losePower('all', new Chance(1));
  t.equal(lost.cache[0], 0, 'loses what was not synced');
  t.equal(lost.mappedPages, 0, 'and its space');
  const synced = make();
  const covered = synced.beginSync();
  synced.write(0, Buffer.alloc(SECTOR_BYTES, 2));
  synced.write(PAGE_BYTES, Buffer.alloc(SECTOR_BYTES, 2));
  synced.endSync(covered);
  synced.losePower('all', new Chance(1));
  t.equal(synced.cache[SECTOR_BYTES], 1, 'keeps what was');
  t.equal(synced.cache[PAGE_BYTES], 0, 'not what was written since');
  const hard = make();
  hard.harden(0, SECTOR_BYTES);
  hard.losePower('all', new Chance(1));
  t.strictSame([hard.cache[0], hard.cache[SECTOR_BYTES]], [1, 0], 'O_DSYNC is for its range alone');
  const torn = make();
  torn.losePower('sectors', new Chance(3));
  const kinds = new Set(Array.from({ length: 8 }, (_, i) => torn.cache[i * SECTOR_BYTES]));
  t.equal(kinds.size, 2, 'tears between sectors');
});

t.test('a loss of power leaves nothing in a hole', (t) => {
  let torn = 0;
  for (let seed = 0; seed < 50; seed++) {
    const inode = new Inode(1, false);
    inode.resize(4 * PAGE_BYTES);
    inode.endSync(inode.beginSync());
    inode.write(0, Buffer.alloc(2 * PAGE_BYTES, 1));
    inode.write(2 * PAGE_BYTES, Buffer.alloc(2 * PAGE_BYTES, 2));
    inode.endSync(inode.beginSync());
    inode.punch(2 * PAGE_BYTES, PAGE_BYTES);
    inode.punch(0, PAGE_BYTES);
    inode.write(0, Buffer.alloc(SECTOR_BYTES, 3));
    inode.losePower('sectors', new Chance(seed));
    for (let page = 0; page < 4; page++) {
      const bytes = inode.cache.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
      const isEmpty = bytes.every((byte) => byte === 0);
      if (inode.mapped[page] === 0) t.ok(isEmpty, `seed ${seed}, page ${page}`);
      if (!isEmpty && bytes.includes(0)) torn += 1;
    }
  }
  t.ok(torn > 20, `${torn} torn pages`);
  t.end();
});

t.test('connections in memory behave as sockets do', async (t) => {
  const timeline = new Timeline();
  const net = new SimNet(timeline, new Chance(1));
  const make = (name: string): SimProcess =>
    new SimProcess(timeline, name, name, 1, (_, error) => t.error(error));
  const [a, b] = [make('a'), make('b')];
  const got: string[] = [];
  const seen: string[] = [];
  const buffer = Buffer.alloc(1 << 16);
  const listener = await net.doorOf(b).listen(
    { host: 'b', port: 1 },
    (incoming) => {
      const socket = incoming.take(buffer, (chunk) => void got.push(`${chunk.length}`));
      socket.on('end', () => seen.push('end'));
      socket.on('error', (error) => seen.push(error.message.split(' ')[0] ?? ''));
      socket.on('close', () => seen.push('close'));
    },
    () => undefined,
  );
  const settle = async (): Promise<void> => {
    while (timeline.runNext()) await new Promise((resolve) => setImmediate(resolve));
  };
  const dial = () =>
    net.doorOf(a).connect({ host: 'b', port: listener.port }, { buffer, callback: () => true });
  const socket = dial();
  t.equal(socket.write(Buffer.alloc(100)), true);
  b.pause();
  t.equal(socket.write(Buffer.alloc(300_000)), false, 'more than a socket likes');
  t.ok(
    socket.write(Buffer.alloc(1)) === false && socket.writableLength > 0,
    'a reader that stands still holds it up',
  );
  await settle();
  t.strictSame(got, [], 'nothing reaches a process that is paused');
  b.resume();
  await settle();
  t.equal(
    got.reduce((sum, size) => sum + Number(size), 0),
    300_101,
    'all of it later',
  );
  socket.end();
  await settle();
  t.strictSame(seen, ['end', 'close']);
  seen.length = 0;
  dial().on('error', () => undefined);
  await settle();
  net.cut(() => true, false);
  await settle();
  t.strictSame(seen, ['ECONNRESET', 'close']);
  seen.length = 0;
  const half = dial();
  half.on('error', (error) => seen.push(`a: ${error.message.split(' ')[0]}`));
  await settle();
  net.left(b, true);
  b.kill();
  half.write(Buffer.alloc(10));
  await settle();
  t.strictSame(seen, [], 'a machine without power says nothing');
  net.powered('b');
  await settle();
  t.strictSame(seen, ['a: ECONNRESET'], 'until it has it again');
});
