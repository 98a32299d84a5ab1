/**
 * EXTENDED COPY (LID1) and RECEIVE COPY …: what is copied, what is refused or aborted and how that is said, who may, what is
 * known of a copy while it is at work and afterwards.
 */
import t from 'tap';
import {
  COPIES_MAX,
  COPY_CSCDS_MAX,
  COPY_SEGMENT_BYTES_MAX,
  COPY_SEGMENTS_MAX,
  PIECE_BYTES_MAX,
} from '../../lib/base/limits.js';
import { encodeSense, encodeSenseDescriptors } from '../../lib/scsi/sense.js';
import {
  copyCdb,
  copyList,
  cscd,
  CopyUnit,
  HOST,
  NAA_A,
  NAA_B,
  receive,
  segment,
  SIZE,
  twoUnits,
} from '../support/copy-rig.js';
import { hex, shown } from '../support/scsi-rig.js';
import { nexusOf, SAID, said } from '../support/scsi-runner.js';
import { turn, until } from '../support/wait.js';

const [A, B] = [cscd(NAA_A), cscd(NAA_B)];
const BLOCK = 512;
const PIECE = PIECE_BYTES_MAX / BLOCK;
const NOT_REACHABLE = 'a/0d/02';
const DEVICE_FAILURE = 'a/0d/01';
const CONFLICT = 'status 18';

t.test('within a unit', async (t) => {
  const [a] = twoUnits();
  const copied = a.held(10, 100);
  const before = Buffer.from(a.ram.bytes);
  const list = copyList([A], [segment({ from: 10, to: 5000, blocks: 100 })]);
  t.equal(said(await a.copy(list)), SAID.GOOD);
  copied.copy(before, 5000 * BLOCK);
  t.ok(a.ram.bytes.equals(before), 'that much and nothing else');
  t.equal(said(await a.copy(copyList([], []))), SAID.GOOD, 'nothing to copy');
  t.equal(said(await a.copy(copyList([A], [segment({ blocks: 0, to: 8191 })]))), SAID.GOOD, '0 blocks');
  t.equal(said(await a.run('83 00 0000000000000000 00000000 00 00')), SAID.GOOD, 'no parameter list');
  t.ok(a.ram.bytes.equals(before));
  const own = copyList([], [segment({ source: 0xffff, destination: 0xffff, to: 77 })]);
  t.equal(said(await a.copy(own)), SAID.GOOD, '"this unit" without a descriptor');
  t.ok(a.held(77, 1).equals(a.held(0, 1)));
});

t.test('between units, whichever is asked, in several segments', async (t) => {
  for (const asked of [0, 1]) {
    const units = twoUnits();
    const [a, b] = units;
    const [fromA, fromB] = [a.held(0, 3 * PIECE + 5), b.held(8000, 7)];
    const list = copyList(
      [A, B],
      [
        segment({ source: 0, destination: 1, from: 0, to: 100, blocks: 3 * PIECE + 5 }),
        segment({ source: 1, destination: 0, from: 8000, to: 3, blocks: 7 }),
      ],
    );
    t.equal(said(await (units[asked] as CopyUnit).copy(list)), SAID.GOOD);
    t.ok(b.held(100, 3 * PIECE + 5).equals(fromA));
    t.ok(a.held(3, 7).equals(fromB));
  }
});

t.test('blocks of different lengths', async (t) => {
  const [a, b] = twoUnits(4096);
  const big = cscd(NAA_B, '0103', 0, 4096);
  const there = a.held(8, 16);
  const to = (fields: object): Buffer => copyList([A, big], [segment({ destination: 1, ...fields })]);
  t.equal(said(await a.copy(to({ from: 8, to: 5, blocks: 16 }))), SAID.GOOD);
  t.ok(b.held(5, 2).equals(there), 'counted in those of the source');
  t.equal(said(await a.copy(to({ from: 8, to: 9, blocks: 2, flags: 0x02 }))), SAID.GOOD);
  t.ok(b.held(9, 2).equals(there), 'DC: in those of the destination');
  t.equal(said(await a.copy(to({ from: 8, to: 20, blocks: 15 }))), 'a/26/0a', 'not whole blocks there');
  const wrong = copyList([A, B], [segment({ destination: 1 })]);
  const outcome = await a.copy(wrong);
  t.equal(said(outcome), 'a/26/00', 'DISK BLOCK LENGTH is another');
  t.same(outcome.sense?.field, { inCdb: false, byte: 16 + 32 + 29 });
  const unsaid = copyList([A, cscd(NAA_B, '0103', 0, 0)], [segment({ destination: 1, blocks: 8 })]);
  t.equal(said(await a.copy(unsaid)), SAID.GOOD, 'or is not said');
});

