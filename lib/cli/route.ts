/** blockferry route VOLUME: which member holds which extents, by the current epoch. */
import type { Command } from 'commander';
import { z } from 'zod';
import type { RouteView } from '../manage/api.js';
import { ManageClient } from '../manage/client.js';
import type { CliDoor } from './door.js';
import { manageOptions, parseArgument, parseOptions, volumeName, withManage } from './options.js';
import { emit, table } from './output.js';

const Options = z.object(manageOptions);

export function addRoute(program: Command, door: CliDoor): void {
  withManage(
    program.command('route <volume>').description('which member holds which extents of a volume'),
    door,
  ).action(async (volume: string, raw: Record<string, unknown>) => {
    const { json, manage } = parseOptions(Options, raw);
    const route = await new ManageClient(manage).route(parseArgument(volumeName, 'volume', volume));
    emit(door, json, route, describeRoute);
  });
}

function describeRoute(route: RouteView): string {
  const rows = route.runs.map((run) => [`${run.first}-${run.last}`, run.last - run.first + 1, run.holder]);
  return `${route.volume}: home ${route.home}, epoch ${route.epoch}\n${table(['extents', 'count', 'holder'], rows)}`;
}
