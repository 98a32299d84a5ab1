/** Holes that are known are answered from memory, and never where anything was, is being or will have been written. */
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { randomBelow, SeededRandom } from '../../lib/base/random.js';
import { HOLE_GRAIN_BYTES } from '../../lib/base/limits.js';
import { submitAndWait } from '../../lib/block/device.js';
import type { NativeCalls } from '../../lib/storage/native.js';
import { MISS } from '../../lib/storage/page-cache-read.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { systemDoors } from '../../lib/storage/doors.js';
import { pattern, readBytes } from '../support/device-suite.js';
import { doorsWith, existing, makeSharedFolder, newFile, systemError } from '../support/storage-doors.js';

const BLOCK = 4096;
const SIZE = 8 * HOLE_GRAIN_BYTES;
const folder = makeSharedFolder();

function realNative(): NativeCalls {
  const { native } = systemDoors();
  if (native === null) throw new Error('koffi does not load');
  return native;
}
const native = realNative();

/** A file with nothing in the page cache, whose reads are counted, and whose pool writes wait until they are let go. */
class Watched {
  reads = 0;
  looks = 0;
  holding = false;
  readonly held: (() => void)[] = [];
  readonly doors = doorsWith(
    {
      read: (...call) => {
        this.reads += 1;
        fs.read(...call);
      },
      write: (...call) => {
        if (this.holding) this.held.push(() => fs.write(...call));
        else fs.write(...call);
      },
    },
    {
      native: {
        ...native,
        readNowait: () => MISS,
        beginsReads: false,
        seekData: (...call) => {
          this.looks += 1;
          return native.seekData(...call);
        },
      },
    },
  );

  release(): void {
    this.holding = false;
    for (const write of this.held.splice(0)) write();
  }
}

function readAt(file: SparseFile, offset: number, length = BLOCK): Promise<Buffer> {
  return readBytes(file, offset, length);
}

const isZero = (data: Buffer): boolean => data.every((byte) => byte === 0);

await t.test('the second read of a hole asks nobody; a write, of either kind, is seen', async (t) => {
  const watched = new Watched();
  const file = await SparseFile.open(join(folder, 'a.img'), newFile(SIZE), watched.doors);
  t.ok(isZero(await readAt(file, 0)));
  const { reads } = watched;
  t.ok(reads > 0);
  t.ok(isZero(await readAt(file, HOLE_GRAIN_BYTES - BLOCK)), 'anywhere in the same MiB');
  t.equal(watched.reads, reads);
  t.ok(isZero(await readAt(file, HOLE_GRAIN_BYTES - BLOCK, 2 * BLOCK)), 'over its end');
  t.ok(watched.reads > reads, 'the kernel is asked');

  await submitAndWait(file, 'write', 8 * BLOCK, BLOCK, pattern(BLOCK, 1));
  t.ok((await readAt(file, 8 * BLOCK)).equals(pattern(BLOCK, 1)), 'a write on the loop');
  // Not read before, so that it has never been asked about.
  watched.holding = true;
  const at = 2 * HOLE_GRAIN_BYTES + BLOCK;
  const durable = submitAndWait(file, 'write', at, BLOCK, pattern(BLOCK, 2), true);
  t.equal(watched.held.length, 1, 'a durable write waits in the pool');
  // Nothing may be learnt now: the kernel still calls it a hole.
  const before = watched.reads;
  for (let n = 0; n < 3; n++) t.ok(isZero(await readAt(file, 2 * HOLE_GRAIN_BYTES + (3 + n) * BLOCK)));
  t.ok(watched.reads >= before + 3, 'meanwhile every read asks the kernel');
  watched.release();
  await durable;
  t.ok((await readAt(file, at)).equals(pattern(BLOCK, 2)), 'and is seen when it is done');

  t.ok(isZero(await readAt(file, 3 * HOLE_GRAIN_BYTES)));
  watched.holding = true;
  const known = submitAndWait(file, 'write', 3 * HOLE_GRAIN_BYTES, BLOCK, pattern(BLOCK, 4), true);
  await readAt(file, 3 * HOLE_GRAIN_BYTES + BLOCK);
  watched.release();
  await known;
  t.ok(
    (await readAt(file, 3 * HOLE_GRAIN_BYTES)).equals(pattern(BLOCK, 4)),
    'where it was known to be a hole, too',
  );

  watched.holding = true;
  const long = pattern(2 * HOLE_GRAIN_BYTES, 3);
  const written = submitAndWait(file, 'write', 4 * HOLE_GRAIN_BYTES, long.length, long);
  t.equal(watched.held.length, 1, 'a long write waits in the lane');
  for (let n = 0; n < 3; n++) await readAt(file, 4 * HOLE_GRAIN_BYTES + n * BLOCK);
  watched.release();
  await written;
  t.ok(
    (await readAt(file, 4 * HOLE_GRAIN_BYTES, HOLE_GRAIN_BYTES)).equals(long.subarray(0, HOLE_GRAIN_BYTES)),
  );
  const looks = watched.looks;
  for (let n = 0; n < 5; n++) await readAt(file, 6 * BLOCK);
  t.equal(watched.looks, looks, 'zeros beside data are not asked about again');
  await file.punch(0, HOLE_GRAIN_BYTES);
  await readAt(file, 6 * BLOCK);
  const punched = watched.reads;
  t.ok(isZero(await readAt(file, 8 * BLOCK)));
  t.equal(watched.reads, punched, 'a discarded MiB is a hole again');
  await file.close();
  const shared = await SparseFile.open(join(folder, 'a.img'), { ...existing, readOnly: true }, watched.doors);
  for (let n = 0; n < 2; n++) await readAt(shared, 7 * HOLE_GRAIN_BYTES);
  const asked = watched.reads;
  await readAt(shared, 7 * HOLE_GRAIN_BYTES);
  t.ok(watched.reads > asked, 'a file that is not ours alone is asked each time');
  await shared.close();
});

