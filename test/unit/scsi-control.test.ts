/** Commands that say something about the unit, against bytes written out from the standards by hand. */
import t from 'tap';
import { NullDevice } from '../../lib/block/null-device.js';
import { type BlockDevice, IoError, type IoErrorCode, type Usage } from '../../lib/block/device.js';
import { COMMANDS } from '../../lib/scsi/dispatch.js';
import { decodeLun, encodeLun } from '../../lib/scsi/lun.js';
import {
  encodeSense,
  encodeSenseDescriptors,
  invalidCdbField,
  lbaOutOfRange,
  SENSE,
  senseOfIoError,
} from '../../lib/scsi/sense.js';
import { RamDevice } from '../support/ram-device.js';
import { shown } from '../support/scsi-rig.js';
import { SAID, said, scsiRunner } from '../support/scsi-runner.js';

const BLOCK = 512;
const SIZE = 1024 * BLOCK;
const { run } = scsiRunner(new RamDevice(SIZE, BLOCK));

const ascii = (text: string): string => shown(Buffer.from(text, 'latin1'));

t.test('sense data, fixed and descriptor format', (t) => {
  const golden: readonly [Parameters<typeof encodeSense>[0], string, string][] = [
    [SENSE.NONE, '70 00 00 00 00 00 00 0a 00 00 00 00 00 00 00 00 00 00', '72 00 00 00 00 00 00 00'],
    [
      SENSE.SPACE_ALLOCATION_FAILED,
      '70 00 07 00 00 00 00 0a 00 00 00 00 27 07 00 00 00 00',
      '72 07 27 07 00 00 00 00',
    ],
    [
      lbaOutOfRange(0x01020304),
      'f0 00 05 01 02 03 04 0a 00 00 00 00 21 00 00 00 00 00',
      '72 05 21 00 00 00 00 0c 00 0a 80 00 00 00 00 00 01 02 03 04',
    ],
    [
      lbaOutOfRange(0x1_0000_0000),
      '70 00 05 00 00 00 00 0a 00 00 00 00 21 00 00 00 00 00',
      '72 05 21 00 00 00 00 0c 00 0a 80 00 00 00 00 01 00 00 00 00',
    ],
    [
      invalidCdbField(1, 7),
      '70 00 05 00 00 00 00 0a 00 00 00 00 24 00 00 cf 00 01',
      '72 05 24 00 00 00 00 08 02 06 00 00 cf 00 01 00',
    ],
    [
      { ...SENSE.INVALID_FIELD_IN_PARAMETER_LIST, field: { inCdb: false, byte: 0x118 } },
      '70 00 05 00 00 00 00 0a 00 00 00 00 26 00 00 80 01 18',
      '72 05 26 00 00 00 00 08 02 06 00 00 80 01 18 00',
    ],
  ];
  for (const [sense, fixed, descriptors] of golden) {
    t.equal(shown(encodeSense(sense)), fixed);
    t.equal(shown(encodeSenseDescriptors(sense)), descriptors);
  }
  t.end();
});

t.test('every failed I/O has its sense', (t) => {
  const table: readonly [IoErrorCode, string][] = [
    ['medium-read', '3/11/00'],
    ['medium-write', '3/0c/00'],
    ['no-space', '7/27/07'],
    ['read-only', '7/27/00'],
    ['out-of-range', '5/21/00'],
    ['stale', 'b/08/01'],
    ['unavailable', 'b/08/01'],
    ['aborted', 'b/00/00'],
  ];
  for (const [code, expected] of table) {
    t.equal(said({ status: 2, sense: senseOfIoError(new IoError(code, 'x')) }), expected, code);
  }
  t.end();
});

