/**
 * The composition root of one member: builds every part, starts them in the order that crash safety asks for, and stops
 * them in the reverse. It decides nothing else.
 *
 * The order of a start matters in one place: the member joins the group anew *before* it reads the routes and *before*
 * any file is opened and cleaned of what is held elsewhere. A commit to this member compares its record, so none can
 * slip in between (migration/batch.ts).
 */
import { isIP } from 'node:net';
import { GuestService } from './access/guest-service.js';
import { HomeService } from './access/home-service.js';
import { BlockferryError, describeError } from './base/errors.js';
import { PORTAL_GROUP_TAG } from './base/iscsi-names.js';
import { randomToken } from './base/random.js';
import { noWaypoints, type Waypoints } from './base/waypoints.js';
import { DiskTime } from './block/disk-time.js';
import { GroupView, Membership, type MemberChange } from './group/membership.js';
import { keys } from './group/records.js';
import type { GroupStore } from './group/store.js';
import { targetPortOf } from './group/target-ports.js';
import { MemoryBudget } from './iscsi/target/memory-budget.js';
import { BusyPoll } from './iscsi/target/busy-poll.js';
import { Portal } from './iscsi/target/portal.js';
import { SessionRegistry } from './iscsi/target/registry.js';
import { Balancing } from './member/balancing.js';
import { MemberDirectory } from './member/directory.js';
import { DirectoryDoor } from './member/door.js';
import { memberDoors, type LoopWatch, type MemberDoors } from './member/doors.js';
import { EveryPath, refuseMixed } from './member/every-path.js';
import { Everywhere, type Present } from './member/everywhere.js';
import { Fencer } from './member/fencer.js';
import { groupName, processOf } from './member/group-facts.js';
import { VolumeHost } from './member/host.js';
import { removeLeftovers } from './member/leftovers.js';
import { RouteSessions } from './member/route-sessions.js';
import type { Endpoint, MemberOptions } from './member/options.js';
import { isProcessRunning } from './member/processes.js';
import { MemberService } from './member/service.js';
import { SharedState } from './member/shared-state.js';
import { Destination } from './migration/destination.js';
import { MoveRunner } from './migration/move-runner.js';
import { HolderService } from './peer/holder-service.js';
import { Hub } from './peer/hub.js';
import { MemberIds } from './routing/member-ids.js';
import { portalsOf } from './routing/redirect.js';
import { RoutingTable } from './routing/table.js';
import { DataFolder } from './storage/data-folder.js';

export type { Endpoint, MemberOptions };

/** What is open already, so that a start that fails halfway closes it again, last first. */
type Closer = () => Promise<void> | void;

export class Member {
  private readonly closers: Closer[] = [];
  private readonly incarnation: string;
  private readonly registry: SessionRegistry;
  private readonly memory = new MemoryBudget();
  private readonly ids = new MemberIds();
  private readonly door = new DirectoryDoor();
  private readonly service: MemberService;
  private readonly waypoints: Waypoints;
  private loop!: LoopWatch;
  private readonly poll: BusyPoll;
  private host!: VolumeHost;
  private runner!: MoveRunner;
  private table!: RoutingTable;
  private view!: GroupView;
  private hub!: Hub;
  private closePortal: Closer = () => undefined;
  private fencer!: Fencer;
  /** Null: this member redirects. */
  private everyPath: EveryPath | null = null;
  /** Told once there are volumes. */
  private memberLeft: (process: Present) => void = () => undefined;
  private targetPort: number | null = null;
  private everywhere!: Everywhere;
  private balancing!: Balancing;
  private portalAddress!: Endpoint;
  private peerAddress!: Endpoint;

  private constructor(
    private readonly options: MemberOptions,
    private readonly doors: MemberDoors,
  ) {
    this.incarnation = randomToken(options.random);
    this.registry = new SessionRegistry(options.clock);
    this.poll = new BusyPoll(doors.storage.turns, options.busyPollUs);
    this.service = new MemberService(options.log);
    this.waypoints = options.waypoints ?? noWaypoints;
  }

