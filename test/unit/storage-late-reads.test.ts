/**
 * Reads that the disk is about to answer: asked for again on the loop for a moment, then by the pool, and only while that
 * pays. The page cache is one that a test fills, the loop one that it turns.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MAPPED_MISSES_MAX } from '../../lib/base/limits.js';
import { LoopTurns } from '../../lib/base/loop-turns.js';
import { BlockIo, type IoError, submitAndWait } from '../../lib/block/device.js';
import { BusyPoll } from '../../lib/iscsi/target/busy-poll.js';
import { type FileCalls, type StorageDoors, systemDoors } from '../../lib/storage/doors.js';
import { MISS, UNSUPPORTED } from '../../lib/storage/page-cache-read.js';
import { PoolShares } from '../../lib/storage/pool-share.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { pattern } from '../support/device-suite.js';
import { doorsWith, HandClock, makeSharedFolder, newFile } from '../support/storage-doors.js';

const BLOCK = 4096;
const BLOCKS = 64;
const folder = makeSharedFolder();
const MiB = 1024 * 1024;
/** Some data; the file goes on as a hole. */
const data = pattern(BLOCKS * BLOCK, 9);
const content = Buffer.concat([data, Buffer.alloc(4 * MiB - data.length)]);
let serial = 0;

/** A loop that turns when it is told to. */
class Loop {
  readonly clock = new HandClock();
  readonly turns: LoopTurns;
  private due: (() => void)[] = [];

  constructor() {
    this.turns = new LoopTurns(this.clock.nowMs, (callback) => void this.due.push(callback));
  }

  get isTurning(): boolean {
    return this.due.length > 0;
  }

  turn(ms = 0.01): void {
    this.clock.atMs += ms;
    for (const callback of this.due.splice(0)) callback();
  }
}

class Read extends BlockIo {
  constructor(private readonly then: (error: IoError | null) => void) {
    super();
  }

  protected override completed(error: IoError | null): void {
    this.then(error);
  }
}

/** A file whose page cache has what the test says, and whose pool answers when it says. */
class Disk {
  readonly cached = new Set<number>();
  /** What the page cache says when it has none of it. */
  refusal = MISS;
  /** Blocks that were asked of the page cache, in order. */
  asked: number[] = [];
  /** Reads in the pool: first block, and what it does when it is answered. */
  readonly pool: { block: number; answer: () => void }[] = [];
  private readonly answered: string[] = [];

  /** How long the page cache takes to say no. */
  askMs = 0;

  private constructor(
    private readonly loop: Loop,
    readonly file: SparseFile,
  ) {}

  static async open(loop: Loop, beginsReads = true): Promise<Disk> {
    const { native } = systemDoors();
    if (native === null) throw new Error('koffi does not load');
    const made: { disk?: Disk } = {};
    const doors: StorageDoors = doorsWith(
      { read: (...call) => made.disk?.toPool(...call) },
      {
        turns: loop.turns,
        pool: new PoolShares(64),
        nowMs: loop.clock.nowMs,
        native: {
          ...native,
          beginsReads,
          maps: {
            map: () => 1,
            unmap: () => undefined,
            forget: () => undefined,
            resident: (_address, _bytes, pages) => !!pages.fill(1),
          },
          readNowait: (fd, data, lengthBytes, position) =>
            made.disk?.fromCache(fd, data, lengthBytes, position) ?? MISS,
        },
      },
    );
    const path = join(folder, `${serial++}.img`);
    fs.writeFileSync(path, data);
    fs.truncateSync(path, content.length);
    const file = await SparseFile.open(path, { ...newFile(content.length), create: false }, doors);
    made.disk = new Disk(loop, file);
    return made.disk;
  }

  private fromCache(fd: number, data: Buffer, lengthBytes: number, position: number): number {
    const first = position / BLOCK;
    this.asked.push(first);
    this.loop.clock.atMs += this.askMs;
    let end = first;
    while (this.cached.has(end) && (end - first) * BLOCK < lengthBytes) end += 1;
    return end === first ? this.refusal : fs.readSync(fd, data, 0, (end - first) * BLOCK, position);
  }

  private toPool(...[fd, data, offset, length, position, done]: Parameters<FileCalls['read']>): void {
    const answer = (): void => {
      done(null, fs.readSync(fd, data, offset, length, position));
    };
    this.pool.push({ block: position / BLOCK, answer });
  }

  /** Reads some blocks; `answers` has "block" then, or what went wrong. */
  read(block: number, blocks = 1, then: () => void = () => undefined): void {
    const data = Buffer.alloc(blocks * BLOCK, 0xee);
    const isRight = (): boolean => data.equals(content.subarray(block * BLOCK, (block + blocks) * BLOCK));
    const io = new Read((error) => {
      this.answered.push(error !== null ? error.code : isRight() ? `${block}` : `${block} WRONG`);
      then();
    });
    this.file.submit(io.prepare('read', block * BLOCK, data.length, data));
  }

