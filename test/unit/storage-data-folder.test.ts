/** A folder of volumes, and the files in it that may be of another group. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { silentLog } from '../../lib/base/log.js';
import { DataFolder } from '../../lib/storage/data-folder.js';
import { systemDoors } from '../../lib/storage/doors.js';

const SIZE = { sizeBytes: 1 << 20, blockBytes: 512, create: true, readOnly: false, log: silentLog } as const;

t.test('what may be of another is neither opened nor removed until it is moved away', async (t) => {
  const path = t.testdir({ 'v.volume': 'the only copy' });
  const folder = await DataFolder.open(path, { log: silentLog });
  t.teardown(() => folder.close());
  await folder.leaveAlone('v');
  await t.rejects(folder.openVolume('v', SIZE), { code: 'INVALID' });
  await t.rejects(folder.remove('v'), { code: 'INVALID' });
  t.equal(fs.readFileSync(join(path, 'v.volume'), 'utf8'), 'the only copy');
  fs.renameSync(join(path, 'v.volume'), join(path, 'saved'));
  const file = await folder.openVolume('v', SIZE);
  await file.close();
  t.notOk(fs.existsSync(join(path, 'v.stranger')));
  t.notOk((await folder.strangers()).has('v'), 'a volume like any other from now on');
  await folder.remove('v');
});

t.test('opening a volume does not list the folder of all of them', async (t) => {
  const real = systemDoors();
  let lists = 0;
  const list = (path: string): Promise<string[]> => {
    lists += 1;
    return real.folders.list(path);
  };
  const doors = { ...real, folders: { ...real.folders, list } };
  const folder = await DataFolder.open(t.testdir(), { log: silentLog }, doors);
  t.teardown(() => folder.close());
  for (let i = 0; i < 8; i++) {
    const file = await folder.openVolume(`v${i}`, SIZE);
    await file.close();
    await folder.remove(`v${i}`);
  }
  t.equal(lists, 1);
});

t.test('a file that was there before is to be restored, not made anew', async (t) => {
  const path = t.testdir({ 'short.volume': 'x'.repeat(512), 'folder.volume': {}, 'empty.volume': '' });
  const folder = await DataFolder.open(path, { log: silentLog });
  t.teardown(() => folder.close());
  const hint = /restore it from a backup: a new file would read as zeros/;
  for (const [name, code] of [
    ['gone', 'NOT_FOUND'],
    ['short', 'INVALID'],
    ['folder', 'INVALID'],
    ['empty', 'INVALID'],
  ] as const) {
    await t.rejects(folder.openVolume(name, { ...SIZE, create: false }), { code, hint }, name);
  }
  await t.rejects(folder.openVolume('short', SIZE), { code: 'INVALID' });
  t.equal(fs.readFileSync(join(path, 'short.volume')).length, 512, 'and stays as it is');
});

t.test('a lock that is none is named', async (t) => {
  const path = t.testdir({ lock: {} });
  await t.rejects(DataFolder.open(path, { log: silentLog }), {
    code: 'INVALID',
    message: `${join(path, 'lock')} is a folder`,
    hint: 'move it away',
  });
});