t.test('LUNs', (t) => {
  const table: readonly [string, number][] = [
    ['00 00 00 00 00 00 00 00', 0],
    ['00 ff 00 00 00 00 00 00', 255],
    ['40 00 00 00 00 00 00 00', 0],
    ['41 00 00 00 00 00 00 00', 256],
    ['7f ff 00 00 00 00 00 00', 16383],
    ['01 00 00 00 00 00 00 00', -1], // bus 1
    ['00 00 00 01 00 00 00 00', -1], // a second level
    ['00 00 00 00 00 00 00 01', -1],
    ['80 00 00 00 00 00 00 00', -1], // logical unit addressing
    ['c1 01 00 00 00 00 00 00', -1], // well-known: REPORT LUNS
  ];
  for (const [bytes, lun] of table) {
    t.equal(decodeLun(Buffer.from(`eeee${bytes.replaceAll(' ', '')}`, 'hex'), 2), lun, bytes);
  }
  const into = Buffer.alloc(10, 0xee);
  for (const lun of [0, 1, 255, 256, 16383]) {
    encodeLun(lun, into, 1);
    t.equal(decodeLun(into, 1), lun);
  }
  t.equal(into[0], 0xee);
  t.equal(into[9], 0xee);
  t.end();
});

t.test('standard INQUIRY data', async (t) => {
  const { dataIn } = await run('12 00 00 00ff 00');
  t.equal(dataIn.length, 96);
  t.equal(shown(dataIn.subarray(0, 8)), '00 00 06 12 5b 08 00 02');
  t.equal(dataIn.toString('latin1', 8, 36), 'BLKFERRYVOLUME          0001');
  t.equal(shown(dataIn.subarray(58, 68)), '00 a0 04 60 04 c0 09 60 00 00', 'SAM-5, SPC-4, SBC-3, iSCSI');
  for (const length of [0, 1, 5, 36, 95]) {
    const short = await run(`12 00 00 ${length.toString(16).padStart(4, '0')} 00`);
    t.ok(short.dataIn.equals(dataIn.subarray(0, length)), `cut to ${length}`);
  }
  t.equal(said(await run('12 00 80 00ff 00')), SAID.INVALID_FIELD_IN_CDB, 'a page code without EVPD');
  t.equal(said(await run('12 02 00 00ff 00')), SAID.INVALID_FIELD_IN_CDB, 'CMDDT');
  t.equal(said(await run('12 01 b7 00ff 00')), SAID.INVALID_FIELD_IN_CDB, 'a page that is not there');
});

t.test('vital product data', async (t) => {
  const page = async (code: string): Promise<string> => shown((await run(`12 01 ${code} 0400 00`)).dataIn);
  t.equal(await page('00'), '00 00 00 08 00 80 83 86 8f b0 b1 b2');
  t.equal(await page('80'), `00 80 00 10 ${ascii('a1b2c3d4e5f60718')}`);
  t.equal(
    await page('83'),
    [
      '00 83 00 80',
      '01 03 00 08 3a 1b 2c 3d 4e 5f 60 71',
      `02 01 00 28 ${ascii('BLKFERRYVOLUME          a1b2c3d4e5f60718')}`,
      '51 94 00 04 00 00 00 01',
      `53 98 00 20 ${ascii('iqn.2026-11.test:disk,t,0x0001')} 00 00`,
      `53 a8 00 18 ${ascii('iqn.2026-11.test:disk')} 00 00 00`,
    ].join(' '),
  );
  // HEADSUP, ORDSUP, SIMPSUP; V_SUP
  t.equal(await page('86'), `00 86 00 3c 00 07 01${' 00'.repeat(57)}`);
  t.equal(
    await page('b0'),
    // 255 blocks of COMPARE AND WRITE; granularity 8; maximum 16384 blocks; 1 Mi blocks in 256 descriptors; 8; UGAVALID; 65535 blocks of WRITE SAME
    `00 b0 00 3c 00 ff 00 08 00 00 40 00 00 00 00 00 00 00 00 00 00 10 00 00 00 00 01 00 00 00 00 08 80 00 00 00 ` +
      `00 00 00 00 00 00 ff ff 00 00 00 08 00 00 00 08 00 00 00 08${' 00'.repeat(8)}`,
  );
  t.equal(await page('b1'), `00 b1 00 3c 00 01 00 50 01${' 00'.repeat(55)}`);
  t.equal(await page('b2'), '00 b2 00 04 0b e4 02 00', 'threshold sets of 2^11 blocks');
});

