/** blockferry moves: what is on its way, what has arrived, what failed and why. */
import type { Command } from 'commander';
import { z } from 'zod';
import { formatSize } from '../base/units.js';
import type { MoveView } from '../manage/api.js';
import { ManageClient } from '../manage/client.js';
import type { CliDoor } from './door.js';
import { flag, manageOptions, parseOptions, refuseBoth, withManage } from './options.js';
import { describeDecisions } from './explain.js';
import { emit, table } from './output.js';

const Options = z.object({ ...manageOptions, cancel: z.string().min(1).max(64).optional(), explain: flag });

export function addMoves(program: Command, door: CliDoor): void {
  withManage(program.command('moves').description('moves under way and finished'), door)
    .option('--explain', 'what the balancer decided, why, and what came of it')
    .option('--cancel <id>', 'stop a move and undo what is not committed')
    .action(async (raw: Record<string, unknown>) => {
      const { json, manage, cancel, explain } = parseOptions(Options, raw);
      const client = new ManageClient(manage);
      refuseBoth('explain', explain, 'cancel', cancel);
      if (explain) emit(door, json, await client.decisions(), describeDecisions);
      else if (cancel === undefined) emit(door, json, await client.moves(), moveTable);
      else emit(door, json, await client.cancelMove(cancel), (move) => moveTable([move]));
    });
}

export function moveTable(moves: readonly MoveView[]): string {
  if (moves.length === 0) return 'no moves';
  return table(
    ['move', 'volume', 'from', 'to', 'state', 'extents', 'copied', 'again', 'restarts', 'note'],
    moves.map((m) => [
      m.id,
      m.range === null ? m.volume : `${m.volume} ${m.range.first}-${m.range.last}`,
      m.from,
      m.to,
      m.state,
      `${m.extentsDone}/${m.extents}`,
      formatSize(m.bytesCopied),
      formatSize(m.bytesRecopied),
      m.restarts,
      m.error || m.lastError || (m.decision === '' ? '' : 'balances the group'),
    ]),
  );
}