  /** Those answered since it was asked last. */
  answers(): string[] {
    return this.answered.splice(0);
  }

  /** Answers all that is in the pool. */
  answerPool(): void {
    for (const { answer } of this.pool.splice(0)) answer();
  }
}

t.test('what is there a moment later never goes to the pool', async (t) => {
  const loop = new Loop();
  const disk = await Disk.open(loop);
  disk.read(3);
  t.ok(loop.isTurning, 'the loop does not sleep');
  loop.turn();
  loop.turn();
  t.strictSame(disk.answers(), []);
  disk.cached.add(3);
  loop.turn();
  t.strictSame(disk.answers(), ['3']);
  t.notOk(loop.isTurning, 'nothing is waited for any more');
  t.strictSame(disk.pool, []);
  t.strictSame(disk.asked, [3, 3, 3, 3]);
  t.match(disk.file.counters, { misses: 1, hits: 0 });
  await disk.file.close();
});

t.test('what is not goes there after a millisecond, for what is missing of it', async (t) => {
  const loop = new Loop();
  const disk = await Disk.open(loop);
  disk.cached.add(8);
  disk.read(8, 4);
  disk.cached.add(9);
  loop.turn(0.9);
  t.strictSame(disk.pool, [], 'not yet');
  loop.turn(0.2);
  t.strictSame(disk.asked, [8, 9, 10], 'each time for what has not come');
  t.strictSame(
    disk.pool.map(({ block }) => block),
    [10],
  );
  t.notOk(loop.isTurning);
  t.strictSame(disk.answers(), []);
  disk.answerPool();
  t.strictSame(disk.answers(), ['8'], 'all four blocks are right');
  t.equal(disk.file.counters.misses, 1);
  await disk.file.close();
});

t.test('disks do not keep the order; behind two that are not there none is asked for', async (t) => {
  const loop = new Loop();
  const disk = await Disk.open(loop);
  for (const block of [1, 2, 3, 4, 5]) disk.read(block);
  disk.asked = [];
  loop.turn();
  t.strictSame(disk.asked, [1, 2]);
  disk.cached.add(2).add(4);
  disk.asked = [];
  loop.turn();
  t.strictSame(disk.asked, [1, 2, 3]);
  t.strictSame(disk.answers(), ['2']);
  disk.cached.add(1).add(3).add(5);
  loop.turn();
  t.strictSame(disk.answers(), ['1', '3', '4', '5']);
  disk.read(6);
  disk.cached.add(6);
  loop.turn();
  t.strictSame(disk.answers(), ['6'], 'the list is as good as new');
  for (const block of [20, 21]) disk.read(block);
  disk.cached.add(21);
  loop.turn();
  disk.read(22);
  disk.cached.add(20).add(22);
  loop.turn();
  t.strictSame(disk.answers(), ['21', '20', '22'], 'the last of it went first');
  await disk.file.close();
});

t.test('who reads on from an answer waits behind the others', async (t) => {
  const loop = new Loop();
  const disk = await Disk.open(loop);
  for (const block of [1, 2, 3]) disk.read(block, 1, () => disk.read(block + 10));
  disk.cached.add(1).add(3);
  loop.turn();
  t.strictSame(disk.answers(), ['1', '3']);
  disk.cached.add(2).add(11).add(12).add(13);
  loop.turn();
  t.strictSame(disk.answers(), ['2', '12', '11', '13'], '12 was in the cache when it was asked for');
  t.notOk(loop.isTurning);
  await disk.file.close();
});

t.test('a slow disk is not waited for on the loop, but for a trial now and then', async (t) => {
  const loop = new Loop();
  const disk = await Disk.open(loop);
  for (const block of [8, 9]) {
    disk.read(block);
    t.ok(loop.isTurning);
    loop.turn(2);
    disk.answerPool();
  }
  for (let block = 1; block < 6; block++) {
    disk.read(block);
    t.notOk(loop.isTurning, 'two in vain are enough at first');
    loop.clock.atMs += 0.1; // however fast its reads in the pool are: what is read ahead is there before they begin
    disk.answerPool();
  }
  t.equal(disk.answers().length, 7);
  loop.clock.atMs += 250;
  disk.read(20);
  t.ok(loop.isTurning, 'the trial');
  disk.cached.add(20);
  loop.turn();
  t.strictSame(disk.answers(), ['20']);
  disk.read(21);
  t.ok(loop.isTurning, 'it is fast by now');
  loop.turn(2);
  disk.answerPool();
  await disk.file.close();
});

