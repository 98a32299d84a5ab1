/** What a file's owner does not read any more leaves memory, and nothing else does: by the real kernel, and by one in hand. */
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadLibc } from '../../lib/base/libc.js';
import { RESIDENT_MS } from '../../lib/base/limits.js';
import { submitAndWait } from '../../lib/block/device.js';
import { systemDoors, type StorageDoors } from '../../lib/storage/doors.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { pattern } from '../support/device-suite.js';
import { doorsWith, HandClock, makeSharedFolder, newFile } from '../support/storage-doors.js';
import { until } from '../support/wait.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const PAGE = 4 * KiB;
/** What is written in pieces no larger than this is not one piece of the page cache with its neighbours. */
const CHUNK = 64 * KiB;
const PIECE_BYTES = 4 * MiB;
const TMPFS_MAGIC = 0x01021994;
const folder = makeSharedFolder();
const { native, koffi } = load();
let serial = 0;

function load() {
  const { native } = systemDoors();
  const libc = loadLibc();
  if (native === null || libc === null) throw new Error('koffi does not load');
  return { native, koffi: libc.koffi };
}

/** Pages of a file in memory, by a map of our own. */
function residentPages(path: string, sizeBytes: number): boolean[] {
  const fd = fs.openSync(path, 'r+');
  const address = native.maps.map(fd, sizeBytes);
  const pages = new Uint8Array(sizeBytes / PAGE);
  native.maps.resident(address, sizeBytes, pages);
  native.maps.unmap(address, sizeBytes);
  fs.closeSync(fd);
  return [...pages].map((page) => (page & 1) === 1);
}

/** The real doors, with the kernel's answers in hand. */
class Kernel {
  readonly log: [string, number, number][] = [];
  readonly answers: (() => void)[] = [];
  readonly clock = new HandClock();
  looks = 0;

  doors(): StorageDoors {
    return doorsWith(
      {},
      {
        nowMs: this.clock.nowMs,
        native: {
          ...native,
          maps: {
            ...native.maps,
            map: () => PAGE,
            unmap: () => undefined,
            forget: (address, lengthBytes) => void this.log.push(['forget', address - PAGE, lengthBytes]),
            resident: (_address, _lengthBytes, pages) => {
              this.looks += 1;
              return pages.fill(1) === pages;
            },
          },
          uncache: (_fd, offsetBytes, lengthBytes, answer) => {
            this.log.push(['uncache', offsetBytes, lengthBytes]);
            this.answers.push(answer);
          },
        },
      },
    );
  }

  open(sizeBytes: number): Promise<SparseFile> {
    return SparseFile.open(join(folder, `${serial++}.img`), newFile(sizeBytes), this.doors());
  }
}

const isMemory = fs.statfsSync(folder).type === TMPFS_MAGIC;
const skip = isMemory && 'the folder for temporary files is memory itself';
t.test('the range leaves memory, mapped or not, its neighbours and all bytes stay', { skip }, async (t) => {
  const sizeBytes = 16 * MiB;
  const path = join(folder, `${serial++}.img`);
  const file = await SparseFile.open(path, newFile(sizeBytes));
  const data = pattern(sizeBytes, 3);
  for (let at = 0; at < sizeBytes; at += CHUNK)
    await submitAndWait(file, 'write', at, CHUNK, data.subarray(at, at + CHUNK));
  await file.sync();
  for (let at = 0; at < sizeBytes; at += 2 * CHUNK) {
    const map = file.mapped(at, CHUNK, false);
    if (map === null) throw new Error('it was just written');
    const seen = Buffer.from(koffi.view(map.address + at, CHUNK)); // the kernel keeps what somebody has mapped
    if (!seen.equals(data.subarray(at, at + CHUNK))) throw new Error('the map shows something else');
  }
  t.ok(
    residentPages(path, sizeBytes).every((page) => page),
    'it was all there',
  );
  file.uncache(2 * MiB, 9 * MiB);
  file.uncache(12 * MiB, CHUNK);
  await file.close();
  const left = residentPages(path, sizeBytes);
  const gone = (from: number, to: number): number =>
    left.slice(from / PAGE, to / PAGE).filter((page) => !page).length;
  t.equal(gone(2 * MiB, 11 * MiB), (9 * MiB) / PAGE, 'over two pieces and a part of one');
  t.equal(gone(12 * MiB, 12 * MiB + CHUNK), 16);
  t.equal(gone(0, sizeBytes), (9 * MiB) / PAGE + 16, 'and nothing else');
  t.ok(fs.readFileSync(path).equals(data));
});

