/** The parts of `serve` and `up` that need no group: identities, ports, processes that are watched over. */
import { existsSync } from 'node:fs';
import { link, lstat, mkdir, readFile, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock, type Timer } from '../../lib/base/clock.js';
import { isAddressInUse } from '../../lib/base/errors.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { ensureGroup } from '../../lib/group/admin.js';
import { openStore } from '../../lib/group/open-store.js';
import { identifyImages } from '../../lib/serve/image-identity.js';
import { ImageServer } from '../../lib/serve/images.js';
import { DataFolder } from '../../lib/storage/data-folder.js';
import { chooseAddresses, loadAddresses, saveAddresses } from '../../lib/supervisor/addresses.js';
import { MemberProcess } from '../../lib/supervisor/member-process.js';
import { Supervisor } from '../../lib/supervisor/supervisor.js';
import { FakeDoor, run } from '../support/cli-door.js';
import { makeSharedFolder } from '../support/storage-doors.js';
import { until } from '../support/wait.js';

const folder = makeSharedFolder();
const HOST = '127.0.0.1';

/** What is watched here is plain JavaScript: with the test runner's loaders it would take seconds to start. */
function withoutLoaders(t: Test): void {
  const { execArgv } = process;
  process.execArgv = [];
  t.teardown(() => (process.execArgv = execArgv));
}

t.test('identities of images', async (t) => {
  const [disk, twin, odd, none] = identifyImages([
    '/a/Disk 1.IMG',
    '/b/disk-1.img',
    '/a/-ünder_score.',
    '/a/...',
  ]);
  t.equal(disk?.iqn, 'iqn.2026-11.org.blockferry:disk-1.img', 'lower case, nothing that a name may not hold');
  t.equal(twin?.iqn, 'iqn.2026-11.org.blockferry:disk-1.img-2', 'unique');
  t.equal(odd?.iqn, 'iqn.2026-11.org.blockferry:nder-score');
  t.equal(none?.iqn, 'iqn.2026-11.org.blockferry:image');
  for (const identity of [disk, twin, odd, none]) {
    t.match(identity?.serial, /^[0-9a-f]{16}$/);
    t.match(identity?.naa, /^3[0-9a-f]{15}$/, 'NAA 3h: locally assigned');
  }
  t.not(disk?.naa, twin?.naa, 'by path, not by name');
  t.strictSame(identifyImages(['/a/Disk 1.IMG']), [disk], 'the same at every start');
});

t.test('an image that is made: by its own path, and only where it is served', async (t) => {
  const images = join(folder, 'images');
  await mkdir(images);
  await symlink('new.img', join(images, 'link.img'));
  const serve = (name: string, sizeBytes?: number, readOnly = false): Promise<ImageServer> =>
    ImageServer.start({
      ...{ images: [join(images, name)], host: HOST, port: 0, sizeBytes, readOnly },
      ...{ clock: systemClock, random: new SeededRandom(7), log: silentLog },
    });
  await t.rejects(serve('new.img', 1000), { code: 'INVALID', hint: /multiple of 512/ });
  await t.rejects(serve('new.img'), { code: 'NOT_FOUND' });
  await t.rejects(serve('new.img', 4096, true), {
    code: 'USAGE',
    message: /with --read-only --size creates none/,
  });
  await t.rejects(serve('none/new.img', 4096), { code: 'IO', message: /ENOENT/ });
  t.strictSame(await readdir(images), ['link.img'], 'what is refused leaves nothing');
  const made = await serve('link.img', 4096);
  t.match(made.images, [{ iqn: /:new\.img$/ }], 'what the link names');
  await made.stop();
  t.equal((await stat(join(images, 'new.img'))).size, 4096);
  const again = await serve('link.img');
  t.equal(again.images[0]?.iqn, made.images[0]?.iqn, 'the same once it is there');
  await again.stop();
  await (await serve('link.img', 4096, true)).stop();
});

