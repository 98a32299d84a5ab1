/** SparseFile on a real file system: the device contract, holes, opening, locks, and what a full disk does. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, readdir, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { makeFolders } from '../../lib/base/make-folder.js';
import { BlockferryError } from '../../lib/base/errors.js';
import { silentLog } from '../../lib/base/log.js';
import { IoError, submitAndWait } from '../../lib/block/device.js';
import { DataFolder } from '../../lib/storage/data-folder.js';
import { type StorageDoors, systemDoors } from '../../lib/storage/doors.js';
import { SparseFile } from '../../lib/storage/sparse-file.js';
import { deviceSuite, pattern, readBytes, writeBytes } from '../support/device-suite.js';
import { ROOT } from '../support/root.js';
import {
  bareDoors,
  existing,
  makeFolder,
  makeSharedFolder,
  newFile,
  systemError,
} from '../support/storage-doors.js';

const KiB = 1024;
const MiB = 1024 * KiB;

const kinds: [string, number, StorageDoors][] = [
  ['blocks of 512', 512, systemDoors()],
  ['blocks of 4096', 4096, systemDoors()],
  ['no native helper', 512, bareDoors()],
];
for (const [name, blockBytes, doors] of kinds) {
  let serial = 0;
  await t.test(name, async (t) => {
    const folder = await makeFolder(t);
    await deviceSuite(t, `sparse file, ${name}`, async () => {
      const path = join(folder, `${serial++}.img`);
      const device = await SparseFile.open(path, { ...newFile(2 * MiB), blockBytes }, doors);
      return { device, close: () => device.close() };
    });
  });
}

await t.test('the native helpers load here', async (t) => {
  t.ok(systemDoors().native, 'koffi: the tests of holes and hits below mean something');
  t.ok(systemDoors().extensions, 'fs-native-extensions');
});

await t.test('a new file is all hole, and knows its data', async (t) => {
  const file = await SparseFile.open(join(await makeFolder(t), 'a.img'), newFile(64 * MiB));
  t.equal(await file.allocatedBytes(), 0, 'takes no space');
  t.strictSame(file.dataRanges(0, 64 * MiB), [], 'no data');
  await writeBytes(file, 8 * MiB, pattern(64 * KiB, 1));
  await writeBytes(file, 32 * MiB, pattern(4 * KiB, 2));
  const expected = [
    { fromBytes: 8 * MiB, toBytes: 8 * MiB + 64 * KiB },
    { fromBytes: 32 * MiB, toBytes: 32 * MiB + 4 * KiB },
  ];
  t.strictSame(file.dataRanges(0, 64 * MiB), expected, 'dirty pages are data already');
  await file.sync();
  t.strictSame(file.dataRanges(0, 64 * MiB), expected, 'and after the sync');
  t.strictSame(
    file.dataRanges(8 * MiB + 4 * KiB, 8 * KiB),
    [{ fromBytes: 8 * MiB + 4 * KiB, toBytes: 8 * MiB + 12 * KiB }],
    'cut to what was asked',
  );
  t.strictSame(file.dataRanges(9 * MiB, 2 * MiB), [], 'a range of hole');
  t.strictSame(file.dataRanges(64 * MiB, 4 * KiB), [], 'nothing beyond the end');
  await file.close();
});

await t.test('punching gives blocks back', async (t) => {
  const file = await SparseFile.open(join(await makeFolder(t), 'a.img'), newFile(16 * MiB));
  const data = pattern(12 * MiB, 3);
  await writeBytes(file, 0, data, true);
  const full = await file.allocatedBytes();
  const { usedBytes, availableBytes } = await file.usage();
  t.equal(usedBytes, full);
  t.ok(availableBytes > 0, 'the disk has something left');
  t.ok(full >= 12 * MiB, 'the data takes space');
  // More than two pieces of the lane, and odd at both ends.
  await file.punch(512, 10 * MiB);
  await file.sync();
  t.ok((await file.allocatedBytes()) <= full - 10 * MiB + 64 * KiB, 'the hole takes none');
  const expected = Buffer.from(data);
  expected.fill(0, 512, 512 + 10 * MiB);
  t.ok((await readBytes(file, 0, data.length)).equals(expected), 'the hole is zeros, its neighbours stand');
  t.equal(file.counters.misses > 0, true, 'so large a read goes to the pool');
  await file.close();
});

await t.test('a file that keeps its space gives none back but to punch()', async (t) => {
  const options = { ...newFile(8 * MiB), keepsSpace: true };
  const file = await SparseFile.open(join(await makeFolder(t), 'a.img'), options);
  await submitAndWait(file, 'zero', 0, 8 * MiB);
  await file.sync();
  const full = await file.allocatedBytes();
  t.ok(full >= 8 * MiB, 'zeros take space, too');
  t.strictSame(file.dataRanges(0, 8 * MiB), [{ fromBytes: 0, toBytes: 8 * MiB }], 'and are no hole');
  const data = pattern(3 * MiB, 4);
  await writeBytes(file, MiB, data);
  await submitAndWait(file, 'discard', MiB + 512, 2 * MiB);
  await submitAndWait(file, 'zero', MiB, 512, undefined, true);
  data.fill(0, 0, 512 + 2 * MiB);
  t.ok((await readBytes(file, MiB, data.length)).equals(data), 'what is cleared reads as zeros');
  await file.sync();
  t.equal(await file.allocatedBytes(), full);
  await file.punch(0, 4 * MiB);
  await file.sync();
  t.ok((await file.allocatedBytes()) <= full - 4 * MiB);
  await t.rejects(file.punch(8 * MiB, 512), { code: 'out-of-range' });
  await file.close();
  await t.rejects(file.punch(0, 512), { code: 'aborted' });
});

await t.test('cached reads are hits and complete inside submit', async (t) => {
  const file = await SparseFile.open(join(await makeFolder(t), 'a.img'), newFile());
  await writeBytes(file, 0, pattern(64 * KiB, 4));
  const { hits, misses } = file.counters;
  for (let i = 0; i < 16; i++) await readBytes(file, i * 4 * KiB, 4 * KiB);
  t.equal(file.counters.hits - hits, 16);
  t.equal(file.counters.misses, misses);
  await file.close();
});

await t.test('stands as it was after a restart', async (t) => {
  const path = join(await makeFolder(t), 'a.img');
  const data = pattern(3 * 512, 5);
  const first = await SparseFile.open(path, newFile());
  await writeBytes(first, 5 * 512, data);
  await first.close();
  await first.close();
  const bytes = await readFile(path);
  t.equal(bytes.length, MiB, 'the file has its size');
  t.ok(bytes.subarray(5 * 512, 8 * 512).equals(data), 'others read the same bytes at the same place');

  const again = await SparseFile.open(path, newFile());
  t.ok((await readBytes(again, 5 * 512, data.length)).equals(data), 'create leaves an existing file alone');
  await again.close();

  const second = await SparseFile.open(path, { ...existing, readOnly: true });
  t.equal(second.sizeBytes, MiB, 'the size comes from the file');
  t.ok((await readBytes(second, 5 * 512, data.length)).equals(data));
  await t.rejects(writeBytes(second, 0, data), { code: 'read-only' });
  await t.rejects(submitAndWait(second, 'discard', 0, 512), { code: 'read-only' });
  await second.sync();
  await second.close();
  await t.rejects(readBytes(second, 0, 512), { code: 'aborted' }, 'nothing is served after close');
});

await t.test('a creation cut by a crash is carried on with', async (t) => {
  const path = join(await makeFolder(t), 'a.img');
  await writeFile(path, '');
  const file = await SparseFile.open(path, newFile());
  t.equal((await stat(path)).size, MiB);
  await file.close();
});

await t.test('says what is wrong with a file it cannot open', async (t) => {
  const folder = await makeFolder(t);
  const odd = join(folder, 'odd.img');
  const empty = join(folder, 'empty.img');
  await writeFile(odd, Buffer.alloc(1000));
  await writeFile(empty, '');
  await mkdir(join(folder, 'sub'));
  await symlink('/dev/null', join(folder, 'null'));
  const open = (name: string, options: Partial<typeof existing> & { sizeBytes?: number }): Promise<unknown> =>
    SparseFile.open(join(folder, name), { ...existing, ...options });
  await t.rejects(open('missing.img', {}), { code: 'NOT_FOUND', message: /does not exist/ });
  await t.rejects(open('odd.img/x', {}), { code: 'NOT_FOUND' });
  await t.rejects(open('sub', {}), { code: 'INVALID', message: /is a folder/ });
  await t.rejects(open('sub', { readOnly: true }), { code: 'INVALID', message: /is a folder/ });
  await t.rejects(open('null', {}), { code: 'INVALID', message: /not a regular file/ });
  await t.rejects(open('odd.img', {}), { code: 'INVALID', hint: /to 1024 bytes/ });
  await t.rejects(open('empty.img', {}), { code: 'INVALID', message: /empty/ });
  await t.rejects(open('odd.img', { sizeBytes: 2048 }), { code: 'INVALID', message: /1000 bytes, not 2048/ });
  await t.rejects(open('new.img', { create: true }), { code: 'USAGE' });
  await t.rejects(open('new.img', { create: true, sizeBytes: 1000 }), { code: 'INVALID' });
  await t.rejects(open('new.img', { create: true, sizeBytes: 512, readOnly: true }), { code: 'USAGE' });
  await t.rejects(open('no/new.img', { create: true, sizeBytes: 512 }), { code: 'NOT_FOUND' });
  await t.rejects(open('new.img', { create: true, sizeBytes: 2 ** 52 }), {
    code: 'INVALID',
    message: /that large/,
  });
});

await t.test('a file cut behind our back is an error, not zeros', async (t) => {
  const path = join(await makeFolder(t), 'a.img');
  const file = await SparseFile.open(path, newFile());
  await truncate(path, 64 * KiB);
  t.strictSame(file.dataRanges(512 * KiB, 512 * KiB), [{ fromBytes: 512 * KiB, toBytes: MiB }]);
  await readBytes(file, 0, 4 * KiB); // zeros: no reason to think that all around is hole
  await t.rejects(readBytes(file, 512 * KiB, 4 * KiB), { code: 'medium-read' });
  await t.rejects(readBytes(file, 60 * KiB, 8 * KiB), { code: 'medium-read' });
  await file.close();
});

await t.test('one process at a time', async (t) => {
  const path = join(await makeFolder(t), 'a.img');
  const file = await SparseFile.open(path, newFile());
  const busy = { code: 'BUSY', message: /in use by another process/ };
  await t.rejects(SparseFile.open(path, existing), busy, 'a second open in this process');
  await t.rejects(SparseFile.open(path, { ...existing, readOnly: true }), busy, 'nor read-only');
  await file.close();
  const readers = [0, 1].map(() => SparseFile.open(path, { ...existing, readOnly: true }));
  for (const reader of await Promise.all(readers)) t.teardown(() => reader.close());
  await t.rejects(SparseFile.open(path, existing), busy, 'two may read, then none may write');
});

await t.test('a lock of another process is seen, and dies with it', async (t) => {
  const path = join(await makeFolder(t), 'a.img');
  await (await SparseFile.open(path, newFile())).close();
  const script = `
    const fd = require('fs').openSync(process.argv[1], 'r+');
    console.log(require('fs-native-extensions').tryLock(fd));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['-e', script, path], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  t.equal(String(line).trim(), 'true', 'the child has it');
  await t.rejects(SparseFile.open(path, existing), { code: 'BUSY' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  await (await SparseFile.open(path, existing)).close();
});

await t.test('a file that cannot get its size is not left behind', async (t) => {
  const folder = await makeFolder(t);
  const real = systemDoors();
  const truncate = (): Promise<never> => Promise.reject(systemError('EFBIG'));
  const doors = { ...real, folders: { ...real.folders, truncate } };
  const path = join(folder, 'a.img');
  await t.rejects(SparseFile.open(path, newFile(), doors), {
    code: 'INVALID',
    message: /no files that large/,
  });
  t.strictSame(await readdir(folder), []);
  await writeFile(path, '');
  await t.rejects(SparseFile.open(path, newFile(), doors), { code: 'INVALID' });
  t.strictSame(await readdir(folder), ['a.img'], 'but one that was there before');
  await symlink('new.img', join(folder, 'b.img'));
  await t.rejects(SparseFile.open(join(folder, 'b.img'), newFile(), doors), { code: 'INVALID' });
  t.ok((await readdir(folder)).includes('b.img'), 'and a link to what was not there stays');
});

/** A file system of 4 MiB, or why there is none. */
function mountTiny(path: string): string | null {
  if (process.getuid?.() !== 0) return 'not root: no small file system can be mounted to fill';
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', path]);
  return mount.status === 0 ? null : `mount failed: ${String(mount.stderr)}`;
}

