/** COMPARE AND WRITE, ORWRITE (16), WRITE ATOMIC (16): what they write, what they refuse, that they are alone. */
import t from 'tap';
import { COMPARE_AND_WRITE_BLOCKS_MAX } from '../../lib/base/limits.js';
import { pattern } from '../support/device-suite.js';
import { BLOCK, BLOCKS, cdb16, heldExcept, hex, rig } from '../support/scsi-rig.js';
import { NEXUS, RunnerTask, SAID, said } from '../support/scsi-runner.js';
import { until } from '../support/wait.js';

const SIZE = BLOCKS * BLOCK;
const FUA = 0x08;

const compare = (flags: number, lba: number, blocks: number): string =>
  `89 ${hex(flags, 2)} ${hex(lba, 16)} 000000 ${hex(blocks, 2)} 00 00`;
const or = (flags: number, lba: number, blocks: number): string => cdb16('8b', flags, lba, blocks);
const atomic = (flags: number, lba: number, blocks: number, boundary = 0): string =>
  `9c ${hex(flags, 2)} ${hex(lba, 16)} ${hex(boundary, 4)} ${hex(blocks, 4)} 00 00`;

const there = (lba: number, blocks: number): Buffer =>
  pattern(SIZE, 1).subarray(lba * BLOCK, (lba + blocks) * BLOCK);

for (const { name, cdb, bytes } of [
  { name: 'COMPARE AND WRITE', cdb: compare, bytes: (blocks: number) => 2 * blocks * BLOCK },
  { name: 'ORWRITE(16)', cdb: or, bytes: (blocks: number) => blocks * BLOCK },
  { name: 'WRITE ATOMIC(16)', cdb: atomic, bytes: (blocks: number) => blocks * BLOCK },
]) {
  t.test(`${name} refuses`, async (t) => {
    const { ram, run } = rig();
    const data = (blocks: number): Buffer => Buffer.alloc(bytes(blocks), 0xff);
    t.equal(said(await run(cdb(0, BLOCKS, 0))), SAID.GOOD, '0 blocks at the end');
    t.equal(said(await run(cdb(0, BLOCKS + 1, 0))), SAID.LBA_OUT_OF_RANGE, '0 blocks past the end');
    t.equal(said(await run(cdb(0, BLOCKS - 1, 2), data(2))), SAID.LBA_OUT_OF_RANGE);
    t.equal(said(await run(cdb(0, 2 ** 31, 1), data(1))), SAID.LBA_OUT_OF_RANGE);
    for (let protect = 1; protect < 8; protect++) {
      t.equal(
        said(await run(cdb(protect << 5, 0, 1), data(1))),
        SAID.INVALID_FIELD_IN_CDB,
        `protection ${protect}`,
      );
    }
    t.ok(ram.bytes.equals(pattern(SIZE, 1)), 'nothing is written');
    const locked = rig(true);
    t.equal(said(await locked.run(cdb(0, 0, 1), data(1))), SAID.WRITE_PROTECTED);
  });
}

t.test('COMPARE AND WRITE', async (t) => {
  const { ram, run } = rig();
  for (const blocks of [1, 2, COMPARE_AND_WRITE_BLOCKS_MAX]) {
    const lba = 10 + blocks;
    const next = pattern(blocks * BLOCK, 9);
    const outcome = await run(compare(0, lba, blocks), Buffer.concat([there(lba, blocks), next]));
    t.equal(said(outcome), SAID.GOOD);
    t.ok(heldExcept(ram, lba, next), `${blocks} blocks are written, no others`);
    const again = await run(compare(FUA, lba, blocks), Buffer.concat([next, there(lba, blocks)]));
    t.equal(said(again), SAID.GOOD, 'and back, with FUA');
  }
  for (const at of [0, 600, 2 * BLOCK - 1]) {
    const wanted = Buffer.from(there(40, 2));
    wanted[at] = (wanted[at] as number) ^ 1;
    const outcome = await run(compare(0, 40, 2), Buffer.concat([wanted, Buffer.alloc(2 * BLOCK)]));
    t.equal(said(outcome), SAID.MISCOMPARE);
    t.equal(outcome.sense?.information, at, 'INFORMATION says where');
  }
  t.ok(ram.bytes.equals(pattern(SIZE, 1)), 'a miscompare writes nothing');
  const nothing = await run(compare(0, 40, 0), Buffer.alloc(512 * BLOCK));
  t.equal(said(nothing), SAID.INVALID_FIELD_IN_CDB, '256 blocks, of which the length is 0');
  for (const bytes of [0, BLOCK, 3 * BLOCK]) {
    const outcome = await run(compare(0, 40, 1), Buffer.alloc(bytes));
    t.equal(said(outcome), SAID.INVALID_FIELD_IN_CDB, `${bytes} bytes for one block`);
  }
});

t.test('two initiators count with COMPARE AND WRITE', async (t) => {
  const { ram, run } = rig();
  ram.bytes.fill(0, 0, BLOCK);
  let taken = 0;
  const block = (value: number): Buffer => Buffer.alloc(BLOCK, value);
  const count = async (): Promise<void> => {
    for (let value = 0; value < 100; value++) {
      const outcome = await run(compare(0, 0, 1), Buffer.concat([block(value), block(value + 1)]));
      if (said(outcome) === SAID.GOOD) taken += 1;
      else t.equal(said(outcome), SAID.MISCOMPARE);
    }
  };
  await Promise.all([count(), count(), count()]);
  t.equal(taken, 100, 'each number is taken once');
  t.ok(ram.bytes.subarray(0, BLOCK).equals(block(100)));
});

