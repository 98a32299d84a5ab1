/**
 * Bytes for another member that nobody copies on their way from the page cache to the socket. The disk in memory behind
 * the holder has zeros and the mapped file a pattern, so the bytes tell which way they came.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { PEER_BYTES_MAX, PEER_PAYLOAD_BYTES_MAX } from '../../lib/base/limits.js';
import { loadLibc } from '../../lib/base/libc.js';
import { PeerStatus, PeerType } from '../../lib/peer/contract.js';
import { FRAME_HEADER_BYTES } from '../../lib/peer/frame.js';
import { BufferPool } from '../../lib/peer/buffer-pool.js';
import { DueOutboxes } from '../../lib/peer/due-outboxes.js';
import { HolderService } from '../../lib/peer/holder-service.js';
import type { Hub } from '../../lib/peer/hub.js';
import { Outbox } from '../../lib/peer/outbox.js';
import { VolumeTraffic } from '../../lib/load/traffic.js';
import type { FileCalls } from '../../lib/storage/doors.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { LocalSlot } from '../../lib/volume/local-slot.js';
import { Volume } from '../../lib/volume/volume.js';
import { Counted, echo, makeHub, write, type Handler, type HubChoices } from '../support/peer-rig.js';
import { RamDevice } from '../support/ram-device.js';
import { doorsWith, makeFolder, newFile, systemError } from '../support/storage-doors.js';
import { until } from '../support/wait.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const FILE_BYTES = 16 * MiB;
const EXTENT_BYTES = 4 * MiB;

t.ok(loadLibc(), 'koffi loads: the tests below mean something');

const content = Buffer.alloc(FILE_BYTES);
for (let at = 0, x = 1; at < FILE_BYTES; at += 4)
  content.writeUInt32LE((x = Math.imul(x, 0x9e3779b1) + at) >>> 0, at);

async function mappedFile(t: Test, calls: Partial<FileCalls> = {}): Promise<SparseFile> {
  const path = join(await makeFolder(t), 'mapped.img');
  fs.writeFileSync(path, content);
  const file = await SparseFile.open(path, { ...newFile(FILE_BYTES), create: false }, doorsWith(calls));
  t.teardown(() => file.close());
  return file;
}

/** A hub with both of its links to b: over one goes what is bulk, over the other the rest. */
async function makePair(t: Test, handle: Handler, choices: HubChoices = {}): Promise<Hub> {
  const [near, far] = [makeHub('a', echo, choices), makeHub('b', handle)];
  t.teardown(() => Promise.all([near.close(), far.close()]));
  far.setAddress('a', await near.listen('127.0.0.1', 0));
  near.setAddress('b', await far.listen('127.0.0.1', 0));
  near.connect('b');
  far.connect('a');
  await until('both links stand', () => near.stats().length === 2);
  return near;
}

/** b holds the even extents of a volume. */
function holderOf(file: SparseFile): { handle: Handler; given: () => number } {
  let given = 0;
  const ram = new RamDevice(FILE_BYTES);
  const local = new LocalSlot(new VolumeTraffic(systemClock, EXTENT_BYTES));
  const mapped = (offsetBytes: number, lengthBytes: number) => {
    given += 1;
    return file.mapped(offsetBytes, lengthBytes, false);
  };
  local.opened(Object.assign(ram, { mapped }));
  const geometry = { sizeBytes: FILE_BYTES, blockBytes: 512, extentBytes: EXTENT_BYTES };
  const holders = { epoch: 1, holderAt: (extent: number) => 1 + (extent % 2), holders: [1, 2] };
  const volume = new Volume(geometry, holders, 1, local, () => ({ submit: () => undefined }));
  const refresh = (_id: number, done: () => void): void => void setImmediate(done);
  const holder = new HolderService({ volumeById: () => volume, serving: true, refresh });
  return { handle: (request) => holder.handle(request), given: () => given };
}

function readOf(offsetBytes: number, lengthBytes: number): Counted {
  const request = new Counted();
  Object.assign(request, { type: PeerType.READ, epoch: 1, offsetBytes, lengthBytes });
  request.into = Buffer.alloc(lengthBytes);
  return request;
}