t.test('one file under two names is not served twice', async (t) => {
  const images = join(folder, 'names');
  await mkdir(images);
  const path = (name: string): string => join(images, name);
  await writeFile(path('a.img'), Buffer.alloc(4096));
  await link(path('a.img'), path('hard.img'));
  await symlink('a.img', path('soft.img'));
  await symlink('new.img', path('to-be.img'));
  const serve = (...names: string[]): Promise<ImageServer> =>
    ImageServer.start({
      ...{ images: names.map(path), host: HOST, port: 0, sizeBytes: 4096, readOnly: false },
      ...{ clock: systemClock, random: new SeededRandom(9), log: silentLog },
    });
  for (const name of ['hard.img', 'soft.img'])
    await t.rejects(serve('a.img', name), { code: 'USAGE', message: / are one file$/ }, name);
  await t.rejects(serve('new.img', 'to-be.img'), { code: 'USAGE', message: / are one file$/ });
  await t.rejects(serve('a.img', 'a.img'), { code: 'USAGE', message: /a\.img is named twice/ });
});

t.test('ports', async (t) => {
  const random = new SeededRandom(5);
  // Waiting is all that takes time by it, and is over at once.
  let nowMs = 0;
  const after = (delayMs: number, fire: () => void): Timer => {
    nowMs += delayMs;
    setImmediate(fire);
    return { cancel: () => undefined };
  };
  const clock = { ...systemClock, nowMs: () => nowMs, after };
  const choose = (
    wanted: Partial<Parameters<typeof chooseAddresses>[0]>,
    saved?: Awaited<ReturnType<typeof loadAddresses>>,
  ) =>
    chooseAddresses(
      { host: HOST, port: 0, managePort: 0, members: 2, waitsForRelease: true, ...wanted },
      saved,
      clock,
      random,
    );

  await t.rejects(
    choose({ host: '192.0.2.7', port: 3260 }), // TEST-NET-1: no address of this machine
    { code: 'IO', message: /cannot open port 192\.0\.2\.7:3260/ },
    'not every failure is a port in use',
  );
  const free = await choose({});
  const ports = [free.portal, free.manage, ...free.members.flatMap((member) => [member.portal, member.peer])];
  t.equal(new Set(ports).size, 6, 'no port twice');
  t.ok(
    ports.every((port) => port < 32_768),
    'below the ephemeral range',
  );
  t.strictSame(
    free.members.map((member) => member.name),
    ['m1', 'm2'],
  );

  const path = join(folder, 'ports');
  await import('node:fs/promises').then((fs) => fs.mkdir(path));
  t.equal(await loadAddresses(path), undefined, 'a new folder has none');
  await saveAddresses(path, free, undefined);
  const saved = await loadAddresses(path);
  t.strictSame(saved, free);
  t.strictSame(await choose({}, saved), free, 'the same ports again');
  const grown = await choose({ members: 3 }, saved);
  t.strictSame(grown.members.slice(0, 2), free.members, 'a member more leaves the others where they are');
  t.equal(
    (await choose({ members: 1 }, saved)).members.length,
    2,
    'a member that may hold data is not left out',
  );
  const names = async (...kept: string[]): Promise<string[]> => {
    const members = grown.members.filter((member) => kept.includes(member.name));
    return (await choose({ members: 3 }, { ...grown, members })).members.map((member) => member.name);
  };
  t.strictSame(await names('m2', 'm3'), ['m2', 'm3', 'm1'], 'one that was taken out of the file is the next');
  t.strictSame(await names('m2'), ['m2', 'm1', 'm3']);

  const asked = await choose({ port: free.portal, managePort: free.manage });
  t.strictSame(
    asked.members.map((member) => member.portal),
    [free.portal + 1, free.portal + 2],
    'the next ones',
  );

  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(free.portal, HOST, resolve));
  t.teardown(() => taken.close());
  await t.rejects(choose({ port: free.portal }), { code: 'BUSY', hint: /--port/ }, 'an asked port in use');
  await t.rejects(choose({ port: 65535 }), { code: 'USAGE' }, 'members beyond the last port');
  nowMs = 0;
  t.not((await choose({}, saved)).portal, free.portal, 'another, when nobody asked for it by number');
  t.ok(nowMs >= 1000, `after ${nowMs} ms in which the last run may have let it go`);
  nowMs = 0;
  t.not((await choose({ waitsForRelease: false }, saved)).portal, free.portal);
  t.ok(nowMs <= 100, `${nowMs} ms, when nothing of the last run can be on its way out`);

  const twins = { ...free, members: free.members.map((member) => ({ ...member, name: 'm1' })) };
  await writeFile(join(path, 'group.json'), JSON.stringify(twins));
  await t.rejects(loadAddresses(path), { code: 'INVALID' }, 'one name twice');
  await writeFile(join(path, 'group.json'), '{"version":2}');
  await t.rejects(loadAddresses(path), { code: 'INVALID', hint: /remove it/ });
});

