/** What foreign initiators must find at any URL of ours: the same claims for a served image and for a group's volume. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exec, tempFolder, type Ended } from './process.js';
import { needs } from './tools.js';

interface Claims {
  test(name: string, options: { skip: string | false }, body: (t: Claims) => Promise<void>): Promise<unknown>;
  equal(found: unknown, wanted: unknown, message: string): boolean;
  match(found: unknown, wanted: unknown, message: string): boolean;
  teardown(end: () => unknown): void;
}

export interface ForeignTarget {
  /** HOST:PORT for discovery. */
  readonly portal: string;
  readonly iqn: string;
  readonly url: string;
  readonly sizeBytes: number;
}

/** Vital product data pages that iscsi-inq can decode, and one line of each that proves it was. */
const VPD_PAGES: readonly (readonly [page: number, proof: RegExp])[] = [
  [0x00, /Page:0x00[\s\S]*Page:0x80[\s\S]*Page:0x83[\s\S]*Page:0xb0[\s\S]*Page:0xb1[\s\S]*Page:0xb2/],
  [0x80, /Unit Serial Number:\[[0-9a-f]{16}\]/],
  [0x83, /DEVICE DESIGNATOR #0/],
  [0xb0, /maximum transfer length:[1-9]\d*/],
  [0xb1, /Medium Rotation Rate/i],
  [0xb2, /lbpu:1/],
];

/** Fails with all that the tool said. */
function succeeded(t: Claims, ended: Ended, what: string): void {
  t.equal(ended.code, 0, `${what} succeeds${ended.code === 0 ? '' : `: ${ended.stdout}${ended.stderr}`}`);
  t.equal(ended.stderr, '', `${what} says nothing on stderr`);
}

export async function testLibiscsiTools(t: Claims, target: ForeignTarget): Promise<void> {
  await t.test('iscsi-ls -s', { skip: needs('iscsi-ls') }, async (t) => {
    const listed = await exec('iscsi-ls', ['-s', `iscsi://${target.portal}`]);
    succeeded(t, listed, 'iscsi-ls');
    t.match(
      listed.stdout,
      new RegExp(`^Target:${target.iqn} Portal:${target.portal},1$`, 'm'),
      'the target is listed',
    );
    t.match(listed.stdout, /^Lun:0 +Type:DIRECT_ACCESS \(Size:\d+[MG]\)$/m, 'its disk answers');
  });
  await t.test('iscsi-inq on every page', { skip: needs('iscsi-inq') }, async (t) => {
    const standard = await exec('iscsi-inq', [target.url]);
    succeeded(t, standard, 'iscsi-inq');
    t.match(
      standard.stdout,
      /Peripheral Device Type:DIRECT_ACCESS[\s\S]*CmdQue:1/,
      'a disk that queues commands',
    );
    for (const [page, proof] of VPD_PAGES) {
      const answer = await exec('iscsi-inq', ['-e', '1', '-c', String(page), target.url]);
      const name = `page ${page.toString(16).padStart(2, '0')}h`;
      succeeded(t, answer, name);
      t.match(answer.stdout, proof, `${name} holds what it should`);
    }
  });
  await t.test('iscsi-readcapacity16', { skip: needs('iscsi-readcapacity16') }, async (t) => {
    const capacity = await exec('iscsi-readcapacity16', [target.url]);
    succeeded(t, capacity, 'iscsi-readcapacity16');
    t.match(capacity.stdout, new RegExp(`^Total size:${target.sizeBytes}$`, 'm'), 'the size');
    t.match(capacity.stdout, /LBPME:1 LBPRZ:1/, 'thin, and zeros where nothing was written');
  });
}

/** A file goes onto the disk and is compared there; then holes, and reads beyond what was written. */
export async function testQemuTools(t: Claims, target: ForeignTarget): Promise<void> {
  await t.test('qemu-img and qemu-io', { skip: needs('qemu-img', 'qemu-io') }, async (t) => {
    const file = join(await tempFolder(t), 'random.raw');
    await writeFile(file, randomBytes(target.sizeBytes));
    const info = await exec('qemu-img', ['info', '--output=json', '-f', 'raw', target.url]);
    succeeded(t, info, 'qemu-img info');
    t.equal(
      (JSON.parse(info.stdout) as Record<string, unknown>)['virtual-size'],
      target.sizeBytes,
      'its size',
    );
    const to = ['-O', 'raw', file, target.url];
    succeeded(t, await exec('qemu-img', ['convert', '-n', '-W', '-f', 'raw', ...to]), 'qemu-img convert');
    const both = ['-f', 'raw', '-F', 'raw', file, target.url];
    const same = await exec('qemu-img', ['compare', ...both]);
    succeeded(t, same, 'qemu-img compare');
    t.match(same.stdout, /identical/, 'every byte is the same');
    const commands = [
      'discard 1M 1M',
      'read -P 0 1M 1M',
      'write -P 0x5a 3584 5k',
      'flush',
      'read -P 0x5a 3584 5k',
    ];
    const io = await exec('qemu-io', ['-f', 'raw', ...commands.flatMap((c) => ['-c', c]), target.url]);
    succeeded(t, io, 'qemu-io');
    t.equal(/Pattern verification failed|error/i.test(io.stdout), false, 'every pattern is found');
    succeeded(
      t,
      await exec('qemu-img', ['bench', '-w', '-c', '2000', '-d', '32', '-f', 'raw', target.url]).then(quiet),
      'bench',
    );
  });
}

/** qemu-img bench reports on stdout; nothing of it matters but that it ended well. */
function quiet(ended: Ended): Ended {
  return { ...ended, stdout: '' };
}
