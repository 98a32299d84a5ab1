/**
 * Volumes that move while real initiators use them: a file converted onto a moving disk, writes in flight through a
 * hand-over, a benchmark through three moves, and our own harness with a ledger. Nothing is lost, nobody sees an error,
 * and the space is where the extents are.
 */
import { randomFillSync } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Initiator, Ledger, runFill, runLoad, runVerify } from '../../lib/iscsi/initiator/index.js';
import { startGroup, type TestGroup } from '../support/group.js';
import { exec, Running, tempFolder } from '../support/process.js';
import { allocatedBytes } from '../support/space.js';
import { needs } from '../support/tools.js';
import { sleepMs, until } from '../support/wait.js';

const MiB = 1024 * 1024;
/** The whole size by default; a slice of it where time is short. */
const CONVERT_BYTES = Number(process.env['MOVE_MIB'] ?? 1024) * MiB;

/** No I/O is held up for longer by a move. The best round is judged, since other tests share the processors and the disk. */
const STALL_MS = 1000;
const ROUNDS_MAX = 4;

interface MoveReport {
  volume: string;
  from: string;
  to: string;
  extents: number;
  bytesCopied: number;
  restarts: number;
  seconds: number;
  sessions: number;
  stallMs: { max: number };
}

function move(group: TestGroup, volume: string, to: string, ...args: string[]): Promise<MoveReport> {
  return group.json<MoveReport>('move', volume, '--to', to, ...args);
}

async function randomFile(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'w');
  const block = Buffer.alloc(8 * MiB);
  for (let at = 0; at < bytes; at += block.length)
    await file.write(randomFillSync(block), 0, Math.min(block.length, bytes - at), at);
  await file.close();
}

t.test(
  'qemu-img convert onto a volume while it moves',
  { skip: needs('qemu-img'), timeout: 240_000 },
  async (t) => {
    const group = await startGroup(t, { volumes: { disk: String(CONVERT_BYTES) } });
    const file = join(await tempFolder(t), 'random.raw');
    await randomFile(file, CONVERT_BYTES);
    const url = group.url('disk');
    let converted = false;
    const converting = exec('qemu-img', ['convert', '-n', '-W', '-f', 'raw', '-O', 'raw', file, url], {
      timeoutMs: 230_000,
    });
    void converting.then(() => (converted = true));
    const moves: MoveReport[] = [];
    for (let i = 0; !converted || moves.length < 2; i++)
      moves.push(await move(group, 'disk', ['m2', 'm3', 'm1'][i % 3] ?? 'm1'));
    const ended = await converting;
    t.equal(ended.code, 0, 'convert succeeds');
    t.equal(ended.stderr, '', 'no error on stderr');
    t.comment(
      `${moves.length} moves while ${CONVERT_BYTES / MiB} MiB were written, longest stall ${Math.max(...moves.map((m) => m.stallMs.max))} ms`,
    );
    const same = await exec('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', file, url], {
      timeoutMs: 230_000,
    });
    t.equal(same.code, 0, `the disk is the file: ${same.stdout}${same.stderr}`);
    t.equal(same.stderr, '');
  },
);

t.test(
  'qemu-io writes in flight through a hand-over',
  { skip: needs('qemu-io'), timeout: 240_000 },
  async (t) => {
    const group = await startGroup(t, { volumes: { disk: '64M' } });
    const commands: string[] = [];
    for (let i = 0; i < 40; i++) {
      commands.push(
        '-c',
        `aio_write -P ${i + 1} ${i}M 256k`,
        '-c',
        `aio_write -P ${i + 1} ${i * 1024 + 512}k 256k`,
        '-c',
        'sleep 100',
      );
    }
    commands.push('-c', 'aio_flush', '-c', 'flush');
    for (let i = 0; i < 40; i++)
      commands.push('-c', `read -P ${i + 1} ${i}M 256k`, '-c', `read -P ${i + 1} ${i * 1024 + 512}k 256k`);
    const writing = exec('qemu-io', ['-f', 'raw', ...commands, group.url('disk')]);
    await until('there is a session', async () => (await group.client.sessions()).sessions.length > 0);
    const report = await move(group, 'disk', 'm2');
    const ended = await writing;
    t.equal(report.sessions, 1, 'the session was handed over');
    t.equal(ended.code, 0, ended.stdout);
    t.equal(ended.stderr, '', 'no error on stderr');
    t.equal(/verification failed|error/i.test(ended.stdout), false, 'every pattern is there');
  },
);

