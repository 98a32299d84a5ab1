/**
 * What FUA promises where a disk loses bytes (I1). The kernel tells of a failed write-back once for each open file
 * (errseq_t): by the fake one here each descriptor has its own place, and whoever asks through it moves that on.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DURABLE_WRITES_IN_POOL } from '../../lib/base/limits.js';
import { systemDoors, type FolderCalls, type TransferCallback } from '../../lib/storage/doors.js';
import { PoolShares } from '../../lib/storage/pool-share.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { pattern, readBytes, writeBytes } from '../support/device-suite.js';
import { doorsWith, HandClock, makeSharedFolder, newFile, systemError } from '../support/storage-doors.js';
import { turns, until } from '../support/wait.js';

const BLOCK = 4096;
const folder = makeSharedFolder();
let serial = 0;

/** A write in the fsync phase of its O_DSYNC. */
interface HeldWrite {
  readonly fd: number;
  readonly positionBytes: number;
  end(): void;
}

class Kernel {
  /** Descriptors that are open. */
  readonly open = new Set<number>();
  /** Writes go on when the test says so; otherwise at once. */
  isHolding = true;
  readonly held: HeldWrite[] = [];
  readonly clock = new HandClock();
  /** What an opening waits for, or fails by. */
  meets: ((path: string) => Promise<void>) | null = null;
  opens = 0;
  /** Plain writes are told, too, as on NFS. */
  tellsWriters = false;
  private losses = 0;
  private errno = '';
  private readonly seen = new Map<number, number>();

  /** Some bytes did not reach the disk. */
  lose(errno = 'EIO'): void {
    this.losses += 1;
    this.errno = errno;
  }

  /** What whoever makes something durable through `fd` is told. */
  tell(fd: number): NodeJS.ErrnoException | null {
    if (this.seen.get(fd) === this.losses) return null;
    this.seen.set(fd, this.losses);
    return systemError(this.errno);
  }

  openFile(path = join(folder, `${serial++}.img`), spent?: () => void): Promise<SparseFile> {
    const { folders } = systemDoors();
    const counted: FolderCalls = {
      ...folders,
      open: async (path, ...rest) => {
        this.opens += 1;
        await this.meets?.(path);
        const fd = await folders.open(path, ...rest);
        this.open.add(fd);
        this.seen.set(fd, this.losses);
        return fd;
      },
      close: (fd) => {
        this.open.delete(fd);
        return folders.close(fd);
      },
    };
    const doors = doorsWith(
      {
        write: (...call) => this.write(...call),
        writeSync: (fd, ...call) => {
          const lost = this.tellsWriters ? this.tell(fd) : null;
          if (lost !== null) throw lost;
          return fs.writeSync(fd, ...call);
        },
        fdatasync: (fd, done) => setImmediate(done, this.tell(fd)),
      },
      { folders: counted, native: null, pool: new PoolShares(32), nowMs: this.clock.nowMs },
    );
    return SparseFile.open(path, { ...newFile(), spent }, doors);
  }

  private write(
    fd: number,
    data: Buffer,
    offset: number,
    length: number,
    position: number,
    done: TransferCallback,
  ): void {
    fs.write(fd, data, offset, length, position, (error, bytes) => {
      const end = (): void => {
        const lost = error ?? this.tell(fd);
        done(lost, lost === null ? bytes : 0);
      };
      if (this.isHolding) this.held.push({ fd, positionBytes: position, end });
      else end();
    });
  }

  /** Lets everything that is held go, and what comes after it. */
  release(): void {
    this.isHolding = false;
    for (const write of this.held.splice(0)) write.end();
  }

  at(block: number): HeldWrite {
    const write = this.held.find(({ positionBytes }) => positionBytes === block * BLOCK);
    if (write === undefined) throw new Error(`nothing is written at block ${block}`);
    return write;
  }
}

/** FUA writes, each to a block of its own. */
function durableWrites(file: SparseFile, count: number): Promise<void>[] {
  return Array.from({ length: count }, (_, i) => writeBytes(file, i * BLOCK, pattern(BLOCK, i), true));
}

t.test(
  'I1: of two FUA writes at once the one whose bytes were lost fails, whoever is told first',
  async (t) => {
    const kernel = new Kernel();
    const file = await kernel.openFile();
    const [lost, other] = durableWrites(file, 2) as [Promise<void>, Promise<void>];
    await until('both are under way', () => kernel.held.length === 2);
    kernel.lose();
    kernel.at(1).end();
    await t.rejects(other, { code: 'medium-write' }, 'it cannot tell that it was not its own');
    kernel.at(0).end();
    await t.rejects(lost, { code: 'medium-write' });
    await t.rejects(file.close(), { code: 'IO' });
  },
);

