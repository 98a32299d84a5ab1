/** Digests that a file remembers of its blocks: whatever happens to it, what is said is what it holds. */
import fs from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { dataCrc32c } from '../../lib/base/crc32c.js';
import { loadLibc } from '../../lib/base/libc.js';
import { RESIDENT_MS } from '../../lib/base/limits.js';
import { submitAndWait } from '../../lib/block/device.js';
import { BlockDigests, DigestSlots, KEPT_MS, SLOT_BYTES } from '../../lib/storage/block-digests.js';
import type { StorageDoors, TransferCallback } from '../../lib/storage/doors.js';
import { MISS } from '../../lib/storage/page-cache-read.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { bareDoors, doorsWith, existing, HandClock, makeFolder, newFile } from '../support/storage-doors.js';

const BLOCK = 4096;
const GiB = 1024 ** 3;

t.ok(loadLibc(), 'koffi loads: the tests below mean something');

/** A file without end in a few words: each of its blocks says its number and how often it was written. */
class EndlessFile {
  readonly digests: BlockDigests;
  quiet = true;
  cached = true;
  reads = 0;
  private readonly versions = new Map<number, number>();
  private cleared = 0;

  constructor(slots: DigestSlots, nowMs: () => number) {
    this.digests = new BlockDigests(slots, {
      fd: 0,
      isQuiet: () => this.quiet,
      nowMs,
      readNowait: (_fd, into, lengthBytes, positionBytes) => {
        if (!this.cached) return MISS;
        this.reads += 1;
        this.content(positionBytes, lengthBytes).copy(into);
        return lengthBytes;
      },
    });
  }

  content(offsetBytes: number, lengthBytes: number): Buffer {
    const bytes = Buffer.alloc(lengthBytes);
    for (let at = 0; at < lengthBytes; at += BLOCK) {
      const number = (offsetBytes + at) / BLOCK;
      bytes.writeDoubleLE(number, at);
      bytes.writeUInt32LE(this.versions.get(number) ?? 0, at + 100);
      bytes.writeUInt32LE(this.cleared, at + 200);
    }
    return bytes;
  }

  /** The digests are told, then the content is another. */
  write(offsetBytes: number, lengthBytes: number): void {
    this.digests.changed(offsetBytes, lengthBytes);
    const last = Math.floor((offsetBytes + lengthBytes - 1) / BLOCK);
    for (let number = Math.floor(offsetBytes / BLOCK); number <= last; number++)
      this.versions.set(number, (this.versions.get(number) ?? 0) + 1);
  }

  clearAll(): void {
    this.digests.changed(0, 64 * GiB);
    this.cleared += 1;
  }

  saysRight(offsetBytes: number, lengthBytes: number): boolean {
    const said = this.digests.of(offsetBytes, lengthBytes);
    if (said === -1) return !this.quiet || !this.cached;
    return said === dataCrc32c(this.content(offsetBytes, lengthBytes));
  }
}

/** Parts of files that share their slots: 16 GiB apart in one file, and 3105 parts on in the next. */
const PARTS = [0, 1, 8192, 8193, 3105, 3106];

const placeArbitrary = fc
  .record({
    part: fc.constantFrom(...PARTS),
    block: fc.constantFrom(0, 1, 2, 15, 31, 32, 33, 500, 510, 511),
    blocks: fc.integer({ min: 1, max: 40 }),
  })
  .map(({ part, block, blocks }) => ({ at: part * SLOT_BYTES + block * BLOCK, lengthBytes: blocks * BLOCK }));

t.test('of two files, whatever is written, read, cached and cleared', async (t) => {
  const step = fc.record({
    what: fc.constantFrom('ask', 'ask', 'ask', 'write', 'part', 'clear', 'quiet', 'cached', 'age'),
    file: fc.nat(1),
    place: placeArbitrary,
    skip: fc.nat(BLOCK - 1),
  });
  let said = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 30, maxLength: 60 }), (steps) => {
      const slots = new DigestSlots();
      const clock = new HandClock();
      const files = [new EndlessFile(slots, clock.nowMs), new EndlessFile(slots, clock.nowMs)];
      for (const { what, file: which, place, skip } of steps) {
        const file = files[which] as EndlessFile;
        const { at, lengthBytes } = place;
        if (what === 'write') file.write(at, lengthBytes);
        else if (what === 'part') file.write(at + skip, 1 + ((lengthBytes * 7) % (2 * BLOCK)));
        else if (what === 'clear') file.clearAll();
        else if (what === 'quiet') file.quiet = !file.quiet;
        else if (what === 'cached') file.cached = !file.cached;
        else if (what === 'age') file.digests.age(at, (clock.atMs += KEPT_MS));
        else if (!file.saysRight(at, lengthBytes)) return false;
        else if (file.digests.of(at, lengthBytes) !== -1) said += 1;
      }
      return true;
    }),
    { numRuns: 100 },
  );
  t.ok(said > 200, `${said} digests: most questions are answered`); // by chance 500 to 600
});

t.test('what is known is not read again until it is changed, or old', async (t) => {
  const clock = new HandClock();
  const file = new EndlessFile(new DigestSlots(), clock.nowMs);
  const reads = (): number => {
    const before = file.reads;
    t.ok(file.saysRight(8 * BLOCK, 4 * BLOCK));
    return file.reads - before;
  };
  t.equal(reads(), 1, 'four blocks at once');
  t.equal(reads(), 0);
  file.cached = false;
  t.equal(reads(), 0, 'though they have left the cache');
  file.cached = true;
  file.write(7 * BLOCK, BLOCK);
  file.write(12 * BLOCK, BLOCK);
  t.equal(reads(), 0, 'what is written beside them is nothing to them');
  file.write(9 * BLOCK + 512, 512);
  t.equal(reads(), 1, 'a part of a block is the block');
  file.digests.age(0, KEPT_MS);
  t.equal(reads(), 0);
  file.digests.age(0, KEPT_MS + 1);
  t.equal(reads(), 1);
  t.equal(file.digests.of(8 * BLOCK + 512, BLOCK), -1, 'blocks only');
  t.equal(file.digests.of(8 * BLOCK, BLOCK + 512), -1);
});

