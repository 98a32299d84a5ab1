/**
 * The composition root of one member: builds every part, starts them in the order that crash safety asks for, and stops
 * them in the reverse. It decides nothing else. What comes before the volumes is in member/entry.ts, what serves them in
 * member/serving.ts; each step takes what the steps before have made, as one object.
 *
 * The order of a start matters in one place: the member joins the group anew *before* it reads the routes and *before*
 * any file is opened and cleaned of what is held elsewhere. A commit to this member compares its record, so none can
 * slip in between (migration/batch.ts).
 */
import { isIP } from 'node:net';
import { GuestService } from './access/guest-service.js';
import { HomeService } from './access/home-service.js';
import { BlockferryError, describeError } from './base/errors.js';
import { Balancing } from './member/balancing.js';
import { Closers } from './member/closers.js';
import { MemberDirectory } from './member/directory.js';
import { memberDoors, type MemberDoors } from './member/doors.js';
import { basicsOf, enterGroup, type JoinedMember, type MemberBasics } from './member/entry.js';
import type { Endpoint, MemberOptions } from './member/options.js';
import { openServing, type ServingParts } from './member/serving.js';
import { Destination } from './migration/destination.js';
import { HolderService } from './peer/holder-service.js';
import { portalsOf } from './routing/redirect.js';

export type { Endpoint, MemberOptions };

/** A disk that takes so long for what it had is worth a word. */
const REGAIN_WARN_MS = 5_000;

/** A member with all its volumes. */
type ServingMember = JoinedMember & ServingParts;

export class Member {
  private constructor(
    private readonly closers: Closers,
    readonly portal: Endpoint,
    readonly peer: Endpoint,
  ) {}

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
    const closers = new Closers();
    const basics = basicsOf(options, doors, closers);
    try {
      const { portalAddress, peerAddress } = await startParts(basics);
      return new Member(closers, portalAddress, peerAddress);
    } catch (error) {
      await closers.closeAll().catch(() => undefined); // why it did not start says more
      throw error;
    }
  }

  /**
   * Ends sessions, moves and links in order; what was acknowledged is durable when it resolves. A part that fails keeps no
   * other from ending; the first failure is thrown.
   */
  stop(): Promise<void> {
    return this.closers.closeAll();
  }
}

async function startParts(basics: MemberBasics): Promise<JoinedMember> {
  const joined = await enterGroup(basics);
  const member: ServingMember = { ...joined, ...(await openServing(joined)) };
  const { closers, membership, shared, host, runner } = member;
  member.waypoints.reached('member.opened');
  const balancing = openBalancing(member);
  openService(member, balancing);
  closers.push(member.closePortal, () => shared.reservations.stopAsking()); // sessions end while volumes and links serve
  membership.onLost = () => leaseLost(member);
  membership.onRegained = () => void regain(member).catch((error: unknown) => regainFailed(member, error));
  if (membership.isValid) host.resume();
  member.door.open(directoryOf(member));
  await runner.start();
  closers.push(() => runner.stop());
  closers.push(() => balancing.close()); // the first to end: it asks for nothing while the rest does
  closers.push(() => host.stopWaiting());
  await balancing.start();
  return member;
}

function openBalancing(member: ServingMember): Balancing {
  const { options, closers, incarnation, view, hub, registry, host, folder, loop, store, table } = member;
  const { name: self, clock, random, log, loadWindowMs: windowMs } = options;
  const balancing = new Balancing({
    ...{ self, incarnation, clock, random, log, view, hub, registry, host, folder, loop, windowMs },
    ...{ store, table },
  });
  closers.push(() => balancing.recorder.close());
  return balancing;
}

function openService(member: ServingMember, balancing: Balancing): void {
  const { options, closers, incarnation, waypoints, hub, registry, host, service } = member;
  const destination = new Destination(host, options.clock, options.log, waypoints);
  closers.push(() => destination.close());
  service.open({
    holder: new HolderService(host),
    home: new HomeService(host, incarnation),
    guests: new GuestService(host, incarnation),
    ...{ everyPath: member.everyPath, destination, fencer: member.fencer },
    reservations: member.shared.reservations,
    loads: balancing.load.exchange,
    queries: {
      sessions: () => registry.list(),
      links: () => hub.stats(),
      loads: () => balancing.load.answer(),
      trace: (question) => balancing.recorder.answer(question),
    },
  });
  closers.push(() => service.close());
}

/** Commands that others had sent are believed undone by the time it is had again: what is unread of them is dropped (I8). */
function leaseLost({ host, everyPath, hub }: ServingMember): void {
  host.suspend();
  if (everyPath !== null) void hub.endAbsent([]);
}

/**
 * In the group again. Before anything is served, what has changed meanwhile is known, and what the others asked everybody to
 * end has ended here, too (everywhere.ts).
 */
async function regain({ membership, shared, hub, host, options }: ServingMember): Promise<void> {
  const { term } = host;
  // check(): a loss that no timer has come to yet would be told to nobody, and neither would the return after it.
  const present = await shared.refresh(() => membership.check());
  if (present === null) return;
  const tooLong = options.clock.after(REGAIN_WARN_MS, () =>
    options.log.warn({}, 'nothing is served: what was sent before the lease was lost has not ended yet'),
  );
  try {
    await Promise.all([hub.endAbsent(present), host.regain(term, present)]);
  } finally {
    tooLong.cancel();
  }
}

function regainFailed({ options }: ServingMember, error: unknown): void {
  options.log.error({ error: describeError(error) }, 'the member cannot serve again');
  throw error; // it ends, and another takes its place
}

function directoryOf({ options, view, everyPath, table, host, fencer }: ServingMember): MemberDirectory {
  const portalOf = (member: string): Endpoint | undefined => view.get(member)?.portal;
  const everyPortal = everyPath === null ? null : () => portalsOf(view.members);
  return new MemberDirectory(options.name, table, host, { portalOf }, fencer, options.clock, everyPortal);
}
