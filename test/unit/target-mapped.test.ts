/**
 * Reads that go from the page cache to the socket without a copy of ours. The disk in memory behind the target holds
 * zeros and the mapped file a pattern, so the bytes tell which way they came.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { loadLibc } from '../../lib/base/libc.js';
import { MAPPED_MISSES_MAX, RESIDENT_MS } from '../../lib/base/limits.js';
import { type Logger, silentLog } from '../../lib/base/log.js';
import { openAuthenticator } from '../../lib/iscsi/target/login/security.js';
import { MemoryBudget } from '../../lib/iscsi/target/memory-budget.js';
import { Opcode, TaskAttribute } from '../../lib/iscsi/wire/opcodes.js';
import { decodeR2t } from '../../lib/iscsi/wire/r2t.js';
import type { FileCalls } from '../../lib/storage/doors.js';
import type { MapCalls } from '../../lib/storage/map-calls.js';
import { MappedFile } from '../../lib/storage/mapped-file.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { VolumeTraffic } from '../../lib/load/traffic.js';
import { LocalSlot } from '../../lib/volume/local-slot.js';
import type { ExtentSlot } from '../../lib/volume/slot.js';
import { Volume } from '../../lib/volume/volume.js';
import { doorsWith, HandClock, makeFolder, newFile, systemError } from '../support/storage-doors.js';
import { read10, type TargetInitiator, write10 } from '../support/target-initiator.js';
import { TargetRig } from '../support/target-rig.js';
import { until } from '../support/wait.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const BLOCK = 512;
const FILE_BYTES = 8 * MiB;

t.ok(loadLibc(), 'koffi loads: the tests below mean something');

function pattern(lengthBytes: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes);
  for (let at = 0, x = 1; at < lengthBytes; at += 4)
    bytes.writeUInt32LE((x = Math.imul(x, 0x9e3779b1) + at) >>> 0, at);
  return bytes;
}

const content = pattern(FILE_BYTES);

/** A target whose reads are mapped from a file full of `content`, where that is cached. */
async function start(
  t: Test,
  calls: Partial<FileCalls> = {},
  log: Logger = silentLog,
): Promise<{ rig: TargetRig; file: SparseFile; memory: MemoryBudget; given: () => number }> {
  const folder = await makeFolder(t);
  const path = join(folder, 'mapped.img');
  fs.writeFileSync(path, content);
  const options = { ...newFile(FILE_BYTES), create: false };
  const file = await SparseFile.open(path, options, doorsWith(calls));
  const memory = new MemoryBudget();
  const rig = await TargetRig.start(systemClock, memory, openAuthenticator, log);
  t.teardown(async () => {
    await rig.stop();
    await file.close();
  });
  let given = 0;
  rig.device.mapped = (offsetBytes, lengthBytes, withDigest) => {
    const map = file.mapped(offsetBytes, lengthBytes, withDigest);
    if (map !== null) given += 1;
    return map;
  };
  return { rig, file, memory, given: () => given };
}

async function readBack(initiator: TargetInitiator, lba: number, blocks: number): Promise<Buffer> {
  initiator.command({ cdb: read10(lba, blocks), read: true, expectedBytes: blocks * BLOCK });
  return nextRead(initiator, blocks * BLOCK);
}

async function nextRead(initiator: TargetInitiator, lengthBytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let bytes = 0; bytes < lengthBytes;) {
    const { data } = await initiator.expect(Opcode.DATA_IN);
    parts.push(data);
    bytes += data.length;
  }
  return Buffer.concat(parts);
}

/** What the file holds there, or the zeros of the disk behind. */
const expected = (lba: number, blocks: number): Buffer =>
  content.subarray(lba * BLOCK, (lba + blocks) * BLOCK);

t.test('any size and place, in PDUs of any size, with and without header digests', async (t) => {
  const { rig, given } = await start(t);
  const settings: Record<string, string>[] = [
    {},
    { MaxRecvDataSegmentLength: '8191' }, // padded
    { MaxRecvDataSegmentLength: '4096', MaxBurstLength: '16384' },
    { HeaderDigest: 'CRC32C' },
  ];
  let reads = 0;
  for (const [index, keys] of settings.entries()) {
    const initiator = await rig.session(keys, `80000000000${index}`);
    for (const [lba, blocks] of [
      [0, 1],
      [9, 8],
      [4090, 2],
      [1000, 2048], // two PDUs at the default; inside one region of the map
      [FILE_BYTES / BLOCK - 1, 1],
    ] as const) {
      reads += 1;
      t.ok(
        (await readBack(initiator, lba, blocks)).equals(expected(lba, blocks)),
        `${blocks} blocks at ${lba}`,
      );
    }
  }
  t.equal(given(), reads, 'all of them from the map');
});

