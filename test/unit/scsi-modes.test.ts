/** MODE SELECT, what the modes do, and unit attention conditions: who is told what, and when. */
import t from 'tap';
import { CLEAR_PIECE_BYTES_MAX, PIECE_BYTES_MAX } from '../../lib/base/limits.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { KeptUnitState, UnitMemory } from '../../lib/scsi/kept-state.js';
import { SENSE } from '../../lib/scsi/sense.js';
import type { UnitFacts } from '../../lib/scsi/state.js';
import { FaultDevice } from '../support/fault-device.js';
import { systemClock } from '../../lib/base/clock.js';
import type { BlockIo } from '../../lib/block/device.js';
import { RamDevice } from '../support/ram-device.js';
import { cdb10, cdb16, hex } from '../support/scsi-rig.js';
import {
  IDENTITY,
  nexusOf,
  type Outcome,
  RunnerTask,
  SAID,
  said,
  scsiRunner,
} from '../support/scsi-runner.js';
import { turns } from '../support/wait.js';

const BLOCK = 512;
const bytes = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const TEST_UNIT_READY = '00 00 00 00 00 00';

/** A disk with two initiators: each runs commands as itself. */
function unit(state = new KeptUnitState()) {
  const ram = new RamDevice(1024 * BLOCK, BLOCK);
  const device = new FaultDevice(ram, systemClock);
  const server = new DiskServer({ device, identity: IDENTITY, state });
  const { run, last } = scsiRunner(server.device, server);
  const [a, b] = [nexusOf('iqn.test:a'), nexusOf('iqn.test:b')];
  server.nexusBegan(a);
  server.nexusBegan(b);
  const as =
    (nexus: typeof a) =>
    (cdb: string, data?: Buffer): Promise<Outcome> =>
      run(cdb, data, 0, nexus);
  return { ram, device, server, a: as(a), b: as(b), nexusA: a, nexusB: b, last };
}

const HEADER6 = '00 00 00 00';
const CACHING = (wce: boolean): string => `08 12 ${wce ? '04' : '00'}${' 00'.repeat(17)}`;
const CONTROL = (dSense: boolean, swp: boolean): string =>
  `0a 0a ${dSense ? '04' : '00'} 10 ${swp ? '08' : '00'} 40${' 00'.repeat(6)}`;

/** MODE SELECT(6) of that list, as libiscsi sends it: PF. */
function select6(run: (cdb: string, data?: Buffer) => Promise<Outcome>, list: string): Promise<Outcome> {
  const data = bytes(list);
  return run(`15 10 00 00 ${data.length.toString(16).padStart(2, '0')} 00`, data);
}

t.test('software write protection', async (t) => {
  const { a, b } = unit();
  t.equal(said(await select6(a, `${HEADER6} ${CONTROL(false, true)}`)), SAID.GOOD);
  t.equal((await a('1a 08 0a 00 ff 00')).dataIn.toString('hex', 2, 3), '90', 'WP');
  t.equal((await a('1a 08 0a 00 ff 00')).dataIn.toString('hex', 4), '0a0a00100840000000000000', 'current');
  t.equal((await a('1a 08 8a 00 ff 00')).dataIn.toString('hex', 4), '0a0a00100040000000000000', 'default');
  const block = Buffer.alloc(BLOCK);
  t.equal(said(await a(cdb10('2a', 0, 0, 1), block)), SAID.WRITE_PROTECTED);
  t.equal(said(await b(cdb10('2a', 0, 0, 1), block)), SAID.MODE_PARAMETERS_CHANGED, 'the other is told once');
  t.equal(said(await b(cdb10('2a', 0, 0, 1), block)), SAID.WRITE_PROTECTED);
  t.equal(said(await a(TEST_UNIT_READY)), SAID.GOOD, 'who did it is not told');
  t.equal(said(await select6(b, `${HEADER6} ${CONTROL(false, false)}`)), SAID.GOOD);
  t.equal(said(await a(TEST_UNIT_READY)), SAID.MODE_PARAMETERS_CHANGED);
  t.equal(said(await a(cdb10('2a', 0, 0, 1), block)), SAID.GOOD);
  t.equal(said(await select6(b, `${HEADER6} ${CONTROL(false, false)}`)), SAID.GOOD);
  t.equal(said(await a(TEST_UNIT_READY)), SAID.GOOD, 'nothing has changed');
});