const tiny = makeSharedFolder();
const noTiny = mountTiny(tiny);
await t.test('a full disk', { skip: noTiny ?? false }, async (t) => {
  t.teardown(() => spawnSync('umount', ['-l', tiny]));
  const file = await SparseFile.open(join(tiny, 'a.img'), newFile(64 * MiB));
  const data = pattern(MiB, 6);
  await writeBytes(file, 0, data);
  let error: unknown;
  for (let i = 1; i < 8 && error === undefined; i++) {
    await writeBytes(file, i * MiB, data).catch((e: unknown) => (error = e));
  }
  t.ok(error instanceof IoError);
  t.match(error, { code: 'no-space' });
  t.ok((await readBytes(file, 0, MiB)).equals(data), 'what was written stands');
  await t.rejects(writeBytes(file, 16 * MiB, pattern(2 * MiB, 1)), { code: 'no-space' }, 'in the pool too');
  await file.punch(0, 2 * MiB);
  await writeBytes(file, 0, data.subarray(0, 512 * KiB));
  t.pass('space that was given back can be used');
  await file.close();
  t.strictSame(file.provisioning(0, 8192), { mapped: true, lengthBytes: 8192 }, 'closed: nobody can look');
  await t.rejects(file.usage(), { code: 'aborted' });
});

