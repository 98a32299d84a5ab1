/** READ and WRITE (6), (10), (12), (16) against every aspect: the matrix is data, each cell one claim. */
import t from 'tap';
import { TRANSFER_BYTES_MAX } from '../../lib/base/limits.js';
import { NullDevice } from '../../lib/block/null-device.js';
import { pattern } from '../support/device-suite.js';
import { RamDevice } from '../support/ram-device.js';
import { SAID, said, scsiRunner } from '../support/scsi-runner.js';

const BLOCK = 512;
const BLOCKS = 1024;

interface Fields {
  readonly lba: bigint;
  readonly blocks: number;
  /** Byte 1: protection, DPO, FUA. */
  readonly flags?: number;
  readonly control?: number;
}

/** An encoder independent of the code under test: the CDB as the standard's table draws it. */
interface Size {
  readonly bits: 6 | 10 | 12 | 16;
  readonly read: number;
  readonly write: number;
  encode(opcode: number, fields: Fields): Buffer;
}

const hex = (value: bigint | number, digits: number): string => value.toString(16).padStart(digits, '0');

const SIZES: readonly Size[] = [
  {
    bits: 6,
    read: 0x08,
    write: 0x0a,
    encode: (opcode, { lba, blocks, control = 0 }) =>
      Buffer.from(hex(opcode, 2) + hex(lba, 6) + hex(blocks, 2) + hex(control, 2), 'hex'),
  },
  {
    bits: 10,
    read: 0x28,
    write: 0x2a,
    encode: (opcode, { lba, blocks, flags = 0, control = 0 }) =>
      Buffer.from(
        hex(opcode, 2) + hex(flags, 2) + hex(lba, 8) + '00' + hex(blocks, 4) + hex(control, 2),
        'hex',
      ),
  },
  {
    bits: 12,
    read: 0xa8,
    write: 0xaa,
    encode: (opcode, { lba, blocks, flags = 0, control = 0 }) =>
      Buffer.from(
        hex(opcode, 2) + hex(flags, 2) + hex(lba, 8) + hex(blocks, 8) + '00' + hex(control, 2),
        'hex',
      ),
  },
  {
    bits: 16,
    read: 0x88,
    write: 0x8a,
    encode: (opcode, { lba, blocks, flags = 0, control = 0 }) =>
      Buffer.from(
        hex(opcode, 2) + hex(flags, 2) + hex(lba, 16) + hex(blocks, 8) + '00' + hex(control, 2),
        'hex',
      ),
  },
];

const has = (size: Size, bits: number): boolean => size.bits >= bits;

/** One claim about one command: its fields and what it must say. */
interface Aspect {
  readonly name: string;
  /** The smallest CDB that can express it. */
  readonly from: 6 | 10 | 12 | 16;
  readonly fields: Fields;
  readonly says: string;
}

const ASPECTS: readonly Aspect[] = [
  { name: 'one block at the end', from: 6, fields: { lba: 1023n, blocks: 1 }, says: SAID.GOOD },
  { name: 'two blocks at the last', from: 6, fields: { lba: 1023n, blocks: 2 }, says: SAID.LBA_OUT_OF_RANGE },
  { name: 'one block past the end', from: 6, fields: { lba: 1024n, blocks: 1 }, says: SAID.LBA_OUT_OF_RANGE },
  { name: '0 blocks at 0', from: 10, fields: { lba: 0n, blocks: 0 }, says: SAID.GOOD },
  { name: '0 blocks at the end', from: 10, fields: { lba: 1024n, blocks: 0 }, says: SAID.GOOD },
  { name: '0 blocks past the end', from: 10, fields: { lba: 1025n, blocks: 0 }, says: SAID.LBA_OUT_OF_RANGE },
  { name: 'LBA 2^31', from: 10, fields: { lba: 0x80000000n, blocks: 1 }, says: SAID.LBA_OUT_OF_RANGE },
  { name: 'LBA 2^32 − 1', from: 10, fields: { lba: 0xffffffffn, blocks: 2 }, says: SAID.LBA_OUT_OF_RANGE },
  { name: 'LBA 2^32', from: 16, fields: { lba: 1n << 32n, blocks: 1 }, says: SAID.LBA_OUT_OF_RANGE },
  { name: 'LBA 2^63', from: 16, fields: { lba: 1n << 63n, blocks: 0 }, says: SAID.LBA_OUT_OF_RANGE },
  {
    name: 'LBA 2^64 − 1',
    from: 16,
    fields: { lba: (1n << 64n) - 1n, blocks: 2 },
    says: SAID.LBA_OUT_OF_RANGE,
  },
  { name: 'DPO', from: 10, fields: { lba: 0n, blocks: 1, flags: 0x10 }, says: SAID.GOOD },
  { name: 'FUA', from: 10, fields: { lba: 0n, blocks: 1, flags: 0x08 }, says: SAID.GOOD },
  { name: 'FUA_NV', from: 10, fields: { lba: 0n, blocks: 1, flags: 0x02 }, says: SAID.GOOD },
  ...[1, 2, 3, 4, 5, 6, 7].map((protect) => ({
    name: `protection ${protect}`,
    from: 10 as const,
    fields: { lba: 0n, blocks: 1, flags: protect << 5 },
    says: SAID.INVALID_FIELD_IN_CDB,
  })),
  { name: 'NACA', from: 6, fields: { lba: 0n, blocks: 1, control: 0x04 }, says: SAID.INVALID_FIELD_IN_CDB },
  { name: 'vendor bits of CONTROL', from: 6, fields: { lba: 0n, blocks: 1, control: 0xc0 }, says: SAID.GOOD },
];

