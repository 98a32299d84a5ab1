/** blockferry up: a group on this machine, a process a member, until it is told to stop. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { systemClock } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { MEMBERS_MAX, MEMBER_NAME_PATTERN } from '../base/limits.js';
import { systemRandom } from '../base/random.js';
import { formatSize, parseDuration } from '../base/units.js';
import { Access, type GroupReady, type StatusView } from '../manage/api.js';
import { Supervisor, type SupervisorOptions } from '../supervisor/supervisor.js';
import { ChapAuthenticator, type ChapSecrets } from '../iscsi/target/login/chap.js';
import { balancePreset, settingsOf } from './balance.js';
import { handOnChap, readChap, withChap } from './chap.js';
import { untilStopped, type CliDoor } from './door.js';
import { createLog } from './log.js';
import {
  collect,
  flag,
  host,
  parseOptions,
  port,
  refuseOpenHost,
  repeated,
  volumeAndSize,
  whole,
  withJson,
} from './options.js';
import { emit, table } from './output.js';

/** MEMBER=TIME. */
const diskTime = z.string().transform((text, context): [string, string] => {
  const [member = '', time = '', ...more] = text.split('=');
  if (more.length === 0 && MEMBER_NAME_PATTERN.test(member) && parseDuration(time) !== null)
    return [member, time];
  context.addIssue({ code: 'custom', message: 'is not MEMBER=TIME such as m1=300us' });
  return z.NEVER;
});

const Options = z.object({
  json: flag,
  members: whole(1, MEMBERS_MAX),
  data: z.string().min(1),
  host,
  port,
  managePort: port,
  volume: repeated(volumeAndSize),
  busyPollUs: whole(0, 10_000).optional(),
  peerDigests: flag,
  access: Access.default('redirect'),
  allowUnauthenticated: flag,
  chap: z.string().min(1).optional(),
  balance: balancePreset.optional(),
  diskTime: repeated(diskTime),
});

export function addUp(program: Command, door: CliDoor): void {
  withChap(withJson(program.command('up')), 'a file of accounts: who may log in, here and at every member')
    .description('a group of members on this machine, a process each; a member that dies is started again')
    .option('--members <count>', 'm1, m2, …; a folder that has more keeps them', '3')
    .option('--data <folder>', 'where everything is kept', './.blockferry')
    .option('--host <address>', 'numeric address to listen at', '127.0.0.1')
    .option('--port <port>', 'of the group portal, members at the next ones; 0: any free ones', '3260')
    .option('--manage-port <port>', 'of the management API; 0: any free one', '3280')
    .option(
      '--volume <name=size[,kind]>',
      'create it unless it is there, such as disk=1G,block-size=4096,full; may be repeated',
      collect,
    )
    .option('--busy-poll-us <microseconds>', 'members poll this long at most before they sleep; 0: never')
    .option('--peer-digests', 'a CRC32C in every frame between members')
    .option(
      '--balance <policy>',
      'none, share, latency-gap, heat, or demonstration (default: as it was set, heat at first)',
    )
    .option(
      '--disk-time <member=time>',
      'pretend that its disk is slow, such as m1=300us; may be repeated',
      collect,
    )
    .option(
      '--access <how>',
      'redirect: initiators are sent to the home; alua: every member serves',
      'redirect',
    )
    .option(
      '--allow-unauthenticated',
      'listen where other machines can reach it; needed there with --chap, too',
    )
    .action((raw: Record<string, unknown>) => runUp(door, raw));
}

async function runUp(door: CliDoor, raw: Record<string, unknown>): Promise<void> {
  const options = parseOptions(Options, raw);
  const chap = await readChap(door, options.chap);
  refuseOpenHost(options.host, options.allowUnauthenticated, 'the management API');
  const names = options.volume.map((volume) => volume.name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new BlockferryError('USAGE', `--volume ${twice} is given twice`, 'name it once');
  const log = await createLog(door, 'up', 'info');
  let isWanted = true;
  const stopped = untilStopped(door);
  void stopped.then(() => (isWanted = false));
  const starting = Supervisor.start({
    ...supervisorOptions(options, log, chap),
    isWanted: () => isWanted,
  });
  const supervisor = await starting.catch((error: unknown) => {
    const isOurs = error instanceof BlockferryError && error.code === 'CANCELLED';
    if (isWanted || !isOurs) throw error;
    log.info('stopped before it was there');
    return null;
  });
  if (supervisor === null) return;
  try {
    emit(door, options.json, readyOf(await supervisor.status()), describeReady);
    log.info({ signal: await stopped }, 'stopping');
  } finally {
    await supervisor.stop(log); // also where it failed: a signal, which is listened for, would end it no more
  }
}

function supervisorOptions(
  options: z.infer<typeof Options>,
  log: SupervisorOptions['log'],
  chap: ChapSecrets | undefined,
): Omit<SupervisorOptions, 'isWanted'> {
  const memberArgs: string[] = [];
  if (options.allowUnauthenticated) memberArgs.push('--allow-unauthenticated');
  if (options.busyPollUs !== undefined) memberArgs.push('--busy-poll-us', String(options.busyPollUs));
  if (options.peerDigests) memberArgs.push('--peer-digests');
  // What was read here, and not the file: it may be a pipe, or another one by the time when a member is started again.
  const handed = chap && handOnChap(chap);
  memberArgs.push(...(handed?.args ?? []));
  return {
    dataFolder: resolve(options.data),
    host: options.host,
    port: options.port,
    managePort: options.managePort,
    members: options.members,
    volumes: options.volume,
    program: process.argv[1] ?? '',
    access: options.access,
    memberArgs,
    ...(handed && { memberInput: handed.input }),
    ...(chap && { authenticator: new ChapAuthenticator(chap, systemRandom) }),
    diskTimes: new Map(options.diskTime),
    ...(options.balance && { balance: settingsOf(options.balance) }),
    clock: systemClock,
    random: systemRandom,
    log,
  };
}

function readyOf(status: StatusView): GroupReady {
  const { group, portal, manage } = status;
  const members = status.members.map(({ name, portal: at, pid }) => ({ name, portal: at, pid }));
  const volumes = status.volumes.map(({ name, iqn, size, home, url }) => ({ name, iqn, size, home, url }));
  return { group, portal, manage, members, volumes };
}

function describeReady(ready: GroupReady): string {
  const members = ready.members.map((member) => [member.name, member.portal, member.pid]);
  const volumes = ready.volumes.map((volume) => [
    volume.name,
    formatSize(volume.size),
    volume.home,
    volume.url,
  ]);
  return [
    `group ${ready.group}: portal ${ready.portal}, managed at ${ready.manage}`,
    table(['member', 'portal', 'pid'], members),
    volumes.length === 0 ? 'no volumes yet' : table(['volume', 'size', 'home', 'url'], volumes),
    'ready; Ctrl-C stops',
  ].join('\n\n');
}