t.test('SWP set while the data of a write is on its way', async (t) => {
  const twoBlocks = Buffer.alloc(2 * BLOCK, 1);
  const unmapList = bytes('0016 0010 00000000 0000000000000000 00000001 00000000');
  for (const [name, cdb, data, expected] of [
    ['WRITE(10)', cdb10('2a', 0, 0, 1), twoBlocks.subarray(BLOCK), SAID.WRITE_PROTECTED],
    ['WRITE AND VERIFY(10)', cdb10('2e', 0, 0, 1), twoBlocks.subarray(BLOCK), SAID.WRITE_PROTECTED],
    ['WRITE SAME(10), a block', cdb10('41', 0, 0, 1), twoBlocks.subarray(BLOCK), SAID.WRITE_PROTECTED],
    ['WRITE SAME(10), zeros', cdb10('41', 0, 0, 1), Buffer.alloc(BLOCK), SAID.WRITE_PROTECTED],
    ['UNMAP', '42 00 00000000 00 0018 00', unmapList, SAID.WRITE_PROTECTED],
    ['COMPARE AND WRITE', '89 00 0000000000000000 000000 01 00 00', twoBlocks, SAID.WRITE_PROTECTED],
    ['ORWRITE(16)', cdb16('8b', 0, 0, 1), twoBlocks.subarray(BLOCK), SAID.WRITE_PROTECTED],
    ['SANITIZE, OVERWRITE', '48 01 0000000000 0005 00', bytes('01 00 0001 07'), SAID.WRITE_PROTECTED],
    ['VERIFY(10), BYTCHK', cdb10('2f', 2, 0, 1), twoBlocks.subarray(BLOCK), SAID.GOOD],
  ] as const) {
    const { ram, server, a, nexusA } = unit();
    ram.bytes.fill(1, 0, BLOCK);
    const task = new RunnerTask();
    task.cdb = Buffer.concat([bytes(cdb), Buffer.alloc(6)]);
    task.nexus = nexusA;
    task.expectedDataOutBytes = data.length;
    const plan = server.prepare(task);
    t.equal(said(await select6(a, `${HEADER6} ${CONTROL(false, true)}`)), SAID.GOOD);
    task.dataOut = data;
    if (plan === 'control') {
      const finished = new Promise<void>((resolve) => (task.whenFinished = resolve));
      server.execute(task);
      await finished;
    }
    const outcome = plan === 'write' ? server.refusalOf(task, plan) : task.outcomes[0];
    t.equal(said(outcome ?? { status: 0, sense: null }), expected, name);
    t.same([ram.counts.write, ram.counts.zero, ram.counts.discard], [0, 0, 0], 'nothing is changed');
    t.equal(said(await a(cdb10('35', 0, 0, 0))), SAID.GOOD, 'what was written before can be made durable');
    t.equal(ram.counts.flush, 2, 'as it was before SWP was set');
  }
});

t.test('SWP is set when what was written before has landed and is durable', async (t) => {
  const { ram, device, a, b } = unit();
  const pause = device.add({ ops: ['write'], times: 1, action: { kind: 'pause' } });
  const older = b(cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK, 1));
  t.equal(pause.heldCount, 1);
  let isOver = false;
  const selected = select6(a, `${HEADER6} ${CONTROL(false, true)}`).finally(() => (isOver = true));
  await turns(20);
  t.notOk(isOver, 'a write is under way');
  t.equal(ram.counts.flush, 0, 'and a flush now would miss it');
  t.equal((await b(cdb10('2a', 0, 1, 1), Buffer.alloc(BLOCK))).fua, true, 'what comes meanwhile is durable');
  pause.release();
  t.equal(said(await older), SAID.GOOD);
  t.equal(said(await selected), SAID.GOOD);
  t.equal(ram.counts.flush, 1);
  t.equal(said(await a(cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK))), SAID.WRITE_PROTECTED);
  t.equal(said(await select6(a, `${HEADER6} ${CONTROL(true, true)}`)), SAID.GOOD);
  t.equal(said(await select6(a, `${HEADER6} ${CONTROL(true, false)}`)), SAID.GOOD);
  t.equal(ram.counts.flush, 1, 'nothing to write where it is set, or ends');
  t.equal((await a(cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK))).fua, false, 'the cache is used again');
  device.add({ ops: ['flush'], times: 1, action: { kind: 'fail', code: 'medium-write' } });
  t.equal(said(await select6(a, `${HEADER6} ${CONTROL(true, true)}`)), '3/0c/00');
  t.equal(said(await a(cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK))), SAID.GOOD, 'so it is not set');
});

