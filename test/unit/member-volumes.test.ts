/**
 * A member's volumes on a real data folder, over a memory store and without peers: what a restart finds, what a deleted
 * volume leaves, and what becomes of I/O while the lease is lost (I1, I4, I8).
 */
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { BlockferryError } from '../../lib/base/errors.js';
import { sleep, systemClock } from '../../lib/base/clock.js';
import { OPEN_RETRY_MS } from '../../lib/base/limits.js';
import { submitAndWait, type BlockDevice, type BlockIo } from '../../lib/block/device.js';
import { deleteVolume, listVolumes } from '../../lib/group/admin-volumes.js';
import { refuseIfFailed } from '../../lib/group/creations.js';
import type { FileCalls } from '../../lib/storage/doors.js';
import { cutShort, SteppedClock } from '../support/hand-clock.js';
import { EXTENT_BYTES, makeRig, type MemberRig } from '../support/member-rig.js';
import { allocatedBytes } from '../support/space.js';
import { doorsWith, systemError } from '../support/storage-doors.js';
import { nexusOf, SAID, said, scsiRunner } from '../support/scsi-runner.js';
import { turns, until } from '../support/wait.js';

t.test('a restart finds what was written', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.write(1, 7);
  await rig.stop();
  await rig.start();
  t.equal(await rig.read(1), 7);
});

t.test('a volume is of its kind wherever it is served, also after a restart (I9)', async (t) => {
  const rig = await makeRig(t);
  await rig.create({ removable: true, readOnly: true, serial: 'S 1', vendor: 'ACME', product: 'Floppy' });
  for (let start = 1; start <= 2; start++) {
    const device = await rig.volume(1);
    const server = rig.host.get('v')?.target.server;
    const { run } = scsiRunner(device, server);
    const { dataIn } = await run('12 00 00 00ff 00');
    t.equal(dataIn[1], 0x80, 'RMB');
    t.equal(dataIn.toString('latin1', 8, 32), 'ACME    Floppy          ');
    t.equal((await run('12 01 80 00ff 00')).dataIn.toString('latin1', 4), 'S 1');
    t.equal(said(await run('2a 00 00000000 00 0001 00', Buffer.alloc(4096))), SAID.WRITE_PROTECTED);
    await rig.stop();
    await rig.start();
  }
  await rig.write(1, 7);
  t.equal(await rig.read(1), 7, 'a move may write it');
});

t.test('a holder whose file is missing refuses instead of serving zeros (I1)', async (t) => {
  const rig = await makeRig(t, cutShort(OPEN_RETRY_MS));
  await rig.create();
  await rig.write(1, 7);
  await rig.stop();
  fs.unlinkSync(join(rig.path, 'v.volume'));
  await rig.start();
  await t.rejects(rig.read(1), { code: 'medium-read', message: /does not exist/ });
  const file = join(rig.path, 'v.volume');
  t.notOk(fs.existsSync(file), 'none is made in its place');
  fs.writeFileSync(file, Buffer.alloc(3 * EXTENT_BYTES - 4096, 6));
  await until(
    'the file that is back is served',
    async () => (await rig.read(1).catch(() => undefined)) === 6,
  );
  t.pass('once it is put back it is served');
});

for (const [isCommitted, code] of [
  [true, 'UNAVAILABLE'],
  [false, 'UNAVAILABLE'],
  [false, 'NO_SPACE'],
] as const) {
  const what = isCommitted ? 'whose answer is lost' : `that fails by ${code}`;
  t.test(`the first I/O waits out a store's commit ${what}`, async (t) => {
    const rig = await makeRig(t, cutShort(OPEN_RETRY_MS));
    const txn = rig.store.txn.bind(rig.store);
    await rig.create();
    let losses = 0;
    rig.store.txn = async (...args) => {
      losses += 1;
      rig.store.txn = txn;
      if (isCommitted) await txn(...args);
      throw new BlockferryError(code, 'the group store does not answer');
    };
    await rig.write(1, 7);
    t.equal(losses, 1, 'the commit of the first epoch was in the way');
    t.equal(await rig.read(1), 7);
    t.equal(rig.routed.route.epoch, 2, 'begun once');
  });
}

