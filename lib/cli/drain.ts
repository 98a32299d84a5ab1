/** blockferry drain MEMBER: one move after the other until the member holds nothing and is nobody's home. */
import type { Command } from 'commander';
import { z } from 'zod';
import { BlockferryError } from '../base/errors.js';
import type { CreateMove } from '../manage/api.js';
import { ManageClient } from '../manage/client.js';
import { planDrain } from '../manage/drain-plan.js';
import type { CliDoor } from './door.js';
import { describeReport, followMove, moveReport, type MoveReport } from './follow-move.js';
import { manageOptions, memberName, parseArgument, parseOptions, size, withManage } from './options.js';
import { emit, plural } from './output.js';

const Options = z.object({ ...manageOptions, rate: size.optional() });

export function addDrain(program: Command, door: CliDoor): void {
  withManage(program.command('drain <member>').description('move everything away from a member'), door)
    .option('--rate <bytes>', 'copy at most this much a second, such as 200M')
    .action(async (member: string, raw: Record<string, unknown>) => {
      const { json, manage, rate } = parseOptions(Options, raw);
      const name = parseArgument(memberName, 'member', member);
      const moves = await drain(door, new ManageClient(manage), name, rate, json);
      emit(door, json, { member: name, moves }, () => `${name} is empty: ${plural(moves.length, 'move')}`);
    });
}

async function drain(
  door: CliDoor,
  client: ManageClient,
  member: string,
  rate: number | undefined,
  json: boolean,
): Promise<MoveReport[]> {
  const reports: MoveReport[] = [];
  for (const wanted of await plan(client, member)) {
    const ended = await followMove(door, client, await client.createMove({ ...wanted, rate }), json);
    const report = moveReport(ended);
    reports.push(report);
    if (!json) door.stdout.write(`${describeReport(report)}\n`);
  }
  return reports;
}

async function plan(client: ManageClient, member: string): Promise<CreateMove[]> {
  const { members, volumes } = await client.status();
  if (!members.some((known) => known.name === member)) {
    const names = members.map((known) => known.name).join(', ');
    throw new BlockferryError('NOT_FOUND', `there is no member ${member}`, `the group has ${names}`);
  }
  const isToBeEmpty = await emptied(client);
  const touched = volumes.filter((volume) => (volume.holders[member] ?? 0) > 0);
  const routes = await Promise.all(touched.map((volume) => client.route(volume.name)));
  const byVolume = new Map(routes.map((route) => [route.volume, route]));
  return planDrain(member, members, volumes, byVolume, isToBeEmpty);
}

/** Who has the weight 0, as far as that can be read. */
async function emptied(client: ManageClient): Promise<(member: string) => boolean> {
  try {
    const { members } = await client.balance();
    return (member) => members[member]?.weight === 0;
  } catch (error) {
    if (error instanceof BlockferryError && error.code === 'INVALID') return () => false;
    throw error;
  }
}