  /**
   * Starts a member; it serves when this resolves.
   * @throws BUSY (folder, port or name in use), NOT_FOUND (no such group), INVALID, IO
   */
  static async start(options: MemberOptions, doors: MemberDoors = memberDoors()): Promise<Member> {
    if (isIP(options.portal.host) === 0) {
      throw new BlockferryError(
        'USAGE',
        `portal host '${options.portal.host}' is not an IP address`,
        'initiators are redirected to numeric addresses only',
      );
    }
    const member = new Member(options, doors);
    try {
      await member.open();
      return member;
    } catch (error) {
      await member.stop().catch(() => undefined); // why it did not start says more
      throw error;
    }
  }

  get portal(): Endpoint {
    return this.portalAddress;
  }

  get peer(): Endpoint {
    return this.peerAddress;
  }

  /**
   * Ends sessions, moves and links in order; what was acknowledged is durable when it resolves. A part that fails (a full
   * disk under the store) keeps no other from ending; the first failure is thrown when all is closed.
   */
  async stop(): Promise<void> {
    const failures: unknown[] = [];
    for (let close = this.closers.pop(); close !== undefined; close = this.closers.pop()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  private async open(): Promise<void> {
    const { options, doors } = this;
    const folder = await DataFolder.open(options.dataFolder, { log: options.log }, doors.storage);
    this.closers.push(() => folder.close());
    await folder.refuseOther(options.name);
    const verifier = await folder.openVerifier({ ...options, bootId: doors.bootId });
    const store = await doors.openStore(options.storeUrl, { ...options, waypoints: this.waypoints });
    this.closers.push(() => store.close());
    const group = await groupName(store);
    await this.listen(group, verifier);
    const membership = await this.join(store);
    this.waypoints.reached('member.joined');
    await this.openTable(store, folder, group);
    const shared = await this.openShared(store);
    this.openVolumes(store, folder, membership, shared);
    this.waypoints.reached('member.opened');
    this.openBalancing(store, folder);
    this.openService(shared);
    this.closers.push(this.closePortal, () => shared.reservations.stopAsking()); // sessions end while volumes and links serve
    membership.onLost = () => this.leaseLost();
    membership.onRegained = () => void this.regain(membership, shared);
    if (membership.isValid) this.host.resume();
    this.door.open(this.directory());
    await this.runner.start();
    this.closers.push(() => this.runner.stop());
    this.closers.push(() => this.balancing.close()); // the first to end: it asks for nothing while the rest does
    this.closers.push(() => this.host.stopWaiting());
    await this.balancing.start();
  }

  private async listen(group: string, verifier: string): Promise<void> {
    const { options, incarnation, service, doors } = this;
    const { log, clock, random, name, authenticator } = options;
    const digests = options.peerDigests === true;
    const self = { name, incarnation, verifier };
    this.hub = new Hub({ group, self, digests, service, log, clock, random, net: doors.net });
    this.closers.push(() => this.hub.close());
    this.peerAddress = await this.hub.listen(options.peer.host, options.peer.port);
    const portal = new Portal({
      directory: this.door,
      registry: this.registry,
      log,
      clock,
      random,
      ...{ memory: this.memory, poll: this.poll, net: doors.net },
      options: {
        ...(authenticator && { authenticator }),
        portalGroupTag: () => this.targetPort ?? PORTAL_GROUP_TAG,
      },
    });
    this.portalAddress = await portal.listen(options.portal.host, options.portal.port);
    this.closePortal = () => portal.close();
    this.closers.push(this.closePortal);
  }

  private async join(store: GroupStore): Promise<Membership> {
    const { name, clock, log, access } = this.options;
    this.targetPort = access === 'alua' ? await targetPortOf(store, name) : null;
    const membership = await Membership.join(store, {
      name,
      portal: this.portalAddress,
      peer: this.peerAddress,
      pid: this.doors.pid,
      isGone: (pid) => this.doors.isGone(pid),
      incarnation: this.incarnation,
      targetPort: this.targetPort ?? undefined,
      clock,
      log,
    });
    this.closers.push(() => membership.leave());
    const changed: MemberChange = (member, record, before) => {
      if (member !== name) this.hub.setAddress(member, record?.peer ?? null);
      // A name that another process takes over is never without a record.
      if (before !== undefined && before.incarnation !== record?.incarnation) this.memberLeft(before);
    };
    this.view = await GroupView.open(store, log, changed, clock);
    this.closers.push(() => this.view.close());
    refuseMixed(
      this.targetPort !== null,
      this.view.members.filter((member) => member.name !== name),
    );
    return membership;
  }

  private async openTable(store: GroupStore, folder: DataFolder, group: string): Promise<void> {
    const { log, clock, name: self } = this.options;
    const table = await RoutingTable.open(store, this.ids, log, clock);
    this.table = table;
    this.closers.push(() => table.close());
    // A full disk takes no mark, and the member has to serve what it holds.
    const unmarked = (error: unknown): void =>
      log.warn({ error: describeError(error) }, 'the folder does not say whose it is');
    await folder.claimFor(self).catch(unmarked);
    await removeLeftovers({ folder, table, self, group, log });
  }

  private async openShared(store: GroupStore): Promise<SharedState> {
    const { incarnation, table } = this;
    const { clock, log, name: self } = this.options;
    const shared = await SharedState.open({
      ...{ store, clock, log, incarnation },
      everywhere: () => this.everywhere,
      endAbsent: (present) => this.endAbsent(present),
      isThere: (process) =>
        process === incarnation || this.view.members.some((member) => member.incarnation === process),
      officeOf: (volume) => {
        const route = table.get(volume)?.route;
        return route?.home === self ? { key: keys.routeHead(volume), revision: route.headRevision } : null;
      },
      refreshRoute: (volume) => table.refresh(volume),
    });
    this.closers.push(() => shared.close());
    table.onChange((now, before) => {
      if (now === undefined && before !== undefined) shared.forget(before.record);
    });
    return shared;
  }

  /** In the group again: what has changed meanwhile is known before anything is served. */
  private async regain(membership: Membership, shared: SharedState): Promise<void> {
    await shared.refresh(() => membership.isValid);
    if (membership.isValid) this.host.regain();
  }

  private openVolumes(
    store: GroupStore,
    folder: DataFolder,
    membership: Membership,
    { reservations, units, creations }: SharedState,
  ): void {
    const { options, ids, hub, incarnation, registry, waypoints, table } = this;
    const { log, clock, random, name: self } = options;
    const loop = this.doors.watchLoop(() => this.doors.storage.turns.spareMs);
    this.loop = loop;
    this.closers.push(() => loop.close());
    this.everyPath = this.makeEveryPath();
    this.host = new VolumeHost({
      ...{ self, ids, hub, folder, clock, log, incarnation, table, waypoints, everyPath: this.everyPath },
      sessionCount: (iqn) => registry.sessionsOf(iqn).length,
      hasSessions: (iqn) => !registry.isVacant(iqn),
      cutOff: (iqn) => registry.cutOff(iqn),
      leaseIsValid: () => membership.check(),
      keeperOf: (volume, id) => reservations.keeperOf(volume, id),
      ...{ units, creations },
      ...(options.diskTimeMs && { diskTime: new DiskTime(options.diskTimeMs, clock) }),
      vacateOthers: (routed) => this.fencer.vacateEverywhere(routed),
      connect: (member) => hub.connect(member),
      isPresent: (member, process) => this.view.get(member)?.incarnation === process,
      hasLeft: async (member, process) => (await processOf(store, member)) !== process,
      loopIdleMs: () => loop.idleMs,
    });
    this.memberLeft = (process) => {
      reservations.memberLeft();
      this.host.memberLeft(process);
    };
    this.closers.push(() => this.host.close());
    const doors = { clock, random, log, waypoints };
    const runner = new MoveRunner({ self, incarnation, store, table, hub, volumes: this.host, ...doors });
    const isEveryPath = this.everyPath !== null;
    const sessions = new RouteSessions({ self, registry, runner, isEveryPath, waypoints, log });
    table.onChange((now, before) => sessions.routeChanged(now, before));
    this.runner = runner;
  }

  private openBalancing(store: GroupStore, folder: DataFolder): void {
    const { options, incarnation, view, hub, registry, host, loop, table } = this;
    const { name: self, clock, random, log, loadWindowMs: windowMs } = options;
    this.balancing = new Balancing({
      ...{ self, incarnation, clock, random, log, view, hub, registry, host, folder, loop, windowMs },
      ...{ store, table },
    });
    this.closers.push(() => this.balancing.recorder.close());
  }

  private openService({ reservations }: SharedState): void {
    const { options, hub, host, service } = this;
    this.everywhere = this.makeEverywhere();
    this.fencer = this.makeFencer(this.everywhere);
    const destination = new Destination(host, options.clock, options.log, this.waypoints);
    this.closers.push(() => destination.close());
    service.open({
      holder: new HolderService(host),
      home: new HomeService(host, this.incarnation),
      guests: new GuestService(host, this.incarnation),
      ...{ everyPath: this.everyPath, destination, fencer: this.fencer, reservations },
      loads: this.balancing.load.exchange,
      queries: {
        sessions: () => this.registry.list(),
        volumes: () => [...host.all].map(({ record, epoch }) => ({ name: record.name, epoch })),
        links: () => hub.stats(),
        loads: () => this.balancing.load.answer(),
        trace: (question) => this.balancing.recorder.answer(question),
        load: () => ({ eventLoop: { maxPauseMs: this.loop.maxPauseMs }, memory: this.memory.figures }),
      },
    });
    this.closers.push(() => service.close());
  }

  /** Commands that others had sent are believed undone by the time it is had again: what is unread of them is dropped (I8). */
  private leaseLost(): void {
    this.host.suspend();
    if (this.everyPath !== null) void this.hub.endAbsent([]);
  }

  private makeEveryPath(): EveryPath | null {
    const { options, incarnation, targetPort, hub, table, registry } = this;
    if (targetPort === null) return null;
    return new EveryPath({
      self: { name: options.name, incarnation },
      clock: options.clock,
      ...{ targetPort, hub, table, registry },
      everywhere: () => this.everywhere,
      members: () => this.view.members,
      mayServe: () => this.host.mayServe(),
    });
  }

  private makeEverywhere(): Everywhere {
    const { options, hub, view } = this;
    return new Everywhere({
      hub,
      self: { name: options.name, incarnation: this.incarnation },
      clock: options.clock,
      others: () => view.members.filter((member) => member.name !== options.name),
      mayBeRunning: (member) => isProcessRunning(member, (pid) => this.doors.isGone(pid)),
      endAbsent: (present) => this.endAbsent(present),
    });
  }

  private makeFencer(everywhere: Everywhere): Fencer {
    const { table, registry, host } = this;
    return new Fencer({
      everywhere,
      waypoints: this.waypoints,
      fenceHere: async (volume, login) => {
        const iqn = table.get(volume)?.record.iqn;
        return iqn === undefined ? { fenced: 0, stallMs: 0 } : registry.fence({ ...login, iqn });
      },
      isVacant: (volume) => host.isVacant(volume),
      endAbsent: (present) => this.endAbsent(present),
      fenced: (volume, { stallMs }) => this.runner.statsOf(volume)?.stalled(stallMs),
      catchUp: (volume, epoch) => host.catchUp(volume, epoch),
    });
  }

  /** Ends what there is with any other process than these; resolves when nothing of it is under way here (I8). */
  private async endAbsent(present: readonly Present[]): Promise<void> {
    await this.hub.endAbsent(present);
    await this.host.endAbsent(present);
  }

  private directory(): MemberDirectory {
    const portalOf = (member: string): Endpoint | undefined => this.view.get(member)?.portal;
    const everyPortal = this.everyPath === null ? null : () => portalsOf(this.view.members);
    const { options, table, host, fencer } = this;
    return new MemberDirectory(options.name, table, host, { portalOf }, fencer, options.clock, everyPortal);
  }
}
