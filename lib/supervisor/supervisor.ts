/**
 * A whole group on this machine: the processes of its members, the group portal and the management API in this one.
 * Builds them, starts them in order, stops them in the reverse. Serves no byte of a volume, so that it need never die.
 */
import { join } from 'node:path';
import type { Clock, Timer } from '../base/clock.js';
import { BlockferryError, describeError, isAddressInUse } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { formatAddress } from '../base/net.js';
import { randomToken, type Random } from '../base/random.js';
import { ensureGroup, setBalance, type BalanceChange } from '../group/admin.js';
import { GroupView, type MemberChange } from '../group/group-view.js';
import { openStore } from '../group/open-store.js';
import type { Authenticator } from '../iscsi/target/login/security.js';
import { Portal } from '../iscsi/target/portal.js';
import { SessionRegistry } from '../iscsi/target/registry.js';
import type { Access, MemberView, StatusView } from '../manage/api.js';
import { GroupDesk } from '../manage/group-desk.js';
import { ManageServer } from '../manage/server.js';
import { PeerStatus } from '../peer/contract.js';
import { Hub } from '../peer/hub.js';
import { MemberIds } from '../routing/member-ids.js';
import { portalsOf } from '../routing/redirect.js';
import { RoutingTable } from '../routing/table.js';
import { DataFolder } from '../storage/data-folder.js';
import { chooseAddresses, loadAddresses, saveAddresses, type GroupAddresses } from './addresses.js';
import { GroupHomes } from './group-homes.js';
import { MemberProcess } from './member-process.js';
import { PortalDirectory } from './portal-directory.js';
import { ensureVolume, type WantedVolume } from './wanted-volume.js';

export interface SupervisorOptions {
  /** DATA: group.json, store/, and a folder per member. */
  readonly dataFolder: string;
  readonly host: string;
  /** Of the group portal; 0: any, for the members too. */
  readonly port: number;
  readonly managePort: number;
  readonly members: number;
  readonly volumes: readonly WantedVolume[];
  /** The program that is a member when it is called with `member`. */
  readonly program: string;
  /** See MemberOptions. */
  readonly access: Access;
  /** Arguments that every member gets besides its own. */
  readonly memberArgs: readonly string[];
  /** What every member reads from its standard input, each time that it is started. Default: nothing. */
  readonly memberInput?: string;
  /** How slow a disk single members pretend, as they are told it (--disk-time), by their names. */
  readonly diskTimes: ReadonlyMap<string, string>;
  /** How the group is to balance itself; absent: as it was set before. */
  readonly balance?: BalanceChange['settings'];
  /** Who may log in at the group portal. Default: everybody. */
  readonly authenticator?: Authenticator;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** False: whoever asked for the group has changed his mind, and what was started of it is undone. */
  isWanted(): boolean;
}

/** Who loses a port so often does not lose it by chance. */
const START_ATTEMPTS = 3;
/** How soon a start that waits hears that nobody wants the group any more. */
const WANTED_POLL_MS = 50;

/** How to undo one step of the start. */
type Undo = () => Promise<void> | void;

export class Supervisor {
  private constructor(
    private readonly desk: GroupDesk,
    private readonly undos: Undo[],
  ) {}

  /**
   * Resolves when every member serves and every wanted volume is there; on failure, CANCELLED among others, nothing is left
   * running. A port that was free when it was chosen can be somebody's when it is listened at, such as another group's that
   * starts too: all begins again then, and what was asked for by number is refused by its option's name.
   */
  static async start(options: SupervisorOptions): Promise<Supervisor> {
    for (let attempt = 1; ; attempt++) {
      const undos: Undo[] = [];
      try {
        return new Supervisor(await start(options, attempt > 1, undos), undos);
      } catch (error) {
        await undoAll(undos, options.log);
        if (!isAddressInUse(error) || attempt === START_ATTEMPTS) throw error;
        if (!options.isWanted()) throw notWanted();
        options.log.warn({ error: error.message }, 'a chosen port was taken; choosing again');
      }
    }
  }

  status(): Promise<StatusView> {
    return this.desk.status();
  }

  /** The API first, so that nobody asks a group that goes; then the portal, the members in order, the store. */
  async stop(log: Logger): Promise<void> {
    await undoAll(this.undos, log);
  }
}

async function start(options: SupervisorOptions, isRetry: boolean, undos: Undo[]): Promise<GroupDesk> {
  const { clock, random, log, host } = options;
  const folder = await DataFolder.open(options.dataFolder, { log });
  undos.push(() => folder.close());
  const addresses = await settleAddresses(folder.path, options, isRetry);
  const storeUrl = `embedded:${join(folder.path, 'store')}`;
  const store = await openStore(storeUrl, { clock, random, log });
  undos.push(() => store.close());
  const group = await ensureGroup(store, { clock, random });
  if (options.balance !== undefined) await setBalance(store, { settings: options.balance });
  const table = await RoutingTable.open(store, new MemberIds(), log, clock);
  undos.push(() => table.close());
  if (!options.isWanted()) throw notWanted();
  const members = addresses.members.map((member) => memberProcess(member, storeUrl, folder.path, options));
  undos.push(() => stopInOrder(members));
  await whileWanted(Promise.all(members.map((member) => member.start())), options);

  const hub = openHub(group.name, options);
  undos.push(() => hub.close());
  // Members are equal: one that was started by hand is found by its record, as those that are started here.
  const changed: MemberChange = (name, record) => hub.setAddress(name, record?.peer ?? null);
  const view = await GroupView.open(store, log, changed, clock);
  undos.push(() => view.close());
  const portal = makePortal(table, view, members, options);
  undos.push(() => portal.close());
  const portalAddress = await portal.listen(host, addresses.portal);
  let manageUrl = '';
  const desk = new GroupDesk({
    ...{ store, table, hub, clock, random, group: group.name },
    portal: formatAddress(portalAddress),
    manageUrl: () => manageUrl,
    watched: () => members.map((member, i) => watchedView(member, addresses.members[i], options)),
  });
  await ensureVolumes(desk, options);
  const api = await ManageServer.start({ host, port: addresses.manage, desk, log });
  manageUrl = api.url;
  undos.push(() => api.stop());
  return desk;
}

