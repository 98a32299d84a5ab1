/**
 * Which crashes are tried: where each waypoint is passed, by whom, and who can be hit then. Pure; the compiler says when a
 * waypoint is missing here. The group has four members and one loaded volume, so that every role is a member of its own:
 *
 *   m1  home     holds extents too, and forwards for the others
 *   m2  source   of the extents that move
 *   m3  destination
 *   m4  third    holds extents of the volume, has no part in the move
 */
import { WAYPOINTS, type Waypoint } from '../../base/waypoints.js';

export const ROLES = ['home', 'source', 'destination', 'third'] as const;
export type Role = (typeof ROLES)[number];

export const MEMBER_OF: Readonly<Record<Role, string>> = {
  home: 'm1',
  source: 'm2',
  destination: 'm3',
  third: 'm4',
};

/** How a member is hit: killed for good, or stopped until its lease has run out elsewhere. */
export type Blow = 'kill' | 'stop';
export const BLOWS: readonly Blow[] = ['kill', 'stop'];

/** What goes on meanwhile. */
export type Plot =
  /** The source's extents move to the destination; home and third stay as they are. */
  | 'part'
  /** The whole volume moves to the destination, its home included: initiators are handed over. */
  | 'whole'
  /** The home is emptied of two volumes. */
  | 'drain'
  /** Another volume is made, with its home at the home. */
  | 'create'
  /** Another volume is deleted, and one of its name made. */
  | 'delete'
  /** A member was killed; the point is passed in its next life. */
  | 'restart';

export interface Place {
  readonly plot: Plot;
  /** Who passes the point. */
  readonly by: Role;
  /** The how manieth time. */
  readonly nth?: number;
}

export const PLACES: Readonly<Record<Waypoint, readonly Place[]>> = {
  'member.joined': [{ plot: 'restart', by: 'source' }],
  'member.opened': [{ plot: 'restart', by: 'destination' }],
  'volume.file-made': [{ plot: 'create', by: 'home' }],
  'volume.begun': [{ plot: 'create', by: 'home' }],
  'volume.forgotten': [{ plot: 'delete', by: 'home' }],
  'volume.removed': [{ plot: 'delete', by: 'home' }],
  'move.taken': [{ plot: 'part', by: 'source' }],
  'move.giving': [{ plot: 'part', by: 'source' }],
  'batch.installed': [{ plot: 'part', by: 'source' }],
  'extent.begun': [{ plot: 'part', by: 'source', nth: 5 }],
  'extent.copied': [{ plot: 'part', by: 'source', nth: 9 }],
  'batch.mirrored': [{ plot: 'part', by: 'source' }],
  'batch.synced': [{ plot: 'part', by: 'source' }],
  'batch.durable': [{ plot: 'part', by: 'source' }],
  'batch.held': [{ plot: 'part', by: 'source' }],
  'batch.sealed': [{ plot: 'part', by: 'source' }],
  'commit.asked': [{ plot: 'part', by: 'source' }],
  'commit.done': [{ plot: 'part', by: 'source' }],
  'batch.given': [{ plot: 'part', by: 'source' }],
  'space.given-back': [{ plot: 'part', by: 'source' }],
  'move.finishing': [
    { plot: 'part', by: 'home' },
    { plot: 'drain', by: 'home' },
  ],
  'move.finished': [
    { plot: 'part', by: 'home' },
    { plot: 'drain', by: 'home' },
  ],
  'destination.opened': [{ plot: 'part', by: 'destination' }],
  'destination.begun': [{ plot: 'part', by: 'destination', nth: 5 }],
  'destination.synced': [{ plot: 'part', by: 'destination', nth: 2 }],
  'destination.committed': [{ plot: 'part', by: 'destination' }],
  'home.asked': [{ plot: 'whole', by: 'home' }],
  'home.done': [{ plot: 'whole', by: 'home' }],
  'handover.asked': [{ plot: 'whole', by: 'home' }],
  'fence.asking': [{ plot: 'whole', by: 'destination' }],
  'fence.draining': [{ plot: 'whole', by: 'home' }],
  'fence.drained': [{ plot: 'whole', by: 'home' }],
  'fence.done': [{ plot: 'whole', by: 'destination' }],
  'store.writing': [
    { plot: 'part', by: 'source', nth: 2 },
    { plot: 'whole', by: 'home', nth: 2 },
  ],
  'store.written': [{ plot: 'part', by: 'source', nth: 2 }],
};

export interface CrashCase {
  readonly id: string;
  readonly point: Waypoint;
  readonly place: Place;
  readonly victims: readonly Role[];
  readonly blow: Blow;
}

export interface LeftOut {
  readonly what: string;
  readonly why: string;
}

/** Every point × victim × blow that makes sense, and for each point and blow one with a second victim. */
export function allCases(): { cases: readonly CrashCase[]; leftOut: readonly LeftOut[] } {
  const cases: CrashCase[] = [];
  const leftOut: LeftOut[] = [];
  let pairs = 0;
  for (const point of WAYPOINTS) {
    for (const place of PLACES[point]) {
      for (const blow of BLOWS) {
        for (const victim of ROLES) {
          const why = whyNot(place, victim, blow);
          if (why === undefined) cases.push(caseOf(point, place, [victim], blow));
          else leftOut.push({ what: `${place.plot}/${point}/${victim}/${blow}`, why });
        }
        // A sample: the other one changes from point to point, so that all pairs come up somewhere.
        const others = ROLES.filter((role) => role !== place.by && whyNot(place, role, blow) === undefined);
        const other = others[pairs++ % Math.max(1, others.length)];
        if (other !== undefined) cases.push(caseOf(point, place, [place.by, other], blow));
      }
    }
  }
  return { cases, leftOut };
}

function caseOf(point: Waypoint, place: Place, victims: readonly Role[], blow: Blow): CrashCase {
  return { id: `${place.plot}/${point}/${victims.join('+')}/${blow}`, point, place, victims, blow };
}

function whyNot({ plot, by }: Place, victim: Role, blow: Blow): string | undefined {
  if (plot === 'restart' && victim !== by) return 'covered by the pairs: two members are down at once';
  if ((plot === 'create' || plot === 'delete') && (victim === 'source' || victim === 'destination'))
    return 'no move is under way: it is a third member, too';
  if (plot === 'drain' && victim === 'source') return 'the home is the source of a drain';
  if (plot === 'restart' && blow === 'stop') return 'a member that is stopped at its start serves nobody yet';
  return undefined;
}