t.test('SWP set between two pieces of a write', async (t) => {
  const { ram, device, a, b } = unit();
  const pause = device.add({ ops: ['discard'], times: 1, action: { kind: 'pause' } });
  const list = bytes(`0026 0020 00000000 ${'0000000000000000 00000001 00000000'.repeat(2)}`);
  const unmapped = b('42 00 00000000 00 0028 00', list);
  const selected = select6(a, `${HEADER6} ${CONTROL(false, true)}`);
  pause.release();
  t.equal(said(await selected), SAID.GOOD);
  t.equal(said(await unmapped), SAID.WRITE_PROTECTED);
  t.equal(ram.counts.discard, 1, 'the one that was under way');
});

t.test('without the write cache every write is durable', async (t) => {
  const { ram, device, a } = unit();
  const block = Buffer.alloc(BLOCK, 1);
  t.equal((await a(cdb10('2a', 0, 0, 1), block)).fua, false);
  device.add({ ops: ['flush'], times: 1, action: { kind: 'fail', code: 'medium-write' } });
  t.equal(
    said(await select6(a, `${HEADER6} ${CACHING(false)}`)),
    '3/0c/00',
    'what is cached cannot be made durable',
  );
  t.equal((await a(cdb10('2a', 0, 0, 1), block)).fua, false, 'the cache is still there');
  t.equal(said(await select6(a, `${HEADER6} ${CACHING(false)}`)), SAID.GOOD);
  t.equal(ram.counts.flush, 1, 'what was acknowledged before is durable, too');
  t.equal((await a(cdb10('2a', 0, 0, 1), block)).fua, true);
  t.equal((await a('0a 00 00 00 01 00', block)).fua, true, 'WRITE(6), which has no FUA');
  t.equal((await a('1a 08 08 00 ff 00')).dataIn[6], 0, 'WCE');
  t.equal(said(await select6(a, `${HEADER6} ${CACHING(true)}`)), SAID.GOOD);
  t.equal((await a(cdb10('2a', 0, 0, 1), block)).fua, false);
});

t.test('nor is a write acknowledged without being durable whose data comes after that', async (t) => {
  const { server, a, nexusA } = unit();
  const task = new RunnerTask();
  task.cdb = bytes('2a 00 00000000 00 0001 00 000000000000');
  task.nexus = nexusA;
  t.equal(server.prepare(task), 'write');
  t.equal(task.fua, false, 'its R2T is out');
  t.equal(said(await select6(a, `${HEADER6} ${CACHING(false)}`)), SAID.GOOD);
  t.equal(server.refusalOf(task, 'write'), null);
  t.equal(task.fua, true);
});

t.test('the cache goes when what was under way without FUA has landed and is durable', async (t) => {
  const { ram, device, a, b } = unit();
  const pause = device.add({ ops: ['write'], times: 1, action: { kind: 'pause' } });
  const older = b(cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK, 1));
  t.equal(pause.heldCount, 1);
  const both = Buffer.concat([Buffer.alloc(BLOCK), Buffer.alloc(BLOCK, 2)]);
  const compared = b('89 00 0000000000000005 000000 01 00 00', both);
  let isOver = false;
  const selected = select6(a, `${HEADER6} ${CACHING(false)}`).finally(() => (isOver = true));
  await turns(20);
  t.notOk(isOver, 'a write is under way that is not durable when it ends');
  t.equal(ram.counts.flush, 0, 'and a flush now would miss it');
  t.equal((await b(cdb10('2a', 0, 1, 1), Buffer.alloc(BLOCK))).fua, true, 'what comes meanwhile is durable');
  t.equal((await b('1a 08 08 00 ff 00')).dataIn[6], 4, 'WCE still');
  pause.release();
  t.equal(said(await older), SAID.GOOD);
  t.equal(said(await compared), SAID.GOOD);
  t.equal(said(await selected), SAID.GOOD);
  t.equal(ram.counts.flush, 1);
  t.equal(ram.fuaCount, 2, 'COMPARE AND WRITE, which had waited for its turn, too');
});

