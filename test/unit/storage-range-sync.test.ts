/** A range of a file becomes durable and the rest need not: by the real kernel, and by one in hand. */
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadLibc } from '../../lib/base/libc.js';
import { submitAndWait } from '../../lib/block/device.js';
import { systemDoors, type StorageDoors } from '../../lib/storage/doors.js';
import { makeRangeSync } from '../../lib/storage/range-sync.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { pattern } from '../support/device-suite.js';
import { doorsWith, makeSharedFolder, newFile, systemError } from '../support/storage-doors.js';

type Synced = (error: NodeJS.ErrnoException | null) => void;

const KiB = 1024;
const MiB = 1024 * KiB;
const PAGE = 4 * KiB;
const TMPFS_MAGIC = 0x01021994;
/** cachestat(2), Linux 6.5, the same number on every machine. */
const SYS_CACHESTAT = 451;
const folder = makeSharedFolder();
let serial = 0;

const { native } = systemDoors();
const libc = loadLibc();
if (native === null || libc === null) throw new Error('koffi does not load');
const syscall = libc.library.func(
  'long syscall(long number, long fd, void *range, void *result, long flags)',
) as (number: number, fd: number, range: BigUint64Array, result: BigUint64Array, flags: number) => number;

/** Pages of a range that the disk has not got yet; null where the kernel does not tell. */
function dirtyPages(path: string, fromBytes: number, lengthBytes: number): number | null {
  const fd = fs.openSync(path, 'r');
  const result = new BigUint64Array(5); // cached, dirty, being written, evicted, lately evicted
  const answer = syscall(
    SYS_CACHESTAT,
    fd,
    BigUint64Array.of(BigInt(fromBytes), BigInt(lengthBytes)),
    result,
    0,
  );
  fs.closeSync(fd);
  return answer === 0 ? Number(result[1]) + Number(result[2]) : null;
}

/** What was asked of the kernel, answered when the test says so. */
class Kernel {
  readonly log: (string | [number, number])[] = [];
  readonly answers: Synced[] = [];
  canSyncRanges = true;

  open(): Promise<SparseFile> {
    const doors: StorageDoors = doorsWith(
      {
        fdatasync: (_fd, done) => {
          this.log.push('all');
          this.answers.push(done);
        },
      },
      { native: native === null ? null : { ...native, syncRange: this.syncRange } },
    );
    return SparseFile.open(join(folder, `${serial++}.img`), newFile(MiB), doors);
  }

  private readonly syncRange = (_fd: number, offsetBytes: number, lengthBytes: number, done: Synced) => {
    if (!this.canSyncRanges) return false;
    this.log.push([offsetBytes, lengthBytes]);
    this.answers.push(done);
    return true;
  };

  /** Answers the oldest, and lets what comes of it happen. */
  async answer(error: NodeJS.ErrnoException | null = null): Promise<void> {
    this.answers.shift()?.(error);
    await new Promise((resolve) => setImmediate(resolve));
  }

  async close(file: SparseFile): Promise<void> {
    const closed = file.close();
    await new Promise((resolve) => setImmediate(resolve));
    while (this.answers.length > 0) await this.answer();
    await closed;
  }
}

/** Names of what has ended, in order. */
function journalOf(works: Readonly<Record<string, Promise<unknown>>>): string[] {
  const lines: string[] = [];
  for (const [name, work] of Object.entries(works))
    work.then(
      () => lines.push(name),
      (error: unknown) => lines.push(`${name}: ${(error as { code: string }).code}`),
    );
  return lines;
}

const isMemory = fs.statfsSync(folder).type === TMPFS_MAGIC;
const tellsDirty = dirtyPages(process.execPath, 0, PAGE) !== null;
const skip = isMemory
  ? 'the folder for temporary files is memory itself'
  : !tellsDirty && 'the kernel has no cachestat (Linux 6.5)';
