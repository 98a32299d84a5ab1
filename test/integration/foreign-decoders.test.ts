/** What sg3_utils make of our bytes: pages and sense data taken from a served image, decoded from files. */
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { Initiator } from '../../lib/iscsi/initiator/index.js';
import { exec, Running, tempFolder } from '../support/process.js';
import { needs } from '../support/tools.js';

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', '').padEnd(32, '0'), 'hex');

interface Decoded {
  readonly tool: string;
  readonly args: readonly string[];
  /** The command whose data is decoded. */
  readonly cdb: string;
  readonly proof: readonly RegExp[];
}

const vpd = (page: string, ...proof: readonly RegExp[]): Decoded => ({
  tool: 'sg_vpd',
  args: ['--page', `0x${page}`, '--inhex'],
  cdb: `12 01 ${page} 01fc 00`,
  proof,
});

const DECODED: readonly Decoded[] = [
  {
    tool: 'sg_inq',
    args: ['--inhex'],
    cdb: '12 00 00 00ff 00',
    proof: [/PQual=0 +PDT=0 +RMB=1/, /version=0x06 +\[SPC-4\]/, /CmdQue=1/, /Product identification: VOLUME/],
  },
  vpd('00', /Block limits \(SBC\)/, /Logical block provisioning \(SBC\)/),
  vpd('80', /Unit serial number: decoded/),
  vpd('83', /designator type: NAA/, /designator type: T10 vendor identification/, /SCSI name string/),
  vpd('b0', /WSNZ\): 0/, /Maximum compare and write length: 255 blocks/, /Maximum unmap LBA count: 1048576/),
  vpd('b1', /Non-rotating medium/),
  vpd('b2', /LBPU\): 1/, /LBPRZ\): 1/, /thin provisioned/),
  {
    tool: 'sg_logs',
    args: ['--in'],
    cdb: '4d 00 40 00 00 00 00 01fc 00',
    proof: [/0x2f +Informational exceptions/i],
  },
  {
    tool: 'sg_logs',
    args: ['--in'],
    cdb: '4d 00 6f 00 00 00 00 01fc 00',
    proof: [/Informational Exceptions/i, /IE asc = 0x0, ascq = 0x0/],
  },
  {
    tool: 'sg_get_lba_status',
    args: ['--maxlen', '256', '--inhex'],
    cdb: '9e 12 0000000000000000 00000100 00 00',
    proof: [/mapped/i],
  },
];

t.test('pages and sense data', { skip: needs('sg_vpd', 'sg_decode_sense') }, async (t) => {
  const folder = await tempFolder(t);
  const image = join(folder, 'disk.img');
  await writeFile(image, 'x');
  await truncate(image, 16 * 1024 * 1024);
  const args = ['serve', image, '--port', '0', '--json', '--removable', '--serial', 'decoded'];
  const server = Running.blockferry(args);
  t.teardown(() => server.stop());
  const ready = await server.readyJson<{ targets: { url: string }[] }>();
  const disk = await Initiator.connect(ready.targets[0]?.url ?? '');
  t.teardown(() => disk.close());

  const file = join(folder, 'data.hex');
  for (const { tool, args, cdb, proof } of DECODED) {
    const { status, dataIn } = await disk.execute(bytes(cdb), { dataInBytes: 508 });
    t.equal(status, 0, cdb);
    await writeFile(file, dataIn.toString('hex').replaceAll(/../g, '$& '));
    const decoded = await exec(tool, [...args, file]);
    t.equal(decoded.code, 0, `${tool} of ${cdb}: ${decoded.stderr}`);
    t.equal(decoded.stderr, '', `${tool} of ${cdb} complains of nothing`);
    for (const line of proof) t.match(decoded.stdout, line, `${tool} of ${cdb}`);
  }

  for (const [cdb, proof] of [
    [
      '28 00 7fffffff 00 0001 00',
      [/Illegal Request/, /Logical block address out of range/, /Info fld=0x7fffffff/],
    ],
    ['12 01 7f 00ff 00', [/Illegal Request/, /Invalid field in cdb/, /byte 2/i]],
    ['ff', [/Invalid command operation code/]],
  ] as const) {
    const { sense } = await disk.execute(bytes(cdb), { dataInBytes: 512 });
    const decoded = await exec(
      'sg_decode_sense',
      [...sense].map((byte) => byte.toString(16)),
    );
    t.equal(decoded.code, 0);
    for (const line of proof) t.match(decoded.stdout, line, `${cdb}: ${decoded.stdout}`);
  }
});
