/** blockferry member: one member of a group, in this process, until it is told to stop or its supervisor is gone. */
import type { Command } from 'commander';
import { z } from 'zod';
import { systemClock } from '../base/clock.js';
import { BlockferryError, isAddressInUse } from '../base/errors.js';
import { formatAddress } from '../base/net.js';
import { systemRandom } from '../base/random.js';
import { noWaypoints, type Waypoints } from '../base/waypoints.js';
import { isStoreUrl, refuseMissingStore } from '../group/open-store.js';
import { Access } from '../manage/api.js';
import { Member, type MemberOptions } from '../member.js';
import { memberDoors, type MemberDoors } from '../member/doors.js';
import { ChapAuthenticator, type ChapSecrets } from '../iscsi/target/login/chap.js';
import type { MemberWord } from '../supervisor/member-process.js';
import { readChap, withChap } from './chap.js';
import { untilStopped, type CliDoor } from './door.js';
import { createLog } from './log.js';
import {
  address,
  duration,
  flag,
  memberName,
  parseOptions,
  refuseOpenHost,
  whole,
  withJson,
} from './options.js';
import { emit } from './output.js';

const Options = z.object({
  json: flag,
  name: memberName,
  // Before anything is made for it: a folder that a member leaves behind looks like one that holds data.
  store: z
    .string()
    .refine(isStoreUrl, 'is no store by its absolute path, such as embedded:/var/lib/blockferry/store'),
  portal: address,
  peer: address,
  data: z.string().min(1),
  busyPollUs: whole(0, 10_000).optional(),
  peerDigests: flag,
  access: Access.default('redirect'),
  allowUnauthenticated: flag,
  chap: z.string().min(1).optional(),
  diskTime: duration.optional(),
});

export const addMember = addMemberWith(noWaypoints, memberDoors());

/** The command on a member whose waypoints somebody watches, and whose doors are what they say. */
export function addMemberWith(
  waypoints: Waypoints,
  doors: MemberDoors,
): (program: Command, door: CliDoor) => void {
  return (program, door) => define(program, door, waypoints, doors);
}

function define(program: Command, door: CliDoor, waypoints: Waypoints, doors: MemberDoors): void {
  withChap(withJson(program.command('member')), 'a file of accounts: who may log in')
    .description('one member of a group')
    .requiredOption('--name <member>', 'such as m1')
    .requiredOption(
      '--store <url>',
      'the group store, by its absolute path: embedded:/var/lib/blockferry/store',
    )
    .requiredOption('--portal <host:port>', 'where initiators reach it')
    .requiredOption('--peer <host:port>', 'where the other members reach it')
    .requiredOption('--data <folder>', 'where its volumes are kept')
    .option('--busy-poll-us <microseconds>', 'poll this long at most before sleeping; 0: never')
    .option('--peer-digests', 'a CRC32C in every frame to and from other members')
    .option(
      '--disk-time <time>',
      'pretend a disk that serves one request at a time, each in so long, such as 300us',
    )
    .option(
      '--access <how>',
      'redirect: initiators are sent to the home; alua: every member serves',
      'redirect',
    )
    .option(
      '--allow-unauthenticated',
      'listen where other machines can reach it; --peer needs it with --chap, too',
    )
    .action((raw: Record<string, unknown>) => runMember(door, raw, waypoints, doors));
}

async function runMember(
  door: CliDoor,
  raw: Record<string, unknown>,
  waypoints: Waypoints,
  doors: MemberDoors,
): Promise<void> {
  const options = parseOptions(Options, raw);
  const chap = await readChap(door, options.chap);
  const isOpen = options.allowUnauthenticated || chap !== undefined;
  refuseOpenHost(options.portal.host, isOpen, 'the portal', 'give --chap, or ');
  refuseOpenHost(options.peer.host, options.allowUnauthenticated, 'the peer port');
  await refuseMissingStore(options.store);
  const log = await createLog(door, options.name, 'info');
  const stopped = untilStopped(door);
  const wanted = { ...memberOptions(options, log, chap), waypoints };
  const member = await startMember(door, wanted, doors);
  const ready = {
    name: options.name,
    portal: formatAddress(member.portal),
    peer: formatAddress(member.peer),
    pid: process.pid,
  };
  tell(door, { type: 'ready', name: options.name });
  emit(door, options.json, ready, (r) => `member ${r.name} serves at ${r.portal}, peers at ${r.peer}`);
  log.info({ signal: await stopped }, 'stopping');
  await member.stop();
}

function memberOptions(
  options: z.infer<typeof Options>,
  log: MemberOptions['log'],
  chap: ChapSecrets | undefined,
): MemberOptions {
  return {
    name: options.name,
    storeUrl: options.store,
    portal: options.portal,
    peer: options.peer,
    dataFolder: options.data,
    log,
    clock: systemClock,
    random: systemRandom,
    peerDigests: options.peerDigests,
    access: options.access,
    ...(chap && { authenticator: new ChapAuthenticator(chap, systemRandom) }),
    ...(options.busyPollUs === undefined ? {} : { busyPollUs: options.busyPollUs }),
    ...(options.diskTime === undefined ? {} : { diskTimeMs: options.diskTime }),
  };
}

/** Tells the supervisor, too, of an address that is in use. */
async function startMember(door: CliDoor, wanted: MemberOptions, doors: MemberDoors): Promise<Member> {
  return Member.start(wanted, doors).catch((error: unknown) => {
    if (!isAddressInUse(error)) throw error;
    tell(door, { type: 'address-in-use', name: wanted.name, detail: error.message });
    const hint = 'stop what listens there, or choose another with --portal (initiators) or --peer (members)';
    throw new BlockferryError('BUSY', error.message, hint, { cause: error.cause });
  });
}

function tell(door: CliDoor, word: MemberWord): void {
  door.parent?.send(word);
}
