/** Kinds of unit: what they say of themselves, and what they refuse for being what they are. */
import t from 'tap';
import { NullDevice } from '../../lib/block/null-device.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import type { DiskOptions } from '../../lib/scsi/unit.js';
import { RamDevice } from '../support/ram-device.js';
import { cdb10, cdb12, cdb16 } from '../support/scsi-rig.js';
import { IDENTITY, SAID, said, scsiRunner } from '../support/scsi-runner.js';

/** A unit of that kind over a device that would take every write. */
function unit(options: DiskOptions, more: { vendor?: string; product?: string; serial?: string } = {}) {
  const device = new RamDevice(1024 * 4096, 4096);
  return {
    device,
    ...scsiRunner(device, new DiskServer({ device, identity: { ...IDENTITY, ...more }, options })),
  };
}

t.test('a unit says who it is', async (t) => {
  const { run } = unit({ removable: true }, { vendor: 'ACME', product: 'Floppy disk', serial: 'S 1' });
  const { dataIn } = await run('12 00 00 00ff 00');
  t.equal(dataIn[1], 0x80, 'RMB');
  t.equal(dataIn.toString('latin1', 8, 36), 'ACME    Floppy disk     0001');
  t.equal((await run('12 01 80 00ff 00')).dataIn.toString('latin1', 4), 'S 1');
  const identification = (await run('12 01 83 0400 00')).dataIn.toString('latin1');
  t.match(identification, 'ACME    Floppy disk     S 1', 'the T10 designator has all three');
  t.equal((await unit({}).run('12 00 00 00ff 00')).dataIn[1], 0, 'a disk is not removable');
});

t.test('blocks of 4096 bytes', async (t) => {
  const { run } = unit({});
  t.equal((await run('25 00 00000000 0000 00 00')).dataIn.toString('hex'), '000003ff00001000');
  const { dataIn } = await run(`9e 10 ${'00'.repeat(8)} 00000020 00 00`);
  t.equal(dataIn.readUInt32BE(8), 4096);
  t.equal(dataIn[13], 0, 'one logical block in a physical one');
  const limits = (await run('12 01 b0 00ff 00')).dataIn;
  t.equal(limits.readUInt32BE(8) * 4096, 8 * 1024 * 1024, 'MAXIMUM TRANSFER LENGTH');
  t.equal(limits.readUInt32BE(28), 1, 'OPTIMAL UNMAP GRANULARITY');
});

/** Every command that changes the medium, and what it wants of data. */
const WRITES: readonly [name: string, cdb: string, dataBytes: number][] = [
  ['WRITE(6)', '0a 00 00 00 01 00', 4096],
  ['WRITE(10)', cdb10('2a', 0, 0, 1), 4096],
  ['WRITE(12)', cdb12('aa', 0, 0, 1), 4096],
  ['WRITE(16)', cdb16('8a', 0, 0, 1), 4096],
  ['WRITE AND VERIFY(10)', cdb10('2e', 0, 0, 1), 4096],
  ['WRITE AND VERIFY(12)', cdb12('ae', 0, 0, 1), 4096],
  ['WRITE AND VERIFY(16)', cdb16('8e', 0, 0, 1), 4096],
  ['WRITE SAME(10)', cdb10('41', 0, 0, 1), 4096],
  ['WRITE SAME(16)', cdb16('93', 0, 0, 1), 4096],
  ['WRITE SAME(16), unmapping, without data', cdb16('93', 0x09, 0, 1), 0],
  ['UNMAP', '42 00 00000000 00 0018 00', 24],
];

t.test('a read-only unit refuses every command that writes', async (t) => {
  const { device, run } = unit({ readOnly: true });
  t.notOk(device.readOnly, 'although its device would not');
  for (const [name, cdb, dataBytes] of WRITES) {
    t.equal(said(await run(cdb, Buffer.alloc(dataBytes))), SAID.WRITE_PROTECTED, name);
  }
  t.same([device.counts.write, device.counts.zero, device.counts.discard], [0, 0, 0]);
  t.equal((await run('1a 08 3f 00 ff 00')).dataIn[2], 0x90, 'WP');
  t.equal(said(await run(cdb10('28', 0, 0, 1))), SAID.GOOD, 'reads are served');
  t.equal(said(await run(cdb10('2f', 0, 0, 1))), SAID.GOOD, 'VERIFY');
  t.equal(said(await run(cdb10('35', 0, 0, 0))), SAID.GOOD, 'SYNCHRONIZE CACHE');
  t.equal(said(await run(cdb10('2a', 0, 0, 0))), SAID.WRITE_PROTECTED, 'a write of nothing is one, too');
});

