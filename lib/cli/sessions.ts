/** blockferry sessions: which initiator is logged in to which volume, and at which member. */
import type { Command } from 'commander';
import { z } from 'zod';
import type { SessionsView } from '../manage/api.js';
import { ManageClient } from '../manage/client.js';
import type { CliDoor } from './door.js';
import { manageOptions, parseOptions, withManage } from './options.js';
import { emit, table } from './output.js';

const Options = z.object(manageOptions);

export function addSessions(program: Command, door: CliDoor): void {
  withManage(program.command('sessions').description('who is logged in, and where'), door).action(
    async (raw: Record<string, unknown>) => {
      const { json, manage } = parseOptions(Options, raw);
      emit(door, json, await new ManageClient(manage).sessions(), describeSessions);
    },
  );
}

function describeSessions(view: SessionsView): string {
  const silent = view.silent.length === 0 ? '' : `\nno answer from ${view.silent.join(', ')}`;
  if (view.sessions.length === 0) return `no sessions${silent}`;
  const rows = view.sessions.map((s) => [
    s.volume,
    s.member,
    s.initiator,
    s.isid,
    s.remote,
    s.commands,
    s.inFlight,
  ]);
  return table(['volume', 'member', 'initiator', 'isid', 'from', 'commands', 'in flight'], rows) + silent;
}