t.test('without the cache the pieces of WRITE SAME still to come are durable', async (t) => {
  for (const [op, fill, pieceBytes] of [
    ['write', 1, PIECE_BYTES_MAX],
    ['zero', 0, CLEAR_PIECE_BYTES_MAX],
  ] as const) {
    const sizeBytes = 2 * pieceBytes;
    const blockBytes = 4096; // so that a command may clear two pieces
    const fuas: boolean[] = [];
    const submit = (io: BlockIo): void => {
      if (io.op === op) fuas.push(io.fua);
      setImmediate(() => io.complete(null));
    };
    const server = new DiskServer({
      device: { sizeBytes, blockBytes, readOnly: false, submit },
      identity: IDENTITY,
    });
    const { run } = scsiRunner(server.device, server);
    const blocks = (sizeBytes / blockBytes).toString(16).padStart(8, '0');
    const same = run(`93 00 0000000000000000 ${blocks} 00 00`, Buffer.alloc(blockBytes, fill));
    const selected = select6(run, `${HEADER6} ${CACHING(false)}`);
    t.equal(said(await selected), SAID.GOOD);
    t.equal(said(await same), SAID.GOOD);
    t.same(fuas, [false, true], op);
  }
});

t.test('sense data in the format that D_SENSE says', async (t) => {
  const { server, a } = unit();
  t.equal(server.encodeSense(SENSE.LBA_OUT_OF_RANGE)[0], 0x70);
  t.equal(said(await select6(a, `${HEADER6} ${CONTROL(true, false)}`)), SAID.GOOD);
  t.equal(server.encodeSense(SENSE.LBA_OUT_OF_RANGE)[0], 0x72);
  // INFORMATION, where a number has it exactly: VALID, and the LBA.
  const commands = [
    ...['88', '8a', '8f', '91', '90', '93'].map(
      (opcode) => (lba: string) => `${opcode} 00 ${lba} 00000001 00 00`,
    ),
    (lba: string): string => `9e 12 ${lba} 00000018 00 00`,
  ];
  for (const cdb of commands) {
    for (const [lba, descriptor] of [
      ['00000000ffffffff', '00 0a 80 00 00 00 00 00 ff ff ff ff'],
      ['001fffffffffffff', '00 0a 80 00 00 1f ff ff ff ff ff ff'],
      ['0020000000000001', ''],
      ['8000000000000000', ''],
      ['fffffffffffffc00', ''],
      ['ffffffffffffffff', ''],
    ] as const) {
      const outcome = await a(cdb(lba), Buffer.alloc(512));
      t.equal(said(outcome), SAID.LBA_OUT_OF_RANGE, cdb(lba));
      const sense = server.encodeSense(outcome.sense ?? SENSE.INVALID_OPCODE);
      t.equal(sense.toString('hex', 8), descriptor.replaceAll(' ', ''), cdb(lba));
    }
  }
});

t.test('a page that was not sent stays as it is', async (t) => {
  const { device, a, b } = unit();
  const pause = device.add({ ops: ['flush'], action: { kind: 'pause' } });
  const slow = select6(a, `${HEADER6} ${CACHING(false)}`);
  while (pause.heldCount === 0) await turns(1);
  t.equal(said(await select6(b, `${HEADER6} ${CONTROL(true, false)}`)), SAID.GOOD);
  pause.remove();
  t.equal(said(await slow), SAID.GOOD);
  t.equal(said(await a(TEST_UNIT_READY)), SAID.MODE_PARAMETERS_CHANGED);
  t.equal(said(await b(TEST_UNIT_READY)), SAID.MODE_PARAMETERS_CHANGED);
  t.equal((await a('1a 08 0a 00 ff 00')).dataIn.toString('hex', 4), '0a0a04100040000000000000', 'D_SENSE');
  t.equal((await a('1a 08 08 00 ff 00')).dataIn[6], 0, 'WCE');
});

/** Answers later, as a store does. */
class LateMemory extends UnitMemory {
  override change(make: (facts: UnitFacts) => UnitFacts, done: (isKept: boolean) => void): void {
    setImmediate(() => super.change(make, done));
  }
}

