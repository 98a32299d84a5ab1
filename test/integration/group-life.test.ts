/** A group as its operator sees it: start, bad input, death of a member, stop, start again. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { randomBelow, systemRandom } from '../../lib/base/random.js';
import { Initiator, Ledger, runFill, runLoad, runVerify } from '../../lib/iscsi/initiator/index.js';
import { askJson } from '../../lib/peer/ask.js';
import { PeerType } from '../../lib/peer/contract.js';
import { chooseAddresses, loadAddresses, type GroupAddresses } from '../../lib/supervisor/addresses.js';
import { BACKGROUND_OPS_PER_SECOND, killMember, startGroup } from '../support/group.js';
import { makeHub } from '../support/peer-rig.js';
import { blockferry, promisedHere, Running, tempFolder } from '../support/process.js';
import { ROOT, builtFile } from '../support/root.js';
import { until } from '../support/wait.js';

const MiB = 1024 * 1024;
const PROGRAM = builtFile('bin/blockferry.cjs');
/** A group is there within this. The best of many starts is judged, since other tests share the processors. */
const READY_MS = 2000;
const READY_ATTEMPTS = 15;
/** Two halves of 1 MiB, and what V8 adds while other processes take its helpers' time; unbounded it is 16 to 32 MiB here. */
const YOUNG_BYTES = 8 * MiB;
/** In which a group that starts has chosen its ports. */
const CHOSEN_MS = 20_000;

interface Status {
  readonly members: readonly {
    readonly name: string;
    readonly pid: number;
    readonly alive: boolean;
    readonly portal: string;
    readonly peer: string;
  }[];
}
interface Volume {
  readonly name: string;
  readonly serial: string;
  readonly naa: string;
  readonly url: string;
  readonly home: string;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

t.test('--peer-digests reaches every member', async (t) => {
  const group = await startGroup(t, { members: 2, volumes: { disk: '64M' }, args: ['--peer-digests'] });
  await group.json('move', 'disk', '--to', 'm2');
  const asker = makeHub('', undefined, { group: group.ready.group });
  t.teardown(() => asker.close());
  for (const { name, peer } of (await group.json<Status>('status')).members) {
    const [host = '', port] = peer.split(':');
    asker.setAddress(name, { host, port: Number(port) });
    const links = await askJson(asker, name, { type: PeerType.QUERY }, { what: 'links' });
    t.match(links, [{ digests: true }], `${name}: its links to the other have digests`);
  }
});

t.test('ready, and what is refused', async (t) => {
  const group = await startGroup(t, { members: 3, volumes: { disk: '64M' } });
  const { ready } = group;
  t.strictSame(
    Object.keys(ready),
    ['group', 'portal', 'manage', 'members', 'volumes'],
    'the line that scripts read',
  );
  t.strictSame(
    ready.members.map((member) => member.name),
    ['m1', 'm2', 'm3'],
  );
  t.match(ready.volumes, [{ name: 'disk', size: 64 * MiB, iqn: 'iqn.2026-11.org.blockferry:disk' }]);
  t.ok(
    ready.members.every((member) => isRunning(member.pid) && member.pid !== group.process.child.pid),
    'processes of their own',
  );

  const made = await group.json<Volume>('volume', 'create', 'data', '--size', '32M', '--home', 'm3');
  t.equal(made.home, 'm3');
  t.strictSame(
    (await group.json<Volume[]>('volume', 'list')).map((volume) => volume.name),
    ['data', 'disk'],
  );

  const split = ['move', 'disk', '--to', 'm2', '--extents', '0-3'];
  t.match((await group.cli(...split)).stdout, /^disk moved from m1 to m2 /);
  t.match(await group.cli(...split), {
    code: 0,
    stdout: 'disk: the extents are at m2 already, nothing had to move\n',
  });
  t.match((await group.cli('move', 'disk', '--to', 'm3', '--extents', '0-7')).stdout, /from m2, m1 to m3 /);

  const refused: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['a volume of the same name', ['volume', 'create', 'disk', '--size', '1G'], /disk/],
    ['a home that does not exist', ['volume', 'create', 'far', '--size', '1G', '--home', 'm9'], /m9/],
    ['a volume that does not exist', ['volume', 'show', 'nothing'], /nothing/],
    ['deleting what does not exist', ['volume', 'delete', 'nothing'], /nothing/],
    ['the route of nothing', ['route', 'nothing'], /nothing/],
    ['moving nothing', ['move', 'nothing', '--to', 'm2'], /nothing/],
    ['moving to nobody', ['move', 'disk', '--to', 'm9'], /m9/],
    ['moving extents beyond the end', ['move', 'disk', '--to', 'm2', '--extents', '0-99999'], /99999|extent/],
    ['draining nobody', ['drain', 'm9'], /m9/],
    ['cancelling nothing', ['moves', '--cancel', 'nothing'], /nothing/],
  ];
  for (const [what, args, said] of refused) {
    const ended = await group.cli(...args, '--json');
    t.equal(ended.code, 1, `${what}: exit 1`);
    t.equal(ended.stdout, '', `${what}: nothing on stdout`);
    t.match(ended.stderr, said, `${what}: says what`);
    t.match(ended.stderr, /^blockferry: [^\n]+\n$/, `${what}: in one line`);
  }

  const again = await blockferry(['up', '--data', group.dataFolder, '--port', '0', '--manage-port', '0']);
  t.equal(again.code, 1, 'a data folder in use');
  t.match(again.stderr, /^blockferry: data folder .* is in use[^\n]*\n$/);

  t.equal((await group.cli('volume', 'delete', 'data')).code, 0);
  t.equal((await group.cli('volume', 'show', 'data')).code, 1, 'a deleted volume is gone');

  const pids = (await group.json<Status>('status')).members.map((member) => member.pid);
  const ended = await group.stop();
  t.equal(ended.code, 0, 'SIGTERM: exit 0');
  t.equal(ended.stdout.trim().split('\n').length, 1, 'one line on stdout, then silence');
  t.strictSame(pids.filter(isRunning), [], 'no member is left behind');
});

