/**
 * `make demo`: a group of three members, a loaded volume that moves m1, m2, m3, m1, and the harness as its judge. Ends in
 * exit 1 if a line of lib/proof/demo.ts is missed: a failure, a wrong block, too long a stall, space that is not given back.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatSize } from '../lib/base/units.js';
import { endOfMove } from '../lib/bench/servers.js';
import { describeIoReport } from '../lib/cli/io-report.js';
import { describeReport, moveReport } from '../lib/cli/follow-move.js';
import { Initiator, Ledger, runFill, runLoad, runVerify } from '../lib/iscsi/initiator/index.js';
import { GroupReady } from '../lib/manage/api.js';
import { ManageClient } from '../lib/manage/client.js';
import { judgeDemo } from '../lib/proof/demo.js';
import { describeLine, type Line } from '../lib/proof/figures.js';

const PROGRAM = fileURLToPath(new URL('./blockferry.cjs', import.meta.url));
const VOLUME = 'demo';
const SIZE_BYTES = 1024 ** 3;
const BLOCK_BYTES = 4096;
const ROUTE = ['m2', 'm3', 'm1'];
/** Far beyond the moves: the load ends by its signal. */
const LOAD_SECONDS = 3600;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** Starts the group as a user would; resolves with what it says when it is ready. */
async function startGroup(dataFolder: string): Promise<{ child: ChildProcess; ready: GroupReady }> {
  const args = ['up', '--json', '--members', '3', '--port', '0', '--manage-port', '0', '--data', dataFolder];
  args.push('--balance', 'none'); // what moves here is shown
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise<string>((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes('\n')) resolve(text);
    });
    child.once('exit', (code) => reject(new Error(`the group ended with ${code}`)));
  });
  return { child, ready: GroupReady.parse(JSON.parse(line)) };
}

async function move(client: ManageClient, to: string): Promise<boolean> {
  const view = await endOfMove(client, await client.createMove({ volume: VOLUME, to }));
  say(
    view.state === 'done'
      ? describeReport(moveReport(view))
      : `the move to ${to} ${view.state}: ${view.error}`,
  );
  return view.state === 'done';
}

/** Space on disk per member, for the volume's file. */
async function spaceTaken(dataFolder: string): Promise<Map<string, number>> {
  const space = new Map<string, number>();
  for (const member of ['m1', 'm2', 'm3']) {
    const file = await stat(join(dataFolder, member, `${VOLUME}.volume`)).catch(() => undefined);
    space.set(member, (file?.blocks ?? 0) * 512);
  }
  return space;
}

async function ferry(dataFolder: string, ready: GroupReady): Promise<Line[]> {
  const client = new ManageClient(ready.manage);
  const { url } = await client.createVolume({ name: VOLUME, size: SIZE_BYTES, home: 'm1' });
  say(`volume ${VOLUME} of ${formatSize(SIZE_BYTES)} at m1: ${url}`);
  const initiator = await Initiator.connect(url);
  const ledger = new Ledger({ seed: 1, blockBytes: BLOCK_BYTES, blocks: SIZE_BYTES / BLOCK_BYTES });
  const filled = await runFill(initiator, { ledger });
  say(
    `filled at ${filled.MBps.toFixed(0)} MB/s; now loaded at queue depth 32, 70/30 random 4 KiB, while it moves\n`,
  );

  if (!filled.ok) say(describeIoReport(filled));
  const stop = new AbortController();
  const load = runLoad(initiator, { ledger, durationSeconds: LOAD_SECONDS, signal: stop.signal });
  let moved = 0;
  while (moved < ROUTE.length && (await move(client, ROUTE[moved] ?? ''))) moved += 1;
  stop.abort();
  const loaded = await load;
  say(`\nthe load, seen from the initiator\n${describeIoReport(loaded)}`);
  const verified = await runVerify(initiator, { ledger });
  await initiator.close();
  if (!verified.ok) say(`\nevery block read once more\n${describeIoReport(verified)}`);
  const space = await spaceTaken(dataFolder);
  return judgeDemo({ route: ROUTE, moved, filled, loaded, verified, space });
}

const dataFolder = await mkdtemp(join(tmpdir(), 'blockferry-demo-'));
const { child, ready } = await startGroup(dataFolder);
try {
  say(`a group of three members, portal ${ready.portal}, managed at ${ready.manage}`);
  const lines = await ferry(dataFolder, ready);
  const isWell = lines.every(({ holds }) => holds);
  say(`\n${lines.map(describeLine).join('\n')}`);
  say(isWell ? '\nzero errors, zero wrong bytes' : '\nNOT WELL: a line above was MISSED');
  process.exitCode = isWell ? 0 : 1;
} finally {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await gone;
  await rm(dataFolder, { recursive: true, force: true });
}