t.test('the ports of a group on a disk that takes nothing', async (t) => {
  const path = join(folder, 'full');
  await mkdir(path);
  const members = [{ name: 'm1', portal: 1003, peer: 1004 }];
  const addresses = { version: 1 as const, portal: 1001, manage: 1002, members };
  await saveAddresses(path, addresses, undefined);
  await symlink('/dev/full', join(path, 'group.json.new'));
  await saveAddresses(path, addresses, await loadAddresses(path));
  t.ok((await lstat(join(path, 'group.json.new'))).isSymbolicLink(), 'what is there already is not written');
  await t.rejects(saveAddresses(path, { ...addresses, portal: 1005 }, addresses), {
    code: 'NO_SPACE',
    message: `no space left for ${join(path, 'group.json.new')}`,
    hint: /free/,
  });
  t.strictSame(await readdir(path), ['group.json'], 'and nothing is left behind');
  t.strictSame(await loadAddresses(path), addresses);
});

t.test('what up and member refuse names their own options', async (t) => {
  const up = ['up', '--data', join(folder, 'slow'), '--port', '0', '--manage-port', '0', '--members', '2'];
  t.match(await run([...up, '--disk-time', 'm1=1ms', '--disk-time', 'm9=1ms']), {
    code: 2,
    stderr: /^blockferry: --disk-time: there is no member m9; the group has m1, m2\n$/m,
  });
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, HOST, resolve));
  t.teardown(() => taken.close());
  const used = `${HOST}:${(taken.address() as AddressInfo).port}`;
  const store = `embedded:${join(folder, 'store')}`;
  const doors = { clock: systemClock, random: new SeededRandom(6) };
  const opened = await openStore(store, { ...doors, log: silentLog });
  await ensureGroup(opened, doors);
  await opened.close();
  const away = join(folder, 'away');
  const gone = ['member', '--name', 'm1', '--store', `embedded:${away}/store`, '--data', join(away, 'm1')];
  t.match(await run([...gone, '--portal', `${HOST}:0`, '--peer', `${HOST}:0`]), {
    code: 1,
    stderr:
      /^blockferry: there is no group store in .*away\/store; start the group .*, or move its folder back\n$/,
  });
  t.notOk(existsSync(away), 'nothing is made in its place');
  const member = ['member', '--name', 'm1', '--store', store, '--data', join(folder, 'm1')];
  for (const wrong of ['embedded:./store', 'embedded:', 'etcd:/store', '/store']) {
    const ports = ['--portal', `${HOST}:0`, '--peer', `${HOST}:0`];
    const { code, stderr } = await run([...member, ...ports, '--store', wrong]);
    t.match({ code, stderr }, { code: 2, stderr: `--store '${wrong}' is no store by its absolute path` });
  }
  t.notOk((await readdir(folder)).includes('m1'), 'and leave no folder behind');
  for (const [portal, peer] of [
    [used, `${HOST}:0`],
    [`${HOST}:0`, used],
  ] as const) {
    t.match(await run([...member, '--portal', portal, '--peer', peer]), {
      code: 1,
      stderr: /^blockferry: .* is in use; stop .*, or choose another with --portal .* or --peer/m,
    });
  }
});