t.test('the range is on the disk, and what else is dirty stays so', { skip }, async (t) => {
  const sizeBytes = 8 * MiB;
  const path = join(folder, `${serial++}.img`);
  const file = await SparseFile.open(path, newFile(sizeBytes));
  await submitAndWait(file, 'write', 0, MiB, pattern(MiB, 1));
  // A page at a time: what is written in one go is one piece of the page cache, and leaves as one.
  for (let at = 3 * MiB; at < 4 * MiB; at += PAGE)
    await submitAndWait(file, 'write', at, PAGE, pattern(PAGE, 2));
  t.equal(dirtyPages(path, 0, sizeBytes), (2 * MiB) / PAGE, 'all of it is dirty');
  // Begins and ends inside a page.
  await file.syncRange(3 * MiB + PAGE - 512, MiB - 2 * PAGE + 1024);
  t.equal(dirtyPages(path, 3 * MiB, MiB), 0, 'not the range any more');
  t.equal(dirtyPages(path, 0, MiB), MiB / PAGE, 'the rest is');
  await file.sync();
  t.equal(dirtyPages(path, 0, sizeBytes), 0);
  await t.rejects(file.syncRange(7 * MiB, 2 * MiB), { code: 'out-of-range' });
  await file.close();
});

t.test('a file that cannot be mapped, and a sync that fails', async (t) => {
  const unmapped: number[] = [];
  const maps = { map: () => 0, unmap: () => undefined };
  const failed = (): void => void unmapped.push(-1);
  t.equal(makeRangeSync(libc.library, maps)(3, 0, PAGE, failed), false, 'no map, no sync');
  t.strictSame(unmapped, [], 'and no answer');
  // Nothing is mapped at the first page: ENOMEM.
  const nowhere = { map: () => PAGE, unmap: (address: number) => void unmapped.push(address) };
  const error = await new Promise((resolve) => makeRangeSync(libc.library, nowhere)(3, 0, PAGE, resolve));
  t.match(error, { code: 'EIO', message: /did not reach the disk/ });
  t.strictSame(unmapped, [PAGE], 'the map is given back');
});

t.test('I1: ranges go together, and never beside a sync of all', async (t) => {
  const kernel = new Kernel();
  const file = await kernel.open();
  const journal = journalOf({
    first: file.syncRange(64 * KiB, 4 * KiB),
    second: file.syncRange(512 * KiB, 8 * KiB),
    third: file.syncRange(128 * KiB, 4 * KiB),
  });
  t.strictSame(kernel.log, [[64 * KiB, 4 * KiB]], 'one in flight');
  await kernel.answer();
  t.strictSame(journal, ['first']);
  t.strictSame(kernel.log.splice(0), [
    [64 * KiB, 4 * KiB],
    [128 * KiB, 392 * KiB], // from the lowest byte to the highest
  ]);
  const later = journalOf({ all: file.sync(), range: file.syncRange(0, 4 * KiB) });
  t.strictSame(kernel.log, [], 'the next waits');
  await kernel.answer();
  t.strictSame(journal, ['first', 'second', 'third']);
  t.strictSame(kernel.log.splice(0), ['all'], 'which covers the range that was asked for with it');
  await kernel.answer();
  t.strictSame(later, ['all', 'range']);
  await kernel.close(file);
});

t.test('I1: what a range has lost, the whole file has', async (t) => {
  const kernel = new Kernel();
  const file = await kernel.open();
  const journal = journalOf({
    covered: file.syncRange(0, 4 * KiB),
    waiting: file.sync(),
  });
  await kernel.answer(systemError('EIO'));
  t.strictSame(journal, ['covered: medium-write', 'waiting: medium-write']);
  await t.rejects(file.syncRange(512 * KiB, 4 * KiB), { code: 'medium-write' });
  await t.rejects(file.sync(), { code: 'medium-write' });
  t.strictSame(kernel.log, [[0, 4 * KiB]], 'nothing is asked that would succeed and lie');
  t.equal(file.isSpent, true);
  await t.rejects(file.close(), { code: 'IO' });
});

t.test('where it cannot be done, all of the file is made durable', async (t) => {
  const kernel = new Kernel();
  kernel.canSyncRanges = false;
  const file = await kernel.open();
  const journal = journalOf({ range: file.syncRange(0, 4 * KiB) });
  t.strictSame(kernel.log, ['all']);
  await kernel.answer();
  t.strictSame(journal, ['range']);
  await kernel.close(file);
});