t.test('every listed page is there', async (t) => {
  const { dataIn } = await run('12 01 00 00ff 00');
  for (const code of dataIn.subarray(4)) {
    const answered = await run(Buffer.from([0x12, 1, code, 4, 0, 0]));
    t.equal(answered.dataIn[1], code);
    t.equal(answered.dataIn.readUInt16BE(2), answered.dataIn.length - 4, 'its length is right');
  }
});

t.test('GET LBA STATUS', async (t) => {
  const status = (lba: string, length = '000000ff') => run(`9e 12 ${lba} ${length} 00 00`);
  const first = await status('0000000000000001');
  const header = '00 00 00 14 00 00 00 00';
  t.equal(
    shown(first.dataIn),
    `${header} 00 00 00 00 00 00 00 01 00 00 03 ff 00 00 00 00`,
    'mapped to the end',
  );
  t.equal(
    shown((await status('00000000000003ff')).dataIn.subarray(8)),
    '00 00 00 00 00 00 03 ff 00 00 00 01 00 00 00 00',
  );
  t.equal(
    shown((await status('0000000000000000', '00000008')).dataIn),
    header,
    'cut to the allocation length',
  );
  t.equal(said(await status('0000000000000400')), SAID.LBA_OUT_OF_RANGE);
  t.equal(said(await status('ffffffffffffffff')), SAID.LBA_OUT_OF_RANGE);
});

t.test('READ CAPACITY', async (t) => {
  t.equal(shown((await run('25 00 00000000 0000 00 00')).dataIn), '00 00 03 ff 00 00 02 00');
  t.equal(said(await run('25 00 00000001 0000 00 00')), SAID.INVALID_FIELD_IN_CDB, 'an LBA without PMI');
  t.equal(said(await run('25 00 00000001 0000 01 00')), SAID.GOOD);
  const long = await run(`9e 10 ${'00'.repeat(8)} 00000020 00 00`);
  t.equal(shown(long.dataIn), `00 00 00 00 00 00 03 ff 00 00 02 00 00 03 c0 00${' 00'.repeat(16)}`);
  for (let length = 0; length < 32; length++) {
    const short = await run(`9e 10 ${'00'.repeat(8)} 000000${length.toString(16).padStart(2, '0')} 00 00`);
    t.ok(short.dataIn.equals(long.dataIn.subarray(0, length)), `cut to ${length}`);
  }
  t.equal(said(await run(`9e 11 ${'00'.repeat(8)} 00000020 00 00`)), SAID.INVALID_OPCODE, 'READ LONG(16)');

  const huge = scsiRunner(new NullDevice(2 ** 45, 4096));
  t.equal(shown((await huge.run('25 00 00000000 0000 00 00')).dataIn), 'ff ff ff ff 00 00 10 00');
  const { dataIn } = await huge.run(`9e 10 ${'00'.repeat(8)} 00000020 00 00`);
  t.equal(shown(dataIn.subarray(0, 16)), '00 00 00 01 ff ff ff ff 00 00 10 00 00 00 c0 00');
});

t.test('REPORT LUNS', async (t) => {
  const ask = (select: string, length = '00000100'): ReturnType<typeof run> =>
    run(`a0 00 ${select} 000000 ${length} 00 00`);
  const lunZero = '00 00 00 08 00 00 00 00 00 00 00 00 00 00 00 00';
  const none = '00 00 00 00 00 00 00 00';
  for (const [select, list] of [
    ['00', lunZero],
    ['01', none],
    ['02', lunZero],
    ['10', none],
    ['11', lunZero],
    ['12', none],
  ] as const) {
    t.equal(shown((await ask(select)).dataIn), list, `SELECT REPORT ${select}`);
  }
  t.equal(said(await ask('03')), SAID.INVALID_FIELD_IN_CDB);
  t.equal(shown((await ask('00', '0000000c')).dataIn), lunZero.slice(0, 35), 'cut, and that is no error');
  t.equal(said(await ask('00', '00000000')), SAID.GOOD);
  t.equal(shown((await ask('00', '00000010')).dataIn), lunZero);
});