t.test('a segment that lies partly on itself', async (t) => {
  for (const [from, to] of [
    [0, 1],
    [1, 0],
    [0, PIECE - 1],
    [PIECE + 3, 5],
    [7, 7],
  ] as const) {
    const [a] = twoUnits();
    const blocks = 2 * PIECE + 1;
    const copied = a.held(from, blocks);
    t.equal(said(await a.copy(copyList([A], [segment({ from, to, blocks })]))), SAID.GOOD);
    t.ok(a.held(to, blocks).equals(copied), `from ${from} to ${to}`);
  }
});

t.test('holes stay holes', async (t) => {
  const [a, b] = twoUnits(4096);
  // Blocks 24 to 95 of A take no space.
  a.ram.bytes.fill(0, 24 * BLOCK, 96 * BLOCK);
  Object.assign(a.server.unit.device, {
    provisioning: (offsetBytes: number, lengthBytes: number) => {
      const lba = offsetBytes / BLOCK;
      const mapped = lba < 24 || lba >= 96;
      const end = lba < 24 ? 24 : lba < 96 ? 96 : Infinity;
      return { mapped, lengthBytes: Math.min((end - lba) * BLOCK, lengthBytes) };
    },
  });
  const copied = a.held(4, 200);
  const list = copyList(
    [A, cscd(NAA_B, '0103', 0, 4096)],
    [segment({ destination: 1, from: 4, to: 1, blocks: 200 })],
  );
  t.equal(said(await a.copy(list)), SAID.GOOD);
  t.ok(b.held(1, 25).equals(copied));
  t.ok(b.ram.counts.discard > 0, 'by discarding');
  const discarded = b.ram.counts.discard;
  t.equal(said(await a.copy(copyList([A], [segment({ from: 20, to: 24, blocks: 40 })]))), SAID.GOOD);
  t.ok(
    a.held(24, 4).some((byte) => byte !== 0),
    'but where the source is written over meanwhile',
  );
  t.equal(b.ram.counts.discard, discarded);
});

t.test('with the write cache off what is copied is durable', async (t) => {
  const [a, b] = twoUnits();
  const list = copyList([A, B], [segment({ destination: 1 })]);
  await a.copy(list);
  t.equal(b.ram.fuaCount, 0);
  const off = Buffer.from(`000000000812${'00'.repeat(18)}`, 'hex');
  const selected = await b.run('15 10 00 00 18 00', off, 0, HOST);
  t.equal(said(selected), SAID.GOOD);
  t.equal(said(await a.copy(list)), SAID.GOOD);
  t.equal(b.ram.fuaCount, 1);
});