/** The group's portal, which serves nobody and knows who does. It does not listen yet. */
function makePortal(
  table: RoutingTable,
  view: GroupView,
  members: readonly MemberProcess[],
  { clock, random, log, access, authenticator }: SupervisorOptions,
): Portal {
  const everyPortal = access === 'alua' ? () => portalsOf(view.members) : null;
  return new Portal({
    ...{ log, clock, random },
    directory: new PortalDirectory(table, new GroupHomes(view, clock, members), everyPortal),
    registry: new SessionRegistry(clock),
    options: { ...(authenticator && { authenticator }) },
  });
}

function notWanted(): BlockferryError {
  return new BlockferryError('CANCELLED', 'the group is not wanted any more');
}

/** What `work` comes to; CANCELLED as soon as the group is not wanted any more, whatever `work` still waits for. */
async function whileWanted<T>(work: Promise<T>, options: SupervisorOptions): Promise<T> {
  let timer: Timer | undefined;
  const unwanted = new Promise<never>((_, reject) => {
    const look = (): void => {
      if (options.isWanted()) timer = options.clock.after(WANTED_POLL_MS, look);
      else reject(notWanted());
    };
    look();
  });
  try {
    return await Promise.race([work, unwanted]);
  } finally {
    timer?.cancel();
  }
}

async function ensureVolumes(desk: GroupDesk, options: SupervisorOptions): Promise<void> {
  const look = (): void => {
    if (!options.isWanted()) throw notWanted();
  };
  for (const volume of options.volumes) {
    look();
    await ensureVolume(desk, volume, options.clock, look);
  }
  look();
}

function watchedView(
  member: MemberProcess,
  ports: GroupAddresses['members'][number] | undefined,
  { host, access }: SupervisorOptions,
): Omit<MemberView, 'startedAtMs'> {
  const at = (port = 0): string => formatAddress({ host, port });
  return {
    name: member.name,
    portal: at(ports?.portal),
    peer: at(ports?.peer),
    pid: member.pid,
    alive: member.isReady,
    access,
  };
}

async function settleAddresses(
  folder: string,
  options: SupervisorOptions,
  isRetry: boolean,
): Promise<GroupAddresses> {
  const saved = await loadAddresses(folder);
  const wanted = { ...options, waitsForRelease: !isRetry };
  const addresses = await chooseAddresses(wanted, saved, options.clock, options.random);
  refuseUnknown(options.diskTimes, addresses);
  await saveAddresses(folder, addresses, saved);
  return addresses;
}

function refuseUnknown(diskTimes: SupervisorOptions['diskTimes'], { members }: GroupAddresses): void {
  const names = members.map((member) => member.name);
  const unknown = [...diskTimes.keys()].find((name) => !names.includes(name));
  if (unknown === undefined) return;
  const what = `--disk-time: there is no member ${unknown}`;
  throw new BlockferryError('USAGE', what, `the group has ${names.join(', ')}`);
}

function memberProcess(
  member: GroupAddresses['members'][number],
  storeUrl: string,
  folder: string,
  options: SupervisorOptions,
): MemberProcess {
  const { host, clock, log, program, memberInput: input } = options;
  const at = (port: number): string => formatAddress({ host, port });
  const args = ['member', '--name', member.name, '--store', storeUrl, '--data', join(folder, member.name)];
  args.push('--portal', at(member.portal), '--peer', at(member.peer), '--access', options.access);
  args.push(...options.memberArgs);
  const diskTime = options.diskTimes.get(member.name);
  if (diskTime !== undefined) args.push('--disk-time', diskTime);
  return new MemberProcess({
    ...{ name: member.name, program, args, clock, log },
    ...(input !== undefined && { input }),
  });
}

/**
 * One after the other: a member on its way out may need the holders of its extents to flush. Those that never served hold
 * up nobody's, and go all at once: where a start hangs each of them may have to be killed.
 */
async function stopInOrder(members: readonly MemberProcess[]): Promise<void> {
  await Promise.all(members.filter((member) => !member.hasServed).map((member) => member.stop()));
  for (const member of members) await member.stop();
}

/** The management process asks; it serves nobody. */
function openHub(group: string, { clock, random, log }: SupervisorOptions): Hub {
  const service = {
    handle: (request: { answer(status: number): void }) => request.answer(PeerStatus.REFUSED),
  };
  const self = { name: '', incarnation: randomToken(random), verifier: '' };
  return new Hub({ group, self, service, clock, random, log });
}

/** In the reverse order; one that fails keeps none of the others from being undone. */
async function undoAll(undos: Undo[], log: Logger): Promise<void> {
  for (let undo = undos.pop(); undo !== undefined; undo = undos.pop()) {
    try {
      await undo();
    } catch (error) {
      log.error({ error: describeError(error) }, 'a part of the group did not stop in order');
    }
  }
}
