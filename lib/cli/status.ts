/** blockferry status: the group at a glance, once or every second. */
import type { Command } from 'commander';
import { z } from 'zod';
import type { MemberView, StatusView } from '../manage/api.js';
import { ManageClient } from '../manage/client.js';
import type { CliDoor } from './door.js';
import { moveTable } from './moves.js';
import { flag, manageOptions, parseOptions, withManage } from './options.js';
import { emit, table } from './output.js';
import { volumeTable } from './volume.js';
import { watch } from './watch.js';

const Options = z.object({ ...manageOptions, watch: flag });

export function addStatus(program: Command, door: CliDoor): void {
  withManage(program.command('status').description('members, volumes and moves at a glance'), door)
    .option('--watch', 'again every second, until Ctrl-C (with --json: a document a line)')
    .action(async (raw: Record<string, unknown>) => {
      const { json, manage, watch: isWatched } = parseOptions(Options, raw);
      const client = new ManageClient(manage);
      if (isWatched) await watch(door, json, client, () => client.status(), describeStatus);
      else emit(door, json, await client.status(), describeStatus);
    });
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
