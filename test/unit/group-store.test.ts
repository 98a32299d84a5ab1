/** The engines of the group store pass the contract; the embedded one also with real processes, and when they die. */
import { fork, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { open as openLmdb } from 'lmdb';
import t from 'tap';
import { sleep, systemClock, type Clock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { systemRandom } from '../../lib/base/random.js';
import { EmbeddedStore } from '../../lib/group/embedded-store.js';
import { CHANGES_MAX, type EntryRow } from '../../lib/group/ledger.js';
import { LmdbTables, storeError } from '../../lib/group/lmdb-tables.js';
import { Membership } from '../../lib/group/membership.js';
import { MemoryStore } from '../../lib/group/memory-store.js';
import { formatRecord, keys } from '../../lib/group/records.js';
import { LOADERS } from '../support/root.js';
import { SteppedClock } from '../support/hand-clock.js';
import { Collector, storeSuite } from '../support/store-suite.js';
import { until } from '../support/wait.js';

const options = { clock: systemClock, random: systemRandom, log: silentLog };

function makeFolder(t: { teardown(fn: () => void): unknown }): string {
  const folder = mkdtempSync(join(tmpdir(), 'bf-store-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

// Run with this argument, the file is a writer of its own: it counts up by compare-and-swap and says each success.
if (process.argv[2] === 'count') {
  const store = await EmbeddedStore.open(process.argv[3] ?? '', options);
  for (;;) {
    const entry = await store.get('n');
    const value = String(Number(entry?.value ?? 0) + 1);
    const done = await store.txn([{ key: 'n', revision: entry?.revision ?? 0 }], [{ put: 'n', value }]);
    if (done.committed) process.send?.(Number(value));
  }
}

// And with this one it fills a disk of 2 MiB, and prints what came of it.
if (process.argv[2] === 'fill') {
  const store = await EmbeddedStore.open(process.argv[3] ?? '', options);
  const codes = new Set<string>();
  let committed = 0;
  for (let i = 0; i < 60; i++) {
    const done = store.txn([], [{ put: `k${i}`, value: 'x'.repeat(100_000) }]);
    await done.then(() => (committed += 1)).catch((error: { code: string }) => codes.add(error.code));
  }
  const kept = (await store.list('')).entries.length;
  console.log(JSON.stringify({ codes: [...codes], isAllKept: kept === committed && committed > 0 }));
  process.exit(0);
}

// Both at once: most of their time they wait for leases to end.
t.test('the contract', { jobs: 2 }, async (t) => {
  void t.test('memory', { buffered: true }, async (t) => {
    storeSuite(t as never, async () => {
      const a = new MemoryStore(options);
      return { a, b: a.another() };
    });
  });
  void t.test('embedded', { buffered: true }, async (t) => {
    storeSuite(t as never, async (t) => {
      const folder = makeFolder(t);
      return { a: await EmbeddedStore.open(folder, options), b: await EmbeddedStore.open(folder, options) };
    });
  });
});

t.test('a history too long is compacted, and the watch is told once', async (t) => {
  const store = new MemoryStore(options);
  t.teardown(() => store.close());
  for (let i = 0; i < CHANGES_MAX + 10; i++) await store.txn([], [{ put: 'k', value: String(i) }]);
  const [tooOld, oldest] = [new Collector(), new Collector()];
  store.watch('k', 9, tooOld);
  store.watch('k', 10, oldest);
  await until('events', () => oldest.calls.length > 0);
  t.match(tooOld, { compactions: 1, calls: [] });
  t.equal(oldest.calls.length, CHANGES_MAX);
  t.equal(oldest.compactions, 0);
});

t.test('embedded: survives close and open; leases of another boot do not', async (t) => {
  const folder = makeFolder(t);
  const first = await EmbeddedStore.open(folder, options);
  const lease = await first.lease(60_000);
  const { revision } = await first.txn(
    [],
    [
      { put: 'k', value: '1' },
      { put: 'm', value: '2', lease },
    ],
  );
  await first.close();
  const second = await EmbeddedStore.open(folder, options);
  t.equal((await second.get('k'))?.revision, revision);
  t.ok(await second.get('m'), 'a lease outlives its process, for its time');
  await second.close();
  // A clock that is far ahead stands for the time that passes while nobody has the store open.
  const later: Clock = { ...systemClock, nowMs: () => systemClock.nowMs() + 120_000 };
  const third = await EmbeddedStore.open(folder, { ...options, clock: later });
  const collector = new Collector();
  third.watch('m', revision, collector);
  await until('the reaper', () => collector.lines.length > 0);
  t.same(collector.lines, ['m gone']);
  await third.close();
});

t.test('embedded: a lease ends when its time is over, not when somebody happens to look', async (t) => {
  const clock = new SteppedClock();
  const store = await EmbeddedStore.open(makeFolder(t), { ...options, clock });
  t.teardown(() => store.close());
  const lease = await store.lease(1_500);
  const { revision } = await store.txn([], [{ put: 'm', value: '1', lease }]);
  const collector = new Collector();
  store.watch('m', revision, collector);
  clock.pass(1_000); // a look
  clock.pass(499);
  await sleep(systemClock, 20);
  t.same(collector.lines, []);
  clock.pass(1);
  await until('the reaper', () => collector.lines.length > 0);
  t.same(collector.lines, ['m gone']);
});

t.test('embedded: the bell is rung for what can be watched, not for a lease that goes on', async (t) => {
  const folder = makeFolder(t);
  let aheadMs = 0;
  const clock: Clock = { ...systemClock, nowMs: () => systemClock.nowMs() + aheadMs };
  const store = await EmbeddedStore.open(folder, { ...options, clock });
  t.teardown(() => store.close());
  const bell = join(folder, 'bell');
  const isRung = async (action: () => Promise<unknown>): Promise<boolean> => {
    utimesSync(bell, 1, 1);
    await action();
    return statSync(bell).mtimeMs !== 1_000;
  };
  const lease = await store.lease(60_000);
  t.notOk(await isRung(() => lease.renew()));
  t.ok(await isRung(() => store.txn([], [{ put: 'm', value: '1', lease }])));
  t.ok(await isRung(() => lease.revoke()));
  const late = await store.lease(60_000);
  aheadMs = 120_000;
  t.ok(await isRung(() => late.renew()), 'a renewal that comes too late ends the lease');
});

/** Leaves a member in the store as a process does that is killed; its number is that of a process that is there. */
async function leaveMember(store: EmbeddedStore, name: string, ttlMs: number): Promise<void> {
  const address = { host: '127.0.0.1', port: 1 };
  const self = { name, portal: address, peer: address, pid: process.pid, incarnation: `${name}-before` };
  const lease = await store.lease(ttlMs);
  await store.txn([], [{ put: keys.member(name), value: formatRecord({ ...self, startedAtMs: 0 }), lease }]);
}

/** As it is found after the machine was started again, by whose clock the lease would last for years. */
async function startMachineAgain(folder: string, ttlMs: number): Promise<void> {
  const tables = await LmdbTables.open(folder);
  await tables.write(() => {
    for (const [id, row] of [...tables.leases()])
      if (row.ttlMs === ttlMs) tables.putLease(id, { ...row, bootId: 'before', expiresAtMs: 1e12 });
  });
  await tables.close();
}

const ends = [
  ['whose time is over', 30_000],
  ['of another boot', 0],
] as const;
for (const [what, laterMs] of ends) {
  t.test(`embedded: a lease ${what} is gone before a member starts again`, async (t) => {
    const folder = makeFolder(t);
    const before = await EmbeddedStore.open(folder, options);
    await leaveMember(before, 'm1', 20_000);
    await leaveMember(before, 'm2', 60_000);
    await before.close();
    if (laterMs === 0) await startMachineAgain(folder, 20_000);
    const clock: Clock = { ...systemClock, nowMs: () => systemClock.nowMs() + laterMs };
    const store = await EmbeddedStore.open(folder, { ...options, clock });
    t.teardown(() => store.close());
    const address = { host: '127.0.0.1', port: 1 };
    const self = { portal: address, peer: address, pid: process.pid, clock, log: silentLog };
    await t.rejects(Membership.join(store, { name: 'm2', incarnation: 'm2-now', ...self }), { code: 'BUSY' });
    t.ok(await store.get(keys.member('m2')), 'a lease that still runs is let alone');
    const m1 = await Membership.join(store, { name: 'm1', incarnation: 'm1-now', ...self });
    t.ok(m1.isValid, "who has the number of its last life by now is in nobody's way");
    await m1.leave();
  });
}

t.test('embedded: a folder of something else is INVALID, a full disk NO_SPACE', async (t) => {
  const garbage = makeFolder(t);
  writeFileSync(join(garbage, 'store.mdb'), Buffer.alloc(65536, 0x5a));
  await t.rejects(EmbeddedStore.open(garbage, options), { code: 'INVALID' });
  const foreign = makeFolder(t);
  const other = openLmdb<string, string>({ path: join(foreign, 'store.mdb'), noSubdir: true });
  for (let i = 0; i < 9; i++) await other.put(`their ${i}`, 'data');
  await other.close();
  await t.rejects(EmbeddedStore.open(foreign, options), { code: 'INVALID' });
  const full = Object.assign(new Error('No space left on device'), { code: 28 });
  t.match(storeError('/x', full), { code: 'NO_SPACE', hint: /room/ });
});

t.test('embedded: a bell that cannot be opened is an error of its store', async (t) => {
  const folder = makeFolder(t);
  const bell = join(folder, 'bell');
  mkdirSync(bell);
  await t.rejects(EmbeddedStore.open(folder, options), {
    code: 'IO',
    message: `group store ${folder}: EISDIR: illegal operation on a directory, open '${bell}'`,
    hint: /check the folder/,
  });
});

t.test('embedded: a store that was cut short is refused, not one with free pages at its end', async (t) => {
  const folder = makeFolder(t);
  const path = join(folder, 'store.mdb');
  const row = (length: number): EntryRow => ({ value: 'x'.repeat(length), revision: 1, lease: '' });
  const tables = await LmdbTables.open(folder);
  await tables.write(() => {
    for (let i = 0; i < 200; i++) tables.putEntry(`k${i}`, row(300 + 90 * (i % 30)));
  });
  const { size } = statSync(path);
  await tables.write(() => {
    tables.putEntry('big', row(400_000));
    tables.deleteEntry('big');
  });
  await tables.close();
  const metas = readFileSync(path).subarray(0, 8192);
  const lastPage = Math.max(...[144, 4096 + 144].map((at) => Number(metas.readBigUInt64LE(at))));
  t.ok(statSync(path).size < lastPage * 4096, 'LMDB never wrote the pages that it had for a moment');
  const whole = await LmdbTables.open(folder);
  const rows = whole.read(() => whole.entriesFrom('k'));
  t.equal(rows.length, 200);
  await whole.close();
  const refusal = {
    code: 'INVALID',
    message: /is not a whole group store/,
    hint: /restore it from a backup/,
  };
  for (const bytes of [size - 4096, size >> 1, 40_960, 8192, 4096, 100]) {
    truncateSync(path, bytes);
    await t.rejects(LmdbTables.open(folder), refusal, `${bytes} bytes`);
  }
});

t.test('embedded: a full disk fails the transaction and nothing else', async (t) => {
  const folder = makeFolder(t);
  // A file system of its own, in a namespace of its own: it is gone with the process.
  const inNamespace = ['-rm', 'sh', '-c', 'mount -t tmpfs -o size=2m none "$0" && exec "$@"', folder];
  const self = [process.execPath, ...LOADERS, fileURLToPath(import.meta.url), 'fill', folder];
  if (spawnSync('unshare', [...inNamespace, 'true']).status !== 0) {
    t.pass('no user namespaces here', { skip: true });
    return;
  }
  const { stdout, status } = spawnSync('unshare', [...inNamespace, ...self], { encoding: 'utf8' });
  t.equal(status, 0);
  t.same(JSON.parse(stdout), { codes: ['NO_SPACE'], isAllKept: true });
});

/** Starts this file as a counting process; `acknowledged` grows with its commits. */
function startCounter(folder: string): { child: ChildProcess; acknowledged: number[] } {
  const acknowledged: number[] = [];
  const child = fork(fileURLToPath(import.meta.url), ['count', folder], { execArgv: [...LOADERS] });
  // The test runner's loader has messages of its own.
  child.on('message', (value) => void (typeof value === 'number' && acknowledged.push(value)));
  return { child, acknowledged };
}

t.test('embedded: I1 of two processes that swap, one killed, no acknowledged commit is lost', async (t) => {
  const folder = makeFolder(t);
  const store = await EmbeddedStore.open(folder, options);
  t.teardown(() => store.close());
  const collector = new Collector();
  store.watch('n', 0, collector);
  const counters = [startCounter(folder), startCounter(folder)];
  t.teardown(() => counters.forEach(({ child }) => child.kill('SIGKILL')));
  const count = (): number => counters.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0);
  await until('both count', () => counters.every(({ acknowledged }) => acknowledged.length > 30));
  for (const { child } of counters) {
    const before = count();
    await until('the rest go on', () => count() > before + 20);
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await sleep(systemClock, 50);
  const total = Number((await store.get('n'))?.value);
  // Each of the two may have died between its commit and the word of it.
  t.ok(total >= count() && total <= count() + 2, `${total} counted, ${count()} acknowledged`);
  t.equal(
    new Set(counters.flatMap(({ acknowledged }) => acknowledged)).size,
    count(),
    'no number was given twice',
  );
  await until('every event of every process', () => collector.calls.length >= total);
  t.same(
    collector.lines,
    Array.from({ length: total }, (_, i) => `n=${i + 1}`),
  );
});