t.test('parameter lists that are refused', async (t) => {
  const [a] = twoUnits();
  const before = Buffer.from(a.ram.bytes);
  const one = segment({ to: 9 });
  const whole = copyList([A], [one]);
  const manyCscds = Array.from({ length: COPY_CSCDS_MAX + 1 }, () => A);
  const manySegments = Array.from({ length: COPY_SEGMENTS_MAX + 1 }, () => one);
  const strange = (from: string, to: string): Buffer =>
    Buffer.from(whole.toString('hex').replace(from, to), 'hex');
  const table: readonly [string, Buffer, string, number?][] = [
    ['less than a header', whole.subarray(0, 15), '5/1a/00'],
    ['a header alone', whole.subarray(0, 16), '5/1a/00'],
    ['cut within a CSCD descriptor', whole.subarray(0, 47), '5/1a/00'],
    ['cut within a segment descriptor', whole.subarray(0, 75), '5/1a/00'],
    ['too many CSCD descriptors', copyList(manyCscds, [one]), '5/26/06', 2],
    ['too many segment descriptors', copyList([A], manySegments), '5/26/08', 8],
    ['too many of both', copyList(manyCscds, manySegments), '5/1a/00'],
    ['inline data', copyList([A], [one], { inline: 4 }), '5/26/0b', 12],
    ['LIST ID USAGE 01b', copyList([A], [one], { usage: 1 }), '5/26/00', 1],
    ['no list identifier, but one', copyList([A], [one], { usage: 3, id: 7 }), '5/26/00', 0],
    ['a CSCD descriptor of another type', copyList([`e0${A.slice(2)}`], [one]), '5/26/07', 16],
    ['half of a CSCD descriptor', copyList([A, A.slice(0, 32)], [one]), '5/1a/00'],
    ['a designator that is too long', copyList([`${A.slice(0, 14)}15${A.slice(16)}`], [one]), '5/26/00', 23],
    ['a segment descriptor of another type', copyList([A], [`03${one.slice(2)}`]), '5/26/09', 48],
    ['half of a segment descriptor', copyList([A], [one, one.slice(0, 24)]), '5/1a/00'],
    ['a segment of another length', strange('02000018', '02000014'), '5/26/00', 50],
  ];
  for (const [name, list, expected, byte] of table) {
    const outcome = await a.copy(list);
    t.equal(said(outcome), expected, name);
    t.same(outcome.sense?.field, byte === undefined ? undefined : { inCdb: false, byte }, `${name}: where`);
  }
  const short = await a.run(copyCdb(whole.length), whole.subarray(0, 60), 0, HOST);
  t.equal(said(short), '5/1a/00', 'less came than the CDB said');
  t.equal(said(await a.run(copyCdb(2 ** 31), whole)), '5/1a/00', 'more than there can be');
  t.equal(said(await a.run('83 01 0000000000000000 00000000 00 00')), SAID.INVALID_OPCODE, 'LID4');
  t.ok(a.ram.bytes.equals(before), 'nothing is written');
});

t.test('segments that abort the copy', async (t) => {
  const good = segment({ to: 100 });
  const blocks = 8192;
  const other = (designator: string, kind: string): string => cscd(designator, kind);
  const table: readonly [string, string, Parameters<typeof segment>[0], string, object?][] = [
    ['no such descriptor', A, { destination: 1 }, NOT_REACHABLE, { inSegment: true, byte: 6 }],
    ['no such source', A, { source: 9 }, NOT_REACHABLE, { inSegment: true, byte: 4 }],
    ['beyond the destination', A, { to: blocks - 1, blocks: 2 }, 'a/00/00', { inSegment: true, byte: 20 }],
    ['beyond the source', A, { from: blocks, blocks: 1 }, 'a/00/00', { inSegment: true, byte: 12 }],
    ['far beyond', A, { from: 2 ** 52 }, 'a/00/00', { inSegment: true, byte: 12 }],
    ['fast copy only', A, { flags: 0x04 }, 'a/26/16', { inSegment: true, byte: 1 }],
    ['nobody', cscd('3cccccccccccccc0'), {}, NOT_REACHABLE, { byte: 20 }],
    ['its EUI-64', other(NAA_A, '0102'), {}, NOT_REACHABLE, { byte: 20 }],
    ['a name that is its port', other('00000001', '0114'), {}, NOT_REACHABLE, { byte: 20 }],
    ['half of its name', other(NAA_A.slice(0, 8), '0103'), {}, NOT_REACHABLE, { byte: 20 }],
    ['no name', other('', '0103'), {}, NOT_REACHABLE, { byte: 20 }],
    ['a null device', cscd(NAA_A, '0103', 0x20), {}, NOT_REACHABLE, { byte: 20 }],
    ['a tape', cscd(NAA_A, '0103', 0x01), {}, 'a/0d/03', { byte: 17 }],
  ];
  for (const [name, descriptor, fields, expected, field] of table) {
    const [a] = twoUnits();
    const first = a.held(0, 1);
    const unwritten = a.held(300, 1);
    const outcome = await a.copy(
      copyList([descriptor], [good.replace('00000000', 'ffffffff'), segment(fields), segment({ to: 300 })]),
    );
    t.equal(said(outcome), expected, name);
    t.same(outcome.sense?.field, { inCdb: false, ...field }, `${name}: where`);
    t.equal(outcome.sense?.copy?.segment, 1, `${name}: in the second segment`);
    t.ok(a.held(100, 1).equals(first), 'the first is copied');
    t.ok(a.held(300, 1).equals(unwritten), 'the third is not');
  }
  const units: CopyUnit[] = [];
  const large = new CopyUnit(NAA_A, units, 1, 2 * COPY_SEGMENT_BYTES_MAX, 4096);
  const most = COPY_SEGMENT_BYTES_MAX / 4096;
  const list = (count: number): Buffer =>
    copyList([cscd(NAA_A, '0103', 0, 4096)], [segment({ to: most - 1, blocks: count })]);
  t.equal(said(await large.copy(list(most))), SAID.GOOD, 'as long as a segment may be');
  t.equal(said(await large.copy(list(most + 1))), 'a/26/00', 'and longer');
});