t.test('a port in use', async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  t.teardown(() => taken.close());
  const { port } = taken.address() as { port: number };
  const data = join(await tempFolder(t), 'data');
  const ended = await blockferry(['up', '--data', data, '--port', String(port), '--manage-port', '0']);
  t.equal(ended.code, 1);
  t.match(
    ended.stderr,
    new RegExp(`^blockferry: port ${port} of 127.0.0.1 is in use; choose another --port[^\n]*\n$`),
  );
});

/** Listens at one of a starting group's ports as soon as it is chosen: before the group does. */
async function takeChosenPort(
  t: Test,
  dataFolder: string,
  which: (chosen: GroupAddresses) => number | undefined,
): Promise<number> {
  for (let waitedMs = 0; waitedMs < CHOSEN_MS; waitedMs += 2) {
    const chosen = await loadAddresses(dataFolder);
    if (chosen !== undefined) {
      const port = which(chosen);
      const taker = createServer();
      t.teardown(() => taker.close());
      taker.listen(port, '127.0.0.1');
      await once(taker, 'listening');
      return port ?? 0;
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error(`no ports were chosen in ${dataFolder}`);
}

/** A port that can be asked for: it and the next ones are free, and no outgoing connection takes them. */
async function portToAskFor(members: number): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = 20_000 + randomBelow(systemRandom, 11_000);
    const wanted = { host: '127.0.0.1', port, managePort: 0, members, waitsForRelease: false };
    const chosen = await chooseAddresses(wanted, undefined, systemClock, systemRandom).catch(() => undefined);
    if (chosen !== undefined) return port;
  }
  throw new Error('no free ports in a row');
}

t.test('a port that somebody takes after it was chosen', async (t) => {
  const chosenPorts = {
    'of the group portal': ({ portal }: GroupAddresses) => portal,
    'of the management API': ({ manage }: GroupAddresses) => manage,
    "of a member's portal": ({ members }: GroupAddresses) => members[1]?.portal,
    'of a member to its peers': ({ members }: GroupAddresses) => members[1]?.peer,
  };
  for (const [what, which] of Object.entries(chosenPorts)) {
    const dataFolder = join(await tempFolder(t), 'data');
    const [group, port] = await Promise.all([
      startGroup(t, { members: 2, volumes: { disk: '32M' }, dataFolder }),
      takeChosenPort(t, dataFolder, which),
    ]);
    const used = await loadAddresses(dataFolder);
    t.not(used && which(used), port, `${what}: another is chosen, and kept for the next start`);
    t.match(group.process.stderr, /"a chosen port was taken; choosing again"/, 'which the log says');
    const initiator = await Initiator.connect(group.url('disk'));
    await initiator.close();
    t.equal((await group.stop()).code, 0);
  }

  const port = await portToAskFor(3);
  const dataFolder = join(await tempFolder(t), 'data');
  const [ended] = await Promise.all([
    blockferry(['up', '--data', dataFolder, '--port', String(port), '--manage-port', '0', '--json']),
    takeChosenPort(t, dataFolder, ({ members }) => members[0]?.portal),
  ]);
  t.equal(ended.code, 1, 'one that was asked for by number is not replaced');
  t.match(ended.stderr, new RegExp(`port ${port + 1} of 127.0.0.1 is in use; choose another --port`));
});