t.test('a write whose turn is after a read does not show in it (SAM-5 8.6.3)', async (t) => {
  const { rig, file, given } = await start(t);
  rig.device.submit = (io) => file.submit(io);
  const initiator = await rig.session();
  const blocks = 8;
  const bytes = blocks * BLOCK;
  const { SIMPLE, ORDERED, HEAD_OF_QUEUE } = TaskAttribute;
  const write = (lba: number, attr: number): void => {
    const data = Buffer.alloc(bytes, 0xee);
    initiator.command({ cdb: write10(lba, blocks), write: true, expectedBytes: bytes, data, attr });
  };
  const read = (lba: number, attr: number): void => {
    initiator.command({ cdb: read10(lba, blocks), read: true, expectedBytes: bytes, attr });
  };
  for (const [index, [ofRead, ofWrite]] of [
    [SIMPLE, ORDERED],
    [ORDERED, SIMPLE],
    [HEAD_OF_QUEUE, SIMPLE],
    [HEAD_OF_QUEUE, ORDERED],
  ].entries()) {
    const lba = index * blocks;
    initiator.socket.cork(); // both come at once
    read(lba, ofRead as number);
    write(lba, ofWrite as number);
    initiator.socket.uncork();
    t.ok((await nextRead(initiator, bytes)).equals(expected(lba, blocks)), 'as it was before the write');
    await initiator.expect(Opcode.SCSI_RESPONSE);
  }
  t.equal(given(), 1, 'who waits for nobody, and has nobody wait, needs no copy');

  const tag = initiator.command({ cdb: write10(100, 1), write: true, expectedBytes: BLOCK, attr: ORDERED });
  const { targetTransferTag } = decodeR2t((await initiator.expect(Opcode.R2T)).bhs);
  read(200, SIMPLE); // its turn comes with the end of that
  write(200, ORDERED); // and this one's with its own
  initiator.dataOut({ tag, targetTransferTag, data: Buffer.alloc(BLOCK) });
  await initiator.expect(Opcode.SCSI_RESPONSE);
  t.ok((await nextRead(initiator, bytes)).equals(expected(200, blocks)), 'nor where both have waited');
  await initiator.expect(Opcode.SCSI_RESPONSE);
});

t.test('what the socket does not take at once is copied, and nothing is lost or doubled', async (t) => {
  const { rig, given } = await start(t);
  const initiator = await rig.session();
  const blocks = MiB / BLOCK;
  const reads = 48;
  initiator.socket.pause();
  for (let i = 0; i < reads; i++) {
    const cdb = read10((i % 8) * blocks, blocks);
    initiator.command({ cdb, read: true, expectedBytes: MiB });
  }
  await until('something is given away', () => given() > 0);
  await new Promise((resolve) => setTimeout(resolve, 50)); // the socket fills
  const before = given();
  t.ok(before < reads, `${before} of ${reads} were mapped before the socket was full`);
  initiator.socket.resume();
  let mapped = 0;
  for (let i = 0; i < reads; i++) {
    const data = await nextRead(initiator, MiB);
    if (data.equals(expected((i % 8) * blocks, blocks))) mapped += 1;
    else t.ok(data.equals(Buffer.alloc(MiB)), `read ${i} is whole, from the disk behind`);
  }
  t.equal(mapped, given(), 'whatever was mapped arrived as it is in the file');
});

t.test('a page that cannot be read any more costs the connection, not the process', async (t) => {
  let broken = false;
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  const calls: Partial<FileCalls> = {
    readSync: (...args) => {
      if (broken) throw systemError('EIO');
      return fs.readSync(...args);
    },
  };
  const { rig, file, memory } = await start(t, calls, log);
  const initiator = await rig.session();
  const other = await rig.session({}, '800000000002');
  broken = true;
  initiator.socket.pause();
  for (let i = 0; i < 48; i++) {
    initiator.command({ cdb: read10((i % 8) * 2048, 2048), read: true, expectedBytes: MiB });
  }
  await until('the file is not mapped', () => file.mapped(0, BLOCK, false) === null);
  initiator.socket.resume();
  await t.rejects(
    (async () => {
      for (let i = 0; i < 48; i++) await nextRead(initiator, MiB);
    })(),
    'it is closed',
  );
  t.ok(
    (await readBack(other, 1, 1)).equals(Buffer.alloc(BLOCK)),
    'others go on, and ask the device from now on',
  );
  await until('all memory is given back', () => memory.heldBytes === 0);
  t.ok(
    lines.some((line) => line.includes('session ended') && line.includes('EIO')),
    'and the log says why',
  );
});

t.test('a file that became shorter is an error of the write, and no signal', async (t) => {
  const { rig, file } = await start(t);
  const initiator = await rig.session();
  t.ok((await readBack(initiator, 16000, 8)).equals(expected(16000, 8)));
  fs.truncateSync(file.path, MiB); // within the time that the kernel's word is believed
  initiator.command({ cdb: read10(16000, 8), read: true, expectedBytes: 8 * BLOCK });
  t.equal(await initiator.next(), null, 'the connection ends');
  const again = await rig.session({}, '800000000003');
  t.ok(
    (await readBack(again, 16000, 8)).equals(Buffer.alloc(8 * BLOCK)),
    'and the device is asked after that',
  );
});