t.test(
  'thirty at a time from a slow disk: a trial of two milliseconds in a quarter of a second',
  async (t) => {
    const loop = new Loop();
    const disk = await Disk.open(loop);
    let waited = 0;
    let rounds = 0;
    const until = loop.clock.atMs + 3_000;
    for (; loop.clock.atMs < until; rounds++) {
      for (let block = 0; block < 32; block++) disk.read(block);
      const from = loop.clock.atMs;
      while (loop.isTurning) loop.turn(0.05);
      if (loop.clock.atMs > from) waited += 1;
      loop.clock.atMs += 1.5;
      while (disk.pool.length > 0) disk.answerPool();
    }
    t.equal(disk.answers().length, 32 * rounds);
    t.ok(rounds > 1000);
    t.ok(waited >= 20 && waited <= 26, `${waited} of ${rounds} rounds were waited for on the loop`);
    await disk.file.close();
  },
);

t.test('large reads are for the pool', async (t) => {
  const loop = new Loop();
  const disk = await Disk.open(loop);
  disk.read(0, 17);
  t.notOk(loop.isTurning);
  t.equal(disk.pool.length, 1);
  disk.answerPool();
  disk.read(0, 16);
  t.ok(loop.isTurning, '64 KiB are not large');
  loop.turn(2);
  disk.answerPool();
  t.strictSame(disk.answers(), ['0', '0']);
  await disk.file.close();
});

t.test('a pause among many reads in time changes nothing; many do', async (t) => {
  const loop = new Loop();
  const disk = await Disk.open(loop);
  for (let i = 0; i < 40; i++) {
    disk.cached.clear();
    disk.read(i);
    disk.cached.add(i);
    loop.turn();
  }
  disk.cached.clear();
  const pause = (): void => {
    for (let block = 0; block < 31; block++) disk.read(block);
    t.ok(loop.isTurning);
    loop.turn(0.5);
    disk.read(31);
    loop.turn(0.6);
    t.equal(disk.pool.length, 31, 'all that are too late, in one turn');
    loop.turn(1.2);
    t.equal(disk.pool.length, 32, 'and one that has waited since before: that is the same pause');
    disk.answerPool();
    loop.clock.atMs += 2;
  };
  for (let i = 0; i < 5; i++) pause();
  disk.read(55);
  t.notOk(loop.isTurning);
  disk.answerPool();
  await disk.file.close();
});

t.test('nobody waits behind the disk of another file', async (t) => {
  const loop = new Loop();
  const hanging = await Disk.open(loop);
  const good = await Disk.open(loop);
  for (let block = 0; block < 30; block++) hanging.read(block);
  good.read(7);
  good.cached.add(7);
  loop.turn();
  t.strictSame(good.answers(), ['7']);
  t.strictSame(hanging.answers(), []);
  const third = await Disk.open(loop);
  good.read(8, 1, () => third.read(9));
  good.cached.add(8);
  loop.turn();
  t.strictSame(good.answers(), ['8']);
  third.cached.add(9);
  loop.turn();
  t.strictSame(third.answers(), ['9'], 'nor is a file lost that begins while others are looked at');
  loop.turn(2);
  hanging.answerPool();
  while (hanging.pool.length > 0) hanging.answerPool();
  t.equal(hanging.answers().length, 30);
  await Promise.all([hanging, good, third].map(({ file }) => file.close()));
});

t.test('a kernel that begins nothing, or a page that is there at once: the loop is not turned', async (t) => {
  const loop = new Loop();
  const disk = await Disk.open(loop, false);
  disk.read(1);
  t.equal(disk.pool.length, 1);
  disk.answerPool();
  disk.cached.add(2);
  disk.read(2);
  t.notOk(loop.isTurning);
  t.strictSame(disk.answers(), ['1', '2']);
  await disk.file.close();
});

t.test('nor where the file system cannot say what is cached', async (t) => {
  const loop = new Loop();
  const disk = await Disk.open(loop);
  disk.refusal = UNSUPPORTED;
  disk.read(1);
  t.notOk(loop.isTurning);
  t.equal(disk.pool.length, 1);
  disk.answerPool();
  t.strictSame(disk.answers(), ['1']);
  await disk.file.close();
});