t.test('the young part of the heap stays small in what stays', { timeout: 120_000 }, async (t) => {
  const folder = await tempFolder(t);
  const env = { ...process.env, NODE_OPTIONS: '', CHURN_FOLDER: folder };
  const start = async (...args: readonly string[]): Promise<number[]> => {
    const command = ['--require', join(ROOT, 'test/support/churn.cjs'), PROGRAM, ...args, '--json'];
    const child = spawn(process.execPath, command, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    t.teardown(async () => {
      child.kill();
      if (child.exitCode === null) await once(child, 'exit');
    });
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const { members = [] } = JSON.parse(line.toString()) as Partial<Status>;
    return [child.pid ?? 0, ...members.map((member) => member.pid)];
  };
  const image = join(folder, 'disk.img');
  const up = ['up', '--data', join(folder, 'data'), '--members', '1', '--port', '0', '--manage-port', '0'];
  const pids = [...(await start('serve', '--size', '32M', '--port', '0', image)), ...(await start(...up))];
  t.equal(pids.length, 3, 'serve, up, a member');
  for (const pid of pids) {
    process.kill(pid, 'SIGUSR2');
    const file = join(folder, String(pid));
    await until('the process has answered', () => existsSync(file) && statSync(file).size > 0);
    const youngBytes = Number(readFileSync(file, 'utf8'));
    t.ok(youngBytes > 0 && youngBytes <= YOUNG_BYTES, `${youngBytes} bytes of young heap`);
  }
});

t.test('a group that is started again is the same group', async (t) => {
  const dataFolder = join(await tempFolder(t), 'data');
  const first = await startGroup(t, { volumes: { disk: '32M' }, dataFolder });
  const before = await first.json<Volume>('volume', 'show', 'disk');
  const ledger = new Ledger({ seed: 7, blockBytes: 4096, blocks: (32 * MiB) / 4096 });
  const initiator = await Initiator.connect(first.url('disk'));
  t.ok((await runFill(initiator, { ledger })).ok);
  await initiator.close();
  t.equal((await first.stop()).code, 0);

  for (const end of ['stopped in order', 'killed'] as const) {
    const next = await startGroup(t, { volumes: { disk: '32M' }, dataFolder });
    const after = await next.json<Volume>('volume', 'show', 'disk');
    t.strictSame(
      [after.serial, after.naa, after.url],
      [before.serial, before.naa, before.url],
      'same identity, same URL',
    );
    const reader = await Initiator.connect(next.url('disk'));
    t.ok((await runVerify(reader, { ledger })).ok, 'the same bytes');
    t.ok((await runLoad(reader, { ledger, durationSeconds: 1, readPercent: 0 })).ok);
    await reader.close();
    if (end === 'killed') await next.kill();
    else t.equal((await next.stop()).code, 0);
  }
  const last = await startGroup(t, { dataFolder });
  const reader = await Initiator.connect(last.url('disk'));
  t.ok((await runVerify(reader, { ledger })).ok, 'what was flushed survives kill -9 of everything');
  await reader.close();
  await last.stop();

  const other = await blockferry([
    'up',
    '--data',
    dataFolder,
    '--port',
    '0',
    '--manage-port',
    '0',
    '--volume',
    'disk=64M',
  ]);
  t.equal(other.code, 1, 'another size is refused');
  t.match(other.stderr, /volume disk exists with 32M, not 64M/);
});

t.test('a member that is killed is started again, and initiators go on', async (t) => {
  const group = await startGroup(t, { members: 2, volumes: { disk: '32M' } });
  const { home } = await group.json<Volume>('volume', 'show', 'disk');
  await killMember(group, home);
  const ledger = new Ledger({ seed: 3, blockBytes: 4096, blocks: (32 * MiB) / 4096 });
  const initiator = await Initiator.connect(group.url('disk'));
  t.ok((await runFill(initiator, { ledger })).ok, 'idle: the volume is served again');

  const stop = new AbortController();
  const load = { ledger, queueDepth: 16, opsPerSecondMax: BACKGROUND_OPS_PER_SECOND };
  const loading = runLoad(initiator, { ...load, durationSeconds: 30, signal: stop.signal });
  await new Promise((resolve) => setTimeout(resolve, 500));
  await killMember(group, home);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  stop.abort();
  const report = await loading;
  t.equal(report.errors, 0, `under load: no command fails ${report.errorTexts.join('; ')}`);
  t.strictSame(report.wrong, [], 'no block is wrong');
  t.ok(
    report.recoveries.length > 0,
    `the session was lost and regained; longest stall ${report.longestStallMs} ms`,
  );
  t.ok((await runVerify(initiator, { ledger })).ok, 'and everything acknowledged is there');
  await initiator.close();
});

t.test('Ctrl-C reaches every process of the group, and only one acts on it', async (t) => {
  const dataFolder = join(await tempFolder(t), 'data');
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const group = await startGroup(t, { members: 2, dataFolder, ownProcessGroup: true });
    const { pid = 0 } = group.process.child;
    for (const member of group.ready.members) process.kill(member.pid, signal);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { members } = await group.json<Status>('status');
    t.strictSame(
      members.map((member) => [member.pid, member.alive]),
      group.ready.members.map((member) => [member.pid, true]),
      `a member that is watched over leaves ${signal} to its supervisor`,
    );
    process.kill(-pid, signal);
    const ended = await group.process.whenEnded();
    t.equal(ended.code, 0, `${signal} to all: exit 0`);
    t.equal(ended.stderr, '', 'no member is missed, killed or started again');
    t.strictSame(group.ready.members.map((member) => member.pid).filter(isRunning), [], 'none is left');
  }
});

