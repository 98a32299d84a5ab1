/** SANITIZE: what it leaves on the medium, what the unit answers meanwhile, and what follows a failure. */
import t from 'tap';
import { BLOCK, BLOCKS, cdb10, hex, rig, type Rig } from '../support/scsi-rig.js';
import { NEXUS, type Outcome, SAID, said } from '../support/scsi-runner.js';
import { until } from '../support/wait.js';

const OVERWRITE = 0x01;
const BLOCK_ERASE = 0x02;
const CRYPTOGRAPHIC_ERASE = 0x03;
const EXIT_FAILURE_MODE = 0x1f;
const IMMED = 0x80;
const AUSE = 0x20;

/** What is served while a unit is sanitized, and after a failure (SBC-4 4.11.2). */
const ALLOWED: readonly [name: string, cdb: string][] = [
  ['INQUIRY', '12 00 00 00ff 00'],
  ['REPORT LUNS', 'a0 00 00 000000 00000100 00 00'],
  ['REQUEST SENSE', '03 00 00 00 ff 00'],
  ['MODE SENSE(6), Caching', '1a 08 08 00 ff 00'],
  ['MODE SENSE(6), Control', '1a 00 0a 00 ff 00'],
  ['MODE SENSE(10), Informational Exceptions Control', '5a 00 9c 00 000000 00ff 00'],
  ['READ CAPACITY(10)', '25 00 00000000 0000 00 00'],
  ['READ CAPACITY(16)', `9e 10 ${'00'.repeat(8)} 00000020 00 00`],
  ['REPORT SUPPORTED OPERATION CODES', 'a3 0c 00 000000 00001000 00 00'],
  ['REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS', 'a3 0d 00 000000 00001000 00 00'],
];
/** What is not, though it needs no medium. */
const NOT_ALLOWED: readonly [name: string, cdb: string][] = [
  ['TEST UNIT READY', '00 00 00 00 00 00'],
  ['MODE SENSE(6), all pages', '1a 08 3f 00 ff 00'],
  ['MODE SENSE(6), Control Extension', '1a 08 0a 01 ff 00'],
  ['MODE SENSE(10), every subpage', '5a 08 0a ff 000000 00ff 00'],
  ['MODE SELECT(6)', '15 10 00 00 00 00'],
  ['LOG SENSE', '4d 00 40 00 00 0000 00ff 00'],
  ['SEND DIAGNOSTIC', '1d 04 00 0000 00'],
  ['START', '1b 00 00 00 01 00'],
  ['STOP', '1b 00 00 00 00 00'],
  ['PREVENT', '1e 00 00 00 01 00'],
  ['RESERVE(6)', '16 00 00 00 00 00'],
  ['RELEASE(10)', '57 00 00 00 00 00 00 0000 00'],
  ['READ(10)', cdb10('28', 0, 0, 1)],
  ['WRITE(10)', cdb10('2a', 0, 0, 1)],
  ['an operation code that there is not', 'ff'],
];

/** What is not, but for a failure: it breaks the reservation of a host that is gone. */
const RESERVATIONS: readonly [name: string, cdb: string][] = [
  ['PERSISTENT RESERVE IN', '5e 00 0000000000 1000 00'],
  ['PERSISTENT RESERVE OUT', '5f 06 00 0000 00000018 00'],
];

const TEST_UNIT_READY = '00 00 00 00 00 00';
const REQUEST_SENSE = '03 00 00 00 ff 00';

const cdb = (flags: number, listLength = 0, reserved = '0000000000'): string =>
  `48 ${hex(flags, 2)} ${reserved} ${hex(listLength, 4)} 00`;

/** OVERWRITE with that list: flags and count, a reserved byte, the length of the pattern, the pattern. */
function overwrite({ run }: Rig, first: number, pattern: Buffer, flags = OVERWRITE): Promise<Outcome> {
  const list = Buffer.concat([Buffer.from([first, 0, pattern.length >>> 8, pattern.length & 0xff]), pattern]);
  return run(cdb(flags, list.length), list);
}

for (const [name, action] of [
  ['BLOCK ERASE', BLOCK_ERASE],
  ['CRYPTOGRAPHIC ERASE', CRYPTOGRAPHIC_ERASE],
] as const) {
  t.test(name, async (t) => {
    const { ram, run } = rig();
    t.equal(said(await run(cdb(action))), SAID.GOOD);
    t.ok(ram.bytes.equals(Buffer.alloc(ram.bytes.length)), 'the medium reads as zeros');
    t.equal(ram.counts.write, 0, 'its space is given back, not written');
    t.equal(ram.counts.flush, 2, 'before, and durably');
    t.equal(said(await run(TEST_UNIT_READY)), SAID.GOOD);
    t.equal(said(await run(cdb(action, 4), Buffer.alloc(4))), SAID.INVALID_FIELD_IN_CDB, 'it has no list');
    t.equal(said(await run(cdb(action | 0x40))), SAID.INVALID_FIELD_IN_CDB, 'reserved in SBC-3');
    for (let at = 0; at < 5; at++) {
      const reserved = Buffer.alloc(5)
        .fill(1, at, at + 1)
        .toString('hex');
      t.equal(
        said(await run(cdb(action, 0, reserved))),
        SAID.INVALID_FIELD_IN_CDB,
        `reserved byte ${2 + at}`,
      );
    }
    t.equal(said(await rig(true).run(cdb(action))), SAID.WRITE_PROTECTED);
  });
}

