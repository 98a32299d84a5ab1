/** Removable units: who may eject the medium, what is served without it, and who is told when it comes back. */
import t from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { FaultDevice } from '../support/fault-device.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { RamDevice } from '../support/ram-device.js';
import { cdb10, cdb12, cdb16 } from '../support/scsi-rig.js';
import { IDENTITY, nexusOf, type Outcome, SAID, said, scsiRunner } from '../support/scsi-runner.js';

const BLOCK = 512;
const TEST_UNIT_READY = '00 00 00 00 00 00';
const EJECT = '1b 00 00 00 02 00';
const LOAD = '1b 00 00 00 03 00';
const PREVENT = '1e 00 00 00 01 00';
const ALLOW = '1e 00 00 00 00 00';

/** A unit with three initiators. */
function unit(removable = true) {
  const ram = new RamDevice(1024 * BLOCK, BLOCK);
  const device = new FaultDevice(ram, systemClock);
  const server = new DiskServer({ device, identity: IDENTITY, options: { removable } });
  const { run } = scsiRunner(device, server);
  const nexuses = ['a', 'b', 'c'].map((name) => nexusOf(`iqn.test:${name}`));
  for (const nexus of nexuses) server.nexusBegan(nexus);
  const [a, b, c] = nexuses.map(
    (nexus) =>
      (cdb: string, data?: Buffer): Promise<Outcome> =>
        run(cdb, data, 0, nexus),
  ) as [(cdb: string, data?: Buffer) => Promise<Outcome>, typeof run, typeof run];
  return { ram, device, server, a, b, c, nexuses };
}

/** Everything that touches the medium. */
const OF_THE_MEDIUM: readonly [name: string, cdb: string, dataBytes?: number][] = [
  ['TEST UNIT READY', TEST_UNIT_READY],
  ['READ CAPACITY(10)', '25 00 00000000 0000 00 00'],
  ['READ CAPACITY(16)', `9e 10 ${'00'.repeat(8)} 00000020 00 00`],
  ['GET LBA STATUS', `9e 12 ${'00'.repeat(8)} 00000020 00 00`],
  ['READ(6)', '08 00 00 00 01 00'],
  ['READ(10)', cdb10('28', 0, 0, 1)],
  ['READ(12)', cdb12('a8', 0, 0, 1)],
  ['READ(16)', cdb16('88', 0, 0, 1)],
  ['WRITE(6)', '0a 00 00 00 01 00', BLOCK],
  ['WRITE(10)', cdb10('2a', 0, 0, 1), BLOCK],
  ['WRITE(12)', cdb12('aa', 0, 0, 1), BLOCK],
  ['WRITE(16)', cdb16('8a', 0, 0, 1), BLOCK],
  ['VERIFY(10)', cdb10('2f', 0, 0, 1)],
  ['VERIFY(12)', cdb12('af', 0, 0, 1)],
  ['VERIFY(16)', cdb16('8f', 0, 0, 1)],
  ['WRITE AND VERIFY(10)', cdb10('2e', 0, 0, 1), BLOCK],
  ['WRITE SAME(10)', cdb10('41', 0, 0, 1), BLOCK],
  ['WRITE SAME(16)', cdb16('93', 0, 0, 1), BLOCK],
  ['UNMAP', '42 00 00000000 00 0018 00', 24],
  ['SYNCHRONIZE CACHE(10)', cdb10('35', 0, 0, 0)],
  ['SYNCHRONIZE CACHE(16)', cdb16('91', 0, 0, 0)],
  ['PRE-FETCH(10)', cdb10('34', 0, 0, 1)],
  ['PRE-FETCH(16)', cdb16('90', 0, 0, 1)],
  ['READ DEFECT DATA(10)', '37 00 1d 00000000 00ff 00'],
  ['SANITIZE', '48 02 0000000000 0000 00'],
];

const NOT_OF_THE_MEDIUM: readonly [name: string, cdb: string][] = [
  ['INQUIRY', '12 00 00 00ff 00'],
  ['REPORT LUNS', 'a0 00 00 000000 00000100 00 00'],
  ['MODE SENSE(6)', '1a 08 3f 00 ff 00'],
  ['MODE SENSE(10)', '5a 08 3f 00 000000 00ff 00'],
  ['LOG SENSE', '4d 00 40 00 00 0000 00ff 00'],
  ['REPORT SUPPORTED OPERATION CODES', 'a3 0c 00 000000 00001000 00 00'],
  ['REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS', 'a3 0d 00 000000 00001000 00 00'],
  ['PREVENT', PREVENT],
  ['ALLOW', ALLOW],
  ['START', '1b 00 00 00 01 00'],
  ['STOP', '1b 00 00 00 00 00'],
  ['SEND DIAGNOSTIC', '1d 04 00 0000 00'],
  ['EJECT once more', EJECT],
];

