/** VERIFY and WRITE AND VERIFY (10), (12), (16): what is compared, and what is said of a difference. */
import t from 'tap';
import { PIECE_BYTES_MAX } from '../../lib/base/limits.js';
import { pattern } from '../support/device-suite.js';
import { BLOCK, BLOCKS, cdb10, cdb12, cdb16, heldExcept, rig } from '../support/scsi-rig.js';
import { SAID, said } from '../support/scsi-runner.js';

const SIZE = BLOCKS * BLOCK;

const VERIFIES = [
  {
    name: 'VERIFY(10)',
    cdb: (flags: number, lba: number, blocks: number) => cdb10('2f', flags, lba, blocks),
  },
  {
    name: 'VERIFY(12)',
    cdb: (flags: number, lba: number, blocks: number) => cdb12('af', flags, lba, blocks),
  },
  {
    name: 'VERIFY(16)',
    cdb: (flags: number, lba: number, blocks: number) => cdb16('8f', flags, lba, blocks),
  },
];
const BYTCHK_ALL = 0x02;
const BYTCHK_RESERVED = 0x04;
const BYTCHK_ONE = 0x06;

for (const { name, cdb } of VERIFIES) {
  t.test(name, async (t) => {
    const { ram, faults, run } = rig();
    t.equal(said(await run(cdb(0, 0, BLOCKS))), SAID.GOOD, 'the whole medium, nothing compared');
    t.equal(ram.counts.read, SIZE / PIECE_BYTES_MAX, 'read in pieces');
    t.equal(said(await run(cdb(0x10, 0, 1))), SAID.GOOD, 'DPO');
    t.equal(said(await run(cdb(0, BLOCKS, 0))), SAID.GOOD, '0 blocks at the end');
    t.equal(said(await run(cdb(0, BLOCKS + 1, 0))), SAID.LBA_OUT_OF_RANGE, '0 blocks past the end');
    t.equal(said(await run(cdb(0, BLOCKS - 1, 2))), SAID.LBA_OUT_OF_RANGE);
    t.equal(said(await run(cdb(0, 0x80000000, 1))), SAID.LBA_OUT_OF_RANGE);
    t.equal(said(await run(cdb(BYTCHK_RESERVED, 0, 1))), SAID.INVALID_FIELD_IN_CDB, 'BYTCHK 2');
    for (let protect = 1; protect < 8; protect++) {
      t.equal(said(await run(cdb(protect << 5, 0, 1))), SAID.INVALID_FIELD_IN_CDB, `protection ${protect}`);
    }

    const blocks = 5000; // more than one piece
    const same = Buffer.from(ram.bytes.subarray(3 * BLOCK, (3 + blocks) * BLOCK));
    t.equal(said(await run(cdb(BYTCHK_ALL, 3, blocks), same)), SAID.GOOD, 'equal');
    for (const at of [0, 700, PIECE_BYTES_MAX, same.length - 1]) {
      same[at] = (same[at] ?? 0) ^ 1;
      const outcome = await run(cdb(BYTCHK_ALL, 3, blocks), same);
      t.equal(said(outcome), SAID.MISCOMPARE, `a difference at ${at}`);
      t.equal(outcome.sense?.information, at, 'INFORMATION says where');
      same[at] = (same[at] ?? 0) ^ 1;
    }
    t.equal(
      said(await run(cdb(BYTCHK_ALL, 3, 2), same.subarray(0, BLOCK))),
      SAID.INVALID_FIELD_IN_CDB,
      'too little',
    );

    const block = pattern(BLOCK, 7);
    for (let i = 0; i < 4; i++) block.copy(ram.bytes, (100 + i) * BLOCK);
    t.equal(said(await run(cdb(BYTCHK_ONE, 100, 4), block)), SAID.GOOD, 'one block against four');
    const fifth = await run(cdb(BYTCHK_ONE, 100, 5), block);
    t.equal(said(fifth), SAID.MISCOMPARE, 'and a fifth that differs');
    t.ok((fifth.sense?.information ?? 0) >= 4 * BLOCK);
    t.equal(fifth.dataOutBytes, BLOCK);

    faults.add({ ops: ['read'], times: 1, action: { kind: 'fail', code: 'medium-read' } });
    t.equal(said(await run(cdb(0, 0, 1))), '3/11/00', 'a bad medium is found');
  });
}

const WRITE_VERIFIES = [
  {
    name: 'WRITE AND VERIFY(10)',
    cdb: (flags: number, lba: number, blocks: number) => cdb10('2e', flags, lba, blocks),
  },
  {
    name: 'WRITE AND VERIFY(12)',
    cdb: (flags: number, lba: number, blocks: number) => cdb12('ae', flags, lba, blocks),
  },
  {
    name: 'WRITE AND VERIFY(16)',
    cdb: (flags: number, lba: number, blocks: number) => cdb16('8e', flags, lba, blocks),
  },
];

for (const { name, cdb } of WRITE_VERIFIES) {
  t.test(name, async (t) => {
    const { ram, run } = rig();
    const data = pattern(3 * BLOCK, 9);
    for (const flags of [0, BYTCHK_ALL, 0x10]) {
      t.equal(said(await run(cdb(flags, 5, 3), data)), SAID.GOOD);
      t.ok(heldExcept(ram, 5, data));
    }
    t.equal(ram.fuaCount, 3, 'each was durable before it was verified');
    t.equal(said(await run(cdb(0, BLOCKS, 0))), SAID.GOOD, '0 blocks');
    t.equal(said(await run(cdb(0, BLOCKS - 2, 3), data)), SAID.LBA_OUT_OF_RANGE);
    t.equal(said(await run(cdb(0x20, 0, 1), data)), SAID.INVALID_FIELD_IN_CDB, 'WRPROTECT');
    const short = await run(cdb(0, 20, 3), pattern(BLOCK + 100, 9));
    t.equal(said(short), SAID.GOOD, 'less data than the CDB says');
    t.equal(short.dataOutBytes, 3 * BLOCK);
    const expected = pattern(SIZE, 1);
    data.copy(expected, 5 * BLOCK);
    pattern(BLOCK, 9).copy(expected, 20 * BLOCK);
    t.ok(ram.bytes.equals(expected), 'the whole blocks that came, and no others');
    t.equal(said(await run(cdb(0, 0, 1))), SAID.GOOD, 'no data at all');
    t.equal(said(await rig(true).run(cdb(0, 0, 1), data)), SAID.WRITE_PROTECTED);
  });
}

t.test('WRITE AND VERIFY sees a medium that did not keep what it was given', async (t) => {
  const { ram, run } = rig();
  const honest = ram.submit.bind(ram);
  ram.submit = (io) => {
    honest(io);
    if (io.op === 'write') ram.bytes[10 * BLOCK + 3] = ~(ram.bytes[10 * BLOCK + 3] ?? 0) & 0xff;
  };
  const outcome = await run(cdb10('2e', BYTCHK_ALL, 10, 1), pattern(BLOCK, 3));
  t.equal(said(outcome), SAID.MISCOMPARE);
  t.equal(outcome.sense?.information, 3);
});