t.test('a member that is started by hand stops at a signal', async (t) => {
  const group = await startGroup(t, { members: 1 });
  const store = `embedded:${join(group.dataFolder, 'store')}`;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const member = Running.blockferry([
      ...['member', '--json', '--name', 'by-hand', '--store', store, '--data', await tempFolder(t)],
      ...['--portal', '127.0.0.1:0', '--peer', '127.0.0.1:0'],
    ]);
    t.match(await member.readyJson(), { name: 'by-hand', pid: member.child.pid });
    t.match(await member.stop(signal), { code: 0, stderr: '' }, signal);
  }
});

t.test('a member that is started by hand serves like the others', { timeout: 240_000 }, async (t) => {
  const group = await startGroup(t, { members: 2, volumes: { disk: '32M' } });
  const folder = await tempFolder(t);
  const args = ['member', '--json', '--name', 'm9', '--store', `embedded:${join(group.dataFolder, 'store')}`];
  args.push('--data', folder, '--portal', '127.0.0.1:0', '--peer', '127.0.0.1:0');
  let byHand = Running.blockferry(args);
  t.teardown(() => byHand.stop());
  const { portal } = await byHand.readyJson<{ portal: string }>();
  const ledger = new Ledger({ seed: 9, blockBytes: 4096, blocks: (32 * MiB) / 4096 });
  const initiator = await Initiator.connect(group.url('disk'));
  t.teardown(() => initiator.close());
  t.ok((await runFill(initiator, { ledger })).ok);
  await group.json('move', 'disk', '--to', 'm9');
  await until('the session has followed', () => initiator.portal === portal);
  t.ok((await runVerify(initiator, { ledger })).ok);
  const late = await Initiator.connect(group.url('disk'));
  t.equal(late.portal, portal, 'a login at the group portal is sent there');
  await late.close();
  const { sessions, silent } = await group.client.sessions();
  t.match(sessions, [{ volume: 'disk', member: 'm9' }]);
  t.same(silent, [], 'who is asked for sessions answers');
  await until('and has told of its load', async () =>
    (await group.client.loads()).members.some(({ name, vector }) => name === 'm9' && vector !== null),
  );

  t.equal((await byHand.stop()).code, 0);
  byHand = Running.blockferry(args);
  const elsewhere = await byHand.readyJson<{ portal: string }>();
  t.not(elsewhere.portal, portal, 'it is there again, at another port');
  t.ok((await runVerify(initiator, { ledger })).ok, 'and found there');
  t.equal(initiator.portal, elsewhere.portal);
  t.same((await group.client.sessions()).silent, []);
  await group.json('move', 'disk', '--to', 'm1');
  t.ok((await runVerify(initiator, { ledger })).ok, 'and back');
});

t.test(`ready within ${READY_MS} ms`, async (t) => {
  const readyMs: number[] = [];
  const limitMs = promisedHere(READY_MS);
  for (let i = 0; i < READY_ATTEMPTS && !readyMs.some((ms) => ms < limitMs); i++) {
    const startedAt = performance.now();
    const group = await startGroup(t, { members: 3, volumes: { disk: '1G' } });
    readyMs.push(Math.round(performance.now() - startedAt));
    await group.stop();
  }
  t.ok(
    Math.min(...readyMs) < limitMs,
    `${readyMs.join(', ')} ms from spawn to the ready line; ${limitMs} here`,
  );
});
