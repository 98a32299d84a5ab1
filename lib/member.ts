/**
 * The composition root of one member: builds every part, starts them in the order that crash safety asks for, and stops
 * them in the reverse. It decides nothing else.
 *
 * The order of a start matters in one place: the member joins the group anew *before* it reads the routes and *before*
 * any file is opened and cleaned of what is held elsewhere. A commit to this member compares its record, so none can
 * slip in between (migration/batch.ts).
 */
import { isIP } from 'node:net';
import { assert } from './base/assert.js';
import { sleep } from './base/clock.js';
import { BlockferryError, describeError } from './base/errors.js';
import { HANDOVER_DEADLINE_SECONDS, READ_BACK_RETRY_MS } from './base/limits.js';
import { randomToken } from './base/random.js';
import { noWaypoints, type Waypoints } from './base/waypoints.js';
import { DiskTime } from './block/disk-time.js';
import { GroupView, Membership, type MemberChange } from './group/membership.js';
import { keys } from './group/records.js';
import type { GroupStore } from './group/store.js';
import { MemoryBudget } from './iscsi/target/memory-budget.js';
import { Portal } from './iscsi/target/portal.js';
import { SessionRegistry } from './iscsi/target/registry.js';
import { Balancing } from './member/balancing.js';
import { MemberDirectory } from './member/directory.js';
import { DirectoryDoor } from './member/door.js';
import { memberDoors, type LoopWatch, type MemberDoors } from './member/doors.js';
import { Everywhere } from './member/everywhere.js';
import { Fencer } from './member/fencer.js';
import { groupName, processOf } from './member/group-facts.js';
import { VolumeHost } from './member/host.js';
import { removeLeftovers } from './member/leftovers.js';
import { MemberLoad } from './member/load.js';
import { isProcessRunning } from './member/processes.js';
import type { Endpoint, MemberOptions } from './member/options.js';
import { MemberService } from './member/service.js';
import { SharedReservations } from './member/shared-reservations.js';
import { TraceRecorder } from './member/trace-recorder.js';
import { SharedUnits } from './member/shared-units.js';
import { Destination } from './migration/destination.js';
import { MoveRunner } from './migration/move-runner.js';
import { HolderService } from './peer/holder-service.js';
import { Hub } from './peer/hub.js';
import { MemberIds } from './routing/member-ids.js';
import { RoutingTable, type RoutedVolume } from './routing/table.js';
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
  private host!: VolumeHost;
  private runner!: MoveRunner;
  private table!: RoutingTable;
  private view!: GroupView;
  private hub!: Hub;
  private closePortal: Closer = () => undefined;
  private fencer!: Fencer;
  private everywhere!: Everywhere;
  /** Null until they are read. */
  private reservations: SharedReservations | null = null;
  private units!: SharedUnits;
  private load_: MemberLoad | null = null;
  private portalAddress!: Endpoint;
  private peerAddress!: Endpoint;

  private constructor(
    private readonly options: MemberOptions,
    private readonly doors: MemberDoors,
  ) {
    this.incarnation = randomToken(options.random);
    this.registry = new SessionRegistry(options.clock);
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

  /** The load of all members as this one knows it, and the measure of its own. */
  get load(): MemberLoad {
    assert(this.load_ !== null, 'the load is known once the volumes are open');
    return this.load_;
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
    const store = await doors.openStore(options.storeUrl, { ...options, waypoints: this.waypoints });
    this.closers.push(() => store.close());
    const group = await groupName(store);
    await this.listen(group);
    const membership = await this.join(store);
    this.waypoints.reached('member.joined');
    await this.openTable(store, folder, group);
    await this.openReservations(store);
    await this.openUnits(store);
    this.openVolumes(store, folder, membership);
    this.waypoints.reached('member.opened');
    this.openLoad(folder);
    this.openService();
    this.closers.push(this.closePortal); // sessions end while there are still volumes and links to serve them
    membership.onLost = () => this.host.suspend();
    membership.onRegained = () => void this.regain(membership);
    if (membership.isValid) this.host.resume();
    this.door.open(this.directory());
    await this.runner.start();
    this.closers.push(() => this.runner.stop());
    await this.openBalancing(store);
    this.load.start();
  }

  private async openBalancing(store: GroupStore): Promise<void> {
    const { table, view, load, options } = this;
    const { name: self, clock, random, log } = options;
    const close = await Balancing.open({ self, store, table, view, load, clock, random, log });
    this.closers.push(close);
  }

  private async listen(group: string): Promise<void> {
    const { options, incarnation, service } = this;
    const { log, clock, random, name } = options;
    const digests = options.peerDigests === true;
    const { net } = this.doors;
    this.hub = new Hub({ group, self: { name, incarnation }, digests, service, log, clock, random, net });
    this.closers.push(() => this.hub.close());
    this.peerAddress = await this.hub.listen(options.peer.host, options.peer.port);
    const { busyPollUs, authenticator } = options;
    const portal = new Portal({
      directory: this.door,
      registry: this.registry,
      log,
      clock,
      random,
      memory: this.memory,
      net,
      options: {
        ...(busyPollUs !== undefined && { busyPollUs }),
        ...(authenticator && { authenticator }),
      },
    });
    this.portalAddress = await portal.listen(options.portal.host, options.portal.port);
    this.closePortal = () => portal.close();
    this.closers.push(this.closePortal);
  }

  private async join(store: GroupStore): Promise<Membership> {
    const { name, clock, log } = this.options;
    const membership = await Membership.join(store, {
      name,
      portal: this.portalAddress,
      peer: this.peerAddress,
      pid: this.doors.pid,
      isGone: (pid) => this.doors.isGone(pid),
      incarnation: this.incarnation,
      clock,
      log,
    });
    this.closers.push(() => membership.leave());
    const changed: MemberChange = (member, record) => {
      if (member !== name) this.hub.setAddress(member, record?.peer ?? null);
      if (record !== null) return;
      this.reservations?.memberLeft();
      this.load_?.board.forget(member);
    };
    this.view = await GroupView.open(store, log, changed, clock);
    this.closers.push(() => this.view.close());
    return membership;
  }

  private async openTable(store: GroupStore, folder: DataFolder, group: string): Promise<void> {
    const { log, clock, name: self } = this.options;
    const table = await RoutingTable.open(store, this.ids, log, clock);
    this.table = table;
    this.closers.push(() => table.close());
    await removeLeftovers({ folder, table, self, group, log });
  }

  private async openReservations(store: GroupStore): Promise<void> {
    const { clock, log } = this.options;
    const { incarnation } = this;
    this.reservations = await SharedReservations.open({
      ...{ store, clock, log, incarnation },
      everywhere: () => this.everywhere,
      endAbsent: (present) => this.hub.endAbsent(present),
      isThere: (process) =>
        process === incarnation || this.view.members.some((member) => member.incarnation === process),
    });
    this.closers.push(() => this.reservations?.close());
  }

  private async openUnits(store: GroupStore): Promise<void> {
    const { clock, log, name: self } = this.options;
    const { table } = this;
    this.units = await SharedUnits.open({
      ...{ store, clock, log },
      officeOf: (volume) => {
        const route = table.get(volume)?.route;
        return route?.home === self ? { key: keys.routeHead(volume), revision: route.headRevision } : null;
      },
      refreshRoute: (volume) => table.refresh(volume),
    });
    this.closers.push(() => this.units.close());
  }

  /** In the group again: what was reserved meanwhile is known before anything is served. */
  private async regain(membership: Membership): Promise<void> {
    while (membership.isValid) {
      try {
        await this.reservations?.records.refresh();
        await this.units.records.refresh();
        break;
      } catch (error) {
        this.options.log.warn({ error: describeError(error) }, 'the state of the units cannot be read');
        await sleep(this.options.clock, READ_BACK_RETRY_MS);
      }
    }
    if (membership.isValid) this.host.regain();
  }

  private openVolumes(store: GroupStore, folder: DataFolder, membership: Membership): void {
    const { options, ids, hub, incarnation, registry, waypoints, table } = this;
    const { log, clock, random, name: self } = options;
    const loop = this.doors.watchLoop();
    this.loop = loop;
    this.closers.push(() => loop.close());
    this.host = new VolumeHost({
      ...{ self, ids, hub, folder, clock, log, incarnation, table, waypoints },
      sessionCount: (iqn) => registry.sessionsOf(iqn).length,
      cutOff: (iqn) => registry.cutOff(iqn),
      leaseIsValid: () => membership.check(),
      keeperOf: (volume, id) => this.reservationsOfGroup.keeperOf(volume, id),
      units: this.units,
      ...(options.diskTimeMs && { diskTime: new DiskTime(options.diskTimeMs, clock) }),
      vacateOthers: (routed) => this.fencer.vacateEverywhere(routed),
      connect: (member) => hub.connect(member),
      isPresent: (member, process) => this.view.get(member)?.incarnation === process,
      hasLeft: async (member, process) => (await processOf(store, member)) !== process,
      loopIdleMs: () => loop.idleMs,
    });
    this.closers.push(() => this.host.close());
    table.onChange((now, before) => this.homeMayHaveMoved(now, before));
    const doors = { clock, random, log, waypoints };
    this.runner = new MoveRunner({ self, incarnation, store, table, hub, volumes: this.host, ...doors });
  }

  private openLoad(folder: DataFolder): void {
    const { options, incarnation, view, hub, registry, host, loop } = this;
    const { name: self, clock, random, log, loadWindowMs: windowMs } = options;
    const load = new MemberLoad({
      ...{ self, incarnation, clock, random, log, view, hub, registry, host, folder, loop, windowMs },
    });
    this.load_ = load;
    this.closers.push(() => load.close());
  }

  private openService(): void {
    const { options, hub, host, service } = this;
    this.everywhere = this.makeEverywhere();
    this.fencer = this.makeFencer(this.everywhere);
    const destination = new Destination(host, options.clock, options.log, this.waypoints);
    this.closers.push(() => destination.close());
    const recorder = new TraceRecorder(options.clock, () => host.all);
    this.closers.push(() => recorder.close());
    service.open({
      holder: new HolderService(host),
      destination,
      fencer: this.fencer,
      reservations: this.reservationsOfGroup,
      loads: this.load.exchange,
      queries: {
        sessions: () => this.registry.list(),
        volumes: () => [...host.all].map(({ record, epoch }) => ({ name: record.name, epoch })),
        links: () => hub.stats(),
        loads: () => this.load.answer(),
        trace: () => recorder.take(),
        load: () => ({ eventLoop: { maxPauseMs: this.loop.maxPauseMs }, memory: this.memory.figures }),
      },
    });
    this.closers.push(() => service.close());
  }

  private get reservationsOfGroup(): SharedReservations {
    const { reservations } = this;
    assert(reservations !== null, 'the volumes were opened before the reservations were read');
    return reservations;
  }

  private makeEverywhere(): Everywhere {
    const { options, hub, view } = this;
    return new Everywhere({
      hub,
      self: { name: options.name, incarnation: this.incarnation },
      clock: options.clock,
      others: () => view.members.filter((member) => member.name !== options.name),
      mayBeRunning: (member) => isProcessRunning(member, (pid) => this.doors.isGone(pid)),
      endAbsent: (present) => hub.endAbsent(present),
    });
  }

  private makeFencer(everywhere: Everywhere): Fencer {
    const { hub, table, registry, host } = this;
    return new Fencer({
      everywhere,
      waypoints: this.waypoints,
      fenceHere: async (volume, login) => {
        const iqn = table.get(volume)?.record.iqn;
        return iqn === undefined ? { fenced: 0, stallMs: 0 } : registry.fence({ ...login, iqn });
      },
      isVacant: (volume) => registry.isVacant(table.get(volume)?.record.iqn ?? ''),
      endAbsent: (present) => hub.endAbsent(present),
      fenced: (volume, { stallMs }) => this.runner.statsOf(volume)?.stalled(stallMs),
      catchUp: async (volume, epoch) => {
        if ((table.get(volume)?.route.epoch ?? 0) < epoch) await host.refreshByName(volume);
      },
    });
  }

  private directory(): MemberDirectory {
    const portalOf = (member: string): Endpoint | undefined => this.view.get(member)?.portal;
    return new MemberDirectory(this.options.name, this.table, this.host, { portalOf }, this.fencer);
  }

  /** The home has gone elsewhere: its sessions are asked to follow (I7). */
  private homeMayHaveMoved(now: RoutedVolume | undefined, before: RoutedVolume | undefined): void {
    const { name, log } = this.options;
    if (before?.route.home !== name || now?.route.home === name) return;
    const { iqn, name: volume } = before.record;
    const mode = this.runner.handoverOf(volume);
    const sessions = this.registry.requestLogout(iqn, HANDOVER_DEADLINE_SECONDS, mode);
    const stats = this.runner.statsOf(volume);
    if (stats !== undefined) stats.sessions += sessions;
    this.waypoints.reached('handover.asked');
    log.info({ volume, home: now?.route.home, sessions }, 'sessions were told to follow their volume');
  }
}