t.test('LU ID TYPE is ignored (SPC-4 6.4.5)', async (t) => {
  const [a] = twoUnits();
  t.equal(said(await a.copy(copyList([cscd(NAA_A, '0103', 0xc0)], [segment({ to: 9 })]))), SAID.GOOD);
});

t.test('a unit that fails is said with what it answered', async (t) => {
  const table = [
    { op: 'read', code: 'medium-read', by: 'source', unit: 0, sense: '03', asc: '11 00' },
    { op: 'write', code: 'no-space', by: 'destination', unit: 1, sense: '07', asc: '27 07' },
  ] as const;
  for (const { op, code, by, unit, sense, asc } of table) {
    const units = twoUnits();
    units[unit].faults.add({ ops: [op], action: { kind: 'fail', code } });
    const list = copyList([A, B], [segment({ blocks: 0 }), segment({ destination: 1 })]);
    const outcome = await units[0].copy(list);
    t.equal(said(outcome), DEVICE_FAILURE);
    t.equal(outcome.sense?.copy?.answer?.by, by);
    if (outcome.sense === null) throw new Error('no sense');
    const pointers = by === 'source' ? '12 00' : '00 12';
    const inner = `70 00 ${sense} 00 00 00 00 0a 00 00 00 00 ${asc} 00 00 00 00`;
    t.equal(
      shown(encodeSense(outcome.sense)),
      `70 00 0a 00 00 00 00 1d ${pointers} 00 01 0d 01 00 00 00 00 02 ${inner}`,
      'fixed format',
    );
    t.equal(
      shown(encodeSenseDescriptors(outcome.sense)),
      `72 0a 0d 01 00 00 00 22 01 0a 00 00 00 00 00 00 00 00 00 01 0c 14 0${by === 'source' ? 1 : 2} 02 ${inner}`,
      'descriptor format',
    );
  }
  const [a] = twoUnits();
  const { sense } = await a.copy(copyList([A], [segment({ to: 8192 })]));
  if (sense === null) throw new Error('no sense');
  t.equal(
    shown(encodeSense(sense)),
    '70 00 0a 00 00 00 00 0a 00 00 00 00 00 00 00 a0 00 14',
    'without an answer: the pointer into the segment descriptor',
  );
});

t.test('write protection', async (t) => {
  const [a, b] = twoUnits();
  const protect = Buffer.from(`000000000a0a00100840${'00'.repeat(6)}`, 'hex');
  t.equal(said(await b.run(`15 10 00 00 ${hex(protect.length, 2)} 00`, protect, 0, HOST)), SAID.GOOD, 'SWP');
  const before = b.held(0, 8192);
  const outcome = await a.copy(copyList([A, B], [segment({ destination: 1 })]));
  t.equal(said(outcome), DEVICE_FAILURE);
  t.equal(outcome.sense?.copy?.answer?.sense?.asc, 0x27);
  t.ok(b.held(0, 8192).equals(before));
  t.equal(said(await a.copy(copyList([A, B], [segment({ source: 1 })]))), SAID.GOOD, 'it may be read');
  t.equal(said(await b.copy(copyList([B, A], [segment({ destination: 1 })]))), SAID.GOOD, 'by itself, too');
});

t.test('only units that are here, and that the initiator is logged in to', async (t) => {
  const [a, b] = twoUnits();
  const list = copyList([A, B], [segment({ source: 1 })]);
  const stranger = nexusOf('iqn.2026-11.test:stranger');
  a.server.nexusBegan(stranger);
  t.equal(said(await a.copy(list, stranger)), NOT_REACHABLE, 'it could not read it either');
  b.server.nexusBegan(stranger);
  t.equal(said(await a.copy(list, stranger)), SAID.GOOD);
  b.server.nexusEnded(stranger);
  t.equal(said(await a.copy(list, stranger)), NOT_REACHABLE);
  b.isHere = false;
  t.equal(said(await a.copy(list)), NOT_REACHABLE, 'served elsewhere');
  t.equal(said(await b.copy(copyList([B], [segment({ to: 9 })]))), SAID.GOOD, 'its own copies go on');
});

