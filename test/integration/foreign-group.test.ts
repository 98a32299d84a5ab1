/** libiscsi's and QEMU's tools against a group: through the group portal, and through any member. */
import t from 'tap';
import { testLibiscsiTools, testQemuTools } from '../support/foreign.js';
import { startGroup } from '../support/group.js';
import { exec } from '../support/process.js';
import { needs } from '../support/tools.js';

const SIZE_BYTES = 32 * 1024 * 1024;

t.test('a volume of a group serves foreign initiators', async (t) => {
  const group = await startGroup(t, { members: 3, volumes: { disk: '32M', other: '16M' } });
  const [volume] = group.ready.volumes;
  if (volume === undefined) throw new Error('no volume');
  const { portal } = group.ready;
  t.equal(volume.url, `iscsi://${portal}/${volume.iqn}/0`, 'its URL names the group portal');
  await testLibiscsiTools(t, { portal, iqn: volume.iqn, url: volume.url, sizeBytes: SIZE_BYTES });
  await testQemuTools(t, { portal, iqn: volume.iqn, url: volume.url, sizeBytes: SIZE_BYTES });

  await t.test(
    'every portal discovers and reaches every volume',
    { skip: needs('iscsi-ls', 'iscsi-readcapacity16') },
    async (t) => {
      for (const at of [portal, ...group.ready.members.map((member) => member.portal)]) {
        const listed = await exec('iscsi-ls', [`iscsi://${at}`]);
        const found = [...listed.stdout.matchAll(/^Target:(\S+)/gm)].map((match) => match[1]);
        t.strictSame(found.sort(), group.ready.volumes.map((v) => v.iqn).sort(), `${at} lists both`);
        for (const { iqn, size } of group.ready.volumes) {
          const capacity = await exec('iscsi-readcapacity16', [`iscsi://${at}/${iqn}/0`]);
          t.match(capacity.stdout, new RegExp(`^Total size:${size}$`, 'm'), `${iqn} through ${at}`);
        }
      }
    },
  );

  await t.test('a target that is not there', { skip: needs('iscsi-inq') }, async (t) => {
    for (const at of [portal, group.ready.members[0]?.portal]) {
      const refused = await exec('iscsi-inq', [`iscsi://${at}/iqn.2026-11.org.blockferry:nothing/0`]);
      t.not(refused.code, 0, `${at} refuses it`);
      t.match(refused.stderr, /Target not found\(515\)/, '0203h');
    }
  });
});
