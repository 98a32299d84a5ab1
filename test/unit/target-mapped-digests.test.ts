/**
 * Reads with data digests that go from the page cache to the socket: the digest is the one of the bytes that leave, whatever
 * is written meanwhile. The initiator of these tests throws when one is wrong.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { loadLibc } from '../../lib/base/libc.js';
import { MemoryBudget } from '../../lib/iscsi/target/memory-budget.js';
import { Opcode } from '../../lib/iscsi/wire/opcodes.js';
import type { FileCalls, TransferCallback } from '../../lib/storage/doors.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { doorsWith, makeFolder, newFile, systemError } from '../support/storage-doors.js';
import { read10, type TargetInitiator, write10 } from '../support/target-initiator.js';
import { TargetRig } from '../support/target-rig.js';
import { until } from '../support/wait.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const BLOCK = 512;
const FILE_BYTES = 8 * MiB;
const DIGESTS = { HeaderDigest: 'CRC32C', DataDigest: 'CRC32C', ImmediateData: 'Yes' };

t.ok(loadLibc(), 'koffi loads: the tests below mean something');

interface Served {
  readonly rig: TargetRig;
  readonly file: SparseFile;
  readonly memory: MemoryBudget;
  /** Reads that were answered from the map. */
  mapped: number;
}

/** A target whose disk is a file, all of it in the page cache. */
async function start(t: Test, calls: Partial<FileCalls> = {}): Promise<Served> {
  const path = join(await makeFolder(t), 'mapped.img');
  const content = Buffer.alloc(FILE_BYTES);
  for (let at = 0; at < FILE_BYTES; at += 4) content.writeUInt32LE(Math.imul(at, 0x9e3779b1) >>> 0, at);
  fs.writeFileSync(path, content);
  const file = await SparseFile.open(path, { ...newFile(FILE_BYTES), create: false }, doorsWith(calls));
  const memory = new MemoryBudget();
  const served = { rig: await TargetRig.start(systemClock, memory), file, memory, mapped: 0 };
  const { device } = served.rig;
  device.submit = (io) => file.submit(io);
  device.mapped = (offsetBytes, lengthBytes, withDigest) => {
    const map = file.mapped(offsetBytes, lengthBytes, withDigest);
    if (map !== null) served.mapped += 1;
    return map;
  };
  t.teardown(async () => {
    await served.rig.stop();
    await file.close();
  });
  return served;
}

/** What the file holds at some blocks. */
function actual({ file }: Served, lba: number, blocks: number): Buffer {
  const bytes = Buffer.alloc(blocks * BLOCK);
  const fd = fs.openSync(file.path, 'r');
  fs.readSync(fd, bytes, 0, bytes.length, lba * BLOCK);
  fs.closeSync(fd);
  return bytes;
}

function layRead(initiator: TargetInitiator, lba: number, blocks: number): Buffer {
  const { bhs } = initiator.commandHeader({
    ...{ cdb: read10(lba, blocks), read: true, expectedBytes: blocks * BLOCK },
  });
  return initiator.lay(bhs, Buffer.alloc(0));
}

function layWrite(initiator: TargetInitiator, lba: number, data: Buffer, fua = false): Buffer {
  const cdb = write10(lba, data.length / BLOCK);
  if (fua) cdb[1] = 0x08; // SBC-3 5.40
  return initiator.lay(initiator.commandHeader({ cdb, write: true, data }).bhs, data);
}

async function nextRead(initiator: TargetInitiator, lengthBytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let bytes = 0; bytes < lengthBytes;) {
    const { data } = await initiator.expect(Opcode.DATA_IN);
    parts.push(Buffer.from(data));
    bytes += data.length;
  }
  return Buffer.concat(parts);
}

t.test('any size and place: from the map where PDUs are cut at its blocks', async (t) => {
  const served = await start(t);
  const cases = [
    [{}, 0, 8, true],
    [{}, 4096, 8, true],
    [{}, 4096, 8, true],
    [{}, 512, 512, true], // one PDU of the default 262,144 bytes
    [{}, 512, 1024, true], // two
    [{}, 1, 8, false],
    [{}, 8, 1, false],
    [{ MaxRecvDataSegmentLength: '8192' }, 256, 64, true],
    [{ MaxRecvDataSegmentLength: '8191' }, 256, 8, true], // in one
    [{ MaxRecvDataSegmentLength: '8191' }, 256, 64, false],
    [{ MaxRecvDataSegmentLength: '8192', MaxBurstLength: '10000' }, 256, 64, false],
  ] as const;
  for (const [index, [keys, lba, blocks, isMapped]] of cases.entries()) {
    const initiator = await served.rig.session({ ...DIGESTS, ...keys }, `8000000001${10 + index}`);
    const before = served.mapped;
    initiator.socket.write(layRead(initiator, lba, blocks));
    const data = await nextRead(initiator, blocks * BLOCK);
    t.ok(data.equals(actual(served, lba, blocks)), `${blocks} at ${lba}, ${JSON.stringify(keys)}`);
    t.equal(served.mapped > before, isMapped, isMapped ? 'mapped' : 'asked');
  }
});