t.test('a volume made anew under the name of one just deleted is empty, and stays', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.write(1, 7);
  await deleteVolume(rig.store, 'v');
  await rig.create();
  t.equal(await rig.read(2), 0);
  await rig.write(2, 9);
  await rig.stop();
  await rig.start();
  t.equal(await rig.read(2), 9);
});

t.test('a file that is slow to go does not take the file of a later volume along (I1)', async (t) => {
  const rig = await makeRig(t);
  await rig.stop();
  const { folders } = rig.storage;
  let go: () => void = () => undefined;
  const isGone = new Promise<void>((resolve) => (go = resolve));
  let isSlow = false;
  const unlink = async (path: string): Promise<void> => {
    if (isSlow) {
      isSlow = false;
      await isGone;
    }
    return folders.unlink(path);
  };
  rig.storage = { ...rig.storage, folders: { ...folders, unlink } };
  await rig.join('m2');
  await rig.start();
  await rig.create();
  await rig.write(1, 7);
  isSlow = true;
  await deleteVolume(rig.store, 'v');
  await until('the file is about to go', () => !isSlow);
  await rig.create({ home: 'm2' }); // of which nothing is here
  await rig.volume(2);
  await deleteVolume(rig.store, 'v');
  await rig.create();
  const writing = rig.write(3, 9);
  await sleep(systemClock, 50);
  go();
  await writing;
  await sleep(systemClock, 50);
  await rig.stop();
  await rig.start();
  t.equal(await rig.read(3), 9);
});

t.test('so is one whose namesake was deleted while the member was away', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.write(1, 7);
  await rig.stop();
  await deleteVolume(rig.store, 'v');
  await rig.create();
  await rig.start();
  t.equal(await rig.read(2), 0);
});

for (const home of ['m1', 'm2']) {
  const isHome = home === 'm1';
  const outcome = isHome ? 'is served' : 'ends, since its initiator may be served elsewhere (I8)';
  t.test(`home ${home}: what waits for the lease of m1 ${outcome}`, async (t) => {
    const rig = await makeRig(t);
    await rig.create();
    await rig.write(1, 7);
    const { routed } = rig;
    if (!isHome) await rig.table.commit(routed, routed.route.withHome(home));
    await rig.write(1, 8);
    rig.leaseIsValid = false; // seen before any timer has come to it
    if (isHome) rig.host.suspend();
    const late = rig.write(1, 9).then(
      () => 'served',
      (error: { code: string }) => error.code,
    );
    await new Promise((resolve) => setImmediate(resolve));
    t.notOk(rig.host.serving, 'nothing is served without a lease (I4)');
    rig.leaseIsValid = true;
    await rig.host.regain(rig.host.term, []);
    t.equal(await late, isHome ? 'served' : 'aborted');
    t.same(rig.cutOff, isHome ? [] : [routed.record.iqn]);
    if (!isHome) {
      await t.rejects(rig.write(1, 9), { code: 'aborted' }, 'nothing more of old sessions');
      await rig.table.commit(rig.routed, rig.routed.route.withHome('m1'));
    }
    t.equal(await rig.read(1), isHome ? 9 : 8, 'the home serves');
  });
}

t.test('nothing is served before what old sessions left at the disk has ended (I8)', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.write(1, 7);
  await rig.table.commit(rig.routed, rig.routed.route.withHome('m2'));
  let end = (): void => undefined;
  rig.sessionsEnd = new Promise((resolve) => (end = resolve));
  rig.host.suspend();
  const { term } = rig.host;
  const regaining = rig.host.regain(term, []);
  await turns();
  t.notOk(rig.host.serving, 'a slow disk has their writes still');
  rig.host.suspend();
  end();
  await regaining;
  t.notOk(rig.host.serving, 'nor after another loss meanwhile, by what had begun before it');
  await rig.host.regain(term, []);
  t.notOk(rig.host.serving, 'nor by what knows nothing of the second');
  await rig.host.regain(rig.host.term, []);
  t.ok(rig.host.serving);
});