t.test('a LUN without a unit', async (t) => {
  for (const lun of [1, 255, -1]) {
    const inquiry = await run('12 00 00 00ff 00', undefined, lun);
    t.equal(inquiry.dataIn[0], 0x7f);
    t.equal(inquiry.dataIn.length, 96);
    const sense = await run('03 00 00 00 ff 00', undefined, lun);
    t.equal(shown(sense.dataIn), '70 00 05 00 00 00 00 0a 00 00 00 00 25 00 00 00 00 00');
    t.equal((await run('a0 00 00 000000 00000100 00 00', undefined, lun)).dataIn.length, 16, 'REPORT LUNS');
    for (const cdb of [
      '00 00 00 00 00 00',
      '28 00 00000000 00 0001 00',
      '2a 00 00000000 00 0001 00',
      'ff',
      '12 01 00 00ff 00',
    ]) {
      const expected = cdb.startsWith('12') ? SAID.INVALID_FIELD_IN_CDB : SAID.LUN_NOT_SUPPORTED;
      t.equal(said(await run(cdb, undefined, lun)), expected, cdb);
    }
  }
});

t.test('TEST UNIT READY, REQUEST SENSE, START STOP UNIT', async (t) => {
  t.equal(said(await run('00 00 00 00 00 00')), SAID.GOOD);
  t.equal((await run('03 00 00 00 12 00')).dataIn.length, 18);
  t.equal(shown((await run('03 01 00 00 ff 00')).dataIn), '72 00 00 00 00 00 00 00', 'DESC');
  t.equal((await run('03 00 00 00 04 00')).dataIn.length, 4);
  const device = new RamDevice(SIZE, BLOCK);
  const unit = scsiRunner(device);
  t.equal(said(await unit.run('1b 00 00 00 01 00')), SAID.GOOD, 'start');
  t.equal(said(await unit.run('1b 00 00 00 04 00')), SAID.GOOD, 'stop without flush');
  t.equal(device.counts.flush, 0);
  t.equal(said(await unit.run('1b 00 00 00 00 00')), SAID.GOOD, 'stop');
  t.equal(device.counts.flush, 1);
  t.equal(said(await unit.run('00 00 00 00 00 00')), SAID.GOOD, 'it is ready nonetheless');
  t.equal(said(await unit.run('1b 00 00 00 02 00')), SAID.INVALID_FIELD_IN_CDB, 'eject');
  t.equal(said(await unit.run('1b 00 00 00 31 00')), SAID.INVALID_FIELD_IN_CDB, 'a power condition');
});

const CACHING = `08 12 04${' 00'.repeat(17)}`;
const CONTROL = `0a 0a 00 10 00 40${' 00'.repeat(6)}`;
const CONTROL_EXTENSION = `4a 01 00 1c${' 00'.repeat(28)}`;
const EXCEPTIONS = `1c 0a 08${' 00'.repeat(9)}`;
const PROVISIONING = `5c 02 00 0c${' 00'.repeat(12)}`;