t.test('qemu-img bench -w through three moves', { skip: needs('qemu-img'), timeout: 240_000 }, async (t) => {
  const group = await startGroup(t, { volumes: { disk: '256M' } });
  // More writes than there is time for: it ends when it is told, or by the first that fails.
  const many = String(2 ** 31 - 1);
  const args = ['bench', '-w', '-c', many, '-d', '32', '-s', '4096', '-f', 'raw', group.url('disk')];
  const bench = Running.start('qemu-img', args);
  t.teardown(() => bench.stop('SIGKILL'));
  const writesAt = async (member: string): Promise<boolean> => {
    if (bench.child.exitCode !== null) throw new Error(`it ended: ${bench.stderr}`);
    const { sessions } = await group.client.sessions();
    return sessions.some((session) => session.member === member && session.bytesWritten > MiB);
  };
  await until('it writes at m1', () => writesAt('m1'));
  const stallsMs: number[] = [];
  for (const to of ['m2', 'm3', 'm1']) {
    stallsMs.push((await move(group, 'disk', to)).stallMs.max);
    await until(`it goes on at ${to}`, () => writesAt(to));
  }
  t.ok(Math.min(...stallsMs) < STALL_MS, `stalled ${stallsMs.join(', ')} ms`);
  t.equal((await bench.stop('SIGKILL')).stderr, '');
});

/** One round of the members under load; resolves to the longest stall of any command, in ms. */
async function goRound(t: Test, group: TestGroup, initiator: Initiator, ledger: Ledger): Promise<number> {
  const { sizeBytes } = initiator.capacity;
  const stop = new AbortController();
  const loading = runLoad(initiator, {
    ledger,
    queueDepth: 32,
    readPercent: 70,
    durationSeconds: 60,
    signal: stop.signal,
  });
  for (const to of ['m2', 'm3', 'm1']) {
    const report = await move(group, 'disk', to);
    t.match(report, { volume: 'disk', to, restarts: 0, sessions: 1, extents: 32 });
    t.ok(report.bytesCopied >= sizeBytes, 'everything was copied');
  }
  stop.abort();
  const report = await loading;
  t.match(report, { errors: 0, wrongCount: 0, violations: [] }, 'no error, no wrong byte');
  t.ok(report.ops > 1000 && report.redirects >= 3, `${report.ops} operations, ${report.redirects} redirects`);
  return report.longestStallMs;
}

t.test('the harness loads a volume that goes round the members', async (t) => {
  const group = await startGroup(t, { volumes: { disk: '128M' } });
  const initiator = await Initiator.connect(group.url('disk'));
  t.teardown(() => initiator.close());
  const { sizeBytes } = initiator.capacity;
  const ledger = new Ledger({ seed: 7, blockBytes: 4096, blocks: sizeBytes / 4096 });
  t.ok((await runFill(initiator, { ledger })).ok, 'filled');
  const stallsMs: number[] = [];
  while (stallsMs.length < ROUNDS_MAX && !stallsMs.some((ms) => ms < STALL_MS)) {
    stallsMs.push(await goRound(t, group, initiator, ledger));
  }
  t.ok(Math.min(...stallsMs) < STALL_MS, `the longest command of each round: ${stallsMs.join(', ')} ms`);
  t.match(
    await runVerify(initiator, { ledger }),
    { ok: true, wrongCount: 0 },
    'every acknowledged write is there',
  );
  await sleepMs(300);
  const space = await Promise.all(
    ['m1', 'm2', 'm3'].map((name) => allocatedBytes(join(group.dataFolder, name, 'disk.volume'))),
  );
  t.ok((space[0] ?? 0) >= sizeBytes, 'the holder has the bytes');
  t.same(
    space.slice(1).map((bytes) => bytes < 256 * 1024),
    [true, true],
    `the others have given them back: ${space.join(', ')}`,
  );
});

