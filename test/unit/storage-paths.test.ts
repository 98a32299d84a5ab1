/**
 * Which way an I/O goes (loop, pool, lane), what a short or failed call does, and what is called durable: SparseFile over
 * doors that a test can make slow, short or broken.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { FAST_CALLS_MIN, LOOP_IO_BYTES_MAX, PUNCH_PIECE_BYTES } from '../../lib/base/limits.js';
import { submitAndWait } from '../../lib/block/device.js';
import { LatencyGate } from '../../lib/storage/latency-gate.js';
import type { StorageDoors } from '../../lib/storage/doors.js';
import { MISS, UNSUPPORTED } from '../../lib/storage/page-cache-read.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { systemDoors } from '../../lib/storage/doors.js';
import { pattern, readBytes, writeBytes } from '../support/device-suite.js';
import { doorsWith, HandClock, makeSharedFolder, newFile, systemError } from '../support/storage-doors.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const folder = makeSharedFolder();
let serial = 0;

function openWith(doors: StorageDoors, sizeBytes = MiB): Promise<SparseFile> {
  return SparseFile.open(join(folder, `${serial++}.img`), newFile(sizeBytes), doors);
}

type SyncCallback = (error: NodeJS.ErrnoException | null) => void;

/** fdatasyncs that finish when the test says so. */
class HeldSyncs {
  readonly held: SyncCallback[] = [];
  readonly fdatasync = (_fd: number, callback: SyncCallback): void => {
    this.held.push(callback);
  };
  /** Finishes the oldest one. */
  finish(error: NodeJS.ErrnoException | null = null): void {
    this.held.shift()?.(error);
  }
  /** Finishes them all, until none comes after. */
  async finishAll(): Promise<void> {
    while (this.held.length > 0) {
      this.finish();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/** Remembers in which order promises were settled, by name. */
class Journal {
  readonly lines: string[] = [];
  note(name: string, work: Promise<unknown>): void {
    work.then(
      () => this.lines.push(name),
      (error: unknown) => this.lines.push(`${name}: ${(error as { code: string }).code}`),
    );
  }
  async settled(): Promise<string[]> {
    await new Promise((resolve) => setImmediate(resolve));
    return this.lines.splice(0);
  }
}

await t.test('I1: a flush is covered only by an fdatasync that started after it', async (t) => {
  const syncs = new HeldSyncs();
  const file = await openWith(doorsWith({ fdatasync: syncs.fdatasync }));
  const journal = new Journal();
  journal.note('first', file.sync());
  t.equal(syncs.held.length, 1, 'one in flight');
  for (const name of ['second', 'third']) journal.note(name, file.sync());
  journal.note('fourth', file.sync());
  t.equal(syncs.held.length, 1, 'the others wait for the next');
  t.strictSame(await journal.settled(), [], 'nobody is told early');
  syncs.finish();
  t.strictSame(await journal.settled(), ['first'], 'the first covers only what came before it');
  t.equal(syncs.held.length, 1, 'one more covers the three');
  syncs.finish();
  t.strictSame(await journal.settled(), ['second', 'third', 'fourth']);
  t.equal(syncs.held.length, 0);
  const closed = file.close();
  await new Promise((resolve) => setImmediate(resolve));
  await syncs.finishAll();
  await closed;
});

await t.test('I1: after a failed fdatasync nothing is called durable again', async (t) => {
  const syncs = new HeldSyncs();
  const file = await openWith(doorsWith({ fdatasync: syncs.fdatasync }));
  const journal = new Journal();
  journal.note('covered', file.sync());
  journal.note('waiting', file.sync());
  syncs.finish(systemError('EIO'));
  t.strictSame(await journal.settled(), ['covered: medium-write', 'waiting: medium-write']);
  t.equal(syncs.held.length, 0, 'no second fdatasync, which would succeed and lie');
  journal.note('later flush', file.sync());
  journal.note('later FUA', writeBytes(file, 512, pattern(512, 2), true));
  journal.note('later discard', submitAndWait(file, 'discard', 0, 512, undefined, true));
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.strictSame(await journal.settled(), [
    'later flush: medium-write',
    'later FUA: medium-write',
    'later discard: medium-write',
  ]);
  await writeBytes(file, 0, pattern(512, 3));
  t.ok((await readBytes(file, 0, 512)).equals(pattern(512, 3)), 'plain I/O goes on');
  t.equal(syncs.held.length, 0);
  await t.rejects(file.close(), { code: 'IO', message: /did not reach the disk/, hint: /check/ });
});

/** Whether a descriptor was opened with O_DSYNC. */
function isDurable(fd: number): boolean {
  const flags = /^flags:\s+0?(\d+)$/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
  return (parseInt(flags, 8) & fs.constants.O_DSYNC) !== 0;
}

await t.test('I1: a FUA write is durable by itself: O_DSYNC, all of its bytes, no fdatasync', async (t) => {
  const syncs = new HeldSyncs();
  const pieces: [boolean, number, number][] = [];
  const file = await openWith(
    doorsWith({
      fdatasync: syncs.fdatasync,
      write: (fd, data, offset, length, position, callback) => {
        pieces.push([isDurable(fd), offset, position]);
        fs.write(fd, data, offset, Math.min(length, 300), position, callback);
      },
    }),
  );
  await writeBytes(file, 512, pattern(512, 1), true);
  t.strictSame(pieces, [
    [true, 0, 512],
    [true, 300, 812],
  ]);
  t.ok((await readBytes(file, 512, 512)).equals(pattern(512, 1)));
  t.equal(syncs.held.length, 0);
  const closed = file.close();
  await new Promise((resolve) => setImmediate(resolve));
  await syncs.finishAll();
  await closed;
});

await t.test(
  'I1: a FUA write that fails is an error; after EIO nothing is called durable again',
  async (t) => {
    let errno = 'EDQUOT';
    const file = await openWith(
      doorsWith({
        write: (_fd, _data, _offset, _length, _position, callback) =>
          setImmediate(callback, systemError(errno), 0),
      }),
    );
    await t.rejects(writeBytes(file, 0, pattern(512, 1), true), { code: 'no-space' });
    await file.sync();
    errno = 'EIO';
    await t.rejects(writeBytes(file, 0, pattern(512, 1), true), { code: 'medium-write' });
    await t.rejects(file.sync(), { code: 'medium-write' });
    await t.rejects(file.close(), { code: 'IO' });
  },
);

await t.test('close waits for what is in flight, then syncs', async (t) => {
  const order: string[] = [];
  let release = (): void => undefined;
  const file = await openWith(
    doorsWith({
      write: (fd, data, offset, length, position, callback) => {
        release = () => {
          order.push('write');
          fs.write(fd, data, offset, length, position, callback);
        };
      },
      fdatasync: (fd, callback) => {
        order.push('sync');
        fs.fdatasync(fd, callback);
      },
    }),
    4 * MiB,
  );
  const written = writeBytes(file, 0, pattern(2 * MiB, 1));
  const closed = file.close();
  await t.rejects(writeBytes(file, 0, pattern(512, 1)), { code: 'aborted' }, 'nothing new after close');
  release();
  await written;
  await closed;
  t.strictSame(order, ['write', 'sync'], 'and what was in flight is covered');
});

await t.test('a short read goes on in the pool where it stopped', async (t) => {
  const { native } = systemDoors();
  if (native === null) throw new Error('koffi does not load');
  const asked: [number, number][] = [];
  let cached = MISS;
  const doors = doorsWith(
    {
      read: (fd, data, offset, length, position, callback) => {
        asked.push([offset, length]);
        fs.read(fd, data, offset, Math.min(length, 3 * KiB), position, callback);
      },
    },
    {
      native: {
        ...native,
        beginsReads: false,
        readNowait: (fd, data, _length, position) =>
          cached === MISS ? MISS : fs.readSync(fd, data, 0, cached, position),
      },
    },
  );
  const file = await openWith(doors);
  const data = pattern(8 * KiB, 7);
  await writeBytes(file, 4 * KiB, data);
  t.ok((await readBytes(file, 4 * KiB, 8 * KiB)).equals(data), 'a miss');
  t.strictSame(
    asked.splice(0),
    [
      [0, 8 * KiB],
      [3 * KiB, 5 * KiB],
      [6 * KiB, 2 * KiB],
    ],
    'three short reads',
  );
  cached = 4 * KiB;
  t.ok((await readBytes(file, 4 * KiB, 8 * KiB)).equals(data), 'half a hit');
  t.strictSame(asked[0], [4 * KiB, 4 * KiB], 'only the rest is fetched');
  t.equal(file.counters.misses, 2);
  t.equal(file.counters.hits, 0);
  await file.close();
});

await t.test('errors of reads and writes, by their errno', async (t) => {
  const failing = (code: string): StorageDoors =>
    doorsWith(
      {
        read: (_fd, _data, _offset, _length, _position, callback) =>
          setImmediate(callback, systemError(code), 0),
        write: (_fd, _data, _offset, _length, _position, callback) =>
          setImmediate(callback, systemError(code), 0),
      },
      { native: null },
    );
  const large = Buffer.alloc(LOOP_IO_BYTES_MAX + 512);
  for (const [errno, onRead, onWrite] of [
    ['EIO', 'medium-read', 'medium-write'],
    ['ENOSPC', 'no-space', 'no-space'],
    ['EROFS', 'read-only', 'read-only'],
  ] as const) {
    const file = await openWith(failing(errno), 4 * MiB);
    await t.rejects(
      submitAndWait(file, 'read', 0, large.length, large),
      { code: onRead },
      `${errno} on read`,
    );
    await t.rejects(writeBytes(file, 0, large), { code: onWrite }, `${errno} on write`);
    await writeBytes(file, 0, pattern(512, 1));
    t.pass('the next one is served');
    await file.close();
  }
});

await t.test('a short write goes on, in the loop and in the lane', async (t) => {
  const file = await openWith(
    doorsWith({
      writeSync: (fd, data, offset, length, position) =>
        fs.writeSync(fd, data, offset, Math.min(length, 1000), position),
      write: (fd, data, offset, length, position, callback) =>
        fs.write(fd, data, offset, Math.min(length, 700 * KiB), position, callback),
    }),
    4 * MiB,
  );
  const small = pattern(8 * KiB, 1);
  const large = pattern(LOOP_IO_BYTES_MAX + 512, 2);
  await writeBytes(file, 0, small);
  await writeBytes(file, MiB, large, true);
  t.ok((await readBytes(file, 0, small.length)).equals(small));
  t.ok((await readBytes(file, MiB, large.length)).equals(large));
  await file.close();
});

await t.test('slow writes leave the loop until the pool is fast again', async (t) => {
  const clock = new HandClock();
  let costMs = 0;
  const ways: string[] = [];
  const file = await openWith(
    doorsWith(
      {
        writeSync: (fd, data, offset, length, position) => {
          ways.push('loop');
          clock.atMs += costMs;
          return fs.writeSync(fd, data, offset, length, position);
        },
        write: (fd, data, offset, length, position, callback) => {
          ways.push('pool');
          clock.atMs += costMs;
          fs.write(fd, data, offset, length, position, callback);
        },
      },
      { nowMs: clock.nowMs },
    ),
  );
  const data = pattern(4 * KiB, 1);
  const go = async (count: number): Promise<string[]> => {
    for (let i = 0; i < count; i++) await writeBytes(file, 0, data);
    return ways.splice(0);
  };
  t.strictSame(await go(2), ['loop', 'loop']);
  costMs = 100;
  t.strictSame(await go(3), ['loop', 'pool', 'pool'], 'one pause is all the loop takes');
  t.equal(file.counters.slowWrites, 1);
  t.equal(file.counters.longestPauseMs, 100);
  costMs = 0;
  const back = await go(2 * FAST_CALLS_MIN + 2);
  t.equal(back.filter((way) => way === 'pool').length, 2 * FAST_CALLS_MIN, 'a run of fast ones first');
  t.equal(back.at(-1), 'loop', 'then the loop again');
  await file.close();
});

await t.test('a long discard lets writes pass between its pieces', async (t) => {
  const { extensions } = systemDoors();
  if (extensions === null) throw new Error('fs-native-extensions does not load');
  const order: string[] = [];
  let punching = 0;
  const trim = async (fd: number, offset: number, length: number): Promise<void> => {
    order.push(`punch ${length / MiB}M`);
    punching += 1;
    await extensions.trim(fd, offset, length);
    punching -= 1;
  };
  const file = await openWith(
    doorsWith(
      {
        writeSync: (fd, data, offset, length, position) => {
          order.push(`write while ${punching} in the pool`);
          return fs.writeSync(fd, data, offset, length, position);
        },
      },
      { extensions: { tryLock: extensions.tryLock.bind(extensions), trim } },
    ),
    4 * PUNCH_PIECE_BYTES,
  );
  const discard = file.punch(0, 2 * PUNCH_PIECE_BYTES + MiB);
  await Promise.all([discard, writeBytes(file, 3 * PUNCH_PIECE_BYTES, pattern(512, 1))]);
  // On the loop during a piece, it would hold the whole process until the kernel is done with the piece.
  t.strictSame(order, ['punch 4M', 'write while 0 in the pool', 'punch 4M', 'punch 1M']);
  await file.close();
});

await t.test('a steady queue of writes comes back to the loop', async (t) => {
  const clock = new HandClock();
  let costMs = 100;
  let inPool = 0;
  const file = await openWith(
    doorsWith(
      {
        writeSync: (fd, data, offset, length, position) => {
          clock.atMs += costMs;
          costMs = 0;
          return fs.writeSync(fd, data, offset, length, position);
        },
        write: (fd, data, offset, length, position, callback) => {
          inPool += 1;
          fs.write(fd, data, offset, length, position, callback);
        },
      },
      { nowMs: clock.nowMs },
    ),
  );
  const writer = async (slot: number): Promise<void> => {
    for (let i = 0; i < 50; i++) await writeBytes(file, slot * 4 * KiB, pattern(4 * KiB, slot + i));
  };
  await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(writer));
  t.equal(inPool, 2 * FAST_CALLS_MIN, 'no more than the gate asked for');
  for (let slot = 0; slot < 8; slot++) {
    t.ok((await readBytes(file, slot * 4 * KiB, 4 * KiB)).equals(pattern(4 * KiB, slot + 49)));
  }
  await file.close();
});

await t.test('zeros are written where holes cannot be punched', async (t) => {
  const { extensions } = systemDoors();
  let punches = 0;
  const refusing = {
    tryLock: () => true,
    trim: () => {
      punches += 1;
      return Promise.reject(systemError('EOPNOTSUPP'));
    },
  };
  t.ok(extensions);
  const file = await openWith(doorsWith({}, { extensions: refusing }), 4 * MiB);
  const data = pattern(3 * MiB, 1);
  await writeBytes(file, 0, data);
  await submitAndWait(file, 'discard', 512, 2 * MiB);
  await submitAndWait(file, 'zero', 2 * MiB + 1024, 512, undefined, true);
  data.fill(0, 512, 512 + 2 * MiB);
  data.fill(0, 2 * MiB + 1024, 2 * MiB + 1536);
  t.ok((await readBytes(file, 0, data.length)).equals(data));
  t.equal(punches, 1, 'asked once');
  await file.close();

  const broken = { ...refusing, trim: () => Promise.reject(systemError('EIO')) };
  const other = await openWith(doorsWith({}, { extensions: broken }));
  await t.rejects(other.punch(0, 512), { code: 'medium-write' }, 'any other refusal is an error');
  await other.close();
});

await t.test('where the kernel cannot be asked not to wait, reads learn from latency', async (t) => {
  const { native } = systemDoors();
  if (native === null) throw new Error('koffi does not load');
  const clock = new HandClock();
  let costMs = 0;
  const ways: string[] = [];
  const file = await openWith(
    doorsWith(
      {
        readSync: (fd, data, offset, length, position) => {
          ways.push('loop');
          clock.atMs += costMs;
          return fs.readSync(fd, data, offset, length, position);
        },
        read: (fd, data, offset, length, position, callback) => {
          ways.push('pool');
          clock.atMs += costMs;
          fs.read(fd, data, offset, length, position, callback);
        },
      },
      { nowMs: clock.nowMs, native: { ...native, readNowait: () => UNSUPPORTED } },
    ),
  );
  const data = pattern(4 * KiB, 1);
  await writeBytes(file, 0, data);
  const go = async (count: number): Promise<string[]> => {
    for (let i = 0; i < count; i++) {
      if (!(await readBytes(file, 0, data.length)).equals(data)) throw new Error('wrong bytes');
    }
    return ways.splice(0);
  };
  t.strictSame(await go(3), ['pool', 'loop', 'loop'], 'the first finds out, the next are read on the loop');
  costMs = 5;
  t.strictSame(await go(3), ['loop', 'pool', 'pool'], 'a disk was met');
  costMs = 0;
  t.equal((await go(2 * FAST_CALLS_MIN + 1)).at(-1), 'loop', 'the cache is warm again');
  await file.close();
});

await t.test('a gate that relapses asks for a longer run', async (t) => {
  const gate = new LatencyGate(1);
  const runUntilOpen = (): number => {
    let calls = 0;
    while (!gate.onLoop) {
      gate.tookInPool(0);
      calls += 1;
    }
    return calls;
  };
  t.equal(gate.tookOnLoop(1), false);
  t.ok(gate.onLoop);
  const runs = [0, 1, 2].map(() => {
    gate.tookOnLoop(2);
    return runUntilOpen();
  });
  t.strictSame(
    runs,
    [2, 4, 8].map((factor) => factor * FAST_CALLS_MIN),
  );
  gate.tookOnLoop(2);
  for (let i = 0; i < 10; i++) gate.tookInPool(0);
  gate.tookInPool(2);
  t.equal(runUntilOpen(), 16 * FAST_CALLS_MIN, 'a slow one starts the count again');
  for (let i = 0; i < 2000; i++) gate.tookOnLoop(0);
  gate.tookOnLoop(2);
  t.equal(runUntilOpen(), 2 * FAST_CALLS_MIN, 'a long quiet time forgives');
});