t.test('a unit that goes elsewhere during a copy', async (t) => {
  const [a, b] = twoUnits();
  const pause = b.faults.add({ ops: ['write'], times: 1, action: { kind: 'pause' } });
  const task = a.begin(copyList([A, B], [segment({ destination: 1, blocks: 2 * PIECE })]));
  await until('the I/O is held', () => pause.heldCount > 0);
  const second = b.held(PIECE, PIECE);
  b.isHere = false;
  pause.release();
  await until('the command ends', () => task.outcomes.length > 0);
  t.equal(task.outcomes.map(said).join(), NOT_REACHABLE);
  t.ok(b.held(PIECE, PIECE).equals(second), 'nothing is written there any more');
});

const KEY = 'a'.repeat(16);
const NONE = '0'.repeat(16);
const out = (unit: CopyUnit, action: number, nexus = HOST, keys = KEY + NONE, type = 0): Promise<unknown> =>
  unit.run(
    `5f ${hex(action, 2)} ${hex(type, 2)} 0000 00000018 00`,
    Buffer.from(keys + NONE, 'hex'),
    0,
    nexus,
  );
const [REGISTER, RESERVE, PREEMPT_AND_ABORT] = [0, 1, 5];

t.test('reservations: of the unit that is asked, and of those that are read and written', async (t) => {
  const holder = nexusOf('iqn.2026-11.test:holder');
  for (const [type, mayRead] of [
    [1, true],
    [3, false],
    [5, true],
    [6, false],
  ] as const) {
    const [a, b] = twoUnits();
    b.server.nexusBegan(holder);
    await out(b, REGISTER, holder, NONE + KEY);
    await out(b, RESERVE, holder, KEY + NONE, type);
    t.equal(said(await b.copy(copyList([A, B], [segment({ to: 9 })]))), CONFLICT, `type ${type}: asked`);
    t.equal(said(await b.run(receive(3), undefined, 0, HOST)), SAID.GOOD, `type ${type}: asked about it`);
    const before = b.held(0, 8192);
    const written = await a.copy(copyList([A, B], [segment({ destination: 1 })]));
    t.equal(said(written), DEVICE_FAILURE, `type ${type}: written`);
    t.same(written.sense?.copy?.answer, { by: 'destination', status: 0x18, sense: null });
    t.ok(b.held(0, 8192).equals(before));
    const read = await a.copy(copyList([A, B], [segment({ source: 1 })]));
    t.equal(said(read), mayRead ? SAID.GOOD : DEVICE_FAILURE, `type ${type}: read`);
    await out(b, REGISTER, HOST, NONE + KEY);
    const registered = said(await a.copy(copyList([A, B], [segment({ destination: 1 })])));
    t.equal(registered, type >= 5 ? SAID.GOOD : DEVICE_FAILURE, `type ${type}: registered there`);
  }
});

const fencer = nexusOf('iqn.2026-11.test:fencer');
for (const [name, end] of [
  ['PREEMPT AND ABORT', (b: CopyUnit) => out(b, PREEMPT_AND_ABORT, fencer, 'b'.repeat(16) + KEY, 1)],
  ['a reset', (b: CopyUnit) => new Promise((resolve) => b.server.reset(resolve))],
  [
    'the end of a session',
    (b: CopyUnit) => new Promise<void>((resolve) => b.server.nexusEnded(HOST, resolve)),
  ],
] as const) {
  t.test(`${name} at the destination waits for what is written, and ends the copy`, async (t) => {
    const [a, b] = twoUnits();
    b.server.nexusBegan(fencer);
    await out(b, REGISTER, HOST, NONE + KEY);
    await out(b, REGISTER, fencer, NONE + 'b'.repeat(16));
    const pause = b.faults.add({ ops: ['write'], times: 1, action: { kind: 'pause' } });
    const task = a.begin(copyList([A, B], [segment({ destination: 1, blocks: 3 * PIECE })]));
    await until('the I/O is held', () => pause.heldCount > 0);
    let isDone = false;
    const done = end(b).then(() => (isDone = true));
    for (let turns = 0; turns < 20; turns++) await turn();
    t.notOk(isDone, 'a write of the copy is on its way');
    pause.release();
    await done;
    const after = b.held(0, 8192);
    await until('the command ends', () => task.outcomes.length > 0);
    t.equal(task.outcomes.map(said).join(), DEVICE_FAILURE);
    t.ok(b.held(0, 8192).equals(after), 'nothing came after that');
  });
}

