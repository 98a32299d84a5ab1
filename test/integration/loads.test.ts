/** Three real members measure themselves, tell each other, and know who has fallen silent. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { systemRandom } from '../../lib/base/random.js';
import { silentLog } from '../../lib/base/log.js';
import { createVolume, ensureGroup } from '../../lib/group/admin.js';
import { openStore } from '../../lib/group/open-store.js';
import { Initiator, Ledger, runLoad } from '../../lib/iscsi/initiator/index.js';
import { DatedVectors, type DatedVector } from '../../lib/load/vector.js';
import { askJson } from '../../lib/peer/ask.js';
import { PeerType } from '../../lib/peer/contract.js';
import type { Hub } from '../../lib/peer/hub.js';
import { startGroup } from '../support/group.js';
import { makeHub } from '../support/peer-rig.js';
import { BLOCKFERRY, tempFolder } from '../support/process.js';
import { builtFile } from '../support/root.js';
import type { LoadsView } from '../../lib/manage/api.js';
import { until } from '../support/wait.js';

const MiB = 1024 * 1024;
const WINDOW_MS = 1_000;
const NAMES = ['m1', 'm2', 'm3'];

/** The program of one member: with a short window, and without anybody who would start it again. */
const MEMBER = `
import { Member } from ${JSON.stringify(builtFile('lib/member.js'))};
import { systemClock } from ${JSON.stringify(builtFile('lib/base/clock.js'))};
import { systemRandom } from ${JSON.stringify(builtFile('lib/base/random.js'))};
import { silentLog } from ${JSON.stringify(builtFile('lib/base/log.js'))};
const any = { host: '127.0.0.1', port: 0 };
const options = JSON.parse(process.argv[1]);
const member = await Member.start({ ...options, portal: any, peer: any, log: silentLog, clock: systemClock, random: systemRandom });
console.log(JSON.stringify({ portal: member.portal, peer: member.peer }));
process.once('SIGTERM', () => member.stop().then(() => process.exit(0)));
`;

interface Addresses {
  readonly portal: { readonly host: string; readonly port: number };
  readonly peer: { readonly host: string; readonly port: number };
}

function startMember(name: string, folder: string): { child: ChildProcess; ready: Promise<Addresses> } {
  const options = {
    name,
    storeUrl: `embedded:${folder}/store`,
    dataFolder: join(folder, name),
    loadWindowMs: WINDOW_MS,
  };
  const args = ['--input-type=module', '-e', MEMBER, JSON.stringify(options)];
  const child = spawn(process.execPath, args, {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ready = new Promise<Addresses>((resolve) => {
    child.stdout?.once('data', (line: Buffer) => resolve(JSON.parse(line.toString()) as Addresses));
  });
  return { child, ready };
}

async function boardOf(hub: Hub, member: string): Promise<DatedVector[]> {
  return DatedVectors.parse(await askJson(hub, member, { type: PeerType.QUERY }, { what: 'loads' }));
}

t.test('three boards agree, and a member that was killed is stale, then gone', async (t) => {
  const folder = await tempFolder(t);
  const doors = { clock: systemClock, random: systemRandom };
  const store = await openStore(`embedded:${folder}/store`, { ...doors, log: silentLog });
  t.teardown(() => store.close());
  const group = await ensureGroup(store, doors);
  const members = new Map<string, { child: ChildProcess; ready: Promise<Addresses> }>();
  const hub = makeHub('', undefined, { group: group.name });
  t.teardown(() => hub.close());
  for (const name of NAMES) {
    const member = startMember(name, folder);
    members.set(name, member);
    t.teardown(() => member.child.kill('SIGKILL'));
    hub.setAddress(name, (await member.ready).peer);
  }
  await createVolume(store, doors, {
    name: 'disk',
    home: 'm2',
    sizeBytes: 64 * MiB,
    blockBytes: 512,
    extentBytes: MiB,
  });

  const knowAll = async (): Promise<boolean> =>
    (await Promise.all(NAMES.map((name) => boardOf(hub, name)))).every((board) => board.length === 3);
  await until('all know all', knowAll);

  // A sequence that one member has told is with the two others within two windows.
  const own = (await boardOf(hub, 'm1')).find(({ vector }) => vector.member === 'm1') as DatedVector;
  const begunMs = systemClock.nowMs();
  await until('all have the next one', async () => {
    const boards = await Promise.all(NAMES.map((name) => boardOf(hub, name)));
    return boards.every((board) =>
      board.some(({ vector }) => vector.member === 'm1' && vector.sequence > own.vector.sequence),
    );
  });
  const tookMs = systemClock.nowMs() - begunMs;
  t.ok(tookMs < 2 * WINDOW_MS, `agreed after ${Math.round(tookMs)} ms`);

  const { portal } = await (members.get('m2') as { ready: Promise<Addresses> }).ready;
  const url = `iscsi://${portal.host}:${portal.port}/iqn.2026-11.org.blockferry:disk/0`;
  const initiator = await Initiator.connect(url);
  const load = await runLoad(initiator, {
    ledger: new Ledger({ seed: 7, blockBytes: 4096, blocks: (64 * MiB) / 4096 }),
    durationSeconds: 4,
    readPercent: 0,
  });
  t.ok(load.ok, 'a load on m2');
  const m2 = (await boardOf(hub, 'm3')).find(({ vector }) => vector.member === 'm2') as DatedVector;
  const { server, storage, volumes } = m2.vector;
  t.ok(storage.writesPerSecond > 10, `m3 has heard of ${storage.writesPerSecond} writes a second at m2`);
  t.match(volumes, [{ volume: 'disk', pattern: { kind: 'random-write', initiators: 1 } }]);
  t.ok((volumes[0]?.hot.length ?? 0) > 0, 'and of its extents');
  t.equal(server.sessions, 1);
  t.ok(
    server.bytesIn > 0 && server.processors > 0 && server.loopBusy > 0,
    'of its network and its processors',
  );
  t.ok(storage.freeBytes > 0 && storage.usedBytes > 0, 'and of its disk');
  await initiator.close();

  members.get('m3')?.child.kill('SIGKILL');
  const m3At = async (member: string): Promise<DatedVector | undefined> =>
    (await boardOf(hub, member)).find(({ vector }) => vector.member === 'm3');
  for (const member of ['m1', 'm2']) {
    await until('m3 is stale', async () => (await m3At(member))?.isFresh === false);
    t.ok(((await m3At(member))?.ageMs ?? 0) > 3 * WINDOW_MS, `stale at ${member} after three windows`);
  }
  await until('m3 has left the group', async () => (await m3At('m1')) === undefined);
  t.ok(
    (await boardOf(hub, 'm1')).every(({ isFresh }) => isFresh),
    'the others are still known',
  );
});

t.test('a reader that goes ends what it reads, without a stack', async (t) => {
  const [file, ...before] = BLOCKFERRY;
  const child = spawn(file, [...before, 'simulate', '--configurations', '1', '--json']);
  child.stdout.destroy();
  let said = '';
  child.stderr.on('data', (data: Buffer) => (said += data.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  t.same({ code, signal }, { code: null, signal: 'SIGINT' });
  t.notMatch(said, /EPIPE|Error/);
});

t.test('blockferry loads, of a group as people start it', async (t) => {
  const group = await startGroup(t, { members: 2, volumes: { disk: '64M' } });
  await until('both are known', async () => {
    const { from, members } = await group.json<LoadsView>('loads');
    return from === 'm1' && members.length === 2 && members.every(({ stale }) => !stale);
  });
  t.match((await group.cli('loads')).stdout, /^MEMBER[^\n]*\nm1 [^\n]*\nm2 /);
});
