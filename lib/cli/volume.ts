/** blockferry volume create | list | show | set | delete: the disks of a running group. */
import type { Command } from 'commander';
import { z } from 'zod';
import { BlockferryError } from '../base/errors.js';
import { LABEL_PATTERN } from '../base/limits.js';
import { formatSize } from '../base/units.js';
import { sizeFaultOf, sizesOf } from '../group/volume-sizes.js';
import type { SetVolume, VolumeView } from '../manage/api.js';
import { ManageClient } from '../manage/client.js';
import type { CliDoor } from './door.js';
import { followCreation } from './follow-creation.js';
import { describeKind, kindOf, kindOptions, withKind } from './kind.js';
import {
  collect,
  flag,
  manageOptions,
  memberName,
  parseArgument,
  parseOptions,
  refuseBoth,
  repeated,
  size,
  volumeName,
  withManage,
} from './options.js';
import { describeLabels, emit, table } from './output.js';

const Plain = z.object(manageOptions);
/** KEY=VALUE; KEY= takes the label away. */
const labelChange = z.string().transform((text, context): [string, string | null] => {
  const [key = '', value = '', ...more] = text.split('=');
  const isChange = more.length === 0 && text.includes('=') && LABEL_PATTERN.test(key);
  if (isChange && (value === '' || LABEL_PATTERN.test(value))) return [key, value === '' ? null : value];
  context.addIssue({ code: 'custom', message: 'is not KEY=VALUE such as kind=database' });
  return z.NEVER;
});
const SetOptions = z.object({ ...manageOptions, pin: flag, unpin: flag, label: repeated(labelChange) });
const Create = z.object({
  ...manageOptions,
  size,
  home: memberName.optional(),
  extentSize: size.optional(),
  ...kindOptions,
});

export function addVolume(program: Command, door: CliDoor): void {
  const volume = program.command('volume').description('create, list, show, set or delete volumes');
  const createCommand = volume.command('create <name>').description('create a volume; it reads as zeros');
  withManage(withKind(createCommand), door)
    .requiredOption('--size <size>', 'such as 10G')
    .option('--home <member>', 'where initiators are sent (default: the member with the least)')
    .option('--extent-size <size>', 'the unit of a move, 64K to 1G (default: 4M)')
    .option('--full', 'take all of its space now, and keep it (default: thin)')
    .action((name: string, options: Record<string, unknown>) => create(door, name, options));
  withManage(volume.command('list').description('every volume of the group'), door).action(
    async (options: Record<string, unknown>) => {
      const { json, manage } = parseOptions(Plain, options);
      emit(door, json, await new ManageClient(manage).volumes(), volumeTable);
    },
  );
  withManage(volume.command('show <name>').description('everything about a volume'), door).action(
    async (name: string, options: Record<string, unknown>) => {
      const { json, manage } = parseOptions(Plain, options);
      emit(door, json, await new ManageClient(manage).volume(nameOf(name)), describeVolume);
    },
  );
  withManage(volume.command('set <name>').description('where the balancer may put it'), door)
    .option('--pin', 'it stays where it is; people may still move it')
    .option('--unpin', 'it may go')
    .option(
      '--label <key=value>',
      'goes only to members where the label has this value, or that do not have it; KEY= takes it away; may be repeated',
      collect,
    )
    .action((name: string, options: Record<string, unknown>) => set(door, name, options));
  withManage(
    volume.command('delete <name>').description('delete a volume and its data, even while hosts use it'),
    door,
  ).action(async (name: string, options: Record<string, unknown>) => {
    const { json, manage } = parseOptions(Plain, options);
    await new ManageClient(manage).deleteVolume(nameOf(name));
    emit(door, json, { deleted: name }, () => `volume ${name} is deleted`);
  });
}

async function create(door: CliDoor, name: string, raw: Record<string, unknown>): Promise<void> {
  const options = parseOptions(Create, raw);
  refuseSizes(options);
  const client = new ManageClient(options.manage);
  const begun = await client.createVolume({
    name: nameOf(name),
    size: options.size,
    home: options.home,
    extentSize: options.extentSize,
    ...kindOf(options),
  });
  emit(door, options.json, await followCreation(door, client, begun, options.json), describeVolume);
}

function refuseSizes({ size, blockSize, extentSize }: z.infer<typeof Create>): void {
  const fault = sizeFaultOf(sizesOf(size, blockSize, extentSize));
  if (fault === null) return;
  const option = fault.field === 'sizeBytes' ? '--size' : '--extent-size';
  throw new BlockferryError('USAGE', `${option}: ${fault.what}`, fault.hint);
}

async function set(door: CliDoor, name: string, raw: Record<string, unknown>): Promise<void> {
  const { json, manage, pin, unpin, label } = parseOptions(SetOptions, raw);
  refuseBoth('pin', pin, 'unpin', unpin);
  if (!pin && !unpin && label.length === 0)
    throw new BlockferryError('USAGE', 'nothing to set', 'give --pin, --unpin or --label KEY=VALUE');
  const wanted: SetVolume = { labels: Object.fromEntries(label) };
  if (pin || unpin) wanted.pinned = pin;
  emit(door, json, await new ManageClient(manage).setVolume(nameOf(name), wanted), describeVolume);
}

function nameOf(text: string): string {
  return parseArgument(volumeName, 'volume', text);
}

/** "m1 200, m2 56": the members that hold extents, the largest share first. */
export function describeHolders(holders: VolumeView['holders']): string {
  return Object.entries(holders)
    .sort(([, a], [, b]) => b - a)
    .map(([member, extents]) => `${member} ${extents}`)
    .join(', ');
}

export function volumeTable(volumes: readonly VolumeView[]): string {
  if (volumes.length === 0) return "no volumes; create one with 'blockferry volume create NAME --size 1G'";
  return table(
    ['volume', 'size', 'kind', 'home', 'extents held by', 'url'],
    volumes.map((v) => [
      v.name,
      formatSize(v.size),
      describeKind(v),
      v.home,
      describeHolders(v.holders),
      v.url,
    ]),
  );
}

function describePin({ pinned, unreadable }: VolumeView): string {
  if (unreadable === '') return pinned ? 'yes' : 'no';
  return `yes, since what was said of it cannot be read (${unreadable}); say it anew with 'blockferry volume set'`;
}

function describeSpace({ full, allocating }: VolumeView): string {
  if (allocating !== null) return `${formatSize(allocating)} allocated so far: not there yet`;
  return full ? 'all of it is allocated' : 'taken as it is written';
}

function describeVolume(volume: VolumeView): string {
  return table(
    ['volume'],
    [
      ['url', volume.url],
      ['size', `${formatSize(volume.size)} (${volume.size} bytes)`],
      ['space', describeSpace(volume)],
      ['kind', describeKind(volume)],
      ['block size', volume.blockSize],
      ['extents', `${volume.extents} of ${formatSize(volume.extentSize)}`],
      ['home', volume.home],
      ['held by', describeHolders(volume.holders)],
      ['epoch', volume.epoch],
      ['serial', volume.serial],
      ['vendor, product', `${volume.vendor}, ${volume.product}`],
      ['naa', volume.naa],
      ['pinned', describePin(volume)],
      ['labels', describeLabels(volume.labels)],
      ['moving', volume.moving ?? 'no'],
    ],
    volume.name,
  );
}