t.test('forwarded reads leave the holder from its page cache', async (t) => {
  const { handle, given } = holderOf(await mappedFile(t));
  const near = await makePair(t, handle);
  const places = [
    [0, 512],
    [4096, 4 * KiB],
    [64 * KiB, 128 * KiB],
    [2 * EXTENT_BYTES, MiB],
    [3 * EXTENT_BYTES - 512, 512],
  ] as const;
  for (const [offsetBytes, lengthBytes] of places) {
    const request = readOf(offsetBytes, lengthBytes);
    await request.through(near, 'b');
    const wanted = content.subarray(offsetBytes, offsetBytes + lengthBytes);
    t.ok(request.into.equals(wanted), `${lengthBytes} bytes at ${offsetBytes}`);
  }
  t.equal(given(), places.length);
  const elsewhere = readOf(EXTENT_BYTES, 512);
  await elsewhere.through(near, 'b');
  t.equal(elsewhere.status, PeerStatus.STALE, 'what is held elsewhere is not served');
  for (const [offsetBytes, lengthBytes] of [
    [1, 512],
    [0, 511],
    [FILE_BYTES - 512, 1024],
  ] as const) {
    const odd = readOf(offsetBytes, lengthBytes);
    await odd.through(near, 'b');
    t.equal(
      odd.status,
      PeerStatus.REFUSED,
      `${lengthBytes} bytes at ${offsetBytes}: not blocks of the volume`,
    );
  }
  t.equal(given(), places.length);
});

t.test('with digests the holder computes them over a copy', async (t) => {
  const { handle, given } = holderOf(await mappedFile(t));
  const near = await makePair(t, handle, { digests: true });
  const request = readOf(0, 4 * KiB);
  await request.through(near, 'b');
  t.ok(request.into.equals(Buffer.alloc(4 * KiB)), 'the disk behind answers');
  t.equal(given(), 0);
  t.equal(near.takesMapped('b', PeerType.COPY, 4 * KiB), false);
});

t.test('many at once: what the socket does not take is copied, and all of it arrives', async (t) => {
  const { handle } = holderOf(await mappedFile(t));
  const near = await makePair(t, handle);
  const requests = Array.from({ length: 64 }, (_, i) =>
    readOf((i % 4) * MiB + (i % 2) * 2 * EXTENT_BYTES, MiB),
  );
  await Promise.all(requests.map((request) => request.through(near, 'b')));
  for (const { offsetBytes, into, status } of requests) {
    t.equal(status, PeerStatus.OK);
    const isMapped = into.equals(content.subarray(offsetBytes, offsetBytes + MiB));
    t.ok(isMapped || into.equals(Buffer.alloc(MiB)), 'whole, from the map or from the disk behind');
  }
});

/** Sends ranges of the file in one turn of the loop, as many as may go. */
function sendMapped(near: Hub, file: SparseFile, lengthBytes: number): Counted[] {
  const sent: Counted[] = [];
  for (let offsetBytes = 0; near.takesMapped('b', PeerType.COPY, lengthBytes); offsetBytes += lengthBytes) {
    const request = new Counted();
    Object.assign(request, { type: PeerType.COPY, offsetBytes, lengthBytes });
    request.map = file.mapped(offsetBytes, lengthBytes, false);
    void request.through(near, 'b');
    sent.push(request);
  }
  return sent;
}

t.test('copies leave from the page cache, as many as the link has room for', async (t) => {
  const arrived = new Map<number, boolean>();
  const near = await makePair(t, (request) => {
    const { offsetBytes, lengthBytes, payload } = request;
    if (request.type === PeerType.COPY)
      arrived.set(offsetBytes, payload.equals(content.subarray(offsetBytes, offsetBytes + lengthBytes)));
    setTimeout(() => request.answer(PeerStatus.OK), 1); // the payload is its own until then
  });
  const file = await mappedFile(t);
  for (const lengthBytes of [4 * KiB, 256 * KiB, PEER_PAYLOAD_BYTES_MAX]) {
    arrived.clear();
    const sent = sendMapped(near, file, lengthBytes);
    t.ok(sent.length > 0 && sent.length * lengthBytes <= PEER_BYTES_MAX, `${sent.length} of ${lengthBytes}`);
    await until('each has its answer', () => sent.every(({ answers }) => answers === 1));
    t.equal(arrived.size, sent.length);
    t.ok([...arrived.values()].every(Boolean), 'each as it is in the file');
  }
  t.equal(near.takesMapped('nobody', PeerType.COPY, 1), false);
});

