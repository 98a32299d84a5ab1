/** CHAP with initiators that are not ours: libiscsi one way and mutual, QEMU, and a group that redirects whom it knows. */
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { killMember, startGroup } from '../support/group.js';
import { Running, blockferry, exec, tempFolder, type Ended } from '../support/process.js';
import { needs } from '../support/tools.js';

const SECRET = 'correct-horse-12';
const TARGET_SECRET = 'of-the-target-12';
const SECRETS = {
  accounts: [{ name: 'backup', secret: SECRET }],
  target: { name: 'ferry', secret: TARGET_SECRET },
};

/** Any of the secrets. */
const SAID = /correct-horse|of-the-target/;

function commandLine(pid: number | undefined): Promise<string> {
  return readFile(`/proc/${pid}/cmdline`, 'utf8');
}

async function secretsFile(t: Test): Promise<string> {
  const path = join(await tempFolder(t), 'chap.json');
  await writeFile(path, JSON.stringify(SECRETS), { mode: 0o600 });
  return path;
}

function as(user: string, url: string): string {
  return url.replace('iscsi://', `iscsi://${user}@`);
}

/** What libiscsi must find at a URL whose target wants to know who it is. */
async function testLibiscsi(t: Test, url: string): Promise<void> {
  const inquire = (user: string, env: Record<string, string> = {}): Promise<Ended> =>
    exec('iscsi-inq', [user === '' ? url : as(user, url)], { env });
  const target = (secret: string): Record<string, string> => ({
    LIBISCSI_CHAP_TARGET_USERNAME: 'ferry',
    LIBISCSI_CHAP_TARGET_PASSWORD: secret,
  });
  t.match(await inquire(`backup%${SECRET}`), { code: 0, stdout: /DIRECT_ACCESS/ }, 'the right secret');
  t.match(await inquire(`backup%${SECRET}`, target(TARGET_SECRET)), { code: 0 }, 'and the target’s');
  for (const [what, user] of [
    ['a wrong secret', `backup%${SECRET}3`],
    ['a wrong name', `restore%${SECRET}`],
    ['no secret', ''],
  ] as const) {
    t.match((await inquire(user)).stderr, /Authentication failure\(513\)/, what);
  }
  const fooled = await inquire(`backup%${SECRET}`, target(`${TARGET_SECRET}3`));
  t.not(fooled.code, 0, 'a target with another secret is not believed');
}

t.test('a served image asks who it is', async (t) => {
  const image = join(await tempFolder(t), 'disk.img');
  await writeFile(image, '');
  await truncate(image, 16 * 1024 * 1024);
  const chap = await secretsFile(t);
  const server = Running.blockferry(['serve', image, '--port', '0', '--json', '--chap', chap]);
  t.teardown(() => server.stop());
  const ready = await server.readyJson<{ portal: string; targets: { iqn: string; url: string }[] }>();
  const { iqn = '', url = '' } = ready.targets[0] ?? {};

  await t.test('libiscsi', { skip: needs('iscsi-inq') }, (t) => testLibiscsi(t, url));
  await t.test('discovery', { skip: needs('iscsi-ls') }, async (t) => {
    const listed = await exec('iscsi-ls', [as(`backup%${SECRET}`, `iscsi://${ready.portal}`)]);
    t.match(listed.stdout, new RegExp(`^Target:${iqn} `, 'm'));
    t.match((await exec('iscsi-ls', [`iscsi://${ready.portal}`])).stdout, /^$/, 'nothing for nobody');
  });
  await t.test('QEMU', { skip: needs('qemu-io', 'qemu-img') }, async (t) => {
    const image = `driver=iscsi,transport=tcp,portal=${ready.portal},target=${iqn},lun=0,user=backup`;
    const open = (secret: string, digest: string): Promise<Ended> =>
      exec('qemu-io', [
        ...['--object', `secret,id=s,data=${secret}`],
        ...['-c', 'write -P 0x5a 1M 64k', '-c', 'read -P 0x5a 1M 64k', '--image-opts'],
        `${image},password-secret=s,header-digest=${digest}`,
      ]);
    // QEMU takes no other answer than CRC32C when it asks for that alone.
    for (const digest of ['none', 'crc32c']) {
      const right = await open(SECRET, digest);
      t.equal(right.code, 0, `header digest ${digest}: ${right.stderr}`);
      t.notMatch(right.stdout, /verification failed/, digest);
      t.match((await open(`${SECRET}3`, digest)).stderr, /Authentication failure/, digest);
    }
    const secret = ['--object', `secret,id=s,data=${SECRET}`];
    const info = await exec('qemu-img', [
      'info',
      ...secret,
      '--image-opts',
      `${image},password-secret=s,header-digest=crc32c`,
    ]);
    t.match(info, { code: 0, stdout: /virtual size: 16 MiB/ }, 'qemu-img');
  });
  await t.test('our own', async (t) => {
    const fill = ['io', 'fill', url, '--size', '1M'];
    t.match(await blockferry([...fill, '--chap', chap]), { code: 0 });
    const env = { BLOCKFERRY_CHAP: JSON.stringify(SECRETS) };
    t.match(await blockferry(fill, { env }), { code: 0 }, 'from the environment');
    t.match(await blockferry(fill), { code: 1, stderr: /AUTHENTICATION_FAILURE \(0201h\)/ });
  });
  t.notMatch(await commandLine(server.child.pid), SAID, 'no secret in its arguments');
  const ended = await server.stop();
  t.notMatch(ended.stdout + ended.stderr, SAID, 'no secret in what it said');
  t.match(ended.stderr, /"failedLogins":\d+.*a login was not authenticated/, 'but that somebody tried');
});

t.test('so does a group, at its portal and at every member', async (t) => {
  // A pipe, as of a shell's <(…), can be read once; a member that is started again needs the secrets again.
  const chap = join(await tempFolder(t), 'chap.pipe');
  await exec('mkfifo', [chap]);
  const [group] = await Promise.all([
    startGroup(t, { members: 2, volumes: { disk: '16M' }, args: ['--chap', chap] }),
    writeFile(chap, JSON.stringify(SECRETS)),
  ]);
  await killMember(group, 'm1');
  const [volume] = group.ready.volumes;
  if (volume === undefined) throw new Error('no volume');
  for (const at of [group.ready.portal, ...group.ready.members.map(({ portal }) => portal)]) {
    const url = `iscsi://${at}/${volume.iqn}/0`;
    await t.test(`libiscsi at ${at}`, { skip: needs('iscsi-inq') }, (t) => testLibiscsi(t, url));
  }
  for (const asked of [['status'], ['sessions'], ['volume', 'show', volume.name], ['moves']])
    t.notMatch((await group.cli(...asked, '--json')).stdout, SAID, `${asked.join(' ')} tells no secret`);
  for (const { name, pid } of await group.client.members())
    t.notMatch(await commandLine(pid), SAID, `no secret in the arguments of ${name}`);
  const ended = await group.stop();
  t.notMatch(ended.stdout + ended.stderr, SAID, 'nor in what any of them said');
});
