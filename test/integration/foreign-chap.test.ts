/** CHAP with initiators that are not ours: libiscsi one way and mutual, QEMU, and a group that redirects whom it knows. */
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startGroup } from '../support/group.js';
import { Running, blockferry, exec, tempFolder, type Ended } from '../support/process.js';
import { needs } from '../support/tools.js';

const SECRET = 'correct-horse-12';
const TARGET_SECRET = 'of-the-target-12';
const SECRETS = {
  accounts: [{ name: 'backup', secret: SECRET }],
  target: { name: 'ferry', secret: TARGET_SECRET },
};

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
  await t.test('QEMU', { skip: needs('qemu-io') }, async (t) => {
    const open = (secret: string): Promise<Ended> =>
      exec('qemu-io', [
        ...['--object', `secret,id=s,data=${secret}`],
        ...['-c', 'write -P 0x5a 1M 64k', '-c', 'read -P 0x5a 1M 64k', '--image-opts'],
        `driver=iscsi,transport=tcp,portal=${ready.portal},target=${iqn},lun=0,user=backup,password-secret=s`,
      ]);
    const right = await open(SECRET);
    t.equal(right.code, 0, right.stderr);
    t.match((await open(`${SECRET}3`)).stderr, /Authentication failure/);
  });
  await t.test('our own', async (t) => {
    const fill = ['io', 'fill', url, '--size', '1M'];
    t.match(await blockferry([...fill, '--chap', chap]), { code: 0 });
    const env = { BLOCKFERRY_CHAP: JSON.stringify(SECRETS) };
    t.match(await blockferry(fill, { env }), { code: 0 }, 'from the environment');
    t.match(await blockferry(fill), { code: 1, stderr: /AUTHENTICATION_FAILURE \(0201h\)/ });
  });
  const ended = await server.stop();
  t.notMatch(ended.stdout + ended.stderr, /correct-horse|of-the-target/, 'no secret in what it said');
});

t.test('so does a group, at its portal and at every member', async (t) => {
  const chap = await secretsFile(t);
  const group = await startGroup(t, { members: 2, volumes: { disk: '16M' }, args: ['--chap', chap] });
  const [volume] = group.ready.volumes;
  if (volume === undefined) throw new Error('no volume');
  for (const at of [group.ready.portal, ...group.ready.members.map(({ portal }) => portal)]) {
    const url = `iscsi://${at}/${volume.iqn}/0`;
    await t.test(`libiscsi at ${at}`, { skip: needs('iscsi-inq') }, (t) => testLibiscsi(t, url));
  }
});