t.test('nor is it undone by another MODE SELECT that is being written down', async (t) => {
  const { a, b } = unit(new KeptUnitState(new LateMemory()));
  const first = select6(a, `${HEADER6} ${CONTROL(false, true)}`);
  const second = select6(b, `${HEADER6} ${CACHING(true)}`);
  t.equal(said(await first), SAID.GOOD);
  t.equal(said(await second), SAID.GOOD);
  t.equal((await a('1a 08 0a 00 ff 00')).dataIn.toString('hex', 2, 3), '90', 'WP');
});

t.test('nothing is set for a MODE SELECT that was aborted, or after a reset', async (t) => {
  for (const way of ['abort', 'reset'] as const) {
    const { device, server, a, b, last } = unit();
    const pause = device.add({ ops: ['flush'], action: { kind: 'pause' } });
    const slow = select6(a, `${HEADER6} ${CACHING(false)} ${CONTROL(false, true)}`);
    while (pause.heldCount === 0) await turns(1);
    if (way === 'abort') last().markEnding();
    else server.reset(() => undefined);
    pause.remove();
    t.not(said(await slow), SAID.GOOD, way);
    t.equal((await b('1a 08 08 00 ff 00')).sense?.ascq, way === 'reset' ? 3 : undefined);
    t.equal((await b('1a 08 08 00 ff 00')).dataIn.toString('hex', 2, 7), '1000081204', way);
    t.equal((await b(cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK))).fua, false, 'the cache is used');
  }
});

t.test('MODE SELECT takes what MODE SENSE gave', async (t) => {
  const { a, b } = unit();
  for (const cdb of ['1a 00 3f ff ff 00', '1a 08 3f ff ff 00']) {
    const list = (await a(cdb)).dataIn.toString('hex');
    t.equal(said(await select6(a, list)), SAID.GOOD, cdb);
  }
  for (const cdb of ['5a 00 3f ff 000000 00ff 00', '5a 10 3f ff 000000 00ff 00']) {
    const list = (await a(cdb)).dataIn;
    t.equal(
      said(await a(`55 10 0000000000 ${list.length.toString(16).padStart(4, '0')} 00`, list)),
      SAID.GOOD,
      cdb,
    );
  }
  t.equal(said(await b(TEST_UNIT_READY)), SAID.GOOD, 'and nothing has changed');
  t.equal(said(await a('15 10 00 00 00 00')), SAID.GOOD, 'no list');
  t.equal(said(await a('55 00 0000000000 0000 00')), SAID.GOOD, 'no list');
});

t.test('MODE SELECT ignores a capacity, and keeps what there is', async (t) => {
  const { a } = unit();
  for (const blocks of ['00000000', '000003ff', '00000400', 'ffffffff']) {
    const list = `00 00 00 08 ${blocks} 00 000200 ${CONTROL(false, false)}`;
    t.equal(said(await select6(a, list)), SAID.GOOD, blocks);
    const long = bytes(`0000 00 00 01 00 0010 ${blocks.repeat(2)} 00000000 00000200`);
    t.equal(said(await a('55 10 0000000000 0018 00', long)), SAID.GOOD, `${blocks}, LONGLBA`);
  }
  t.equal((await a('1a 00 08 00 ff 00')).dataIn.toString('hex', 4, 12), '0000040000000200');
});