t.test(
  'a full unit has nothing of logical block provisioning, and takes what it is told to clear',
  async (t) => {
    const { device, run } = unit({ full: true });
    const thin = unit({});
    const bytes = async (cdb: string, of = { run }): Promise<number[]> => [...(await of.run(cdb)).dataIn];
    const capacity = `9e 10 ${'00'.repeat(8)} 00000020 00 00`;
    t.equal((await bytes(capacity))[14], 0, 'LBPME 0, LBPRZ 0');
    t.equal((await bytes(capacity, thin))[14], 0xc0, 'of a thin one they are 1');

    t.notOk((await bytes('12 01 00 00ff 00')).slice(4).includes(0xb2), 'VPD B2h is not listed');
    t.equal(said(await run('12 01 b2 00ff 00')), SAID.INVALID_FIELD_IN_CDB);
    const limits = (await run('12 01 b0 00ff 00')).dataIn;
    t.equal(limits.toString('hex', 20, 36), '00'.repeat(16), 'no limits of UNMAP, no granularity');
    t.equal(limits.readUInt32BE(40), 65_535, 'MAXIMUM WRITE SAME LENGTH');

    const logs = (await bytes('4d 00 40 00 00 0000 00ff 00')).slice(4);
    t.same(logs, [0x00, 0x2f], 'log pages');
    t.same((await bytes('4d 00 40 ff 00 0000 00ff 00')).slice(4), [0x00, 0x00, 0x00, 0xff, 0x2f, 0x00]);
    t.equal(said(await run('4d 00 4c 00 00 0000 00ff 00')), SAID.INVALID_FIELD_IN_CDB);
    const modes = async (of = { run }): Promise<number> =>
      (await bytes('5a 08 3f ff 000000 00ff 00', of)).length;
    t.equal((await modes(thin)) - (await modes()), 16, 'one mode page less');
    t.equal(
      said(await run('5a 08 1c 02 000000 00ff 00')),
      SAID.INVALID_FIELD_IN_CDB,
      'the one of thresholds',
    );

    t.equal(said(await run('42 00 00000000 00 0018 00', Buffer.alloc(24))), SAID.INVALID_OPCODE, 'UNMAP');
    t.same(await bytes('a3 0c 01 42 0000 00000100 00 00'), [0, 1, 0, 0], 'is not reported either');
    t.equal((await bytes('a3 0c 01 42 0000 00000100 00 00', thin))[1], 3);
    for (const [opcode, cdbOf] of [
      ['41', cdb10],
      ['93', cdb16],
    ] as const) {
      for (const flags of [0x08, 0x10, 0x18])
        t.equal(said(await run(cdbOf(opcode, flags, 0, 4), Buffer.alloc(4096))), SAID.INVALID_FIELD_IN_CDB);
      t.equal(said(await run(cdbOf(opcode, 0, 0, 4), Buffer.alloc(4096))), SAID.GOOD);
    }
    t.same([device.counts.zero, device.counts.discard], [2, 0], 'zeros are zeros');
    t.equal(said(await run('48 02 0000000000 0000 00')), SAID.GOOD, 'SANITIZE, BLOCK ERASE');
  },
);

t.test('of a full unit all is mapped, whatever lies under it', async (t) => {
  class Holes extends NullDevice {
    lookUp = (_: number, lengthBytes: number) => Promise.resolve({ mapped: false, lengthBytes });
  }
  const device = new Holes(4096 * 8, 4096);
  const status = async (full: boolean): Promise<string> => {
    const { run } = scsiRunner(device, new DiskServer({ device, identity: IDENTITY, options: { full } }));
    return (await run(`9e 12 ${'00'.repeat(8)} 00000100 00 00`)).dataIn.toString('hex', 8);
  };
  t.equal(await status(true), `${'00'.repeat(8)}0000000800000000`);
  t.equal(await status(false), `${'00'.repeat(8)}0000000801000000`);
});

t.test('what is not a text for INQUIRY is a defect', (t) => {
  const device = new NullDevice(4096 * 8, 4096);
  t.throws(() => new DiskServer({ device, identity: { ...IDENTITY, vendor: 'ä' } }));
  t.end();
});