t.test('what an absent member had sent ends, though it waits for the lease (I8)', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.write(1, 7);
  const held = rig.host.get('v');
  if (held === undefined) throw new Error('no volume');
  const { unit, volume } = held;
  const host = nexusOf('iqn.2026-11.test:a');
  unit.disk.nexuses.add(host, () => 0);
  const copy = { from: 'm9', incarnation: 'gone', token: 1 };
  t.ok(unit.guests.letIn(copy, host.initiatorName));
  const guest = unit.guests.find(copy);
  volume.suspend();
  const device = { submit: (io: BlockIo) => guest?.submit(io) } as BlockDevice;
  const late = submitAndWait(device, 'write', 0, 4096, Buffer.alloc(4096, 9)).catch(
    ({ code }: { code: string }) => code,
  );
  rig.host.suspend();
  await rig.host.endAbsent([]);
  t.equal(await late, 'aborted');
  await rig.host.regain(rig.host.term, []);
  t.equal(await rig.read(1), 7);
});

t.test('what a member does not hold any more is a hole when it starts again', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  const file = join(rig.path, 'v.volume');
  const all = 3 * EXTENT_BYTES - 4096;
  await submitAndWait(await rig.volume(1), 'write', 0, all, Buffer.alloc(all, 7));
  await rig.stop();
  const table = await rig.openTable();
  const routed = table.get('v');
  if (routed === undefined) throw new Error('no volume');
  await table.commit(routed, routed.route.withHolder([0, 2], 'm2'));
  table.close();
  await rig.start();
  await rig.host.get('v')?.file();
  const bytes = fs.readFileSync(file);
  const held = Buffer.alloc(all);
  held.fill(7, EXTENT_BYTES, 2 * EXTENT_BYTES);
  t.ok(bytes.equals(held), 'the middle is there, the rest reads as zeros');
});

t.test('files of which nothing is held are removed at the start, but none of another group', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.write(1, 7);
  await rig.stop();
  const file = join(rig.path, 'v.volume');
  const stray = join(rig.path, 'stray.volume');
  const [mark = ''] = fs.readdirSync(rig.path).filter((name) => name.endsWith('.group'));
  fs.renameSync(join(rig.path, mark), join(rig.path, 'another.group'));
  fs.writeFileSync(stray, 'of another group');
  const table = await rig.openTable();
  const routed = table.get('v');
  if (routed === undefined) throw new Error('no volume');
  await rig.start();
  t.ok(fs.existsSync(file), 'a holder keeps it');
  await rig.stop();
  await table.commit(routed, routed.route.withHolder([0, 1, 2], 'm2'));
  table.close();
  await rig.start();
  t.notOk(
    fs.existsSync(file),
    'what this group has begun here is its own, and gone once all is held elsewhere',
  );
  t.ok(fs.existsSync(stray), 'what was there before it may be of another');
  await rig.stop();
  fs.rmSync(join(rig.path, 'stray.stranger'));
  await rig.start();
  t.notOk(fs.existsSync(stray), 'what comes later is of a volume that was deleted');
});
t.test('a volume does not take the place of a file that may be of another group (I1)', async (t) => {
  const rig = await makeRig(t);
  await rig.stop();
  const file = join(rig.path, 'v.volume');
  const [mark = ''] = fs.readdirSync(rig.path).filter((name) => name.endsWith('.group'));
  fs.renameSync(join(rig.path, mark), join(rig.path, 'another.group'));
  fs.writeFileSync(file, 'the only copy');
  const isRefused = async (): Promise<void> => {
    await until('no volume is left', async () => (await listVolumes(rig.store)).length === 0);
    await t.rejects(refuseIfFailed(rig.store, 'v'), /not possible at m1: .* is not of this group/);
    t.equal(fs.readFileSync(file, 'utf8'), 'the only copy');
  };
  await rig.create(); // as one is whose store was lost, and who begins a new group on the same folders
  await rig.start();
  await isRefused();
  await rig.create();
  await isRefused();
  await rig.stop();
  await rig.create();
  await rig.start();
  await isRefused(); // however often it starts
  fs.renameSync(file, join(rig.path, 'saved'));
  await rig.create();
  await rig.write(4, 7);
  t.equal(await rig.read(4), 7, 'once it was moved away there is room');
  t.notOk(fs.existsSync(join(rig.path, 'v.stranger')), 'and nothing is left of that');
});
t.test(
  'what was given away keeps its bytes until its file is asked for, or the last extent has gone',
  async (t) => {
    const rig = await makeRig(t);
    await rig.create();
    const { held, file } = await fillAll(rig);
    const hasBytes = (extent: number): boolean =>
      file.dataRanges(extent * EXTENT_BYTES, EXTENT_BYTES).length > 0;
    await rig.table.commit(rig.routed, rig.routed.route.withHolder([0], 'm2'));
    rig.host.gaveAway('v', [0]);
    await file.sync();
    t.ok(hasBytes(0), 'others are held here, and may be written to');
    // What begins an attempt on an extent that comes back: a punch after that would take what it received.
    await held.file();
    t.notOk(hasBytes(0), 'nothing is left to punch later');
    await rig.table.commit(rig.routed, rig.routed.route.withHolder([1], 'm2'));
    rig.host.gaveAway('v', [1]);
    await rig.table.commit(rig.routed, rig.routed.route.withHome('m2'));
    await sleep(systemClock, 100);
    t.ok(hasBytes(1), 'the home has gone, but its initiators still write here, by way of the next one');
    await rig.table.commit(rig.routed, rig.routed.route.withHolder([2], 'm2'));
    rig.host.gaveAway('v', [2]);
    for (let left = 40; (hasBytes(1) || hasBytes(2)) && left > 0; left--) await sleep(systemClock, 10);
    t.notOk(hasBytes(1) || hasBytes(2), 'nobody can write to it now: well before the delay is over');
  },
);