t.test(
  'what was said of a region holds for its chunks and a moment, or until something of it was missed',
  async () => {
    const chunkBytes = 64 * KiB;
    const chunks = 96; // three regions
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { minLength: chunks, maxLength: chunks }),
        fc.array(
          fc.record({
            at: fc.nat(chunks * 16 - 1),
            pages: fc.integer({ min: 1, max: 40 }),
            waitMs: fc.constantFrom(0, 1, RESIDENT_MS - 1, RESIDENT_MS + 1),
            miss: fc.boolean(),
          }),
          { maxLength: 30 },
        ),
        (cached, steps) => {
          const clock = new HandClock();
          let looks = 0;
          const maps: MapCalls = {
            map: () => 4096,
            unmap: () => undefined,
            forget: () => undefined,
            resident: (address, lengthBytes, pages) => {
              looks += 1;
              const first = (address - 4096) / 4096;
              for (let i = 0; i < lengthBytes / 4096; i++)
                pages[i] = cached[Math.floor((first + i) / 16)] === true ? 1 : 0;
              return true;
            },
          };
          const file = MappedFile.open(0, chunks * chunkBytes, maps, { readSync: () => 0 });
          if (file === null) throw new Error('no map');
          const distrustedUntilMs = [-1, -1, -1];
          for (const { at, pages, waitMs, miss } of steps) {
            clock.atMs += waitMs;
            const region = Math.floor(at / 512);
            if (miss) {
              file.missed(at * 4096, clock.atMs);
              distrustedUntilMs[region] = clock.atMs + RESIDENT_MS;
            }
            const count = Math.min(pages, chunks * 16 - at);
            const first = Math.floor(at / 16);
            const last = Math.floor((at + count - 1) / 16);
            const isInOneRegion = Math.floor(first / 32) === Math.floor(last / 32);
            const all = cached.slice(first, last + 1).every((chunk) => chunk);
            const isTrusted = clock.atMs > (distrustedUntilMs[region] ?? 0);
            const wanted = isTrusted && isInOneRegion && all;
            if (file.has(at * 4096, count * 4096, clock.atMs) !== wanted) return false;
          }
          return looks <= steps.length;
        },
      ),
    );
  },
);

t.test(
  'many misses within a moment, wherever, and nothing of the file is believed for a moment',
  async (t) => {
    const clock = new HandClock();
    const maps: MapCalls = {
      map: () => 4096,
      unmap: () => undefined,
      forget: () => undefined,
      resident: (_address, _lengthBytes, pages) => pages.fill(1) === pages,
    };
    const file = MappedFile.open(0, 4096 * MiB, maps, { readSync: () => 0 });
    if (file === null) throw new Error('no map');
    const missed = (times: number): void => {
      for (let i = 0; i < times; i++) file.missed(i * 2 * MiB, clock.atMs);
    };
    const far = 2048 * MiB;
    missed(MAPPED_MISSES_MAX);
    t.equal(file.has(far, 4096, clock.atMs), true, 'a few leave the rest of the file believed');
    clock.atMs += RESIDENT_MS + 1;
    missed(MAPPED_MISSES_MAX);
    t.equal(file.has(far, 4096, clock.atMs), true, 'as many again, a moment later, do so too');
    missed(1);
    t.equal(file.has(far, 4096, clock.atMs), false, 'one more does not');
    clock.atMs += RESIDENT_MS;
    t.equal(file.has(far, 4096, clock.atMs), true, 'for a moment');
  },
);

t.test('a volume maps what one slot of its own serves, and only while it serves', async (t) => {
  const map = { address: 1, copyOut: () => undefined, digestOf: () => -1 };
  const local = new LocalSlot(new VolumeTraffic(systemClock, 4096));
  const file = {
    sizeBytes: 8 * MiB,
    blockBytes: BLOCK,
    readOnly: false,
    submit: () => undefined,
    mapped: () => map,
  };
  const elsewhere: ExtentSlot = { submit: () => undefined };
  const holders = { epoch: 2, holderAt: (extent: number) => (extent === 1 ? 2 : 1), holders: [1, 2] };
  const geometry = { sizeBytes: 8 * MiB, blockBytes: BLOCK, extentBytes: MiB };
  const volume = new Volume(geometry, holders, 1, local, () => elsewhere);
  t.equal(volume.mapped(0, BLOCK, false), null, 'not before the file is open');
  local.opened(file);
  t.equal(volume.mapped(0, MiB, false), map);
  t.equal(local.begun, 1, 'and it counts as a request');
  t.equal(volume.mapped(MiB, BLOCK, false), null, 'held elsewhere');
  t.equal(volume.mapped(2 * MiB - BLOCK, 2 * BLOCK, false), null, 'over the end of an extent');
  t.equal(volume.mapped(8 * MiB, BLOCK, false), null, 'over the end of the volume');
  volume.moving.set(3, elsewhere);
  t.equal(
    volume.mapped(3 * MiB, BLOCK, false),
    null,
    'on the move: the interceptor counts what is in flight',
  );
  volume.suspend();
  t.equal(volume.mapped(0, BLOCK, false), null, 'without a lease');
  volume.resume();
  volume.guard = () => false;
  t.equal(volume.mapped(0, BLOCK, false), null, 'fenced');
});
