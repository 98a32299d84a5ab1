/** The parts of a member that serve volumes and move them, put together once it is in its group (entry.ts). */
import { DiskTime } from '../block/disk-time.js';
import { keys } from '../group/records.js';
import { MoveRunner } from '../migration/move-runner.js';
import type { LoopWatch } from './doors.js';
import type { JoinedMember } from './entry.js';
import { EveryPath } from './every-path.js';
import { Everywhere } from './everywhere.js';
import { Fencer } from './fencer.js';
import { processOf } from './group-facts.js';
import { VolumeHost, type VolumeHostOptions } from './host.js';
import { isProcessRunning } from './processes.js';
import { RouteSessions } from './route-sessions.js';
import { SharedState } from './shared-state.js';

export interface ServingParts {
  readonly loop: LoopWatch;
  readonly shared: SharedState;
  /** Null: this member redirects. */
  readonly everyPath: EveryPath | null;
  readonly host: VolumeHost;
  readonly runner: MoveRunner;
  readonly fencer: Fencer;
}

export async function openServing(member: JoinedMember): Promise<ServingParts> {
  const { doors, closers, absence } = member;
  const everywhere = makeEverywhere(member);
  const shared = await openShared(member, everywhere);
  const loop = doors.watchLoop(() => doors.storage.turns.spareMs);
  closers.push(() => loop.close());
  const everyPath = makeEveryPath(member, everywhere, () => host.mayServe());
  const host = new VolumeHost({
    ...hostOptions(member, shared, loop),
    everyPath,
    vacateOthers: (routed) => fencer.vacateEverywhere(routed),
  });
  absence.open({
    memberLeft: (process) => {
      shared.reservations.memberLeft();
      host.memberLeft(process);
    },
    endAbsent: (present) => host.endAbsent(present),
  });
  closers.push(() => host.close());
  const runner = makeRunner(member, host, everyPath !== null);
  const fencer = makeFencer(member, everywhere, host, runner);
  return { loop, shared, everyPath, host, runner, fencer };
}

function makeEverywhere({ options, doors, hub, view, incarnation, absence }: JoinedMember): Everywhere {
  const { name, clock } = options;
  return new Everywhere({
    hub,
    self: { name, incarnation },
    clock,
    others: () => view.members.filter((member) => member.name !== name),
    mayBeRunning: (member) => isProcessRunning(member, (pid) => doors.isGone(pid)),
    endAbsent: (present) => absence.end(present),
  });
}

async function openShared(member: JoinedMember, everywhere: Everywhere): Promise<SharedState> {
  const { options, closers, store, view, table, incarnation, absence } = member;
  const { name: self, clock, log } = options;
  const shared = await SharedState.open({
    ...{ store, clock, log, incarnation, everywhere },
    endAbsent: (present) => absence.end(present),
    isThere: (process) =>
      process === incarnation || view.members.some((other) => other.incarnation === process),
    officeOf: (volume) => {
      const route = table.get(volume)?.route;
      return route?.home === self ? { key: keys.routeHead(volume), revision: route.headRevision } : null;
    },
    refreshRoute: (volume) => table.refresh(volume),
  });
  closers.push(() => shared.close());
  table.onChange((now, before) => {
    if (now === undefined && before !== undefined) shared.forget(before.record);
  });
  return shared;
}

function makeEveryPath(
  { options, incarnation, targetPort, hub, table, registry, view }: JoinedMember,
  everywhere: Everywhere,
  mayServe: () => boolean,
): EveryPath | null {
  if (targetPort === null) return null;
  return new EveryPath({
    self: { name: options.name, incarnation },
    clock: options.clock,
    ...{ targetPort, hub, table, registry, everywhere, mayServe },
    members: () => view.members,
  });
}

/** What volumes are told by the parts that came before them. */
function hostOptions(
  {
    options,
    ids,
    hub,
    folder,
    incarnation,
    table,
    waypoints,
    registry,
    membership,
    view,
    store,
  }: JoinedMember,
  { reservations, units, creations }: SharedState,
  loop: LoopWatch,
): Omit<VolumeHostOptions, 'everyPath' | 'vacateOthers'> {
  const { name: self, clock, log, diskTimeMs } = options;
  return {
    ...{ self, ids, hub, folder, clock, log, incarnation, table, waypoints, units, creations },
    sessionCount: (iqn) => registry.sessionsOf(iqn).length,
    hasSessions: (iqn) => !registry.isVacant(iqn),
    cutOff: (iqn) => registry.cutOff(iqn),
    leaseIsValid: () => membership.check(),
    keeperOf: (volume, id) => reservations.keeperOf(volume, id),
    ...(diskTimeMs && { diskTime: new DiskTime(diskTimeMs, clock) }),
    connect: (member) => hub.connect(member),
    isPresent: (member, process) => view.get(member)?.incarnation === process,
    hasLeft: async (member, process) => (await processOf(store, member)) !== process,
    loopIdleMs: () => loop.idleMs,
  };
}

/** Moves, and what becomes of sessions by them. */
function makeRunner(member: JoinedMember, host: VolumeHost, isEveryPath: boolean): MoveRunner {
  const { options, incarnation, store, table, hub, registry, waypoints } = member;
  const { name: self, clock, random, log } = options;
  const doors = { clock, random, log, waypoints };
  const runner = new MoveRunner({ self, incarnation, store, table, hub, volumes: host, ...doors });
  const sessions = new RouteSessions({ self, registry, runner, isEveryPath, waypoints, log });
  table.onChange((now, before) => sessions.routeChanged(now, before));
  return runner;
}

function makeFencer(
  { options, table, registry, waypoints, absence }: JoinedMember,
  everywhere: Everywhere,
  host: VolumeHost,
  runner: MoveRunner,
): Fencer {
  return new Fencer({
    ...{ everywhere, waypoints, clock: options.clock },
    fenceHere: async (volume, login) => {
      const iqn = table.get(volume)?.record.iqn;
      return iqn === undefined ? { fenced: 0, stallMs: 0 } : registry.fence({ ...login, iqn });
    },
    isVacant: (volume) => host.isVacant(volume),
    endAbsent: (present) => absence.end(present),
    fenced: (volume, { stallMs }) => runner.statsOf(volume)?.stalled(stallMs),
    catchUp: (volume, epoch) => host.catchUp(volume, epoch),
  });
}
