/** A range of a file becomes durable and the rest need not: by the real kernel, and by one in hand. */
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadLibc } from '../../lib/base/libc.js';
import { submitAndWait } from '../../lib/block/device.js';
import { systemDoors, type StorageDoors } from '../../lib/storage/doors.js';
import type { MapCalls } from '../../lib/storage/map-calls.js';
import { makeRangeSync, type RangeSync } from '../../lib/storage/range-sync.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { pattern } from '../support/device-suite.js';
import { doorsWith, makeSharedFolder, newFile, systemError } from '../support/storage-doors.js';
import { until } from '../support/wait.js';

type Synced = (error: NodeJS.ErrnoException | null) => void;

const KiB = 1024;
const MiB = 1024 * KiB;
const PAGE = 4 * KiB;
/** Where files are mapped by the kernel in hand. */
const MAP = 2 ** 40;
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
  canMap = true;
  canSyncRanges = true;

  open(): Promise<SparseFile> {
    const doors: StorageDoors = doorsWith(
      {
        fdatasync: (_fd, done) => {
          this.log.push('all');
          this.answers.push(done);
        },
      },
      { native: native === null ? null : { ...native, maps: this.maps, syncRange: this.syncRange } },
    );
    return SparseFile.open(join(folder, `${serial++}.img`), newFile(MiB), doors);
  }

  private readonly maps: MapCalls = {
    map: () => (this.canMap ? MAP : 0),
    unmap: () => undefined,
    forget: () => undefined,
    resident: () => false,
  };

  private readonly syncRange: RangeSync = (address, lengthBytes, done) => {
    if (!this.canSyncRanges) return false;
    this.log.push([address - MAP, lengthBytes]);
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

/** A file with two dirty stretches; null where the file system, or somebody's sync, has written them already. */
async function dirtyFile(): Promise<{ file: SparseFile; path: string } | null> {
  const path = join(folder, `${serial++}.img`);
  const file = await SparseFile.open(path, newFile(8 * MiB));
  await submitAndWait(file, 'write', 0, MiB, pattern(MiB, 1));
  // A page at a time: what is written in one go is one piece of the page cache, and leaves as one.
  for (let at = 3 * MiB; at < 4 * MiB; at += PAGE)
    await submitAndWait(file, 'write', at, PAGE, pattern(PAGE, 2));
  if (dirtyPages(path, 0, 8 * MiB) === (2 * MiB) / PAGE) return { file, path };
  await file.close();
  return null;
}

t.test('the range is on the disk, and what else is dirty stays so', async (t) => {
  if (fs.statfsSync(folder).type === TMPFS_MAGIC)
    return void t.pass('a disk', { skip: 'the folder for temporary files is memory itself' });
  let staysDirty = false;
  for (let tries = 0; tries < 5 && !staysDirty; tries++) {
    const made = await dirtyFile();
    if (made === null) continue;
    const { file, path } = made;
    // Begins and ends inside a page.
    await file.syncRange(3 * MiB + PAGE - 512, MiB - 2 * PAGE + 1024);
    t.equal(dirtyPages(path, 3 * MiB, MiB), 0, 'the range is not dirty any more');
    staysDirty = dirtyPages(path, 0, MiB) === MiB / PAGE;
    await file.sync();
    t.equal(dirtyPages(path, 0, 8 * MiB), 0);
    await t.rejects(file.syncRange(7 * MiB, 2 * MiB), { code: 'out-of-range' });
    await file.close();
  }
  // Not where cachestat is missing (before Linux 6.5), or the file system writes more than it is asked to.
  const skip = !staysDirty && 'this kernel or file system does not show what stays dirty';
  t.ok(staysDirty, 'the rest is dirty still', { skip });
});

t.test('a sync that fails says why', async (t) => {
  // Nothing is mapped at the second page.
  const sync = makeRangeSync(libc.koffi, libc.library);
  const error = await new Promise((resolve) => t.ok(sync(PAGE, PAGE, resolve)));
  t.match(error, { code: 'ENOMEM', message: /did not reach the disk/ });
});

t.test('more at once than can be under way is refused, and told so', async (t) => {
  const sync = makeRangeSync(libc.koffi, libc.library);
  let begun = 0;
  let ended = 0;
  while (begun < 10_000 && sync(PAGE, PAGE, () => (ended += 1))) begun += 1;
  t.ok(begun < 10_000, `${begun} were taken`);
  await until('those that were taken have ended', () => ended === begun);
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
  for (const lacks of ['canMap', 'canSyncRanges'] as const) {
    const kernel = new Kernel();
    kernel[lacks] = false;
    const file = await kernel.open();
    const journal = journalOf({ range: file.syncRange(0, 4 * KiB) });
    t.strictSame(kernel.log, ['all']);
    await kernel.answer();
    t.strictSame(journal, ['range']);
    await kernel.close(file);
  }
});