t.test('an aborted copy ends with its piece', async (t) => {
  const [a, b] = twoUnits();
  const pause = b.faults.add({ ops: ['write'], times: 1, action: { kind: 'pause' } });
  const rest = b.held(PIECE, PIECE);
  const task = a.begin(copyList([A, B], [segment({ destination: 1, blocks: 2 * PIECE })]));
  await until('the I/O is held', () => pause.heldCount > 0);
  task.isEnding = true;
  pause.release();
  await until('the command ends', () => task.outcomes.length > 0);
  t.equal(task.outcomes.map(said).join(), 'b/00/00');
  t.ok(b.held(PIECE, PIECE).equals(rest));
  t.equal(said(await a.copy(copyList([A], [segment({ to: 9 })]))), SAID.GOOD, 'its identifier is free again');
});

t.test('a copy brings nothing back that SANITIZE took away', async (t) => {
  for (const erased of [0, 1]) {
    const units = twoUnits();
    const [a, b] = units;
    const pause = a.faults.add({ ops: ['read'], times: 1, action: { kind: 'pause' } });
    const task = a.begin(copyList([A, B], [segment({ destination: 1, blocks: 2 * PIECE })]));
    await until('the I/O is held', () => pause.heldCount > 0);
    const unit = units[erased] as CopyUnit;
    t.equal(said(await unit.run('48 82 00 00 00 00 00 00 00 00', undefined, 0, HOST)), SAID.GOOD);
    pause.release();
    await until('the command ends', () => task.outcomes.length > 0);
    t.match(task.outcomes.map(said).join(), erased === 0 ? SAID.SANITIZE_IN_PROGRESS : DEVICE_FAILURE);
    await until(
      'the unit is erased',
      async () => said(await unit.run('00 00 00 00 00 00', undefined, 0, HOST)) === SAID.GOOD,
    );
    t.ok(unit.ram.bytes.equals(Buffer.alloc(SIZE)), `${erased === 0 ? 'source' : 'destination'} erased`);
    t.ok(b.held(0, PIECE).length > 0);
  }
});

t.test('how a copy stands', async (t) => {
  const [a, b] = twoUnits();
  const list = (id: number, usage: number): Buffer =>
    copyList([A, B], [segment({}), segment({ destination: 1, blocks: 2 * PIECE })], { id, usage });
  const status = async (id: number, nexus = HOST): Promise<string> => {
    const outcome = await a.run(receive(0, id), undefined, 0, nexus);
    return said(outcome) === SAID.GOOD ? shown(outcome.dataIn) : said(outcome);
  };
  t.equal(await status(1), SAID.INVALID_FIELD_IN_CDB, 'none');
  const pause = b.faults.add({ ops: ['write'], skip: 1, times: 1, action: { kind: 'pause' } });
  const task = a.begin(list(1, 0));
  await until('the I/O is held', () => pause.heldCount > 0);
  t.equal(await status(1), '00 00 00 08 00 00 01 00 00 10 02 00', 'at work: one segment, 1 MiB and a block');
  t.equal(await status(2), SAID.INVALID_FIELD_IN_CDB);
  t.equal(await status(1, nexusOf('iqn.2026-11.test:other')), SAID.INVALID_FIELD_IN_CDB, 'of another nexus');
  t.equal(said(await a.run(receive(4, 1), undefined, 0, HOST)), SAID.INVALID_FIELD_IN_CDB, 'not failed yet');
  for (const usage of [0, 2])
    t.equal(said(await a.copy(list(1, usage))), '5/00/16', `its identifier is in use, usage ${usage}`);
  pause.release();
  await until('the command ends', () => task.outcomes.length > 0);
  t.equal(task.outcomes.map(said).join(), SAID.GOOD);
  t.equal(await status(1), '00 00 00 08 01 00 02 00 00 20 02 00', 'done');
  t.equal(await status(1), SAID.INVALID_FIELD_IN_CDB, 'told once');
  await a.copy(list(3, 2));
  t.equal(await status(3), SAID.INVALID_FIELD_IN_CDB, 'not held');
  t.equal(said(await a.copy(list(0, 3))), SAID.GOOD, 'without an identifier');
  t.equal(await status(0), SAID.INVALID_FIELD_IN_CDB);
  for (const end of [() => a.server.nexusEnded(HOST), () => a.server.reset(() => undefined)]) {
    await a.copy(list(5, 0));
    end();
    await a.run('00 00 00 00 00 00', undefined, 0, HOST); // what it is told of a reset
    t.equal(await status(5), SAID.INVALID_FIELD_IN_CDB, 'gone with the nexus, or a reset');
    a.server.nexusBegan(HOST);
  }
});

