/** A real group for integration tests: the built program, member processes and all, on free ports and a folder of its own. */
import { join } from 'node:path';
import { GroupReady } from '../../lib/manage/api.js';
import { ManageClient } from '../../lib/manage/client.js';
import { Running, blockferry, tempFolder, type Ended } from './process.js';
import { until } from './wait.js';

/**
 * Of a load that has to be there while something else is tested: there is something in flight at every moment, and the
 * processors are left to what is tested, and to the tests beside it.
 */
export const BACKGROUND_OPS_PER_SECOND = 1500;

export interface TestGroup {
  readonly ready: GroupReady;
  readonly dataFolder: string;
  readonly process: Running;
  /** For what is asked again and again: a command of its own for each would keep a processor busy. */
  readonly client: ManageClient;
  /** Processes that a test has killed: the group names them as members for a moment yet. */
  readonly killed: Set<number>;
  /** The volume's URL at the group portal. */
  url(volume: string): string;
  /** Runs a command against this group. */
  cli(...args: readonly string[]): Promise<Ended>;
  /** The same with --json: its document. Throws with what it said when it failed. */
  json<T>(...args: readonly string[]): Promise<T>;
  /** SIGTERM; resolves with how it ended. */
  stop(): Promise<Ended>;
  /** kill -9 of the supervising process and of every member. */
  kill(): Promise<void>;
}

export interface GroupOptions {
  readonly members?: number;
  /** name → size, such as { disk: '64M' }. */
  readonly volumes?: Readonly<Record<string, string>>;
  /** To start again on what an earlier group left. */
  readonly dataFolder?: string;
  readonly args?: readonly string[];
  /** How the group balances itself; by default not at all, so that nothing moves but what a test moves. */
  readonly balance?: string;
  readonly ownProcessGroup?: boolean;
}

interface TestLike {
  teardown(end: () => unknown): void;
  comment(...message: unknown[]): void;
  readonly passing: () => boolean;
}

/** Starts a group and stops it at the end of the test; what it said is shown when the test failed. */
export async function startGroup(t: TestLike, options: GroupOptions = {}): Promise<TestGroup> {
  const dataFolder = options.dataFolder ?? join(await tempFolder(t), 'data');
  const volumes = Object.entries(options.volumes ?? {}).flatMap(([name, size]) => [
    '--volume',
    `${name}=${size}`,
  ]);
  const args = ['up', '--json', '--data', dataFolder, '--members', String(options.members ?? 3)];
  args.push('--balance', options.balance ?? 'none');
  args.push('--port', '0', '--manage-port', '0', ...volumes, ...(options.args ?? []));
  const process = Running.blockferry(args, options.ownProcessGroup);
  t.teardown(async () => {
    const ended = await process.stop();
    if (!t.passing()) t.comment(`the group's stderr:\n${ended.stderr}`);
  });
  const ready = GroupReady.parse(await process.readyJson());
  return makeGroup(ready, dataFolder, process);
}

function makeGroup(ready: GroupReady, dataFolder: string, running: Running): TestGroup {
  const cli = (...args: readonly string[]): Promise<Ended> => blockferry([...args, '--manage', ready.manage]);
  return {
    ready,
    dataFolder,
    process: running,
    client: new ManageClient(ready.manage),
    killed: new Set(),
    url: (volume) => `iscsi://${ready.portal}/iqn.2026-11.org.blockferry:${volume}/0`,
    cli,
    json: async <T>(...args: readonly string[]): Promise<T> => {
      const ended = await cli(...args, '--json');
      if (ended.code !== 0) throw new Error(`${args.join(' ')}: exit ${ended.code}: ${ended.stderr}`);
      return JSON.parse(ended.stdout) as T;
    },
    stop: () => running.stop(),
    kill: () => killGroup(running, cli),
  };
}

/** The process that serves as a member, once there is one that no test has killed. */
export async function pidOf(group: TestGroup, name: string): Promise<number> {
  let pid = 0;
  await until(`${name} serves`, async () => {
    const member = (await group.client.members()).find((each) => each.name === name);
    if (member?.alive !== true || group.killed.has(member.pid)) return false;
    pid = member.pid;
    return pid > 0;
  });
  return pid;
}

export async function kill(group: TestGroup, name: string): Promise<void> {
  const pid = await pidOf(group, name);
  process.kill(pid, 'SIGKILL');
  group.killed.add(pid);
}

/** Kills a member and waits until another process serves in its place, at the same portal. */
export async function killMember(group: TestGroup, name: string): Promise<void> {
  const portal = async () => (await group.client.members()).find((each) => each.name === name)?.portal;
  const before = await portal();
  await kill(group, name);
  await pidOf(group, name);
  await until(`${name} is where it was`, async () => (await portal()) === before);
}

/** All in one moment: a member that outlives its supervisor would stop in order, which is not what is to be tested. */
async function killGroup(running: Running, cli: TestGroup['cli']): Promise<void> {
  const status = JSON.parse((await cli('status', '--json')).stdout) as { members: { pid: number }[] };
  running.child.kill('SIGKILL');
  for (const { pid } of status.members) process.kill(pid, 'SIGKILL');
  await running.whenEnded();
}
