/** Our own sides of a comparison, each in processes of its own: images served, nothing served, a group. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mkdtemp, rm } from 'node:fs/promises';
import { BlockferryError } from '../base/errors.js';
import { sleep, systemClock } from '../base/clock.js';
import { isProcessGone } from '../base/processes.js';
import { ManageClient } from '../manage/client.js';
import { GroupReady, type CreateMove, type MoveView } from '../manage/api.js';
import { Running, forkSelf } from './process.js';
import type { Scope } from './scope.js';

const PROGRAM = fileURLToPath(new URL('../../bin/blockferry.cjs', import.meta.url));
/** Each look costs both ends a millisecond of the machine that is measured; when a move ended is read from its record. */
const POLL_MS = 100;
/** Longer than any move takes here, on the slowest machine: one that has not ended by then does not end. */
const MOVE_MS_MAX = 30 * 60_000;

/** What a case wants of a server besides the usual. */
export interface StartMore {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** How a group balances itself; by default nothing moves unless it is asked for. */
  readonly balance?: string;
}

export function startBlockferry(args: readonly string[], more: StartMore = {}): Running {
  return Running.start(process.execPath, [PROGRAM, ...args, ...(more.args ?? [])], {
    env: { BLOCKFERRY_LOG: 'error', ...more.env },
  });
}

export interface Served {
  readonly urls: readonly string[];
  readonly pid: number;
}

/** `blockferry serve` on images. */
export async function startServe(
  images: readonly string[],
  scope: Scope,
  more: StartMore = {},
): Promise<Served> {
  const running = startBlockferry(['serve', '--json', '--port', '0', ...images], more);
  scope.defer(() => running.stop());
  const ready = await running.readyJson<{ targets: { url: string }[] }>();
  return { urls: ready.targets.map((target) => target.url), pid: running.pid };
}

/** Targets without storage behind the same portal (null-process.ts). */
export function startNull(count: number, sizeBytes: number, scope: Scope): Promise<readonly string[]> {
  return startForked('null-process', [String(count), String(sizeBytes)], scope);
}

/** An image behind a member's slot, counted by the load monitor or not (slot-process.ts). @returns its URL */
export async function startSlot(
  image: string,
  sizeBytes: number,
  isCounted: boolean,
  scope: Scope,
): Promise<string> {
  const args = [image, String(sizeBytes), isCounted ? 'counted' : 'bare'];
  const [url = ''] = await startForked('slot-process', args, scope);
  return url;
}

async function startForked(role: string, args: readonly string[], scope: Scope): Promise<readonly string[]> {
  const running = forkSelf(role, args);
  scope.defer(() => running.stop());
  return (await running.nextMessage()) as readonly string[];
}

export interface Group {
  readonly client: ManageClient;
  readonly members: GroupReady['members'];
  readonly portal: string;
  /** All of its members' data. */
  readonly folder: string;
  /** Members whose process of the start is gone: whoever dies is started again, as another one. */
  dead(): string[];
}

/** `blockferry up` in a folder of its own, removed at the end. */
export async function startGroup(
  members: number,
  workFolder: string,
  scope: Scope,
  more: StartMore = {},
): Promise<Group> {
  const data = await mkdtemp(join(workFolder, 'group-'));
  scope.defer(() => rm(data, { recursive: true, force: true }));
  return startGroupAt(data, members, scope, more);
}

/** `blockferry up` on a folder that stays. */
export async function startGroupAt(
  data: string,
  members: number,
  scope: Scope,
  more: StartMore = {},
): Promise<Group> {
  const ports = ['--port', '0', '--manage-port', '0'];
  const group = ['--members', String(members), '--data', data, '--balance', more.balance ?? 'none'];
  const running = startBlockferry(['up', '--json', ...ports, ...group], more);
  scope.defer(() => running.stop());
  const ready = GroupReady.parse(await running.readyJson());
  const { members: started, portal } = ready;
  const isDead = ({ pid }: { pid: number }): boolean => pid === 0 || isProcessGone(pid); // 0: none runs
  const dead = (): string[] => started.filter(isDead).map(({ name }) => name);
  return { client: new ManageClient(ready.manage), members: started, portal, folder: data, dead };
}

/** Asks for a move and waits for its end. Rejects with IO when it does not end well. */
export async function moveAndWait(client: ManageClient, wanted: CreateMove): Promise<MoveView> {
  const move = await endOfMove(client, await client.createMove(wanted));
  if (move.state !== 'done')
    throw new BlockferryError('IO', `the move of ${wanted.volume} ${move.state}: ${move.error}`);
  return move;
}

/** Waits for a move to end, well or not. Rejects with IO when it does not end at all. */
export async function endOfMove(
  client: Pick<ManageClient, 'move'>,
  begun: MoveView,
  { pollMs = POLL_MS, msMax = MOVE_MS_MAX } = {},
): Promise<MoveView> {
  const deadlineMs = systemClock.nowMs() + msMax;
  for (let move = begun; ; move = await client.move(move.id)) {
    if (move.state !== 'active') return move;
    if (systemClock.nowMs() > deadlineMs) {
      const done = `${move.extentsDone} of ${move.extents} extents`;
      throw new BlockferryError('IO', `the move of ${move.volume} does not end: ${done}; ${move.lastError}`);
    }
    await sleep(systemClock, pollMs);
  }
}

/** From the wish to the last commit, in seconds. */
export function secondsOf(move: MoveView): number {
  if (move.finishedAtMs === null)
    throw new BlockferryError('INTERNAL', `the move of ${move.volume} has not ended`);
  return (move.finishedAtMs - move.createdAtMs) / 1000;
}