t.test('without the medium', async (t) => {
  const { ram, a, b } = unit();
  t.equal(said(await a(EJECT)), SAID.GOOD);
  t.equal(ram.counts.flush, 1, 'what was written is durable first');
  for (const run of [a, b]) {
    for (const [name, cdb, dataBytes = 0] of OF_THE_MEDIUM) {
      t.equal(said(await run(cdb, Buffer.alloc(dataBytes))), SAID.NO_MEDIUM, name);
    }
  }
  for (const [name, cdb] of NOT_OF_THE_MEDIUM) t.equal(said(await a(cdb)), SAID.GOOD, name);
  t.equal(
    (await a('03 00 00 00 ff 00')).dataIn.toString('hex', 2, 14),
    '02000000000a000000003a00',
    'REQUEST SENSE',
  );
  t.equal((await a('12 00 00 00ff 00')).dataIn[0], 0, 'the unit itself is there');
  t.same([ram.counts.read, ram.counts.write, ram.counts.discard, ram.counts.flush], [0, 0, 0, 1]);
});

t.test('REQUEST SENSE says that it is not there before a unit attention', async (t) => {
  const { server, a, b } = unit();
  server.reset(() => undefined);
  t.equal(said(await a(TEST_UNIT_READY)), SAID.UNIT_WAS_RESET);
  t.equal(said(await a(EJECT)), SAID.GOOD);
  const sense = async (): Promise<string> => (await b('03 00 00 00 ff 00')).dataIn.toString('hex', 12, 14);
  t.equal(await sense(), '3a00');
  t.equal(said(await b(TEST_UNIT_READY)), SAID.UNIT_WAS_RESET, 'which stays');
  server.reset(() => undefined);
  t.equal(said(await a(TEST_UNIT_READY)), SAID.UNIT_WAS_RESET);
  t.equal(said(await a(LOAD)), SAID.GOOD);
  t.equal(await sense(), '2903', 'with the medium it is said');
  t.equal(await sense(), '2800', 'and gone with that');
  t.equal(await sense(), '0000');
});

t.test('the medium comes back, and the others are told', async (t) => {
  const { a, b, c } = unit();
  const data = Buffer.alloc(BLOCK, 7);
  await a(cdb10('2a', 0, 0, 1), data);
  t.equal(said(await a(EJECT)), SAID.GOOD);
  t.equal(said(await b(TEST_UNIT_READY)), SAID.NO_MEDIUM);
  t.equal(said(await b(LOAD)), SAID.GOOD);
  t.equal(said(await b(TEST_UNIT_READY)), SAID.GOOD, 'who loaded it knows');
  t.equal(said(await a(cdb10('28', 0, 0, 1))), SAID.MEDIUM_MAY_HAVE_CHANGED);
  t.ok((await a(cdb10('28', 0, 0, 1))).dataIn.equals(data), 'once, and it is the same one');
  t.equal(said(await a(EJECT)), SAID.GOOD);
  t.equal(said(await a(LOAD)), SAID.GOOD);
  t.equal(said(await c(TEST_UNIT_READY)), SAID.MEDIUM_MAY_HAVE_CHANGED);
  t.equal(said(await c(TEST_UNIT_READY)), SAID.GOOD, 'twice changed is told once');
  t.equal(said(await b(TEST_UNIT_READY)), SAID.MEDIUM_MAY_HAVE_CHANGED);
  t.equal(said(await a(LOAD)), SAID.GOOD, 'what is in stays in');
  t.equal(said(await b(TEST_UNIT_READY)), SAID.GOOD, 'and is no news');
});