t.test('MODE SENSE', async (t) => {
  const table: readonly [string, string, string][] = [
    ['caching', '1a 08 08 00 ff 00', `17 00 10 00 ${CACHING}`],
    ['with a block descriptor', '1a 00 08 00 ff 00', `1f 00 10 08 00 00 04 00 00 00 02 00 ${CACHING}`],
    ['changeable', '1a 08 48 00 ff 00', `17 00 10 00 08 12 04${' 00'.repeat(17)}`],
    ['changeable, control', '1a 08 4a 00 ff 00', `0f 00 10 00 0a 0a 04 00 08${' 00'.repeat(7)}`],
    ['default', '1a 08 88 00 ff 00', `17 00 10 00 ${CACHING}`],
    ['control', '1a 08 0a 00 ff 00', `0f 00 10 00 ${CONTROL}`],
    ['control extension', '1a 08 0a 01 ff 00', `23 00 10 00 ${CONTROL_EXTENSION}`],
    ['control and its subpages', '1a 08 0a ff ff 00', `2f 00 10 00 ${CONTROL} ${CONTROL_EXTENSION}`],
    ['all pages', '1a 08 3f 00 ff 00', `2f 00 10 00 ${CACHING} ${CONTROL} ${EXCEPTIONS}`],
    [
      'all, subpages too',
      '1a 08 3f ff ff 00',
      `5f 00 10 00 ${CACHING} ${CONTROL} ${CONTROL_EXTENSION} ${EXCEPTIONS} ${PROVISIONING}`,
    ],
    ['cut', '1a 08 3f 00 04 00', '2f 00 10 00'],
    ['(10)', '5a 08 08 00 000000 00ff 00', `00 1a 00 10 00 00 00 00 ${CACHING}`],
    [
      '(10) short',
      '5a 00 08 00 000000 00ff 00',
      `00 22 00 10 00 00 00 08 00 00 04 00 00 00 02 00 ${CACHING}`,
    ],
    [
      '(10) long',
      '5a 10 08 00 000000 00ff 00',
      `00 2a 00 10 01 00 00 10 00 00 00 00 00 00 04 00 00 00 00 00 00 00 02 00 ${CACHING}`,
    ],
  ];
  for (const [name, cdb, expected] of table) t.equal(shown((await run(cdb)).dataIn), expected, name);
  t.equal(said(await run('1a 08 c8 00 ff 00')), SAID.SAVING_PARAMETERS_NOT_SUPPORTED);
  t.equal(said(await run('5a 08 c8 00 000000 00ff 00')), SAID.SAVING_PARAMETERS_NOT_SUPPORTED);
  t.equal(said(await run('1a 08 05 00 ff 00')), SAID.INVALID_FIELD_IN_CDB, 'no such page');
  t.equal(said(await run('1a 08 08 01 ff 00')), SAID.INVALID_FIELD_IN_CDB, 'no such subpage');
  t.equal(said(await run('1a 08 3f 01 ff 00')), SAID.INVALID_FIELD_IN_CDB, 'no such subpage of all');
  const readOnly = scsiRunner(new RamDevice(SIZE, BLOCK, true));
  t.equal((await readOnly.run('1a 08 3f 00 ff 00')).dataIn[2], 0x90, 'WP');
  t.equal((await readOnly.run('5a 08 3f 00 000000 00ff 00')).dataIn[3], 0x90, 'WP');
});

t.test('READ DEFECT DATA: none', async (t) => {
  t.equal(
    shown((await run('37 00 1d 00000000 00ff 00')).dataIn),
    '00 1d 00 00',
    'both lists, physical sectors',
  );
  t.equal(shown((await run('37 00 0b 00000000 0002 00')).dataIn), '00 0b', 'cut');
  t.equal(shown((await run('b7 10 00000000 000000ff 00 00')).dataIn), '00 10 00 00 00 00 00 00');
  t.equal(shown((await run('b7 1d 00000005 00000003 00 00')).dataIn), '00 1d 00', 'from an index, cut');
});

t.test('LOG SENSE', async (t) => {
  const page = async (code: string, rest = '0000'): Promise<string> =>
    shown((await run(`4d 00 ${code} 00 ${rest} 00ff 00`)).dataIn);
  t.equal(await page('40 00'), '00 00 00 03 00 0c 2f');
  t.equal(await page('40 ff'), '40 ff 00 08 00 00 00 ff 0c 00 2f 00');
  t.equal(await page('6f 00'), '2f 00 00 08 00 00 03 04 00 00 ff 00');
  t.equal(shown((await run('4d 00 40 00 00 0000 0003 00')).dataIn), '00 00 00', 'cut');
  for (const cdb of [
    '4d 00 4c 00 00 0003 00ff 00',
    '4d 00 4c 01 00 0000 00ff 00',
    '4d 00 4d 00 00 0000 00ff 00',
    '4d 00 6f 01 00 0000 00ff 00',
    '4d 01 40 00 00 0000 00ff 00',
  ]) {
    t.equal(said(await run(cdb)), SAID.INVALID_FIELD_IN_CDB, cdb);
  }
  t.equal(
    said(await run('4d 00 6f 00 00 0001 00ff 00')),
    SAID.INVALID_FIELD_IN_CDB,
    'no parameter from there on',
  );
});