t.test('why a copy failed', async (t) => {
  const [a] = twoUnits();
  const details = async (length = 1024): Promise<string> => {
    const outcome = await a.run(receive(4, 1, length), undefined, 0, HOST);
    return said(outcome) === SAID.GOOD ? shown(outcome.dataIn) : said(outcome);
  };
  await a.copy(copyList([A], [segment({ to: 100 })]));
  t.equal(await details(), '00 00 00 00', 'it did not');
  await a.copy(copyList([A], [segment({ to: 100 }), segment({ to: 8192 })]));
  const { dataIn } = await a.run(receive(0, 1), undefined, 0, HOST);
  t.equal(shown(dataIn), '00 00 00 08 02 00 01 00 00 00 02 00', 'status: failed in the second segment');
  t.equal(
    await details(),
    `00 00 00 4a${' 00'.repeat(52)} 02 00 00 12 70 00 0a 00 00 00 00 0a 00 00 00 01 00 00 00 a0 00 14`,
  );
  t.equal(await details(), SAID.INVALID_FIELD_IN_CDB, 'told once');
  await a.copy(copyList([A], [segment({ to: 8192 })]));
  t.equal(await details(6), '00 00 00 4a 00 00', 'cut');
});

t.test('many at a time', async (t) => {
  const [a] = twoUnits();
  const pause = a.faults.add({ ops: ['read'], action: { kind: 'pause' } });
  const list = copyList([A], [segment({ to: 9 })], { usage: 2 });
  const tasks = Array.from({ length: COPIES_MAX }, () => a.begin(list));
  t.equal(said(await a.copy(list)), 'status 28', 'one more is TASK SET FULL');
  pause.remove();
  await until('all commands end', () => tasks.every(({ outcomes }) => outcomes.length > 0));
  t.ok(
    tasks.every(({ outcomes }) => outcomes.map(said).join() === SAID.GOOD),
    'under one identifier',
  );
  t.equal(said(await a.copy(list)), SAID.GOOD);
});

t.test('what it takes, as RECEIVE COPY OPERATING PARAMETERS and VPD 8Fh say it', async (t) => {
  const [a, b] = twoUnits(4096);
  const { dataIn } = await a.run(receive(3), undefined, 0, HOST);
  t.equal(
    shown(dataIn),
    '00 00 00 2a 01 00 00 00 00 08 00 10 00 00 02 c0 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 ' +
      '00 00 00 40 40 09 00 00 00 00 00 02 02 e4',
  );
  t.equal((await b.run(receive(3), undefined, 0, HOST)).dataIn[37], 12, 'blocks of 4 KiB');
  t.equal(shown((await a.run(receive(3, 0, 5), undefined, 0, HOST)).dataIn), '00 00 00 2a 01', 'cut');
  t.equal(
    shown((await a.run('12 01 8f 0400 00')).dataIn),
    '00 8f 00 64 00 01 00 0c 08 83 01 00 84 03 00 03 04 00 00 00 ' +
      `00 04 00 1c 00 00 00 00 00 08 00 10 00 00 02 c0${' 00'.repeat(16)} ` +
      '00 08 00 04 02 02 e4 00 00 0c 00 04 00 02 ff ff ' +
      `80 01 00 20 00 00 00 40 00 00 00 40 01 00 00 00 09${' 00'.repeat(19)}`,
  );
});