t.test('header and data digests hold through ten moves', { timeout: 240_000 }, async (t) => {
  const group = await startGroup(t, { volumes: { disk: '16M' } });
  const offer = { headerDigest: ['CRC32C'], dataDigest: ['CRC32C'] } as const;
  const initiator = await Initiator.connect(group.url('disk'), { offer });
  t.teardown(() => initiator.close());
  const ledger = new Ledger({ seed: 8, blockBytes: 4096, blocks: initiator.capacity.sizeBytes / 4096 });
  t.ok((await runFill(initiator, { ledger })).ok, 'filled');
  const stop = new AbortController();
  const loading = runLoad(initiator, { ledger, queueDepth: 8, durationSeconds: 200, signal: stop.signal });
  const portals = new Set<string | undefined>();
  for (let n = 0; n < 10; n++) {
    const to = `m${((n + 1) % 3) + 1}`;
    t.match(await move(group, 'disk', to), { to, sessions: 1 });
    const { headerDigest, dataDigest } = initiator.parameters ?? {};
    t.match({ headerDigest, dataDigest }, { headerDigest: true, dataDigest: true }, `at ${to}`);
    portals.add(initiator.portal);
  }
  stop.abort();
  const report = await loading;
  t.match(report, { errors: 0, wrongCount: 0, violations: [] }, 'no error, no wrong byte');
  t.ok(report.redirects >= 10, `${report.redirects} redirects`);
  t.equal(portals.size, 3, 'every member has served it');
  t.match(await runVerify(initiator, { ledger }), { ok: true, wrongCount: 0 });
});

t.test('single extents move, and the volume is served from both places', { timeout: 240_000 }, async (t) => {
  const group = await startGroup(t, { volumes: { disk: '64M' } });
  const initiator = await Initiator.connect(group.url('disk'));
  t.teardown(() => initiator.close());
  const ledger = new Ledger({ seed: 9, blockBytes: 4096, blocks: initiator.capacity.sizeBytes / 4096 });
  await runFill(initiator, { ledger });
  t.match(await move(group, 'disk', 'm3', '--extents', '3-6'), { extents: 4, sessions: 0 });
  const route = await group.json<{ home: string; runs: unknown[] }>('route', 'disk');
  t.equal(route.home, 'm1', 'the home stays');
  t.match(route.runs, [
    { first: 0, last: 2, holder: 'm1' },
    { first: 3, last: 6, holder: 'm3' },
    { first: 7, last: 15, holder: 'm1' },
  ]);
  t.match(
    await runLoad(initiator, { ledger, durationSeconds: 1 }),
    { errors: 0, wrongCount: 0 },
    'forwarded I/O',
  );
  t.match(await runVerify(initiator, { ledger }), { ok: true });
  t.match(
    await move(group, 'disk', 'm2'),
    { extents: 16 },
    'a scattered volume is gathered by all who hold it',
  );
  t.match(await runVerify(initiator, { ledger }), { ok: true });
});

t.test('a full volume has all of its space, wherever it goes', { timeout: 240_000 }, async (t) => {
  const group = await startGroup(t, { volumes: { solid: '32M,full' } });
  const spaceAt = (member: string) => allocatedBytes(join(group.dataFolder, member, 'solid.volume'));
  t.match(await group.json('volume', 'show', 'solid'), { full: true, allocating: null, home: 'm1' });
  t.ok((await spaceAt('m1')) >= 32 * MiB, 'since it was made');
  const initiator = await Initiator.connect(group.url('solid'));
  t.teardown(() => initiator.close());
  await t.rejects(initiator.unmap([{ lba: 0, blocks: 8 }]), /sense 5\/20\/00/);
  await initiator.write(0, Buffer.alloc(MiB, 7));
  await initiator.writeSame(0, 2048, Buffer.alloc(512)); // zeros over what was written
  t.match(await move(group, 'solid', 'm2'), { bytesCopied: 32 * MiB }, 'zeros are copied');
  t.ok((await spaceAt('m2')) >= 32 * MiB, 'all of it where it went');
  t.ok((await initiator.read(0, 2048)).every((byte) => byte === 0));

  const large = await group.cli('volume', 'create', 'large', '--size', '8T', '--full', '--home', 'm1');
  t.equal(large.code, 1);
  t.match(
    large.stderr,
    /volume large could not be made: no space at m1: it takes 8T, and .* are left; make it smaller/,
  );
  t.equal((await group.json<unknown[]>('volume', 'list')).length, 1);
  t.equal(await allocatedBytes(join(group.dataFolder, 'm1', 'large.volume')), 0);
});

t.test('drain moves everything away', { timeout: 240_000 }, async (t) => {
  const group = await startGroup(t, { volumes: { one: '32M', two: '32M' } });
  const ended = await group.cli('drain', 'm1', '--json');
  t.equal(ended.code, 0, ended.stderr);
  for (const volume of ['one', 'two']) {
    const route = await group.json<{ home: string; runs: { holder: string }[] }>('route', volume);
    t.not(route.home, 'm1');
    t.equal(
      route.runs.some((run) => run.holder === 'm1'),
      false,
      `nothing of ${volume} is on m1`,
    );
  }
});