t.test('MODE SELECT refuses what cannot be changed, and then changes nothing', async (t) => {
  const { a, b } = unit();
  const wrong: readonly [string, string, string][] = [
    ['a medium type', `00 01 00 00 ${CONTROL(false, true)}`, SAID.INVALID_FIELD_IN_PARAMETER_LIST],
    [
      'a page that is not there',
      `${HEADER6} ${CONTROL(false, true)} 05 02 00 00`,
      SAID.INVALID_FIELD_IN_PARAMETER_LIST,
    ],
    ['all pages', `${HEADER6} 3f 0a${' 00'.repeat(10)}`, SAID.INVALID_FIELD_IN_PARAMETER_LIST],
    ['a length of its own', `${HEADER6} 0a 06${' 00'.repeat(6)}`, SAID.INVALID_FIELD_IN_PARAMETER_LIST],
    [
      'TAS',
      `${HEADER6} ${CACHING(false)} 0a 0a 00 10 08 00${' 00'.repeat(6)}`,
      SAID.INVALID_FIELD_IN_PARAMETER_LIST,
    ],
    ['a page cut short', `${HEADER6} ${CONTROL(false, true)}`.slice(0, -3), SAID.PARAMETER_LIST_LENGTH_ERROR],
    ['a page header cut short', `${HEADER6} ${CONTROL(false, true)} 08`, SAID.PARAMETER_LIST_LENGTH_ERROR],
    ['a header cut short', '00 00 00', SAID.PARAMETER_LIST_LENGTH_ERROR],
    ['a block descriptor cut short', '00 00 00 08 00 00 00 00', SAID.PARAMETER_LIST_LENGTH_ERROR],
    [
      'half a block descriptor',
      `00 00 00 04 00 00 00 00 ${CONTROL(false, true)}`,
      SAID.INVALID_FIELD_IN_PARAMETER_LIST,
    ],
    ['another block', '00 00 00 08 00 00 00 00 00 00 10 00', SAID.INVALID_FIELD_IN_PARAMETER_LIST],
  ];
  for (const [name, list, expected] of wrong) t.equal(said(await select6(a, list)), expected, name);
  const { sense } = await select6(a, `${HEADER6} ${CACHING(true)} 0a 0a 00 10 00 41${' 00'.repeat(6)}`);
  t.same(sense?.field, { inCdb: false, byte: 29 }, 'it points at the byte');
  t.equal(said(await a('15 11 00 00 10 00', Buffer.alloc(16))), SAID.INVALID_FIELD_IN_CDB, 'SP');
  t.equal(said(await a('15 00 00 00 10 00', Buffer.alloc(16))), SAID.INVALID_FIELD_IN_CDB, 'no PF');
  t.equal(said(await b(TEST_UNIT_READY)), SAID.GOOD);
  t.equal(said(await a(cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK))), SAID.GOOD, 'not protected');
});

t.test('MODE SELECT takes no subpage code that names no page', async (t) => {
  const { a } = unit();
  for (const subpage of ['00', 'ff']) {
    for (const [length, pageCode] of [
      [10, '4a'],
      [18, '48'],
      [10, '7f'],
    ] as const) {
      const page = `${pageCode} ${subpage} 00 ${hex(length, 2)}${' 00'.repeat(length)}`;
      const outcome = await select6(a, `${HEADER6} ${CACHING(true)} ${page}`);
      t.equal(said(outcome), SAID.INVALID_FIELD_IN_PARAMETER_LIST, page);
      t.same(outcome.sense?.field, { inCdb: false, byte: 25 }, 'it points at the subpage code');
    }
  }
  const known = `4a 01 00 1c${' 00'.repeat(28)}`;
  t.equal(said(await select6(a, `${HEADER6} ${known}`)), SAID.GOOD, 'one that does');
});

t.test('a reset is told to everybody, and takes modes back', async (t) => {
  const { server, a, b, nexusB } = unit();
  await select6(a, `${HEADER6} ${CONTROL(false, true)}`);
  server.reset(() => undefined);
  t.equal(said(await a(cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK))), SAID.UNIT_WAS_RESET);
  t.equal(said(await a(cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK))), SAID.GOOD);
  t.equal(said(await b('12 00 00 00ff 00')), SAID.GOOD, 'INQUIRY neither stops at it nor takes it');
  t.equal(said(await b('a0 00 00 000000 00000100 00 00')), SAID.GOOD, 'nor does REPORT LUNS');
  t.equal(said(await b('ff')), SAID.UNIT_WAS_RESET, 'it goes before an unknown command');
  t.equal(said(await b(TEST_UNIT_READY)), SAID.GOOD, 'in place of the change of modes before it');
  server.reset(() => undefined);
  const { dataIn } = await b('03 00 00 00 ff 00');
  t.equal(dataIn.toString('hex', 2, 14), '06000000000a000000002903', 'REQUEST SENSE brings it as data');
  t.equal(said(await b(TEST_UNIT_READY)), SAID.GOOD, 'and takes it');
  server.reset(() => undefined);
  server.nexusEnded(nexusB);
  server.nexusBegan(nexusB);
  t.equal(said(await b(TEST_UNIT_READY)), SAID.GOOD, 'who logs in anew is told nothing of before');
});
