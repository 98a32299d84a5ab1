/** When a data folder's write verifier changes: just when what was written and not flushed may be gone. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { SeededRandom } from '../../lib/base/random.js';
import { silentLog } from '../../lib/base/log.js';
import { submitAndWait } from '../../lib/block/device.js';
import { DataFolder } from '../../lib/storage/data-folder.js';
import { systemDoors, type FolderCalls, type StorageDoors } from '../../lib/storage/doors.js';
import { doorsWith, existing, makeFolder, newFile, systemError } from '../support/storage-doors.js';

const random = new SeededRandom(20261129);

/** A life of a process: what it opened, and the verifier that it told. */
async function begin(
  path: string,
  bootId: string,
  doors: StorageDoors = systemDoors(),
): Promise<{ folder: DataFolder; verifier: string }> {
  const folder = await DataFolder.open(path, { log: silentLog }, doors);
  return { folder, verifier: await folder.openVerifier({ bootId, random, log: silentLog }) };
}

/** Lets a killed process's lock go, and leaves all else as it is. */
async function kill(path: string, folder: DataFolder): Promise<void> {
  const marks = readdirSync(path).filter((entry) => entry.endsWith('.boot'));
  await folder.close();
  for (const mark of marks) writeFileSync(join(path, mark), '');
}

const marksOf = (path: string): string[] =>
  readdirSync(path)
    .filter((entry) => /\.(?:boot|verifier)$/.test(entry))
    .map((entry) => entry.replace(/^[0-9a-f]{16}\.verifier$/, '*.verifier'))
    .sort();

t.test('a process that is killed loses nothing', async (t) => {
  const path = await makeFolder(t);
  const first = await begin(path, 'boot-1');
  t.match(first.verifier, /^[0-9a-f]{16}$/);
  t.same(marksOf(path), ['*.verifier', 'boot-1.boot']);
  await kill(path, first.folder);
  const second = await begin(path, 'boot-1');
  t.equal(second.verifier, first.verifier);
  await kill(path, second.folder);
});

t.test('a machine that goes down under it may', async (t) => {
  const path = await makeFolder(t);
  const first = await begin(path, 'boot-1');
  await kill(path, first.folder);
  const second = await begin(path, 'boot-2');
  t.not(second.verifier, first.verifier);
  t.same(marksOf(path), ['*.verifier', 'boot-2.boot'], 'of those before nothing is left');
  await kill(path, second.folder);
  t.equal((await begin(path, 'boot-2')).verifier, second.verifier, 'once');
});

t.test('what was closed in order is there after any boot', async (t) => {
  const path = await makeFolder(t);
  const first = await begin(path, 'boot-1');
  const file = await first.folder.openVolume('v', newFile());
  await submitAndWait(file, 'write', 0, 512, Buffer.alloc(512, 1));
  await file.close();
  await first.folder.close();
  t.same(marksOf(path), ['*.verifier']);
  t.equal((await begin(path, 'boot-2')).verifier, first.verifier);
});

/** A volume of a killed process, under one that `leaves` it before it ends in order. */
async function leftBehind(
  t: Test,
  leaves: (folder: DataFolder) => Promise<unknown>,
): Promise<{ path: string; verifier: string }> {
  const path = await makeFolder(t);
  const first = await begin(path, 'boot-1');
  await (await first.folder.openVolume('v', newFile())).close();
  await kill(path, first.folder);
  const second = await begin(path, 'boot-1');
  await leaves(second.folder);
  await second.folder.close();
  return { path, verifier: first.verifier };
}

t.test('a volume that nobody has opened is flushed when the folder is closed', async (t) => {
  const { path, verifier } = await leftBehind(t, () => Promise.resolve());
  t.same(marksOf(path), ['*.verifier']);
  t.equal((await begin(path, 'boot-2')).verifier, verifier);
});

t.test('one that is still open then may not be durable', async (t) => {
  const { path, verifier } = await leftBehind(t, (folder) => folder.openVolume('v', existing));
  t.same(marksOf(path), ['*.verifier', 'boot-1.boot']);
  t.not((await begin(path, 'boot-2')).verifier, verifier);
});

t.test('nor is one whose flush failed', async (t) => {
  const path = await makeFolder(t);
  const failing = doorsWith({ fdatasync: (_fd, done) => setImmediate(done, systemError('EIO')) });
  const first = await begin(path, 'boot-1', failing);
  const file = await first.folder.openVolume('v', newFile());
  await submitAndWait(file, 'write', 0, 512, Buffer.alloc(512, 1));
  await t.rejects(file.close());
  await first.folder.close();
  t.not((await begin(path, 'boot-1')).verifier, first.verifier, 'in the same boot, too');
});