t.test('the log page of logical block provisioning', async (t) => {
  const head = (bytes: number): string => `8c 00 00 ${bytes.toString(16).padStart(2, '0')}`;
  const available = (sets: string): string => `00 01 03 08 ${sets} 02 00 00 00`;
  const used = (sets: string): string => `00 02 03 08 ${sets} 01 00 00 00`;
  const page = async (device: BlockDevice, pointer = '0000'): Promise<string> =>
    shown((await scsiRunner(device).run(`4d 00 4c 00 00 ${pointer} 00ff 00`)).dataIn);
  const all = `${available('00 00 00 00')} ${used('00 00 00 01')}`;
  t.equal(await page(new RamDevice(SIZE, BLOCK)), `${head(24)} ${all}`, 'one that takes all of its size');
  const MiB = 2 ** 20;
  class Thin extends NullDevice {
    usage = (): Promise<Usage> => Promise.resolve({ usedBytes: 5 * MiB + 1, availableBytes: 3 * MiB - 1 });
  }
  const thin = new Thin(2 ** 40, 512);
  const [left, taken] = [available('00 00 00 02'), used('00 00 00 06')];
  t.equal(await page(thin), `${head(24)} ${left} ${taken}`, 'sets of a MiB, with care');
  t.equal(await page(thin, '0001'), `${head(24)} ${left} ${taken}`);
  t.equal(await page(thin, '0002'), `${head(12)} ${taken}`, 'from a parameter on');
  class Vast extends NullDevice {
    usage = (): Promise<Usage> => Promise.resolve({ usedBytes: 2 ** 51, availableBytes: 2 ** 53 });
  }
  const vast = new Vast(2 ** 52, 4096);
  const b2 = (await scsiRunner(vast).run('12 01 b2 00ff 00')).dataIn;
  t.equal(b2[4], 9, 'a medium has less than 2^32 sets');
  t.equal(await page(vast), `${head(24)} ${available('ff ff ff ff')} ${used('40 00 00 00')}`);
  class Broken extends NullDevice {
    usage = (): Promise<Usage> => Promise.reject(new IoError('medium-read', 'no such disk'));
  }
  t.equal(said(await scsiRunner(new Broken(SIZE, BLOCK)).run('4d 00 4c 00 00 0000 00ff 00')), '3/11/00');
});

t.test('SEND DIAGNOSTIC', async (t) => {
  for (const [name, cdb] of [
    ['the default self-test', '1d 04 00 0000 00'],
    ['which may disturb others and the medium', '1d 07 00 0000 00'],
    ['nothing to test', '1d 00 00 0000 00'],
    ['nor a page', '1d 10 00 0000 00'],
  ] as const) {
    t.equal(said(await run(cdb)), SAID.GOOD, name);
  }
  for (const [name, cdb, field] of [
    ['a background short self-test', '1d 20 00 0000 00', { inCdb: true, byte: 1, bit: 7 }],
    ['the end of one', '1d 80 00 0000 00', { inCdb: true, byte: 1, bit: 7 }],
    ['a code beside SELFTEST', '1d c4 00 0000 00', { inCdb: true, byte: 1, bit: 7 }],
    ['a page', '1d 10 00 0004 00', { inCdb: true, byte: 3 }],
    ['a list beside SELFTEST', '1d 04 00 0100 00', { inCdb: true, byte: 3 }],
  ] as const) {
    const outcome = await run(cdb, Buffer.alloc(256));
    t.equal(said(outcome), SAID.INVALID_FIELD_IN_CDB, name);
    t.same(outcome.sense?.field, field, 'it points at the field');
  }
  t.equal(shown((await run('a3 0c 01 1d 0000 00001000 00 00')).dataIn), '00 03 00 06 1d e4 00 ff ff 04');
});

