/** blockferry move VOLUME --to MEMBER: asks for a move and follows it until it is committed. */
import { Option, type Command } from 'commander';
import { z } from 'zod';
import { ManageClient } from '../manage/client.js';
import type { CliDoor } from './door.js';
import { describeReport, followMove, moveReport } from './follow-move.js';
import {
  extentRange,
  flag,
  manageOptions,
  memberName,
  parseArgument,
  parseOptions,
  size,
  volumeName,
  withManage,
} from './options.js';
import { emit } from './output.js';

const Options = z.object({
  ...manageOptions,
  to: memberName,
  extents: extentRange.optional(),
  rate: size.optional(),
  handover: z.enum(['ask', 'drop']),
  strict: flag,
  /** Commander's name for the absence of --no-wait. */
  wait: z.boolean(),
});

export function addMove(program: Command, door: CliDoor): void {
  const move = program
    .command('move <volume>')
    .description('move a volume, or a part of it, to another member while it is in use');
  withManage(move, door)
    .requiredOption('--to <member>', 'where to')
    .option('--extents <range>', 'only these, such as 0-63; the home stays')
    .option('--rate <bytes>', 'copy at most this much a second, such as 200M')
    .addOption(
      new Option('--handover <how>', 'ask initiators to leave first, or drop them at once')
        .choices(['ask', 'drop'])
        .default('ask'),
    )
    .option('--strict', 'fail a write that the destination does not take, so that the host sends it again')
    .option('--no-wait', 'return as soon as the move is recorded')
    .action((volume: string, raw: Record<string, unknown>) => runMove(door, volume, raw));
}

async function runMove(door: CliDoor, volume: string, raw: Record<string, unknown>): Promise<void> {
  const options = parseOptions(Options, raw);
  const client = new ManageClient(options.manage);
  const begun = await client.createMove({
    volume: parseArgument(volumeName, 'volume', volume),
    to: options.to,
    extents: options.extents,
    rate: options.rate,
    handover: options.handover,
    strict: options.strict,
  });
  if (!options.wait) {
    emit(door, options.json, begun, (move) => `move ${move.id} is under way; look with 'blockferry moves'`);
    return;
  }
  const ended = await followMove(door, client, begun, options.json);
  emit(door, options.json, moveReport(ended), describeReport);
}
