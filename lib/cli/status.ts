/** blockferry status: the group at a glance, once or every second. */
import type { Command } from 'commander';
import { z } from 'zod';
import { sleep, systemClock } from '../base/clock.js';
import type { MemberView, StatusView } from '../manage/api.js';
import { ManageClient } from '../manage/client.js';
import { untilStopped, type CliDoor } from './door.js';
import { moveTable } from './moves.js';
import { flag, manageOptions, parseOptions, withManage } from './options.js';
import { emit, table } from './output.js';
import { volumeTable } from './volume.js';

const Options = z.object({ ...manageOptions, watch: flag });
const WATCH_INTERVAL_MS = 1000;
const CLEAR_SCREEN = '\x1b[2J\x1b[H';

export function addStatus(program: Command, door: CliDoor): void {
  withManage(program.command('status').description('members, volumes and moves at a glance'), door)
    .option('--watch', 'again every second, until Ctrl-C (with --json: a document a line)')
    .action(async (raw: Record<string, unknown>) => {
      const { json, manage, watch } = parseOptions(Options, raw);
      const client = new ManageClient(manage);
      if (watch) await watchStatus(door, client, json);
      else emit(door, json, await client.status(), describeStatus);
    });
}

async function watchStatus(door: CliDoor, client: ManageClient, json: boolean): Promise<void> {
  let stopped = false;
  const stop = untilStopped(door).then(() => (stopped = true));
  while (!stopped) {
    const status = await client.status();
    if (!json && door.stdout.isTTY === true) door.stdout.write(CLEAR_SCREEN);
    emit(door, json, status, describeStatus);
    await Promise.race([stop, sleep(systemClock, WATCH_INTERVAL_MS)]);
  }
}

export function describeStatus(status: StatusView): string {
  const parts = [
    `group ${status.group} at ${status.portal}, managed at ${status.manage}`,
    memberTable(status.members),
    volumeTable(status.volumes),
  ];
  if (status.moves.length > 0) parts.push(moveTable(status.moves));
  return parts.join('\n\n');
}

function memberTable(members: readonly MemberView[]): string {
  return table(
    ['member', 'portal', 'pid', 'state', 'access'],
    members.map((m) => [m.name, m.portal, m.pid, m.alive ? 'up' : 'down', m.access]),
  );
}
