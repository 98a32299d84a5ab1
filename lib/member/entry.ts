/**
 * How a member comes into its group: it opens its folder and the store, listens, joins, and reads the routes. Every part
 * is closed with the member's other ones. No volume is opened yet (serving.ts).
 */
import { describeError } from '../base/errors.js';
import { PORTAL_GROUP_TAG } from '../base/iscsi-names.js';
import { randomToken } from '../base/random.js';
import { noWaypoints, type Waypoints } from '../base/waypoints.js';
import { GroupView, type MemberChange } from '../group/group-view.js';
import { Membership } from '../group/membership.js';
import type { GroupStore } from '../group/store.js';
import { targetPortOf } from '../group/target-ports.js';
import { BusyPoll } from '../iscsi/target/busy-poll.js';
import { MemoryBudget } from '../iscsi/target/memory-budget.js';
import { Portal } from '../iscsi/target/portal.js';
import { SessionRegistry } from '../iscsi/target/registry.js';
import { Hub } from '../peer/hub.js';
import { MemberIds } from '../routing/member-ids.js';
import { RoutingTable } from '../routing/table.js';
import { DataFolder } from '../storage/data-folder.js';
import { Absence } from './absence.js';
import type { Closer, Closers } from './closers.js';
import { DirectoryDoor } from './door.js';
import type { MemberDoors } from './doors.js';
import { refuseMixed } from './every-path.js';
import { groupName } from './group-facts.js';
import { removeLeftovers } from './leftovers.js';
import type { Endpoint, MemberOptions } from './options.js';
import { MemberService } from './service.js';

/** What a member has before anything of it is open. */
export interface MemberBasics {
  readonly options: MemberOptions;
  readonly doors: MemberDoors;
  readonly closers: Closers;
  readonly incarnation: string;
  readonly waypoints: Waypoints;
  readonly registry: SessionRegistry;
  readonly memory: MemoryBudget;
  readonly poll: BusyPoll;
  readonly ids: MemberIds;
  /** Logins wait behind it until there are volumes. */
  readonly door: DirectoryDoor;
  /** Peers are answered UNAVAILABLE until it is opened. */
  readonly service: MemberService;
}

/** Where a member listens. */
interface Listening {
  readonly hub: Hub;
  readonly peerAddress: Endpoint;
  readonly portalAddress: Endpoint;
  readonly closePortal: Closer;
}

/** A member that is in its group, and knows the routes. */
export interface JoinedMember extends MemberBasics, Listening {
  readonly folder: DataFolder;
  readonly store: GroupStore;
  /** Its own, where every member serves; null: this member redirects. */
  readonly targetPort: number | null;
  readonly membership: Membership;
  readonly view: GroupView;
  readonly absence: Absence;
  readonly table: RoutingTable;
}

export function basicsOf(options: MemberOptions, doors: MemberDoors, closers: Closers): MemberBasics {
  return {
    ...{ options, doors, closers },
    incarnation: randomToken(options.random),
    waypoints: options.waypoints ?? noWaypoints,
    registry: new SessionRegistry(options.clock),
    memory: new MemoryBudget(),
    poll: new BusyPoll(doors.storage.turns, options.busyPollUs),
    ids: new MemberIds(),
    door: new DirectoryDoor(),
    service: new MemberService(options.log),
  };
}

/** @throws BUSY (folder, port or name in use), NOT_FOUND (no such group), INVALID, IO */
export async function enterGroup(basics: MemberBasics): Promise<JoinedMember> {
  const { options, doors, closers, waypoints } = basics;
  const folder = await DataFolder.open(options.dataFolder, { log: options.log }, doors.storage);
  closers.push(() => folder.close());
  await folder.refuseOther(options.name);
  const verifier = await folder.openVerifier({ ...options, bootId: doors.bootId });
  const store = await doors.openStore(options.storeUrl, { ...options, waypoints });
  closers.push(() => store.close());
  const group = await groupName(store);
  let targetPort: number | null = null; // asked for by logins, which wait until it is known
  const listening = await listen(basics, group, verifier, () => targetPort);
  targetPort = options.access === 'alua' ? await targetPortOf(store, options.name) : null;
  const absence = new Absence(listening.hub);
  const membership = await join(basics, listening, store, targetPort);
  const view = await openView(basics, listening.hub, store, absence);
  refuseMixed(
    targetPort !== null,
    view.members.filter((member) => member.name !== options.name),
  );
  waypoints.reached('member.joined');
  const table = await openTable(basics, store, folder, group);
  return { ...basics, ...listening, folder, store, targetPort, membership, view, absence, table };
}

async function listen(
  basics: MemberBasics,
  group: string,
  verifier: string,
  targetPort: () => number | null,
): Promise<Listening> {
  const { options, doors, closers, incarnation, service, door: directory, registry, memory, poll } = basics;
  const { log, clock, random, name, authenticator } = options;
  const { net } = doors;
  const digests = options.peerDigests === true;
  const self = { name, incarnation, verifier };
  const hub = new Hub({ group, self, digests, service, log, clock, random, net });
  closers.push(() => hub.close());
  const peerAddress = await hub.listen(options.peer.host, options.peer.port);
  const portal = new Portal({
    ...{ directory, registry, log, clock, random, memory, poll, net },
    beforeAnswers: () => hub.sendDue(),
    options: {
      ...(authenticator && { authenticator }),
      portalGroupTag: () => targetPort() ?? PORTAL_GROUP_TAG,
    },
  });
  const portalAddress = await portal.listen(options.portal.host, options.portal.port);
  const closePortal = (): Promise<void> => portal.close();
  closers.push(closePortal);
  return { hub, peerAddress, portalAddress, closePortal };
}

async function join(
  { options, doors, closers, incarnation }: MemberBasics,
  { portalAddress, peerAddress }: Listening,
  store: GroupStore,
  targetPort: number | null,
): Promise<Membership> {
  const { name, clock, log } = options;
  const membership = await Membership.join(store, {
    name,
    portal: portalAddress,
    peer: peerAddress,
    pid: doors.pid,
    isGone: (pid) => doors.isGone(pid),
    incarnation,
    targetPort: targetPort ?? undefined,
    clock,
    log,
  });
  closers.push(() => membership.leave());
  return membership;
}

async function openView(
  { options, closers, incarnation }: MemberBasics,
  hub: Hub,
  store: GroupStore,
  absence: Absence,
): Promise<GroupView> {
  const changed: MemberChange = (member, record, before) => {
    if (member !== options.name) hub.setAddress(member, record?.peer ?? null);
    // This process is not gone where its lease has run out: what of it is to end then ends as it comes back (host.ts).
    if (before === undefined || before.incarnation === incarnation) return;
    // A name that another process takes over is never without a record.
    if (before.incarnation !== record?.incarnation) absence.memberLeft(before);
  };
  const view = await GroupView.open(store, options.log, changed, options.clock);
  closers.push(() => view.close());
  return view;
}

async function openTable(
  { options, closers, ids }: MemberBasics,
  store: GroupStore,
  folder: DataFolder,
  group: string,
): Promise<RoutingTable> {
  const { log, clock, name: self } = options;
  const table = await RoutingTable.open(store, ids, log, clock);
  closers.push(() => table.close());
  // A full disk takes no mark, and the member has to serve what it holds.
  const unmarked = (error: unknown): void =>
    log.warn({ error: describeError(error) }, 'the folder does not say whose it is');
  await folder.claimFor(self).catch(unmarked);
  await removeLeftovers({ folder, table, self, group, log });
  return table;
}