t.test('a piece at a time, each out of the map first; close waits for the last', async (t) => {
  const kernel = new Kernel();
  const file = await kernel.open(16 * MiB);
  t.not(file.mapped(0, PAGE, false), null, 'it is mapped');
  file.uncache(PAGE, PIECE_BYTES);
  file.uncache(PAGE + PIECE_BYTES, MiB);
  file.uncache(10 * MiB, PIECE_BYTES);
  file.uncache(14 * MiB, 32 * MiB);
  let isClosed = false;
  const closing = file.close().then(() => (isClosed = true));
  file.uncache(0, PAGE); // too late
  const pieces: [number, number][] = [
    [PAGE, PIECE_BYTES],
    [PAGE + PIECE_BYTES, MiB],
    [10 * MiB, PIECE_BYTES],
    [14 * MiB, 2 * MiB], // the file ends there
  ];
  for (const piece of pieces) {
    t.strictSame(kernel.log.splice(0), [
      ['forget', ...piece],
      ['uncache', ...piece],
    ]);
    await new Promise((resolve) => setTimeout(resolve, 5));
    t.equal(isClosed, false);
    kernel.answers.shift()?.();
  }
  await closing;
  t.strictSame(kernel.log, []);
});

t.test('neighbours go together, also behind a range whose last piece is in the pool', async (t) => {
  const kernel = new Kernel();
  const file = await kernel.open(16 * MiB);
  for (const at of [0, PAGE, 2 * PAGE, 3 * PAGE]) file.uncache(at, PAGE);
  kernel.answers.shift()?.();
  file.uncache(4 * PAGE, PAGE);
  kernel.answers.shift()?.();
  kernel.answers.shift()?.();
  t.strictSame(kernel.log, [
    ['uncache', 0, PAGE],
    ['uncache', PAGE, 3 * PAGE],
    ['uncache', 4 * PAGE, PAGE],
  ]);
  await file.close();
});

t.test('what was known of the map there is looked at anew, of its neighbours not', async (t) => {
  const kernel = new Kernel();
  const file = await kernel.open(16 * MiB);
  const look = (at: number): number => {
    const before = kernel.looks;
    file.mapped(at, PAGE, false);
    return kernel.looks - before;
  };
  t.strictSame([0, 2 * MiB, 4 * MiB, 6 * MiB].map(look), [1, 1, 1, 1]);
  kernel.clock.atMs += RESIDENT_MS / 2;
  t.strictSame([0, 2 * MiB, 4 * MiB, 6 * MiB].map(look), [0, 0, 0, 0], 'known for a moment');
  file.uncache(2 * MiB + PAGE, 2 * MiB);
  t.strictSame([0, 2 * MiB, 4 * MiB, 6 * MiB].map(look), [0, 1, 1, 0]);
  kernel.answers.shift()?.();
  await file.close();
});

t.test('more at once than koffi takes are over all the same', async (t) => {
  const path = join(folder, `${serial++}.img`);
  fs.writeFileSync(path, Buffer.alloc(PAGE));
  const fd = fs.openSync(path, 'r+');
  const ends = new Uint8Array(2 * (koffi.config().max_async_calls ?? 256));
  ends.forEach((_, i) => native.uncache(fd, 0, PAGE, () => void (ends[i] = (ends[i] ?? 0) + 1)));
  t.notOk(ends.includes(1), 'nobody hears of it within the call');
  await until('all have ended', () => !ends.includes(0));
  t.ok(ends.every((times) => times === 1));
  fs.closeSync(fd);
});

t.test('where koffi does not load nobody is told', async (t) => {
  const file = await SparseFile.open(
    join(folder, `${serial++}.img`),
    newFile(MiB),
    doorsWith({}, { native: null }),
  );
  file.uncache(0, MiB);
  await file.close();
  t.equal(file.isClosed, true);
});