t.test('a process that could not begin leaves it as it was', async (t) => {
  const path = await makeFolder(t);
  const first = await begin(path, 'boot-1');
  await (await first.folder.openVolume('v', newFile())).close();
  await first.folder.close();
  const second = await begin(path, 'boot-1');
  await second.folder.close();
  t.same(marksOf(path), ['*.verifier']);
  t.equal((await begin(path, 'boot-2')).verifier, first.verifier);
});

t.test('one that was removed has nothing to lose', async (t) => {
  const path = await makeFolder(t);
  const first = await begin(path, 'boot-1');
  await (await first.folder.openVolume('v', newFile())).close();
  await first.folder.remove('v');
  await first.folder.close();
  t.equal((await begin(path, 'boot-2')).verifier, first.verifier);
});

t.test('a crash between two verifiers makes a third', async (t) => {
  const path = await makeFolder(t);
  const first = await begin(path, 'boot-1');
  await first.folder.close();
  writeFileSync(join(path, '0123456789abcdef.verifier'), '');
  const second = await begin(path, 'boot-1');
  t.notOk([first.verifier, '0123456789abcdef'].includes(second.verifier));
  t.same(marksOf(path), ['*.verifier', 'boot-1.boot']);
});

t.test('where nobody knows the boot there is none', async (t) => {
  const path = await makeFolder(t);
  const { folder, verifier } = await begin(path, '');
  t.equal(verifier, '');
  t.same(marksOf(path), []);
  await folder.close();
});

t.test('and what an earlier process left unflushed stays marked until it is flushed', async (t) => {
  const path = await makeFolder(t);
  const first = await begin(path, 'boot-1');
  await (await first.folder.openVolume('v', newFile())).close();
  await kill(path, first.folder);
  const real = systemDoors();
  const sync = (): Promise<void> => Promise.reject(systemError('EIO'));
  const { folder } = await begin(path, '', { ...real, folders: { ...real.folders, sync } });
  await folder.close();
  t.same(marksOf(path), ['boot-1.boot'], 'what could not be flushed is told of in the same boot, too');
});

t.test('nor what cannot be flushed when the folder is closed: a disk says so once', async (t) => {
  const path = await makeFolder(t);
  const first = await begin(path, 'boot-1');
  await (await first.folder.openVolume('v', newFile())).close();
  await kill(path, first.folder);
  const { folders } = systemDoors();
  const volumes = new Set<number>();
  const failing: Partial<FolderCalls> = {
    open: async (name, ...rest) => {
      const fd = await folders.open(name, ...rest);
      if (name.endsWith('.volume')) volumes.add(fd);
      else volumes.delete(fd);
      return fd;
    },
    sync: (fd) => (volumes.has(fd) ? Promise.reject(systemError('EIO')) : folders.sync(fd)),
  };
  const second = await begin(path, 'boot-1', { ...systemDoors(), folders: { ...folders, ...failing } });
  t.equal(second.verifier, first.verifier);
  await second.folder.close();
  t.equal(volumes.size, 1, 'it was tried');
  const third = await begin(path, 'boot-1');
  t.not(third.verifier, first.verifier);
  await third.folder.close();
});

/** A disk that takes no new file, and one that lets none go. */
const FAILING: readonly (readonly [string, Partial<FolderCalls>])[] = [
  ['full', { open: refusing('open', (path) => path.endsWith('.boot')) }],
  ['read-only', { open: refusing('open', (path) => path.endsWith('.boot')), unlink: refusing('unlink') }],
];

function refusing<Name extends 'open' | 'unlink'>(
  name: Name,
  refuses: (path: string) => boolean = () => true,
): FolderCalls[Name] {
  const real = systemDoors().folders[name] as (path: string, ...rest: unknown[]) => Promise<unknown>;
  const call = (path: string, ...rest: unknown[]): Promise<unknown> =>
    refuses(path) ? Promise.reject(systemError('ENOSPC')) : real(path, ...rest);
  return call as FolderCalls[Name];
}

for (const [kind, folders] of FAILING) {
  t.test(`a ${kind} disk: the member serves all the same, and whoever wrote is warned`, async (t) => {
    const path = await makeFolder(t);
    const first = await begin(path, 'boot-1');
    await first.folder.close();
    const real = systemDoors();
    const failing = { ...real, folders: { ...real.folders, ...folders } };
    const second = await begin(path, 'boot-2', failing);
    t.match(second.verifier, /^[0-9a-f]{16}$/);
    t.not(second.verifier, first.verifier);
    await second.folder.close();
    const third = await begin(path, 'boot-3'); // the lock is free
    t.not(third.verifier, second.verifier);
    if (kind === 'full') t.not(third.verifier, first.verifier);
  });
}