t.test('OVERWRITE', async (t) => {
  const unit = rig();
  const pattern = Buffer.from([1, 2, 3]);
  const block = Buffer.alloc(BLOCK, pattern);
  t.equal(said(await overwrite(unit, 1, pattern)), SAID.GOOD);
  t.ok(unit.ram.bytes.equals(Buffer.alloc(BLOCKS * BLOCK, block)), 'every block begins with the pattern');
  t.equal(unit.ram.counts.flush, 2);
  const passes: string[] = [];
  const write = unit.ram.submit.bind(unit.ram);
  unit.ram.submit = (io) => {
    if (io.op === 'write' && io.offsetBytes === 0) passes.push(io.data.toString('hex', 0, 3));
    write(io);
  };
  t.equal(said(await overwrite(unit, 0x80 | 3, pattern)), SAID.GOOD);
  t.same(passes, ['010203', 'fefdfc', '010203'], 'INVERT, an odd count');
  t.equal(said(await overwrite(unit, 0x80 | 2, pattern)), SAID.GOOD);
  t.same(passes.slice(3), ['fefdfc', '010203'], 'an even count');
  t.equal(said(await overwrite(unit, 2, Buffer.alloc(BLOCK, 7))), SAID.GOOD, 'a pattern of a whole block');
  t.ok(unit.ram.bytes.equals(Buffer.alloc(BLOCKS * BLOCK, 7)));
});

t.test('what OVERWRITE refuses', async (t) => {
  const unit = rig();
  const before = Buffer.from(unit.ram.bytes);
  const { run } = unit;
  for (const length of [0, 1, 4, BLOCK + 5]) {
    t.equal(
      said(await run(cdb(OVERWRITE, length), Buffer.alloc(length, 1))),
      SAID.INVALID_FIELD_IN_CDB,
      `${length}`,
    );
  }
  const wrong: readonly [string, Buffer, string][] = [
    ['no pass', Buffer.from([0, 0, 0, 1, 7]), SAID.INVALID_FIELD_IN_PARAMETER_LIST],
    ['TEST', Buffer.from([0x21, 0, 0, 1, 7]), SAID.INVALID_FIELD_IN_PARAMETER_LIST],
    ['no pattern', Buffer.from([1, 0, 0, 0, 7]), SAID.INVALID_FIELD_IN_PARAMETER_LIST],
    ['a pattern longer than a block', Buffer.from([1, 0, 2, 1, 7]), SAID.INVALID_FIELD_IN_PARAMETER_LIST],
    ['a pattern cut short', Buffer.from([1, 0, 0, 9, 7]), SAID.PARAMETER_LIST_LENGTH_ERROR],
  ];
  for (const [name, list, expected] of wrong) {
    t.equal(said(await run(cdb(OVERWRITE, list.length), list)), expected, name);
  }
  t.equal(
    said(await run(cdb(OVERWRITE, 20), Buffer.alloc(3, 1))),
    SAID.PARAMETER_LIST_LENGTH_ERROR,
    'less came',
  );
  t.equal(said(await run(cdb(0x04))), SAID.INVALID_FIELD_IN_CDB, 'a service action that there is not');
  t.equal(said(await run(cdb(0x00))), SAID.INVALID_FIELD_IN_CDB);
  t.ok(unit.ram.bytes.equals(before), 'nothing was done');
  t.equal(said(await run('a3 0c 02 48 0004 00001000 00 00')), SAID.GOOD);
  t.equal((await run('a3 0c 02 48 0004 00001000 00 00')).dataIn[1], 1, 'and it is not reported as supported');
  t.equal((await run('a3 0c 02 48 0002 00001000 00 00')).dataIn[1], 3);
});

for (const [name, sanitize, left] of [
  ['BLOCK ERASE', (unit: Rig) => unit.run(cdb(BLOCK_ERASE)), 0],
  ['OVERWRITE', (unit: Rig) => overwrite(unit, 1, Buffer.from([7])), 7],
] as const) {
  t.test(`${name} waits for what is at the device`, async (t) => {
    const unit = rig();
    const { ram, faults, run } = unit;
    const pause = faults.add({ ops: ['write'], times: 1, action: { kind: 'pause' } });
    const older = run(cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK, 0x55));
    t.equal(pause.heldCount, 1);
    let isOver = false;
    const sanitized = sanitize(unit).finally(() => (isOver = true));
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    t.notOk(isOver, 'a write is under way that would land behind it');
    t.equal(ram.counts.discard + ram.counts.write, 0, 'nothing is erased before that has landed');
    t.equal(said(await run(cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK))), SAID.SANITIZE_IN_PROGRESS);
    pause.release();
    t.equal(said(await older), SAID.GOOD);
    t.equal(said(await sanitized), SAID.GOOD);
    t.ok(ram.bytes.equals(Buffer.alloc(ram.bytes.length, left)), 'nothing written before can be read');
  });
}

