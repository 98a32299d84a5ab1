/** Implicit asymmetric access as initiators see it (SPC-4 5.15), against bytes written out from the standard by hand. */
import t from 'tap';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { AccessState } from '../../lib/scsi/target-ports.js';
import { RamDevice } from '../support/ram-device.js';
import { IDENTITY, NEXUS, type Runner, SAID, said, scsiRunner } from '../support/scsi-runner.js';

const RTPG = 'a3 0a 00000000 000000ff 00 00';
const MiB = 1024 * 1024;

/** A unit of 4096-byte blocks that is reached through ports 2 (here) and 0x103, of which 2 is at the home. */
function unitOf(ports: boolean) {
  const device = new RamDevice(16 * MiB, 4096);
  const groups = () => [
    { number: 2, state: AccessState.ACTIVE_OPTIMIZED },
    { number: 0x103, state: AccessState.ACTIVE_NON_OPTIMIZED },
  ];
  const options = ports ? { ports: { self: 2, groups }, transferBytesMax: MiB / 2 } : {};
  return scsiRunner(device, new DiskServer({ device, identity: IDENTITY, options }));
}

/** MULTIP, byte 6 of INQUIRY. */
const multip = async (run: Runner['run']): Promise<number> =>
  ((await run('12 00 00 00ff 00')).dataIn[6] ?? 0) & 0x10;

/** Byte 5 of INQUIRY, without 3PC, PROTECT and the like. */
const tpgs = async (run: Runner['run']): Promise<number> =>
  ((await run('12 00 00 00ff 00')).dataIn[5] ?? 0) & 0x30;

t.test('REPORT TARGET PORT GROUPS, both formats', async (t) => {
  const { run } = unitOf(true);
  const first = '00 03 0002 00 00 00 01 0000 0002';
  const second = '01 03 0103 00 00 00 01 0000 0103';
  const bytes = (text: string): string => text.replaceAll(' ', '');
  t.equal((await run(RTPG)).dataIn.toString('hex'), bytes(`00000018 ${first} ${second}`));
  const extended = await run('a3 2a 00000000 000000ff 00 00');
  t.equal(extended.dataIn.toString('hex'), bytes(`0000001c 10 00 0000 ${first} ${second}`));
  t.equal((await run('a3 0a 00000000 00000004 00 00')).dataIn.toString('hex'), '00000018', 'cut, no error');
  t.equal(said(await run('a3 4a 00000000 000000ff 00 00')), SAID.INVALID_FIELD_IN_CDB, 'a format nobody has');
});

t.test('INQUIRY says TPGS 01b, and page 83h which port and group it came through', async (t) => {
  const { run } = unitOf(true);
  t.equal(await tpgs(run), 0x10);
  t.equal(await multip(run), 0x10, 'and that there are several ports');
  t.equal(await multip(unitOf(false).run), 0);
  const page = (await run('12 01 83 00ff 00')).dataIn.toString('hex');
  t.match(page, '5194000400000002', 'RELATIVE TARGET PORT');
  t.match(page, '5195000400000002', 'TARGET PORT GROUP');
  t.match(page, Buffer.from(`${IDENTITY.iqn},t,0x0002\0`).toString('hex'));
});

t.test('a unit with one port has none of it (TPGS 00b: not supported)', async (t) => {
  const { run } = unitOf(false);
  t.equal(await tpgs(run), 0);
  t.equal(said(await run(RTPG)), SAID.INVALID_OPCODE);
  t.notMatch((await run('12 01 83 00ff 00')).dataIn.toString('hex'), '51950004');
  t.equal((await run('a3 0c 03 a3 000a 000000ff 00 00')).dataIn[1], 1, 'not among the commands it supports');
  const supported = await unitOf(true).run('a3 0c 03 a3 000a 000000ff 00 00');
  t.equal(supported.dataIn.toString('hex'), '0003000ca3ea00000000ffffffff0004');
});