await t.test('a data folder', async (t) => {
  const path = join(await makeFolder(t), 'deep', 'er');
  const folder = await DataFolder.open(path, { log: silentLog });
  await t.rejects(
    DataFolder.open(path, { log: silentLog }),
    { code: 'BUSY', message: `data folder ${path} is in use by another process` },
    'has one owner',
  );
  t.strictSame(await folder.volumes(), []);
  for (const name of ['vm-2', 'vm-1']) {
    await (await SparseFile.open(folder.volumePath(name), newFile())).close();
  }
  await writeFile(join(path, 'note.txt'), 'not a volume');
  t.strictSame(await folder.volumes(), ['vm-1', 'vm-2']);
  await folder.remove('vm-1');
  await folder.remove('vm-1');
  t.strictSame(await folder.volumes(), ['vm-2']);
  t.throws(() => folder.volumePath('../vm'), 'a name is no path');
  await folder.close();
  await folder.close();
  const again = await DataFolder.open(path, { log: silentLog });
  t.strictSame(await again.volumes(), ['vm-2']);
  await again.close();
  await t.rejects(DataFolder.open(join(path, 'note.txt'), { log: silentLog }), BlockferryError);
});

await t.test("a data folder is one member's for good", async (t) => {
  const path = join(await makeFolder(t), 'm1');
  const folder = await DataFolder.open(path, { log: silentLog });
  t.teardown(() => folder.close());
  await folder.refuseOther('m2'); // who only tries leaves nothing behind
  await folder.refuseOther('m1');
  await folder.claimFor('m1');
  await folder.claimFor('m1');
  await folder.refuseOther('m1');
  await t.rejects(folder.refuseOther('m2'), {
    code: 'INVALID',
    message: `${path} is the data folder of member m1, not of m2`,
  });
});

await t.test('a folder below what takes none is refused, and not waited for', async (t) => {
  await t.rejects(DataFolder.open('/proc/blockferry/deep', { log: silentLog }), { code: 'NOT_FOUND' });
  const folder = await makeFolder(t);
  t.equal(await makeFolders(join(folder, 'a', 'b')), join(folder, 'a'), 'the first that was made');
  t.equal(await makeFolders(join(folder, 'a', 'b')), undefined, 'it is there');
  await writeFile(join(folder, 'file'), '');
  await t.rejects(makeFolders(join(folder, 'file')), { code: 'EEXIST' });
  await t.rejects(makeFolders(join(folder, 'file', 'b')), { code: 'ENOTDIR' });
});