t.test('a small copy asks the link that it goes over', async (t) => {
  const near = await makePair(t, echo);
  t.equal(near.takesMapped('b', PeerType.COPY, 4 * KiB), true);
  const bulk = Array.from({ length: PEER_BYTES_MAX / PEER_PAYLOAD_BYTES_MAX }, () =>
    Object.assign(write(PEER_PAYLOAD_BYTES_MAX), { type: PeerType.COPY }),
  );
  const done = bulk.map((request) => request.through(near, 'b'));
  t.equal(near.takesMapped('b', PeerType.COPY, 4 * KiB), false, 'which is full of bulk');
  t.equal(near.takesMapped('b', PeerType.MIRROR_WRITE, 4 * KiB), true, 'the other one is not');
  await Promise.all(done);
});

t.test('a slab is filled anew when the socket has taken all of it, told or not', async (t) => {
  const socket = { writableLength: 0, destroyed: false, write: () => true, cork: () => 0, uncork: () => 0 };
  const outbox = new Outbox(socket as never, new BufferPool(), new DueOutboxes());
  const { slab } = outbox;
  outbox.reserve(slab.length - 20);
  socket.writableLength = 1;
  outbox.flush();
  socket.writableLength = 0; // without 'drain', as of a socket that was never over its mark
  t.equal(outbox.reserve(FRAME_HEADER_BYTES), 0);
  t.equal(outbox.slab, slab);
  socket.writableLength = 1;
  outbox.reserve(slab.length - FRAME_HEADER_BYTES - 20);
  t.equal(outbox.reserve(FRAME_HEADER_BYTES), 0);
  t.not(outbox.slab, slab, 'and not before');
});

t.test('what is due leaves when the tick ends, or when somebody asks for it, and once', async (t) => {
  const written: number[] = [];
  const write = (bytes: Uint8Array) => written.push(bytes.length) > 0;
  const socket = { writableLength: 0, destroyed: false, write, cork: () => 0, uncork: () => 0 };
  const due = new DueOutboxes();
  const outboxes = [1, 2].map(() => new Outbox(socket as never, new BufferPool(), due));
  for (const outbox of outboxes) outbox.reserve(10);
  t.strictSame(written, [], 'more may follow');
  due.send();
  t.strictSame(written, [10, 10]);
  outboxes[0]?.reserve(20);
  t.strictSame(written, [10, 10], 'what comes after that is due anew');
  await new Promise<void>((resolve) => process.nextTick(resolve));
  t.strictSame(written, [10, 10, 20], 'at the end of the tick');
  outboxes[1]?.reserve(30);
  await new Promise<void>((resolve) => process.nextTick(resolve));
  t.strictSame(written, [10, 10, 20, 30], 'of every tick');
});

t.test('a socket that broke gives no memory back', async (t) => {
  const socket = { writableLength: 0, destroyed: false, write: () => true, cork: () => 0, uncork: () => 0 };
  const pool = new BufferPool();
  for (const isBroken of [false, true]) {
    const outbox = new Outbox(socket as never, pool, new DueOutboxes());
    const lent = pool.take(64 * KiB);
    outbox.appendLent(lent);
    socket.destroyed = isBroken;
    outbox.flush();
    t.equal(pool.take(64 * KiB).buffer === lent.buffer, !isBroken, isBroken ? 'broken' : 'whole');
  }
});

t.test('a page that cannot be read any more costs the link, not the process', async (t) => {
  let broken = false;
  const file = await mappedFile(t, {
    readSync: (...args) => {
      if (broken) throw systemError('EIO');
      return fs.readSync(...args);
    },
  });
  const near = await makePair(t, echo);
  broken = true;
  const sent = sendMapped(near, file, PEER_PAYLOAD_BYTES_MAX); // more than the socket takes at once
  await until('each has its answer', () => sent.every(({ answers }) => answers === 1));
  t.ok(sent.some(({ status }) => status === PeerStatus.LINK_LOST));
  t.equal(file.mapped(0, 512, false), null, 'nothing of the file is believed after that');
  const next = write(8);
  await next.through(near, 'b');
  t.equal(next.status, PeerStatus.OK, 'the link is made again');
});