t.test('the Control Extension page says what TPGS says: implicit access is allowed (IALUAE)', async (t) => {
  const empty = '00'.repeat(27);
  for (const [ports, ialuae] of [
    [true, '01'],
    [false, '00'],
  ] as const) {
    const { run } = unitOf(ports);
    const page = async (pageControl: string): Promise<string> =>
      (await run(`1a 08 ${pageControl} 01 ff 00`)).dataIn.toString('hex', 4);
    t.equal(await page('0a'), `4a01001c${ialuae}${empty}`, 'current');
    t.equal(await page('4a'), `4a01001c00${empty}`, 'changeable');
    t.equal(await page('8a'), `4a01001c${ialuae}${empty}`, 'default');
    const select = (list: Buffer) => run('15 10 00 00 24 00', list);
    const list = (await run('1a 08 0a 01 ff 00')).dataIn;
    t.equal(said(await select(list)), 'GOOD', 'what was read can be set');
    list[8] = 1 - (list[8] ?? 0);
    const outcome = await select(list);
    t.equal(said(outcome), SAID.INVALID_FIELD_IN_PARAMETER_LIST);
    t.same(outcome.sense?.field, { inCdb: false, byte: 8 }, 'anything else cannot');
    const all = (await run('1a 08 3f ff ff 00')).dataIn.toString('hex');
    t.equal(all.split('4a01001c').length, 2, 'one page of it');
  }
});

t.test('a command that goes to the home whole brings no more than the unit says', async (t) => {
  const { run } = unitOf(true);
  const limits = (await run('12 01 b0 00ff 00')).dataIn;
  t.equal(limits.readUInt32BE(8), 128, 'MAXIMUM TRANSFER LENGTH');
  t.equal(limits[5], 64, 'MAXIMUM COMPARE AND WRITE LENGTH');
  const data = Buffer.alloc(2 * 65 * 4096);
  for (const cdb of ['2e 00 00000000 00 XXXX 00', '8b 00 0000000000000000 0000XXXX 00 00']) {
    t.equal(said(await run(cdb.replace('XXXX', '0080'), data)), 'GOOD', cdb);
    t.equal(said(await run(cdb.replace('XXXX', '0081'), data)), SAID.INVALID_FIELD_IN_CDB, cdb);
  }
  t.equal(said(await run('89 00 0000000000000000 000000 41 00 00', data)), SAID.INVALID_FIELD_IN_CDB);
  t.equal(said(await run('89 00 0000000000000000 000000 40 00 00', data.subarray(8192))), 'GOOD');
});

t.test('READ and WRITE may be as long as anywhere: hosts pass on what others ask for', async (t) => {
  const { run } = unitOf(true);
  const data = Buffer.alloc(9 * MiB);
  for (const cdb of ['28 00 00000000 00 XXXX 00', '2a 00 00000000 00 XXXX 00']) {
    for (const blocks of ['0081', '0800'])
      t.equal(said(await run(cdb.replace('XXXX', blocks), data)), 'GOOD');
    t.equal(said(await run(cdb.replace('XXXX', '0801'), data)), SAID.INVALID_FIELD_IN_CDB);
  }
});

t.test('so may a VERIFY that brings nothing', async (t) => {
  const { run } = unitOf(true);
  for (const [blocks, medium, data] of [
    ['0080', 'GOOD', 'GOOD'],
    ['0100', 'GOOD', SAID.INVALID_FIELD_IN_CDB], // as Windows asks
    ['0800', 'GOOD', SAID.INVALID_FIELD_IN_CDB],
    ['0801', SAID.INVALID_FIELD_IN_CDB, SAID.INVALID_FIELD_IN_CDB],
  ] as const) {
    t.equal(said(await run(`2f 00 00000000 00 ${blocks} 00`)), medium, `BYTCHK 00b, ${blocks}`);
    const compared = Buffer.alloc(Number.parseInt(blocks, 16) * 4096);
    t.equal(said(await run(`2f 02 00000000 00 ${blocks} 00`, compared)), data, `BYTCHK 01b, ${blocks}`);
  }
});

t.test('a registration is of every port', async (t) => {
  const { run } = unitOf(true);
  const parameters = Buffer.alloc(24);
  parameters.writeUInt32BE(0xabcd, 12); // SERVICE ACTION RESERVATION KEY
  parameters[20] = 0x04; // ALL_TG_PT
  t.equal(said(await run('5f 00 00 0000 00000018 00', parameters, 0, NEXUS)), 'GOOD');
  t.equal((await run('5e 03 0000000000 00ff 00')).dataIn[8 + 12], 0x02, 'ALL_TG_PT in READ FULL STATUS');
  t.equal((await run('5e 02 0000000000 00ff 00')).dataIn[2], 0x1c, 'ATP_C');
  t.equal(said(await unitOf(false).run('5f 00 00 0000 00000018 00', parameters)), '5/26/00');
});