t.test('while it runs, the unit says how far it has come', async (t) => {
  const { ram, faults, run, server } = rig();
  const pause = faults.add({ ops: ['write'], skip: 1, action: { kind: 'pause' } });
  const list = Buffer.from([1, 0, 0, 1, 7]);
  t.equal(said(await run(cdb(IMMED | OVERWRITE, list.length), list)), SAID.GOOD, 'IMMED does not wait');
  await until('the I/O is held', () => pause.heldCount > 0);
  const sanitizes = [
    ['BLOCK ERASE', cdb(BLOCK_ERASE)],
    ['EXIT FAILURE MODE', cdb(EXIT_FAILURE_MODE)],
  ] as const;
  for (const [name, other] of [...NOT_ALLOWED, ...RESERVATIONS, ...sanitizes])
    t.equal(said(await run(other, Buffer.alloc(BLOCK))), SAID.SANITIZE_IN_PROGRESS, name);
  for (const [name, other] of ALLOWED) t.equal(said(await run(other)), SAID.GOOD, name);
  server.nexusBegan(NEXUS);
  server.reset(() => undefined);
  t.equal((await run(REQUEST_SENSE)).dataIn.toString('hex', 12, 14), '041b', 'before a unit attention');
  t.equal(said(await run(TEST_UNIT_READY)), SAID.UNIT_WAS_RESET, 'which is told yet');
  t.equal((await run(TEST_UNIT_READY)).sense?.progress, 0x3fff, 'a quarter, also after a reset');
  const { dataIn } = await run(REQUEST_SENSE);
  t.equal(dataIn.toString('hex'), '70000200000000' + '0a' + '00000000' + '041b' + '00' + '803fff');
  t.equal(
    (await run('03 01 00 00 ff 00')).dataIn.toString('hex'),
    '72' + '02041b' + '00000008' + '02060000' + '803fff00',
  );
  pause.remove();
  await until('the unit is erased', async () => said(await run(TEST_UNIT_READY)) === SAID.GOOD);
  t.ok(ram.bytes.equals(Buffer.alloc(ram.bytes.length, 7)));
});

t.test('a failure lasts until it is left or mended', async (t) => {
  const { faults, run } = rig();
  const fail = (): void =>
    void faults.add({ ops: ['discard'], times: 1, action: { kind: 'fail', code: 'medium-write' } });
  fail();
  t.equal(said(await run(cdb(AUSE | BLOCK_ERASE))), SAID.SANITIZE_FAILED);
  t.equal(said(await run(cdb10('28', 0, 0, 1))), SAID.SANITIZE_FAILED, 'the medium is not given away');
  for (const [name, other] of NOT_ALLOWED)
    t.equal(said(await run(other, Buffer.alloc(BLOCK))), SAID.SANITIZE_FAILED, name);
  for (const [name, other] of RESERVATIONS)
    t.equal(said(await run(other, Buffer.alloc(24).fill(1, 8, 16))), SAID.GOOD, name);
  for (const [name, other] of ALLOWED) t.equal(said(await run(other)), SAID.GOOD, name);
  t.equal((await run(REQUEST_SENSE)).dataIn.toString('hex', 12, 14), '3103');
  t.equal(said(await run(cdb(EXIT_FAILURE_MODE))), SAID.GOOD, 'AUSE allowed to leave it');
  t.equal(said(await run(cdb10('28', 0, 0, 1))), SAID.GOOD);
  t.equal(said(await run(cdb(EXIT_FAILURE_MODE))), SAID.GOOD, 'without a failure it is nothing');
  t.equal(said(await run(cdb(EXIT_FAILURE_MODE, 4))), SAID.INVALID_FIELD_IN_CDB);

  fail();
  t.equal(said(await run(cdb(IMMED | BLOCK_ERASE))), SAID.GOOD);
  await until(
    'the erasure has ended',
    async () => said(await run(TEST_UNIT_READY)) !== SAID.SANITIZE_IN_PROGRESS,
  );
  t.equal(said(await run(TEST_UNIT_READY)), SAID.SANITIZE_FAILED);
  t.equal(said(await run(cdb(EXIT_FAILURE_MODE))), SAID.INVALID_FIELD_IN_CDB, 'not so without AUSE');
  t.equal(said(await run(cdb(AUSE | BLOCK_ERASE))), SAID.INVALID_FIELD_IN_CDB, 'nor with AUSE afterwards');
  t.equal(said(await run(cdb(BLOCK_ERASE))), SAID.GOOD, 'only another one mends it');
  t.equal(said(await run(TEST_UNIT_READY)), SAID.GOOD);
});
