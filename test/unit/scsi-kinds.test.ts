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

t.test('what is not a text for INQUIRY is a defect', (t) => {
  const device = new NullDevice(4096 * 8, 4096);
  t.throws(() => new DiskServer({ device, identity: { ...IDENTITY, vendor: 'ä' } }));
  t.end();
});
