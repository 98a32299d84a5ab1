/**
 * One disk that hangs holds up nobody else's: neither their hits nor, with a share of the thread pool left for them, their
 * misses and flushes. The hanging disk is a pipe: a call to it takes a real thread of the pool until the test writes to it.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DURABLE_WRITES_IN_POOL } from '../../lib/base/limits.js';
import { submitAndWait } from '../../lib/block/device.js';
import { type StorageDoors, systemDoors } from '../../lib/storage/doors.js';
import { MISS } from '../../lib/storage/page-cache-read.js';
import { PoolShares, poolThreads, type PoolShare } from '../../lib/storage/pool-share.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { pattern } from '../support/device-suite.js';
import { doorsWith, existing, makeSharedFolder, newFile } from '../support/storage-doors.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const BLOCK = 4 * KiB;
const PATIENCE_MS = 3_000;
const folder = makeSharedFolder();

/** A disk that answers nothing until it is let go. */
class HangingDisk {
  /** Calls that hold a thread, or wait for one in libuv's queue. */
  outstanding = 0;
  most = 0;
  private released = false;
  private readonly fd: number;

  constructor(path: string) {
    execFileSync('mkfifo', [path]);
    this.fd = fs.openSync(path, fs.constants.O_RDWR);
  }

  private hang(then: () => void): void {
    this.outstanding += 1;
    this.most = Math.max(this.most, this.outstanding);
    if (this.released) fs.writeSync(this.fd, '.');
    fs.read(this.fd, Buffer.alloc(1), 0, 1, null, () => {
      this.outstanding -= 1;
      then();
    });
  }

  /** The real doors, with all that goes to the pool hanging first, and nothing in the page cache. */
  doors(): StorageDoors {
    return doorsWith(
      {
        read: (...call) => this.hang(() => fs.read(...call)),
        write: (...call) => this.hang(() => fs.write(...call)),
        fdatasync: (...call) => this.hang(() => fs.fdatasync(...call)),
      },
      coldNative(),
    );
  }

  release(): void {
    if (this.released) return;
    this.released = true;
    if (this.outstanding > 0) fs.writeSync(this.fd, '.'.repeat(this.outstanding));
  }

  close(): void {
    this.release();
    fs.closeSync(this.fd);
  }
}

/** A page cache that has nothing. */
function coldNative(): Pick<StorageDoors, 'native'> {
  const { native } = systemDoors();
  if (native === null) throw new Error('koffi does not load');
  return { native: { ...native, readNowait: () => MISS, beginsReads: false } };
}

/** Whether it is done before a person would call it hung; if not, the disk is let go, so that the test comes to an end. */
async function isSoon(work: Promise<unknown>, disk: HangingDisk): Promise<boolean> {
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    disk.release();
  }, PATIENCE_MS);
  await work;
  clearTimeout(timer);
  return !isLate;
}