t.test('more than one write takes: a depth of thirty', async (t) => {
  const served = await start(t);
  const initiator = await served.rig.session(DIGESTS);
  const lbas = Array.from({ length: 30 }, (_, i) => ((i * 37) % 128) * 8);
  initiator.socket.write(Buffer.concat(lbas.map((lba) => layRead(initiator, lba, 8))));
  for (const lba of lbas) t.ok((await nextRead(initiator, 4 * KiB)).equals(actual(served, lba, 8)));
  t.equal(served.mapped, lbas.length);
});

t.test('a write in the same batch: what leaves has the digest of what leaves', async (t) => {
  const served = await start(t);
  const initiator = await served.rig.session(DIGESTS);
  let changed = 0;
  for (const [round, fua] of [false, false, true, false].entries()) {
    const fresh = Buffer.alloc(4 * KiB, `round ${round} `);
    const before = actual(served, 0, 8);
    const batch = [layRead(initiator, 0, 8), layRead(initiator, 64, 8), layWrite(initiator, 0, fresh, fua)];
    initiator.socket.write(Buffer.concat(batch));
    const data = await nextRead(initiator, 4 * KiB);
    t.ok(data.equals(before) || data.equals(fresh), `round ${round}: one or the other`);
    if (data.equals(fresh)) changed += 1;
    t.ok((await nextRead(initiator, 4 * KiB)).equals(actual(served, 64, 8)), 'what it does not touch');
    await initiator.expect(Opcode.SCSI_RESPONSE);
  }
  t.ok(served.mapped >= 6, `${served.mapped} of 8 were mapped`);
  t.ok(changed >= 1, `${changed} were written after they had been committed`);
});

t.test('a write that is in the pool when the batch leaves: what is under it is copied', async (t) => {
  const answers: (() => void)[] = [];
  let copies = 0;
  let writeNow = (): void => undefined;
  const served = await start(t, {
    write: (fd, data, offset, length, position, callback: TransferCallback) => {
      writeNow = () => void fs.writeSync(fd, data, offset, length, position);
      answers.push(() => callback(null, length));
    },
    readSync: (...args) => {
      copies += 1;
      const bytes = fs.readSync(...args);
      writeNow(); // as a thread of the pool may, before the batch leaves
      return bytes;
    },
  });
  const initiator = await served.rig.session(DIGESTS);
  const fresh = Buffer.alloc(4 * KiB, 'durable ');
  initiator.socket.write(layRead(initiator, 0, 16));
  t.ok((await nextRead(initiator, 8 * KiB)).equals(actual(served, 0, 16)), 'now its digests are known');
  const before = actual(served, 0, 16);
  initiator.socket.write(Buffer.concat([layRead(initiator, 0, 16), layWrite(initiator, 8, fresh, true)]));
  const data = await nextRead(initiator, 8 * KiB);
  t.ok(data.equals(before), 'what it held when it was copied');
  t.notOk(data.equals(actual(served, 0, 16)), 'not what it holds now');
  t.equal(served.mapped, 2);
  t.equal(copies, 1);
  for (const answer of answers) answer();
  await initiator.expect(Opcode.SCSI_RESPONSE);
  await until('all memory is given back', () => served.memory.heldBytes === 0);
});

t.test('what cannot be copied any more costs the connection', async (t) => {
  const served = await start(t, {
    write: (fd, data, offset, length, position, callback: TransferCallback) => {
      fs.writeSync(fd, data, offset, length, position);
      setTimeout(() => callback(null, length), 20);
    },
    readSync: () => {
      throw systemError('EIO');
    },
  });
  const initiator = await served.rig.session(DIGESTS);
  const other = await served.rig.session(DIGESTS, '800000000002');
  initiator.socket.write(layRead(initiator, 0, 8));
  await nextRead(initiator, 4 * KiB);
  const fresh = Buffer.alloc(4 * KiB, 'durable ');
  initiator.socket.write(Buffer.concat([layRead(initiator, 0, 8), layWrite(initiator, 0, fresh, true)]));
  t.ok(await initiator.closes());
  other.socket.write(layRead(other, 64, 8));
  t.ok((await nextRead(other, 4 * KiB)).equals(actual(served, 64, 8)), 'others go on');
  await until('all memory is given back', () => served.memory.heldBytes === 0);
});

t.test('a socket that is full: what waits is copied with the digest that it has', async (t) => {
  const served = await start(t);
  const initiator = await served.rig.session(DIGESTS);
  const reads = 48;
  initiator.socket.pause();
  for (let i = 0; i < reads; i++) initiator.socket.write(layRead(initiator, (i % 8) * 2048, 2048));
  await until('something is read from the mapping', () => served.mapped > 0);
  await new Promise((resolve) => setTimeout(resolve, 50)); // the socket fills
  initiator.socket.write(layWrite(initiator, 0, Buffer.alloc(4 * KiB, 'late ')));
  await new Promise((resolve) => setTimeout(resolve, 50));
  initiator.socket.resume();
  for (let i = 0; i < reads; i++) t.equal((await nextRead(initiator, MiB)).length, MiB);
  await initiator.expect(Opcode.SCSI_RESPONSE);
  t.ok(served.mapped < reads, `${served.mapped} of ${reads} were mapped`);
});