t.test('a watched process', async (t) => {
  withoutLoaders(t);
  const program = join(folder, 'member.mjs');
  const lives = join(folder, 'lives');
  await writeFile(
    program,
    `import { appendFileSync } from 'node:fs';
     appendFileSync(process.argv[2], process.pid + '\\n');
     process.on('disconnect', () => { appendFileSync(process.argv[2], 'stopped\\n'); process.exit(0); });
     process.send({ type: 'noise' });
     setTimeout(() => process.send({ type: 'ready', name: 'm1' }), 10);
     setInterval(() => undefined, 1000);`,
  );
  const member = new MemberProcess({
    name: 'm1',
    program,
    args: [lives],
    clock: systemClock,
    log: silentLog,
  });
  t.equal(member.pid, 0);
  t.equal(member.isReady, false);
  t.equal(await member.whenReady(1), false, 'not ready before it was started');
  await member.start();
  t.equal(member.isReady, true);
  const first = member.pid;
  for (let life = 1; life <= 2; life++) {
    const dying = member.pid;
    process.kill(dying, 'SIGKILL');
    await until('another process is started', () => member.pid !== dying);
    t.equal(await member.whenReady(30_000), true, `it is started again after death ${life}`);
  }
  t.not(member.pid, first);
  await member.stop();
  t.equal(member.pid, 0);
  const lines = (await readFile(lives, 'utf8')).trim().split('\n');
  t.equal(lines.length, 4, 'three lives');
  t.equal(lines[3], 'stopped', 'and an end in order');
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.equal(member.pid, 0, 'it stays stopped');
});

t.test('a watched process reads its whole input at each start', { timeout: 30_000 }, async (t) => {
  withoutLoaders(t);
  const program = join(folder, 'reader.mjs');
  const heard = join(folder, 'heard');
  await writeFile(
    program,
    `import { appendFileSync, readFileSync } from 'node:fs';
     const input = readFileSync(0);
     appendFileSync(process.argv[2], input.length + input.toString('latin1', input.length - 3) + '\\n');
     process.on('disconnect', () => process.exit());
     process.send({ type: 'ready', name: 'm1' });`,
  );
  // More than a socket takes at once, and than an environment holds.
  const input = `${'x'.repeat(4 * 1024 * 1024)}end`;
  const options = { name: 'm1', program, args: [heard], clock: systemClock, log: silentLog };
  const member = new MemberProcess({ ...options, input });
  t.teardown(() => member.stop());
  await member.start();
  process.kill(member.pid, 'SIGKILL');
  await until('the member is gone', () => !member.isReady);
  t.equal(await member.whenReady(20_000), true);
  t.equal(await readFile(heard, 'utf8'), `${input.length}end\n`.repeat(2));
  // One that dies before it has read it brings nobody else down.
  const died = join(folder, 'died');
  await writeFile(
    program,
    `import { appendFileSync } from 'node:fs'; appendFileSync('${died}', 'x'); process.exit(1);`,
  );
  process.kill(member.pid, 'SIGKILL');
  await until('the member is gone', () => !member.isReady);
  await until('it has died twice', async () => (await readFile(died, 'utf8').catch(() => '')).length > 1);
  t.equal(member.isReady, false);
});

t.test('a process that cannot be made is tried again, and can be stopped', { timeout: 10_000 }, async (t) => {
  withoutLoaders(t);
  const program = join(folder, 'plain.mjs');
  await writeFile(
    program,
    `process.send({ type: 'ready', name: 'm1' }); process.on('disconnect', () => process.exit());`,
  );
  const member = new MemberProcess({ name: 'm1', program, args: [], clock: systemClock, log: silentLog });
  const { execPath } = process;
  t.teardown(() => (process.execPath = execPath));
  process.execPath = join(folder, 'no-such-node');
  const starting = member.start();
  await new Promise((resolve) => setTimeout(resolve, 20));
  process.execPath = execPath;
  await starting;
  await member.stop();
  t.equal(member.pid, 0);
});

/** A program that says in a file that it was started, and then does the rest. */
async function writeProgram(program: string, pids: string, rest: string): Promise<void> {
  const told = `appendFileSync(${JSON.stringify(pids)}, process.pid + '\\n');`;
  await writeFile(program, `import { appendFileSync } from 'node:fs';\n${told}\n${rest}`);
}