t.test('what was given away leaves memory while its bytes stay', async (t) => {
  const rig = await makeRig(t);
  await rig.stop();
  const { native } = rig.storage;
  if (native === null) throw new Error('koffi does not load');
  const uncached: number[] = [];
  rig.storage = doorsWith(
    {},
    {
      native: {
        ...native,
        uncache: (fd, offsetBytes, lengthBytes, done) => {
          uncached.push(offsetBytes, lengthBytes);
          native.uncache(fd, offsetBytes, lengthBytes, done);
        },
      },
    },
  );
  await rig.start();
  await rig.create();
  const { file } = await fillAll(rig);
  await rig.table.commit(rig.routed, rig.routed.route.withHolder([0, 2], 'm2'));
  rig.host.gaveAway('v', [0, 2]);
  await until('four ranges have left the cache', () => uncached.length === 4);
  t.strictSame(uncached, [0, EXTENT_BYTES, 2 * EXTENT_BYTES, EXTENT_BYTES - 4096], 'the last is shorter');
  t.equal(file.dataRanges(0, 3 * EXTENT_BYTES).length, 1, 'all of them');
  await rig.table.commit(rig.routed, rig.routed.route.withHolder([1], 'm2'));
  rig.host.gaveAway('v', [1]);
  await until('the file has no data', () => file.dataRanges(0, 3 * EXTENT_BYTES).length === 0);
  t.equal(uncached.length, 4, 'what is punched at once has left with its space');
});

t.test('a file that lost a sync is left for a new one once nothing is held in it', async (t) => {
  const rig = await makeRig(t);
  let isFailing = false;
  await rig.stop();
  rig.storage = doorsWith({
    fdatasync: (fd, done) => (isFailing ? setImmediate(done, systemError('EIO')) : fs.fdatasync(fd, done)),
  });
  await rig.start();
  await rig.create();
  await rig.write(1, 7);
  const held = rig.host.get('v');
  if (held === undefined) throw new Error('no volume');
  isFailing = true;
  await t.rejects((await held.file()).sync(), { code: 'medium-write' });
  isFailing = false;
  await held.leaveSpentFile();
  t.equal(await rig.read(1), 7, 'not while an extent is held');
  const spent = await held.file();
  t.ok(spent.isSpent);
  await rig.table.commit(rig.routed, rig.routed.route.withHolder([0, 1, 2], 'm2'));
  held.giveBack([0, 1, 2]);
  await held.leaveSpentFile();
  const file = await held.file();
  t.not(file, spent);
  t.equal(file.dataRanges(0, file.sizeBytes).length, 0, 'empty');
  await submitAndWait(file, 'write', 4096, 4096, Buffer.alloc(4096, 9));
  await file.sync();
  await rig.table.commit(rig.routed, rig.routed.route.withHolder([0, 1, 2], 'm1'));
  t.equal(await rig.read(1), 9, 'and what it received is served');
  await rig.write(1, 10);
  t.equal(await rig.read(1), 10);
});