await t.test('a disk that hangs holds up no other volume', async (t) => {
  const disk = new HangingDisk(join(folder, 'hanging'));
  const slow = await SparseFile.open(join(folder, 'slow.img'), newFile(4 * MiB), disk.doors());
  const warm = await SparseFile.open(join(folder, 'other.img'), newFile(4 * MiB));
  const data = pattern(BLOCK, 1);
  await submitAndWait(warm, 'write', 0, BLOCK, data);
  await submitAndWait(slow, 'write', 0, BLOCK, data);

  const work: Promise<void>[] = [];
  const buffers = Array.from({ length: 300 }, () => Buffer.alloc(BLOCK));
  for (const buffer of buffers) work.push(submitAndWait(slow, 'read', 0, BLOCK, buffer));
  const durable = Array.from({ length: 3 * DURABLE_WRITES_IN_POOL }, (_, i) => pattern(BLOCK, i));
  durable.forEach((bytes, i) => work.push(submitAndWait(slow, 'write', MiB + i * BLOCK, BLOCK, bytes, true)));
  work.push(slow.sync(), submitAndWait(slow, 'write', 2 * MiB, 2 * MiB, pattern(2 * MiB, 3)));
  t.ok(disk.outstanding > 1, 'several of its calls are under way');

  for (let i = 0; i < 100; i++) void submitAndWait(warm, 'read', 0, BLOCK, Buffer.alloc(BLOCK));
  t.equal(warm.counters.hits, 100, 'hits of another volume are answered on the loop, within the call');
  const written = submitAndWait(warm, 'write', BLOCK, BLOCK, data);
  t.ok(await isSoon(written, disk), 'so are its writes');
  t.ok(await isSoon(warm.sync(), disk), 'its flush finds a thread');
  t.ok(await isSoon(submitAndWait(warm, 'write', 0, BLOCK, data, true), disk), 'and a durable write');
  t.ok(await isSoon(warm.punch(MiB, MiB), disk), 'and a discard');
  const cold = doorsWith({}, coldNative());
  await warm.close();
  const other = await SparseFile.open(join(folder, 'other.img'), existing, cold);
  const readBack = Buffer.alloc(BLOCK);
  t.ok(await isSoon(submitAndWait(other, 'read', 0, BLOCK, readBack), disk), 'and a miss');
  t.ok(readBack.equals(data));
  t.equal(other.counters.misses, 1);
  t.ok(disk.most < poolThreads(process.env['UV_THREADPOOL_SIZE']), 'the disk never had all threads');

  disk.release();
  await Promise.all(work);
  t.ok(
    buffers.every((buffer) => buffer.equals(data)),
    'and what hung is done in the end',
  );
  for (const [i, bytes] of durable.entries()) {
    const at = Buffer.alloc(BLOCK);
    await submitAndWait(slow, 'read', MiB + i * BLOCK, BLOCK, at);
    if (!at.equals(bytes)) t.fail(`durable write ${i}`);
  }
  await Promise.all([slow.close(), other.close()]);
  disk.close();
});

/** A file's calls, ended by hand. */
class Calls {
  inPool = 0;
  done = 0;
  readonly started: number[] = [];
  private next = 0;
  constructor(private readonly share: PoolShare) {}

  add(count: number): void {
    for (let i = 0; i < count; i++) {
      const name = this.next++;
      this.share.run({
        start: () => {
          this.inPool += 1;
          this.started.push(name);
        },
      });
    }
  }

  end(): void {
    this.inPool -= 1;
    this.done += 1;
    this.share.ended();
  }
}

await t.test('a file alone has most of the pool, several share it, some is left', async (t) => {
  const shares = new PoolShares(16);
  const [a, b, c] = [0, 1, 2].map(() => new Calls(shares.share())) as [Calls, Calls, Calls];
  a.add(100);
  t.equal(a.inPool, 11);
  b.add(100);
  t.equal(b.inPool, 4, 'the second finds two thirds of the rest');
  // As calls end, the two come to hold about as many each.
  for (let i = 0; i < 40; i++) (i % 2 === 0 ? a : b).end();
  t.ok(Math.abs(a.inPool - b.inPool) <= 2, `${a.inPool} and ${b.inPool}`);
  t.ok(a.inPool + b.inPool < 16, 'and one thread at least is free');
  c.add(1);
  t.equal(c.inPool, 1);
  t.strictSame(
    a.started,
    a.started.map((_, i) => i),
    'in the order they came',
  );
});

await t.test('more files than threads: each has one call there, and none is left behind', async (t) => {
  const shares = new PoolShares(4);
  const files = Array.from({ length: 20 }, () => new Calls(shares.share()));
  for (const file of files) file.add(50);
  for (const file of files) t.ok(file.inPool >= 1 && file.inPool <= 3);
  let left = 20 * 50;
  let idle = 0;
  for (let i = 0; left > 0; i++) {
    const file = files[(i * 7) % files.length];
    if (i > 100_000) break;
    if (file === undefined || file.inPool === 0) continue;
    file.end();
    left -= 1;
    if (file.inPool === 0 && file.done < 50) idle += 1;
  }
  t.equal(idle, 0, 'no file waits without a call of its own in the pool');
  t.equal(left, 0, 'all calls were started');
  t.ok(files.every((file) => file.done === 50 && file.inPool === 0));
  files[0]?.add(3);
  t.equal(files[0]?.inPool, 3, 'and the whole pool is free again');
});

await t.test('the number of threads, as libuv reads it', async (t) => {
  const settings = [undefined, '16', '0', '-3', 'many', '5000'];
  t.strictSame(
    settings.map((setting) => poolThreads(setting)),
    [4, 16, 1, 1, 1, 1024],
  );
});