t.test('removal is prevented as long as anybody wants it', async (t) => {
  const { server, a, b, c, nexuses } = unit();
  t.equal(said(await a(PREVENT)), SAID.GOOD);
  t.equal(said(await b(PREVENT)), SAID.GOOD);
  for (const run of [a, b, c]) t.equal(said(await run(EJECT)), SAID.REMOVAL_PREVENTED);
  t.equal(said(await c(TEST_UNIT_READY)), SAID.GOOD, 'it is still there');
  t.equal(said(await a(ALLOW)), SAID.GOOD);
  t.equal(said(await a(EJECT)), SAID.REMOVAL_PREVENTED, 'the other one still wants it');
  t.equal(said(await c(ALLOW)), SAID.GOOD);
  t.equal(said(await c(EJECT)), SAID.REMOVAL_PREVENTED, 'nobody allows for another one');
  server.nexusEnded(nexuses[1] ?? nexusOf(''));
  t.equal(said(await a(EJECT)), SAID.GOOD, 'the loss of its nexus ends it');
  t.equal(said(await a(PREVENT)), SAID.GOOD, 'also without a medium');
  t.equal(said(await a(EJECT)), SAID.REMOVAL_PREVENTED, 'then the tray stays as it is');
  t.equal(said(await a(LOAD)), SAID.REMOVAL_PREVENTED);
  t.equal(said(await a(ALLOW)), SAID.GOOD);
  t.equal(said(await a(LOAD)), SAID.GOOD);
  t.equal(said(await a(PREVENT)), SAID.GOOD);
  t.equal(said(await a(LOAD)), SAID.GOOD, 'it is in already');
  server.reset(() => undefined);
  t.equal(said(await a(EJECT)), SAID.UNIT_WAS_RESET);
  t.equal(said(await a(EJECT)), SAID.GOOD, 'a reset ends it');
  for (const obsolete of ['02', '03']) {
    t.equal(said(await a(`1e 00 00 00 ${obsolete} 00`)), SAID.INVALID_FIELD_IN_CDB, `PREVENT ${obsolete}`);
  }
});

t.test('who is preempted and aborted does not prevent removal any more', async (t) => {
  const { a, b, c } = unit();
  const out = (action: string, key: string, serviceActionKey: string): [string, Buffer] => [
    `5f ${action} 01 0000 00000018 00`,
    Buffer.from(`${key.repeat(16)}${serviceActionKey.repeat(16)}${'00'.repeat(8)}`, 'hex'),
  ];
  const register = async (): Promise<void> => {
    t.equal(said(await a(...out('06', '0', 'a'))), SAID.GOOD);
    t.equal(said(await a(PREVENT)), SAID.GOOD);
  };
  t.equal(said(await b(...out('00', '0', 'b'))), SAID.GOOD);
  await register();
  t.equal(said(await c(PREVENT)), SAID.GOOD);
  t.equal(said(await b(...out('04', 'b', 'a'))), SAID.GOOD, 'PREEMPT');
  t.equal(said(await c(ALLOW)), SAID.GOOD);
  t.equal(said(await b(EJECT)), SAID.REMOVAL_PREVENTED, 'aborts nothing');
  t.equal(said(await a(TEST_UNIT_READY)), '6/2a/05');
  await register();
  t.equal(said(await c(PREVENT)), SAID.GOOD);
  t.equal(said(await b(...out('05', 'b', 'a'))), SAID.GOOD, 'PREEMPT AND ABORT');
  t.equal(said(await b(EJECT)), SAID.REMOVAL_PREVENTED, 'of another one');
  t.equal(said(await c(ALLOW)), SAID.GOOD);
  t.equal(said(await b(EJECT)), SAID.GOOD);
});

t.test('a medium that cannot be made durable stays', async (t) => {
  const { device, a } = unit();
  device.add({ ops: ['flush'], action: { kind: 'fail', code: 'medium-write' } });
  t.equal(said(await a(EJECT)), '3/0c/00');
  t.equal(said(await a(TEST_UNIT_READY)), SAID.GOOD);
  t.equal(said(await a('1b 00 00 00 06 00')), SAID.GOOD, 'unless NO_FLUSH');
  t.equal(said(await a(TEST_UNIT_READY)), SAID.NO_MEDIUM);
});

t.test('what does not eject', async (t) => {
  const { a } = unit();
  t.equal(said(await a('1b 00 00 00 00 00')), SAID.GOOD, 'stop without LOEJ');
  t.equal(said(await a('1b 00 00 00 12 00')), SAID.INVALID_FIELD_IN_CDB, 'a power condition');
  t.equal(said(await a(TEST_UNIT_READY)), SAID.GOOD);
  const fixed = unit(false);
  t.equal(said(await fixed.a(EJECT)), SAID.INVALID_FIELD_IN_CDB, 'a medium that is not removable');
  t.equal(said(await fixed.a(PREVENT)), SAID.GOOD, 'which is what it wants');
});