t.test('ORWRITE(16)', async (t) => {
  const { ram, run } = rig();
  const bits = pattern(3 * BLOCK, 4);
  const expected = Buffer.from(there(5, 3));
  for (let at = 0; at < expected.length; at++) expected[at] = (expected[at] as number) | (bits[at] as number);
  t.equal(said(await run(or(0, 5, 3), bits)), SAID.GOOD);
  t.ok(heldExcept(ram, 5, expected), 'the bits are set, no others');
  t.equal(
    said(await run(or(FUA, 5, 3), bits.subarray(0, 2 * BLOCK + 7))),
    SAID.GOOD,
    'whole blocks of what came',
  );
  t.ok(heldExcept(ram, 5, expected), 'a second time changes nothing');
  t.equal(said(await run(or(0, 0, BLOCKS), Buffer.alloc(SIZE, 0xff))), SAID.GOOD, 'the whole medium');
  t.ok(ram.bytes.equals(Buffer.alloc(SIZE, 0xff)));
});

t.test('WRITE ATOMIC(16)', async (t) => {
  const { ram, run } = rig();
  const limits = (await run('12 01 b0 0040 00')).dataIn;
  const fields = [44, 48, 52, 56].map((at) => limits.readUInt32BE(at));
  t.same(fields, [8, 8, 8, 0], 'maximum, alignment, granularity; with a boundary none');
  const page = pattern(8 * BLOCK, 6);
  t.equal(said(await run(atomic(0, 16, 8), page)), SAID.GOOD, 'a page');
  t.ok(heldExcept(ram, 16, page));
  t.equal(said(await run(atomic(FUA, 16, 8), page)), SAID.GOOD, 'with FUA');
  t.ok(heldExcept(ram, 16, page));
  t.equal(
    said(await run(atomic(0, 16, 3), page.subarray(0, 3 * BLOCK))),
    SAID.INVALID_FIELD_IN_CDB,
    'the beginning of one: the granularity is a page, as VPD B0h says',
  );
  for (const blocks of [1, 8]) {
    const data = page.subarray(0, blocks * BLOCK);
    t.equal(
      said(await run(atomic(0, 20, blocks), data)),
      SAID.INVALID_FIELD_IN_CDB,
      'not from the start of one',
    );
  }
  t.equal(said(await run(atomic(0, 16, 9), Buffer.alloc(9 * BLOCK))), SAID.INVALID_FIELD_IN_CDB, 'too many');
  t.equal(said(await run(atomic(0, 16, 8, 4), page)), SAID.INVALID_FIELD_IN_CDB, 'no boundaries');
  t.equal(
    said(await run(atomic(0, 16, 2), page.subarray(0, BLOCK))),
    SAID.INVALID_FIELD_IN_CDB,
    'too little',
  );
  t.ok(heldExcept(ram, 16, page), 'what is refused writes nothing');
});

/** SANITIZE, block erase, answered at once. */
const ERASE = '48 82 00 00 00 00 00 00 00 00';
const SANITIZE_IN_PROGRESS = '2/04/1b';

t.test('what was taken up before a SANITIZE writes nothing after it', async (t) => {
  const { ram, server, run } = rig();
  const late = new RunnerTask();
  late.cdb = Buffer.from(`2e 00 ${hex(30, 8)} 00 0001 00 000000000000`.replaceAll(' ', ''), 'hex');
  late.nexus = NEXUS;
  late.expectedDataOutBytes = BLOCK;
  t.equal(server.prepare(late), 'control', 'WRITE AND VERIFY waits for its data');
  const next = Buffer.alloc(BLOCK, 0xff);
  const first = run(compare(0, 10, 1), Buffer.concat([there(10, 1), next]));
  const second = run(compare(0, 20, 1), Buffer.concat([there(20, 1), next]));
  t.equal(said(await run(ERASE)), SAID.GOOD);
  late.dataOut = next;
  server.execute(late);
  t.equal(late.outcomes.map(said).join(), SANITIZE_IN_PROGRESS, 'its data has come');
  await first;
  t.equal(said(await second), SANITIZE_IN_PROGRESS, 'its turn has come');
  while (said(await run('00 00 00 00 00 00')) !== SAID.GOOD);
  t.ok(ram.bytes.equals(Buffer.alloc(SIZE)), 'nothing is left');
});

t.test("another host's SYNCHRONIZE CACHE keeps neither them nor what they hold waiting", async (t) => {
  const { faults, run } = rig();
  const pause = faults.add({ ops: ['flush'], action: { kind: 'pause' } });
  const slow = run('35 00 00000000 00 0000 00');
  await until('the I/O is held', () => pause.heldCount > 0);
  const next = pattern(BLOCK, 9);
  t.equal(said(await run(compare(0, 5, 1), Buffer.concat([there(5, 1), next]))), SAID.GOOD);
  t.equal(said(await run(or(0, 5, 1), next)), SAID.GOOD);
  t.equal(said(await run(atomic(0, 8, 8), pattern(8 * BLOCK, 3))), SAID.GOOD);
  t.ok((await run(cdb16('88', 0, 5, 1))).dataIn.equals(next));
  pause.remove();
  t.equal(said(await slow), SAID.GOOD);
});