for (const size of SIZES) {
  t.test(`READ and WRITE(${size.bits})`, async (t) => {
    for (const aspect of ASPECTS.filter(({ from }) => has(size, from))) {
      for (const direction of ['read', 'write'] as const) {
        const device = new RamDevice(BLOCKS * BLOCK, BLOCK);
        const outcome = await scsiRunner(device).run(
          size.encode(size[direction], aspect.fields),
          pattern(2 * BLOCK, 1),
        );
        t.equal(said(outcome), aspect.says, `${direction}: ${aspect.name}`);
        const moves = aspect.says === SAID.GOOD && aspect.fields.blocks > 0;
        t.equal(outcome.plan, moves ? direction : 'finished', 'moves data or not');
        t.equal(device.counts[direction], moves ? 1 : 0, 'the medium was touched or not');
        t.equal(
          outcome.fua,
          moves && ((aspect.fields.flags ?? 0) & 0x08) !== 0,
          'FUA reaches the task, nothing else',
        );
      }
    }
  });

  t.test(`a READ(${size.bits}) returns what WRITE(${size.bits}) wrote`, async (t) => {
    const device = new RamDevice(BLOCKS * BLOCK, BLOCK);
    const { run } = scsiRunner(device);
    for (const [lba, blocks] of [
      [0n, 1],
      [7n, 3],
      [0n, 255],
      [1021n, 3],
    ] as const) {
      const data = pattern(blocks * BLOCK, Number(lba) + blocks);
      const written = await run(size.encode(size.write, { lba, blocks }), data);
      t.equal(written.dataOutBytes, data.length, 'data-out needed');
      const back = await run(size.encode(size.read, { lba, blocks }));
      t.equal(back.dataOutBytes, 0, 'no data-out needed');
      t.ok(back.dataIn.equals(data), `${blocks} blocks at ${lba}`);
      t.ok(
        device.bytes
          .subarray(Number(lba) * BLOCK)
          .subarray(0, data.length)
          .equals(data),
        'at its place',
      );
    }
  });
}

t.test('0 blocks mean 256 in the 6-byte commands', async (t) => {
  const device = new RamDevice(BLOCKS * BLOCK, BLOCK);
  const { run } = scsiRunner(device);
  const data = pattern(256 * BLOCK, 5);
  t.equal((await run('0a 00 00 02 00 00', data)).dataOutBytes, data.length);
  t.ok((await run('08 00 00 02 00 00')).dataIn.equals(data));
  t.equal(said(await run('08 00 03 01 00 00')), SAID.LBA_OUT_OF_RANGE, '256 from 769 do not fit');
  t.equal(said(await run('08 e0 00 00 01 00')), SAID.GOOD, 'the top three bits of byte 1 are no LBA');
});

t.test('the largest addresses are exact', async (t) => {
  const device = new NullDevice(2 ** 50, 4096);
  const { server } = scsiRunner(device);
  const small = Object.assign(Object.create(null), { cdb: Buffer.from('081fffff0100', 'hex'), lun: 0 });
  t.equal(server.prepare(small), 'read');
  t.equal(small.offsetBytes, 0x1fffff * 4096, 'all 21 bits of READ(6)');
  const last = 2 ** 38 - 1;
  const cdb = Buffer.from(`8800${hex(last, 16)}00000001 0000`.replace(' ', ''), 'hex');
  const task = Object.assign(Object.create(null), { cdb, lun: 0, finish: () => t.fail('refused') });
  t.equal(server.prepare(task), 'read');
  t.equal(task.offsetBytes, last * 4096);
  t.equal(task.transferBytes, 4096);
});

t.test('a transfer above the maximum is an invalid field', async (t) => {
  const { run } = scsiRunner(new NullDevice(2 ** 40, BLOCK));
  const most = TRANSFER_BYTES_MAX / BLOCK;
  for (const opcode of ['88', '8a']) {
    t.equal(
      said(await run(`${opcode}00 ${hex(0, 16)} ${hex(most, 8)} 0000`, Buffer.alloc(TRANSFER_BYTES_MAX))),
      SAID.GOOD,
    );
    const above = await run(`${opcode}00 ${hex(0, 16)} ${hex(most + 1, 8)} 0000`);
    t.equal(said(above), SAID.INVALID_FIELD_IN_CDB);
    t.same(above.sense?.field, { inCdb: true, byte: 10 }, 'it points at TRANSFER LENGTH');
  }
});

t.test('LBA OUT OF RANGE says the first block that does not exist', async (t) => {
  const { run } = scsiRunner(new RamDevice(BLOCKS * BLOCK, BLOCK));
  t.equal((await run('28 00 000003fe 00 0010 00')).sense?.information, 1024);
  t.equal((await run('28 00 00001000 00 0010 00')).sense?.information, 0x1000);
});

t.test('every write is refused on a read-only device, and every read served', async (t) => {
  const device = new RamDevice(BLOCKS * BLOCK, BLOCK, true);
  const { run } = scsiRunner(device);
  for (const size of SIZES) {
    const write = await run(size.encode(size.write, { lba: 0n, blocks: 1 }), Buffer.alloc(BLOCK));
    t.equal(said(write), SAID.WRITE_PROTECTED, `WRITE(${size.bits})`);
    t.equal(write.plan, 'finished', 'before any data is asked for');
    t.equal(said(await run(size.encode(size.read, { lba: 0n, blocks: 1 }))), SAID.GOOD, `READ(${size.bits})`);
  }
});