t.test('a start that hangs is left as soon as nobody wants it', { timeout: 30_000 }, async (t) => {
  withoutLoaders(t);
  const program = join(folder, 'hangs.mjs');
  const pids = join(folder, 'pids');
  // As a member that something holds up: it does not even hear that it is to stop.
  await writeProgram(program, pids, 'setInterval(() => undefined, 1000);');
  const started = async (): Promise<number[]> =>
    (await readFile(pids, 'utf8').catch(() => '')).trim().split('\n').map(Number);
  let isWanted = true;
  const dataFolder = join(folder, 'hangs');
  const options = { dataFolder, program, host: HOST, port: 0, managePort: 0, members: 3, volumes: [] };
  const starting = Supervisor.start({
    ...options,
    ...{ access: 'redirect', memberArgs: [], diskTimes: new Map(), isWanted: () => isWanted },
    ...{ clock: systemClock, random: new SeededRandom(8), log: silentLog },
  });
  const refused = t.rejects(starting, { code: 'CANCELLED' });
  await until('the members are started', async () => (await started()).length === 3);
  const sinceMs = performance.now();
  isWanted = false;
  await refused;
  const tookMs = performance.now() - sinceMs;
  t.ok(tookMs < 10_000, `over after ${Math.round(tookMs)} ms`); // and not after the 15 s that a start may take
  for (const pid of await started())
    t.throws(() => process.kill(pid, 0), { code: 'ESRCH' }, 'nobody is left');
  const folderAgain = await DataFolder.open(dataFolder, { log: silentLog });
  await folderAgain.close();
});

t.test('up that fails once the group is there leaves nobody behind', { timeout: 30_000 }, async (t) => {
  withoutLoaders(t);
  const program = join(folder, 'serves.mjs');
  const pids = join(folder, 'up-pids');
  const rest = `process.on('disconnect', () => process.exit());
    process.send({ type: 'ready', name: process.argv[4] });`;
  await writeProgram(program, pids, rest);
  const { argv } = process;
  process.argv = [argv[0] ?? '', program];
  t.teardown(() => (process.argv = argv));
  const dataFolder = join(folder, 'up');
  const unheard = (): void => {
    throw new Error('nobody reads that');
  };
  const door = Object.assign(new FakeDoor(), { stdout: { write: unheard } });
  const args = ['up', '--data', dataFolder, '--members', '2', '--port', '0', '--manage-port', '0'];
  const ended = await run(args, door);
  t.match(ended, { code: 1, stderr: /nobody reads that/ });
  const started = (await readFile(pids, 'utf8')).trim().split('\n').map(Number);
  t.equal(started.length, 2);
  for (const pid of started) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' }, 'nobody is left');
  await (await DataFolder.open(dataFolder, { log: silentLog })).close();
});

t.test('a process whose port is taken', { timeout: 30_000 }, async (t) => {
  withoutLoaders(t);
  const program = join(folder, 'taken.mjs');
  const lives = join(folder, 'taken-lives');
  const say = (type: string): string => `process.send({ type: '${type}', name: 'm1', detail: 'taken' });`;
  const makeMember = async (script: string): Promise<MemberProcess> => {
    await writeFile(
      program,
      `process.on('disconnect', () => process.exit()); if (!process.connected) process.exit(); ${script}`,
    );
    return new MemberProcess({ name: 'm1', program, args: [lives], clock: systemClock, log: silentLog });
  };

  const fresh = await makeMember(
    `import { appendFileSync } from 'node:fs';
     appendFileSync(process.argv[2], '.'); ${say('address-in-use')} setTimeout(process.exit, 10);`,
  );
  const refused = await fresh.start().catch((error: unknown) => error);
  t.match(refused, { code: 'BUSY', message: 'member m1: taken' }, 'its first start fails at once');
  t.equal(isAddressInUse(refused), true, 'for a reason that another choice mends');
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.equal(await readFile(lives, 'utf8'), '.', 'and it is not tried again');
  await fresh.stop();
  await writeFile(lives, '');

  const served = await makeMember(
    `import { appendFileSync, readFileSync } from 'node:fs';
     appendFileSync(process.argv[2], '.');
     if (readFileSync(process.argv[2]).length === 2) { ${say('address-in-use')} setTimeout(process.exit, 50); }
     else { ${say('ready')} setInterval(() => undefined, 1000); }`,
  );
  await served.start();
  process.kill(served.pid, 'SIGKILL');
  await until('the member is gone', () => !served.isReady);
  t.equal(await served.whenReady(30_000), true, 'one that has served is started until it has its port again');
  t.equal((await readFile(lives, 'utf8')).length, 3);
  await served.stop();

  const silent = await makeMember('setInterval(() => undefined, 1000);');
  const starting = t.rejects(silent.start(), { code: 'UNAVAILABLE' });
  const waiting = silent.whenReady(60_000);
  await silent.stop();
  t.equal(await waiting, false, 'nobody waits for one that is stopped');
  await starting;
});