t.test('REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS', async (t) => {
  t.equal(shown((await run('a3 0d 00 000000 000000ff 00 00')).dataIn), 'da 00 00 00');
  t.equal(
    shown((await run('a3 0d 80 000000 000000ff 00 00')).dataIn),
    `da 00 00 0c${' 00'.repeat(12)}`,
    'REPD',
  );
  t.equal(said(await run('a3 0d 00 000000 00000003 00 00')), SAID.INVALID_FIELD_IN_CDB);
});

t.test('REPORT SUPPORTED OPERATION CODES', async (t) => {
  const ask = (options: string, opcode = '00', action = '0000'): ReturnType<typeof run> =>
    run(`a3 0c ${options} ${opcode} ${action} 00001000 00 00`);
  const all = (await ask('00')).dataIn;
  t.equal(all.readUInt32BE(0), all.length - 4);
  const count = COMMANDS.length - 1; // a unit with one port has no REPORT TARGET PORT GROUPS
  t.equal(all.length, 4 + 8 * count);
  t.equal((await ask('80')).dataIn.length, 4 + 20 * count, 'with timeouts');
  t.match(shown(all), '9e 00 00 10 00 01 00 10', 'READ CAPACITY(16) by service action');
  t.match(shown(all), '28 00 00 00 00 00 00 0a');

  t.equal(shown((await ask('01', '28')).dataIn), '00 03 00 0a 28 f8 ff ff ff ff 00 ff ff 04');
  t.equal(
    shown((await ask('81', '00')).dataIn),
    '00 83 00 06 00 00 00 00 00 04 00 0a 00 00 00 00 00 00 00 00 00 00',
    'with timeouts',
  );
  t.match(shown((await ask('02', '9e', '0010')).dataIn), /^00 03 00 10 9e 10 /);
  t.match(shown((await ask('03', '9e', '0010')).dataIn), /^00 03 00 10 9e 10 /);
  t.match(shown((await ask('03', '28', '0000')).dataIn), /^00 03 00 0a 28 /);
  t.equal(shown((await ask('01', 'fe')).dataIn), '00 01 00 00');
  t.equal(shown((await ask('02', '9e', '001f')).dataIn), '00 01 00 00');
  t.equal(said(await ask('01', '9e')), SAID.INVALID_FIELD_IN_CDB, 'needs a service action');
  t.equal(said(await ask('02', '28')), SAID.INVALID_FIELD_IN_CDB, 'has no service action');
  t.equal(said(await ask('04')), SAID.INVALID_FIELD_IN_CDB);
});

t.test('every command describes a CDB of the length its group code says', (t) => {
  const lengths = [6, 10, 10, NaN, 16, 12];
  for (const { name, opcode, usage } of COMMANDS) t.equal(usage.length, lengths[opcode >>> 5], name);
  t.end();
});

t.test('what is not implemented says so', async (t) => {
  const known = new Set(COMMANDS.map(({ opcode }) => opcode));
  const wrong: number[] = [];
  for (let opcode = 0; opcode < 256; opcode++) {
    const outcome = known.has(opcode) ? null : await run(Buffer.from([opcode]));
    if (outcome !== null && said(outcome) !== SAID.INVALID_OPCODE) wrong.push(opcode);
  }
  t.same(wrong, []);
  t.equal(said(await run('00 00 00 00 00 04')), SAID.INVALID_FIELD_IN_CDB, 'NACA');
  t.equal(said(await run('a0 00 00 000000 00000100 00 04')), SAID.INVALID_FIELD_IN_CDB, 'NACA in 12 bytes');
});