t.test('what is near a late read is not sent from the mapping', async (t) => {
  const loop = new Loop();
  const disk = await Disk.open(loop);
  t.ok(disk.file.mapped(5 * BLOCK, BLOCK, false), 'the kernel says that all is cached');
  disk.read(1);
  t.notOk(disk.file.mapped(5 * BLOCK, BLOCK, false), 'but just now something was not');
  const reads = Math.floor(MAPPED_MISSES_MAX / 2) + 5;
  for (let block = 2; block <= reads; block++) disk.read(block);
  loop.turn(2);
  t.ok(disk.file.mapped(3 * MiB, BLOCK, false), 'each counts once: far from them, all is cached');
  while (disk.pool.length > 0) disk.answerPool();
  t.equal(disk.answers().length, reads);
  await disk.file.close();
});

t.test('zeros that come late tell of a hole', async (t) => {
  const loop = new Loop();
  const disk = await Disk.open(loop);
  const hole = (2 * MiB) / BLOCK;
  disk.read(hole);
  disk.cached.add(hole);
  loop.turn();
  disk.asked = [];
  disk.read(hole + 1);
  t.strictSame(disk.asked, [], 'the next one is answered from memory');
  t.strictSame(disk.answers(), [`${hole}`, `${hole + 1}`]);
  await disk.file.close();
});

t.test('a file is closed behind what it still waits for', async (t) => {
  const loop = new Loop();
  const disk = await Disk.open(loop);
  disk.read(1);
  disk.read(2);
  let isClosed = false;
  const closing = disk.file.close().then(() => (isClosed = true));
  disk.cached.add(1);
  loop.turn();
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(isClosed);
  loop.turn(2);
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(isClosed, 'nor while the pool has it');
  disk.answerPool();
  await closing;
  t.strictSame(disk.answers(), ['1', '2']);
});

t.test(
  'turns in vain are idle; those that bring something, and those of a short poll, are not',
  async (t) => {
    const loop = new Loop();
    const { turns } = loop;
    const disk = await Disk.open(loop);
    disk.read(1);
    for (let i = 0; i < 10; i++) loop.turn(0.01);
    t.ok(Math.abs(turns.spareMs - 0.09) < 1e-9, `${turns.spareMs} ms: all but what was before the first`);
    loop.turn(0.5);
    t.ok(
      Math.abs(turns.spareMs - 0.11) < 1e-9,
      'a turn that long had something to do, but for two of the shortest',
    );
    disk.askMs = 0.03;
    loop.turn(0.01);
    disk.askMs = 0;
    t.ok(Math.abs(turns.spareMs - 0.15) < 1e-9, 'to ask in vain is idle, however long it takes');
    disk.read(2);
    disk.cached.add(2);
    loop.turn(0.01);
    t.ok(Math.abs(turns.spareMs - 0.15) < 1e-9, 'this one brought something');
    new BusyPoll(turns).activity();
    loop.turn(0.01);
    t.ok(Math.abs(turns.spareMs - 0.15) < 1e-9, 'in this one, somebody else might have come');
    for (let i = 0; i < 5; i++) loop.turn(0.01);
    const before = turns.spareMs;
    loop.turn(0.01);
    t.ok(turns.spareMs > before, 'both wait in vain by now');
    disk.cached.add(1);
    loop.turn(0.01);
    t.strictSame(disk.answers(), ['2', '1']);
    for (let i = 0; i < 100 && loop.isTurning; i++) loop.turn(0.01);
    t.notOk(loop.isTurning, 'nobody waits any more');
    await disk.file.close();
  },
);

t.test('the same with a real disk and a real loop', async (t) => {
  const path = join(folder, 'real.img');
  const blocks = 512;
  const bytes = pattern(blocks * BLOCK, 4);
  const isCold = writeCold(path, bytes);
  const file = await SparseFile.open(path, { ...newFile(bytes.length), create: false });
  t.equal(systemDoors().native?.beginsReads, true);
  const inAnyOrder = Array.from({ length: blocks }, (_, i) => (i * 197) % blocks);
  const reads = inAnyOrder.map(async (block) => {
    const into = Buffer.alloc(BLOCK);
    await submitAndWait(file, 'read', block * BLOCK, BLOCK, into);
    return into.equals(bytes.subarray(block * BLOCK, (block + 1) * BLOCK));
  });
  t.ok((await Promise.all(reads)).every(Boolean));
  const { misses } = file.counters;
  t.ok(misses > 0, 'the disk had to answer', {
    skip: isCold ? false : 'what was written stays in memory here',
  });
  await file.close();
});

/** @returns whether it is out of the page cache now, which a file system in memory does not do */
function writeCold(path: string, bytes: Buffer): boolean {
  const fd = fs.openSync(path, 'w+');
  fs.writeSync(fd, bytes);
  fs.fsyncSync(fd);
  execFileSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none']);
  // One block: to ask for another is to read it.
  const found = systemDoors().native?.readNowait(fd, Buffer.alloc(BLOCK), BLOCK, 0);
  fs.closeSync(fd);
  return found === MISS;
}
