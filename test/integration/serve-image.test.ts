/**
 * `blockferry serve` as people use it: the built program on raw images, QEMU's own tools as the initiator, and the file
 * itself as the judge. Every change is made twice, by qemu-io over iSCSI and by qemu-io on a local copy.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { findProgram } from '../../lib/bench/tools.js';
import { POOL_THREADS } from '../../lib/base/limits.js';
import { BLOCKFERRY, promisedHere } from '../support/process.js';
import { ROOT } from '../support/root.js';
import { needs } from '../support/tools.js';

const MiB = 1024 * 1024;
const [FILE, ...BEFORE] = BLOCKFERRY;
/** An image is served within this. The best of many starts is judged, since other tests share the processors. */
const READY_MS = 500;
const READY_ATTEMPTS = 30;

const folder = await mkdtemp(join(tmpdir(), 'blockferry-serve-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));

interface Ready {
  readonly portal: string;
  readonly targets: readonly {
    readonly iqn: string;
    readonly image: string;
    readonly size: number;
    readonly url: string;
  }[];
}

/** A running `blockferry serve`. */
class Server {
  private constructor(
    readonly process: ChildProcess,
    readonly ready: Ready,
    readonly readyMs: number,
  ) {}

  static async start(...args: string[]): Promise<Server> {
    const startedMs = performance.now();
    const child = spawn(FILE, [...BEFORE, 'serve', '--json', '--port', '0', ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    let text = '';
    while (!text.includes('\n')) {
      const [chunk] = (await Promise.race([
        once(child.stdout, 'data'),
        once(child, 'exit').then(() => Promise.reject(new Error(`serve ${args.join(' ')} ended: ${text}`))),
      ])) as [Buffer];
      text += String(chunk);
    }
    return new Server(child, JSON.parse(text) as Ready, performance.now() - startedMs);
  }

  url(index = 0): string {
    return this.ready.targets[index]?.url ?? '';
  }

  /** Sends the signal; resolves to the exit code, or the signal's name. */
  async stop(signal: 'SIGTERM' | 'SIGINT' | 'SIGKILL' = 'SIGTERM'): Promise<number | string> {
    const exited = once(this.process, 'exit') as Promise<[number | null, string | null]>;
    this.process.kill(signal);
    const [code, by] = await exited;
    return code ?? by ?? '';
  }
}

/** Runs a tool to its end; throws with all it said when it fails. */
async function run(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(findProgram(command) ?? command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += String(chunk)));
  child.stderr.on('data', (chunk: Buffer) => (output += String(chunk)));
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${code}\n${output}`);
  return output;
}

/** Runs qemu-io commands on a file or a URL. It exits 0 on a wrong pattern, so its words are judged. */
async function qemuIo(target: string, commands: readonly string[], ...options: string[]): Promise<string> {
  const output = await run('qemu-io', [
    ...['-f', 'raw', ...options],
    ...commands.flatMap((command) => ['-c', command]),
    target,
  ]);
  if (/verification failed|failed:/i.test(output)) throw new Error(output);
  return output;
}

/** Runs blockferry for a command that is to fail; its exit code and what it wrote. */
function runFailing(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(FILE, [...BEFORE, 'serve', '--port', '0', ...args], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { code: status, stdout, stderr };
}

/** A raw image of 64 MiB: an ext4 file system in its front, free space behind. */
async function makeImage(name: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, '');
  await truncate(path, 48 * MiB);
  await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', join(ROOT, 'test', 'integration'), path]);
  await truncate(path, 64 * MiB);
  return path;
}

/** Odd places and lengths on purpose: single blocks, unaligned to pages, larger than a burst. */
const WRITES = [
  'write -P 0x11 48M 1M',
  'write -P 0x22 50332160 512',
  'write -P 0x33 53M 3584',
  'write -P 0x44 54526464 70144',
  'write -P 0x55 56M 7M',
  'write -P 0x66 67108352 512',
  'write -z 57M 1M',
  'write -P 0x77 -f 59M 64k',
  'flush',
];

const skip = needs('qemu-img', 'qemu-io', 'mke2fs');

await t.test('an image with a file system, served in place', { skip: skip || needs('e2fsck') }, async (t) => {
  const image = await makeImage('disk.img');
  const reference = join(folder, 'reference.img');
  await copyFile(image, reference);
  const server = await Server.start(image);
  t.match(server.ready, { targets: [{ image, size: 64 * MiB }] });
  const threads = (await readdir(`/proc/${server.process.pid}/task`)).length;
  t.ok(threads > POOL_THREADS, `${threads} threads, the pool's among them`);
  t.match(server.url(), /^iscsi:\/\/127\.0\.0\.1:\d+\/iqn\.[^/]+\/0$/);

  t.match(await run('qemu-img', ['info', '-f', 'raw', server.url()]), /virtual size: 64 MiB/);
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', server.url(), reference]);
  t.pass('an initiator sees what the file holds');

  await qemuIo(server.url(), WRITES);
  await qemuIo(reference, WRITES);
  await qemuIo(server.url(), ['read -P 0x22 50332160 512', 'read -P 0x66 67108352 512', 'read -P 0 57M 1M']);
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', server.url(), reference]);
  t.pass('and after writes what a local qemu-io would have written');

  t.equal(await server.stop(), 0, 'SIGTERM: stops in order');
  t.ok((await readFile(image)).equals(await readFile(reference)), 'the bytes in the file are identical');
  await run('e2fsck', ['-f', '-n', image]);
  t.pass('the file system is sound');
});

await t.test('what was flushed survives kill -9', { skip }, async (t) => {
  const image = await makeImage('killed.img');
  const reference = join(folder, 'killed-reference.img');
  await copyFile(image, reference);
  const first = await Server.start(image);
  await qemuIo(first.url(), WRITES);
  t.equal(await first.stop('SIGKILL'), 'SIGKILL');
  await qemuIo(reference, WRITES);
  const second = await Server.start(image);
  t.equal(second.ready.targets[0]?.iqn, first.ready.targets[0]?.iqn, 'the same name as before');
  await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', second.url(), reference]);
  t.equal(await second.stop('SIGINT'), 0, 'SIGINT stops in order too');
});

const newImages = 'new images, several at once, sparse, and discard gives space back';
await t.test(newImages, { skip: needs('qemu-io') }, async (t) => {
  const images = [join(folder, 'one.img'), join(folder, 'two.img')];
  const server = await Server.start('--size', '256M', ...images);
  t.strictSame(
    server.ready.targets.map((target) => [target.image, target.size]),
    images.map((image) => [image, 256 * MiB]),
  );
  t.not(server.url(0), server.url(1));
  const [one = '', two = ''] = images;
  const allocated = async (path: string): Promise<number> => (await stat(path)).blocks * 512;
  t.equal(await allocated(one), 0, 'a new image takes no space');
  await Promise.all([
    qemuIo(server.url(0), ['write -P 1 8M 16M', 'flush', 'read -P 1 8M 16M', 'read -P 0 0 8M']),
    qemuIo(server.url(1), ['write -P 2 8M 16M', 'flush', 'read -P 2 8M 16M', 'read -P 0 24M 8M']),
  ]);
  t.ok((await allocated(one)) >= 16 * MiB);
  await qemuIo(server.url(0), ['discard 8M 16M', 'read -P 0 8M 16M', 'flush'], '-d', 'unmap');
  t.ok((await allocated(one)) < MiB, 'UNMAP gave it back');
  t.ok((await allocated(two)) >= 16 * MiB, 'and only there');
  t.equal(await server.stop(), 0);
  t.ok((await readFile(two)).subarray(8 * MiB, 24 * MiB).every((byte) => byte === 2));
});

await t.test('read-only images', { skip }, async (t) => {
  const image = await makeImage('fixed.img');
  const before = await readFile(image);
  const servers = await Promise.all([Server.start('--read-only', image), Server.start('--read-only', image)]);
  for (const server of servers) {
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', server.url(), image]);
    await t.rejects(qemuIo(server.url(), ['write -P 1 0 4k']), 'a write is refused');
    await t.rejects(qemuIo(image, ['write -P 1 0 4k']), 'and QEMU refuses to write beside us');
    t.equal(await server.stop(), 0);
  }
  t.ok((await readFile(image)).equals(before), 'nothing was written');
});

await t.test('QEMU keeps off a file that we write', { skip: needs('qemu-io') }, async (t) => {
  const image = join(folder, 'ours.img');
  const server = await Server.start('--size', '64M', image);
  await t.rejects(qemuIo(image, ['read 0 512']), /lock/);
  t.equal(await server.stop(), 0);
  await qemuIo(image, ['read 0 512']);
});

await t.test('says in one line what is wrong', async (t) => {
  const image = join(folder, 'busy.img');
  const server = await Server.start('--size', '64M', image);
  const busy = runFailing(image);
  t.equal(busy.code, 1);
  t.match(busy.stderr, /^blockferry: .*busy\.img is in use by another process.*\n$/);
  t.equal(busy.stdout, '');
  t.equal(await server.stop(), 0);

  const missing = runFailing(join(folder, 'missing.img'));
  t.equal(missing.code, 1);
  t.match(missing.stderr, /^blockferry: .*missing\.img.*--size.*\n$/);
  t.match(runFailing(folder), { code: 1, stderr: /^blockferry: .*folder.*\n$/ });
  t.match(runFailing('--size', '1G', image), { code: 1, stderr: /^blockferry: .*67108864 bytes.*\n$/ });
  t.match(runFailing('--size', 'huge', image), { code: 2, stderr: /^blockferry: .*\n$/ });
  t.match(runFailing(), { code: 2, stderr: /^blockferry: .*\n$/ });
});

await t.test(`ready within ${READY_MS} ms`, async (t) => {
  const image = join(folder, 'quick.img');
  const readyMs: number[] = [];
  const limitMs = promisedHere(READY_MS);
  for (let i = 0; i < READY_ATTEMPTS && !readyMs.some((ms) => ms <= limitMs); i++) {
    const server = await Server.start('--size', '1G', image);
    readyMs.push(Math.round(server.readyMs));
    await server.stop();
  }
  t.ok(
    Math.min(...readyMs) <= limitMs,
    `${readyMs.join(', ')} ms from spawn to the ready line; ${limitMs} here`,
  );
});