await t.test('a random walk of reads, writes, durable writes and discards, against memory', async (t) => {
  const random = new SeededRandom(7);
  const below = (limit: number): number => randomBelow(random, limit);
  const file = await SparseFile.open(join(folder, 'b.img'), newFile(SIZE));
  const model = Buffer.alloc(SIZE);
  let wrong = 0;
  for (let step = 0; step < 600; step++) {
    const length = BLOCK * (1 + below(step % 16 === 0 ? 300 : 8));
    const offset = BLOCK * below((SIZE - length) / BLOCK);
    const dice = below(20);
    if (dice < 12) {
      const data = await readAt(file, offset, length);
      if (!data.equals(model.subarray(offset, offset + length))) wrong += 1;
    } else if (dice < 14) {
      const data = pattern(length, step);
      const write = submitAndWait(file, 'write', offset, length, data, dice === 13);
      await readAt(file, BLOCK * below(SIZE / BLOCK));
      await write;
      data.copy(model, offset);
    } else {
      const whole = below(8) * HOLE_GRAIN_BYTES;
      await file.punch(whole, HOLE_GRAIN_BYTES);
      model.fill(0, whole, whole + HOLE_GRAIN_BYTES);
    }
  }
  t.equal(wrong, 0);
  await file.close();
});

await t.test('where the file system does not lock nothing is remembered of a file', async (t) => {
  const { extensions } = systemDoors();
  if (extensions === null) throw new Error('fs-native-extensions does not load');
  const tryLock = (): never => {
    throw systemError('ENOLCK');
  };
  const trim = extensions.trim.bind(extensions);
  const path = join(folder, 'unlocked.img');
  const file = await SparseFile.open(path, newFile(SIZE), doorsWith({}, { extensions: { tryLock, trim } }));
  for (let i = 0; i < 2; i++) t.ok(isZero(await readAt(file, 0)));
  const other = fs.openSync(path, 'r+');
  fs.writeSync(other, pattern(BLOCK, 5), 0, BLOCK, 0);
  fs.closeSync(other);
  t.ok((await readAt(file, 0)).equals(pattern(BLOCK, 5)));
  await file.close();
});

await t.test('on NFS no read asks where the data is: the loop would wait for the server', async (t) => {
  const { folders } = systemDoors();
  const seekData = (): never => {
    throw new Error('a read has asked');
  };
  const doors = doorsWith(
    {},
    {
      native: { ...native, seekData },
      folders: { ...folders, fileSystem: () => Promise.resolve(0x6969) },
    },
  );
  const file = await SparseFile.open(join(folder, 'nfs.img'), newFile(SIZE), doors);
  for (let i = 0; i < 3; i++) t.ok(isZero(await readAt(file, 0)));
  await file.close();
});