t.test('descriptors for durable writes are opened when they wait, and closed with the file', async (t) => {
  const kernel = new Kernel();
  kernel.isHolding = false;
  const file = await kernel.openFile();
  const { opens } = kernel;
  for (let i = 0; i < 20; i++) await writeBytes(file, i * BLOCK, pattern(BLOCK, i), true);
  t.equal(kernel.opens, opens, 'none for one write at a time');
  kernel.isHolding = true;
  const count = 3 * DURABLE_WRITES_IN_POOL;
  const works = durableWrites(file, count);
  await until('the pool has as many as it may', () => kernel.held.length === DURABLE_WRITES_IN_POOL);
  await turns();
  t.equal(kernel.held.length, DURABLE_WRITES_IN_POOL);
  t.equal(new Set(kernel.held.map(({ fd }) => fd)).size, DURABLE_WRITES_IN_POOL, 'each its own');
  t.equal(kernel.opens, opens + DURABLE_WRITES_IN_POOL - 1);
  kernel.release();
  await Promise.all(works);
  for (let i = 0; i < count; i++)
    t.ok((await readBytes(file, i * BLOCK, BLOCK)).equals(pattern(BLOCK, i)), `block ${i}`);
  await file.close();
  t.equal(kernel.open.size, 0);
});

t.test('one that is being opened when the file is closed is closed, too', async (t) => {
  const kernel = new Kernel();
  const file = await kernel.openFile();
  let goOn = (): void => undefined;
  kernel.meets = () => new Promise((resolve) => (goOn = resolve));
  const works = durableWrites(file, 3);
  await until('one is under way', () => kernel.held.length === 1);
  kernel.release();
  await Promise.all(works);
  const closed = file.close();
  await turns();
  goOn();
  await closed;
  t.equal(kernel.open.size, 0);
});

t.test('where no descriptor is to be had the ones that are there are used', async (t) => {
  const kernel = new Kernel();
  const file = await kernel.openFile();
  const { opens } = kernel;
  kernel.meets = () => Promise.reject(systemError('EMFILE'));
  const works = durableWrites(file, 50);
  await until('one is under way', () => kernel.held.length === 1);
  await turns();
  kernel.release();
  await Promise.all(works);
  t.equal(kernel.opens, opens + 1, 'and it is not tried for every write');
  kernel.meets = null;
  kernel.clock.atMs += 60_000;
  await Promise.all(durableWrites(file, 8));
  await until('later it is', () => kernel.opens > opens + 1);
  await file.close();
  t.equal(kernel.open.size, 0);
});

t.test('I1: a name that is another file by now takes no write', async (t) => {
  const kernel = new Kernel();
  const path = join(folder, 'replaced.img');
  const file = await kernel.openFile(path);
  fs.renameSync(path, join(folder, 'renamed.img'));
  fs.writeFileSync(path, Buffer.alloc(file.sizeBytes));
  const works = durableWrites(file, 8);
  await until('one is under way', () => kernel.held.length === 1);
  await turns();
  kernel.release();
  await Promise.all(works);
  await file.close();
  t.equal(kernel.open.size, 0);
  t.ok(fs.readFileSync(path).equals(Buffer.alloc(file.sizeBytes)));
  const written = fs.readFileSync(join(folder, 'renamed.img'));
  for (let i = 0; i < 8; i++)
    t.ok(written.subarray(i * BLOCK, (i + 1) * BLOCK).equals(pattern(BLOCK, i)), `block ${i}`);
});

for (const errno of ['ENODATA', 'ENOLINK', 'EREMOTEIO', 'ETIMEDOUT', 'ENOSPC'])
  t.test(`I1: a FUA write that hears ${errno} of another's bytes does not keep it for itself`, async (t) => {
    const kernel = new Kernel();
    kernel.isHolding = false;
    let spent = 0;
    const file = await kernel.openFile(join(folder, `${errno}.img`), () => (spent += 1));
    await writeBytes(file, BLOCK, pattern(BLOCK, 1));
    kernel.lose(errno);
    await t.rejects(writeBytes(file, 0, pattern(BLOCK, 2), true));
    await until('it is known, and nobody has asked', () => file.isSpent, 10_000);
    t.equal(spent, 1);
    await t.rejects(file.sync(), { code: 'medium-write' });
    await t.rejects(file.close(), { code: 'IO' });
  });

t.test('I1: what a plain write was told of earlier ones a flush is told, too', async (t) => {
  for (const isFuaTold of [false, true]) {
    const kernel = new Kernel();
    kernel.isHolding = false;
    kernel.tellsWriters = true;
    const file = await kernel.openFile();
    await writeBytes(file, 0, pattern(BLOCK, 1));
    kernel.lose('EDQUOT');
    await t.rejects(writeBytes(file, BLOCK, pattern(BLOCK, 2)), { code: 'no-space' });
    if (isFuaTold) await t.rejects(writeBytes(file, BLOCK, pattern(BLOCK, 2), true));
    await t.rejects(file.sync());
    t.ok(file.isSpent);
    await t.rejects(file.close(), { code: 'IO' });
    t.equal(kernel.open.size, 0);
  }
});

t.test('I1: and it is known without a flush', async (t) => {
  const kernel = new Kernel();
  kernel.tellsWriters = true;
  const file = await kernel.openFile();
  await writeBytes(file, 0, pattern(BLOCK, 1));
  kernel.lose('EFBIG');
  await t.rejects(writeBytes(file, BLOCK, pattern(BLOCK, 2)), { code: 'no-space' });
  await until('the disk was asked', () => file.isSpent, 10_000);
  await t.rejects(file.close(), { code: 'IO' });
});