t.test('a file that cannot be opened is tried again once a second, whoever asks how often', async (t) => {
  const rig = await makeRig(t);
  let opens = 0;
  let isBroken = false;
  await rig.stop();
  const real = rig.storage;
  rig.storage = {
    ...real,
    folders: {
      ...real.folders,
      open: (path, flags, mode) => {
        if (path.endsWith('v.volume')) opens += 1;
        if (!isBroken || !path.endsWith('v.volume')) return real.folders.open(path, flags, mode);
        return Promise.reject(systemError('EIO'));
      },
    },
  };
  await rig.start();
  await rig.create();
  await rig.write(1, 7);
  await rig.stop();
  isBroken = true;
  const clock = new SteppedClock();
  const passes = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 100) {
      clock.pass(100);
      await sleep(systemClock, 2); // for what asks the real disk
    }
  };
  rig.clock = clock;
  await rig.start();
  const held = rig.host.get('v');
  if (held === undefined) throw new Error('no volume');
  for (let i = 0; i < 20; i++) await t.rejects(held.file(), { code: 'IO' });
  const before = opens;
  await passes(2.6 * OPEN_RETRY_MS);
  t.ok(opens - before >= 1 && opens - before <= 3, `${opens - before} tries in 2.6 s`);
  isBroken = false;
  const beforeMending = opens;
  await passes(1.5 * OPEN_RETRY_MS);
  t.ok(opens > beforeMending, 'also when nobody asks');
  await held.file(); // the real disk takes its time
  t.equal(await rig.read(1), 7, 'mended');
});

const SIZE_BYTES = 3 * EXTENT_BYTES - 4096;

t.test('a full volume has all of its space before it is served, and keeps it', async (t) => {
  const rig = await makeRig(t);
  await rig.create({ full: true });
  const file = join(rig.path, 'v.volume');
  t.equal(await rig.read(1), 0);
  t.equal(rig.routed.route.epoch, 2, 'it has begun');
  t.ok((await allocatedBytes(file)) >= SIZE_BYTES);
  t.same((await rig.store.list('creations/')).entries, [], 'nothing is left to be told');
  await rig.write(1, 7);
  for (const op of ['discard', 'zero'] as const) await submitAndWait(await rig.volume(1), op, 0, SIZE_BYTES);
  t.equal(await rig.read(1), 0);
  await rig.stop();
  t.ok((await allocatedBytes(file)) >= SIZE_BYTES, 'whatever is cleared');
  await rig.start();
  await submitAndWait(await rig.volume(1), 'discard', 0, SIZE_BYTES);
  await (await rig.host.get('v')?.file())?.sync();
  t.ok((await allocatedBytes(file)) >= SIZE_BYTES, 'also after a restart');
  await rig.table.commit(rig.routed, rig.routed.route.withHolder([0], 'm2'));
  rig.host.gaveAway('v', [0]);
  await (await rig.host.get('v')?.file())?.sync();
  t.ok((await allocatedBytes(file)) <= SIZE_BYTES - EXTENT_BYTES, 'what is given away is given back');
});

t.test('what a crash left of a full volume is allocated anew', async (t) => {
  const rig = await makeRig(t);
  await rig.stop();
  await rig.create({ full: true });
  const file = join(rig.path, 'v.volume');
  fs.writeFileSync(file, Buffer.alloc(EXTENT_BYTES, 9)); // a part of it, and no commit
  fs.truncateSync(file, SIZE_BYTES);
  await rig.start();
  const all = Buffer.alloc(SIZE_BYTES, 0xee);
  await submitAndWait(await rig.volume(1), 'read', 0, SIZE_BYTES, all);
  t.ok(all.equals(Buffer.alloc(SIZE_BYTES)), 'with nothing of what was there');
  t.ok((await allocatedBytes(file)) >= SIZE_BYTES);
});

/** Writes every byte of the volume. */
async function fillAll(rig: MemberRig) {
  await submitAndWait(await rig.volume(1), 'write', 0, SIZE_BYTES, Buffer.alloc(SIZE_BYTES, 7));
  const held = rig.host.get('v');
  if (held === undefined) throw new Error('no volume');
  return { held, file: await held.file() };
}