// --- a real file -----------------------------------------------------------------------------------------------

const FILE_BYTES = 64 * BLOCK;
const AT = 8 * BLOCK;

async function open(t: Test, doors: StorageDoors): Promise<SparseFile> {
  const path = join(await makeFolder(t), 'digests.img');
  fs.writeFileSync(path, Buffer.alloc(FILE_BYTES, 'what was there before '));
  const file = await SparseFile.open(path, { ...newFile(FILE_BYTES), create: false }, doors);
  t.teardown(() => file.close());
  return file;
}

/** @returns what a reader of the map is told; −1: to ask the file */
function digestOf(file: SparseFile, offsetBytes = AT, lengthBytes = BLOCK): number {
  return file.mapped(offsetBytes, lengthBytes, true)?.digestOf(offsetBytes, lengthBytes) ?? -1;
}

/** As the file is now; what is read here is in the page cache, too. */
function actual(file: SparseFile, offsetBytes = AT, lengthBytes = BLOCK): number {
  const bytes = Buffer.alloc(lengthBytes);
  const fd = fs.openSync(file.path, 'r');
  fs.readSync(fd, bytes, 0, lengthBytes, offsetBytes);
  fs.closeSync(fd);
  return dataCrc32c(bytes);
}

t.test('each way to change a file is noticed', async (t) => {
  const clock = new HandClock();
  const file = await open(t, doorsWith({}, { nowMs: clock.nowMs }));
  const said: string[] = [];
  const sameAs = (wanted: number, name: string): void => {
    clock.atMs += RESIDENT_MS + 1;
    const digest = digestOf(file);
    if (digest !== -1) said.push(name); // a hole is not in the page cache everywhere
    t.ok(digest === wanted || digest === -1, name);
  };
  const fresh = (seed: number): Buffer => Buffer.alloc(BLOCK, `written ${seed} `);
  const ways: [string, () => Promise<void>][] = [
    ['a write', () => submitAndWait(file, 'write', AT, BLOCK, fresh(1))],
    ['a durable write', () => submitAndWait(file, 'write', AT, BLOCK, fresh(2), true)],
    ['zeros', () => submitAndWait(file, 'zero', AT, BLOCK)],
    ['a write after that', () => submitAndWait(file, 'write', AT, BLOCK, fresh(3))],
    ['a discard', () => submitAndWait(file, 'discard', AT - BLOCK, 3 * BLOCK)],
    ['a part of a block', () => submitAndWait(file, 'write', AT + 512, 512, fresh(4).subarray(0, 512))],
    ['a hole', () => file.punch(AT, BLOCK)],
  ];
  for (const [name, change] of ways) {
    const before = actual(file);
    sameAs(before, `before ${name}`);
    await change();
    const after = actual(file);
    t.not(after, before, `${name} is a change`);
    sameAs(after, `after ${name}`);
  }
  for (const name of ['a write', 'a durable write', 'a write after that'])
    t.ok(said.includes(`after ${name}`), name);
});

t.test('nothing new is said while a write is in the pool, and nothing of what it writes', async (t) => {
  const held: (() => void)[] = [];
  const file = await open(
    t,
    doorsWith({
      write: (fd, data, offset, length, position, callback: TransferCallback) => {
        fs.writeSync(fd, data, offset, length, position); // the file has it, and nobody knows yet
        held.push(() => callback(null, length));
      },
    }),
  );
  t.equal(digestOf(file), actual(file));
  const far = AT + 16 * BLOCK;
  t.equal(digestOf(file, far), actual(file, far));
  const writing = submitAndWait(file, 'write', AT, BLOCK, Buffer.alloc(BLOCK, 'durable '), true);
  t.equal(digestOf(file), -1, 'what is being written');
  t.equal(digestOf(file, far), actual(file, far), 'what is known of the rest holds');
  t.equal(digestOf(file, far + BLOCK), -1, 'what is not known waits');
  for (const answer of held) answer();
  await writing;
  t.equal(digestOf(file), actual(file));
  t.equal(digestOf(file, far + BLOCK), actual(file, far + BLOCK));
});

t.test('what somebody changes in spite of the lock is found out', async (t) => {
  const clock = new HandClock();
  const file = await open(t, doorsWith({}, { nowMs: clock.nowMs }));
  const before = digestOf(file);
  const fd = fs.openSync(file.path, 'r+');
  fs.writeSync(fd, Buffer.alloc(BLOCK, 'a stranger '), 0, BLOCK, AT);
  fs.closeSync(fd);
  clock.atMs += KEPT_MS;
  t.equal(digestOf(file), before, 'not at once');
  clock.atMs += RESIDENT_MS + 1;
  t.equal(digestOf(file), actual(file));
});

t.test('without the natives, or where others may write, the file is asked', async (t) => {
  t.equal(digestOf(await open(t, bareDoors())), -1);
  t.equal(digestOf(await open(t, doorsWith({}, { extensions: null }))), -1, 'no lock');
  const path = join(await makeFolder(t), 'shared.img');
  fs.writeFileSync(path, Buffer.alloc(FILE_BYTES, 1));
  const file = await SparseFile.open(path, { ...existing, readOnly: true });
  t.teardown(() => file.close());
  t.equal(digestOf(file), -1, 'read-only');
});