/** The rig on a disk whose writes in the thread pool are the test's. */
async function restartWith(rig: MemberRig, write: FileCalls['write'], freeBytes = 2 ** 40): Promise<void> {
  await rig.stop();
  const doors = doorsWith({ write });
  rig.storage = { ...doors, folders: { ...doors.folders, freeBytes: () => Promise.resolve(freeBytes) } };
  await rig.start();
}

t.test('a member that stops in the midst leaves no volume that calls itself full', async (t) => {
  const rig = await makeRig(t);
  let stopping: Promise<void> | undefined;
  await restartWith(rig, (_fd, _data, _offset, length, _position, done) => {
    stopping ??= rig.stop();
    setImmediate(done, null, length); // quickly, since nothing is written
  });
  await rig.create({ full: true, sizeBytes: 80 * 1024 * 1024 }); // two pieces
  await until('it stops', () => stopping !== undefined);
  await stopping;
  const table = await rig.openTable();
  t.equal(table.get('v')?.route.epoch, 1, 'its route says that there is no file yet');
  table.close();
  await deleteVolume(rig.store, 'v');
  await rig.start();
});

for (const [what, freeBytes, passed] of [
  ['does not fit', SIZE_BYTES - 1, 0],
  ['did fit, until others were there', SIZE_BYTES, 1],
] as const) {
  t.test(`a full volume that ${what} is none: nothing stays but the reason`, async (t) => {
    const rig = await makeRig(t);
    let writes = 0;
    const write: FileCalls['write'] = (fd, data, offset, length, position, done) => {
      if (writes++ < passed) fs.write(fd, data, offset, EXTENT_BYTES, position, done);
      else setImmediate(done, systemError('ENOSPC'), length);
    };
    await restartWith(rig, write, freeBytes);
    await rig.create({ full: true });
    await until('no volume is left', async () => (await listVolumes(rig.store)).length === 0);
    const refused = { code: 'NO_SPACE', message: /volume v could not be made: no space at m1: / };
    await t.rejects(refuseIfFailed(rig.store, 'v'), refused);
    t.same((await rig.store.list('routes/')).entries, []);
    const file = join(rig.path, 'v.volume');
    await until('the file is gone', () => !fs.existsSync(file));
    t.equal(writes > 0, passed > 0, 'what is known not to fit is not begun');
    await rig.create();
    t.equal(await rig.read(2), 0, 'a thin one fits');
    await refuseIfFailed(rig.store, 'v');
  });
}

t.test('I/O that waits for a full volume ends with it', async (t) => {
  const rig = await makeRig(t);
  let fail = (): void => undefined;
  const hung = new Promise<void>((resolve) => (fail = resolve));
  await restartWith(rig, (...[, , , , , done]) => void hung.then(() => done(systemError('ENOSPC'), 0)));
  await rig.create({ full: true });
  const reading = rig.read(1);
  await sleep(systemClock, 20);
  fail();
  await t.rejects(reading, { code: 'medium-read', message: /no-space/ });
});

t.test('a full volume is allocated once, although the store does not answer that it has begun', async (t) => {
  const rig = await makeRig(t, cutShort(OPEN_RETRY_MS));
  let fills = 0;
  await restartWith(rig, (...asked) => {
    fills += 1;
    fs.write(...asked);
  });
  await rig.create({ full: true });
  const txn = rig.store.txn.bind(rig.store);
  rig.store.txn = async (...args) => {
    rig.store.txn = txn;
    await txn(...args);
    throw new BlockferryError('UNAVAILABLE', 'the group store does not answer');
  };
  t.equal(await rig.read(1), 0);
  t.equal(rig.routed.route.epoch, 2);
  t.equal(fills, 1, 'a second time it would be half full for a while, and called full');
});

t.test(
  'who was here before the home came back is told, too, of what the home before had found (I1)',
  async (t) => {
    const rig = await makeRig(t);
    rig.peers.verifiers.set('m2', 'after');
    await rig.create();
    await rig.volume(1);
    const held = rig.host.get('v');
    if (held === undefined) throw new Error('no volume');
    held.target.server.nexusBegan(nexusOf('iqn.2026-11.test:initiator'));
    await rig.table.commit(rig.routed, rig.routed.route.withHome('m2'));
    await rig.table.commit(rig.routed, rig.routed.route.withHome('m1', { m2: 'before' }));
    t.equal(held.volume.losses, 1);
    t.equal(held.unit.lossesTold, 0, 'the next flush fails');
  },
);
