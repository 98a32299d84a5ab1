/**
 * What happens in one simulated run, as data: the group, its initiators, and a list of events with their times. A plan is
 * drawn from a seed; shrinking takes events away; a fixture is a plan in a file. What is drawn while it runs (delays,
 * sizes, what a crash leaves) comes from the seed as well.
 */
import { z } from 'zod';
import { WAYPOINTS } from '../base/waypoints.js';

/** What may happen, besides load. `a` and `b` choose members, initiators or volumes; `ms` is how long. */
export const EVENT_KINDS = [
  'move', // volume a → member b
  'move-part', // some extents of volume a → member b
  'cancel', // whatever moves of volume a
  'drain', // everything away from member a
  'back', // whatever moves is called off, and what has gone comes back
  'recreate', // the spare volume is made anew, or deleted
  'kill', // the process of member a, back after ms
  'kill-two', // members a and b
  'kill-home', // the member that is home of volume a
  'kill-old-home', // the one before, if that is another
  'kill-initiator', // initiator a, back after ms under the same name
  'power', // the machine of member a, back after ms
  'power-everywhere', // all of them, back after ms
  'pause', // member a stands still for ms
  'stall', // the same, and its initiators give their connections up
  'wall-clock', // member a's jumps
  'cut', // connections between members a and b
  'cut-initiator', // connections of initiator a
  'block', // nothing of member a reaches member b for ms
  'spikes', // packets take long for ms
  'disk-slow', // of member a, for ms
  'disk-hang',
  'disk-full',
  'disk-error', // b: of reads, writes or syncs
  'punch-error', // member a's disk makes no holes, for ms
  'store-slow', // for ms
  'store-away', // for member a, or for all
  'store-mute', // member a's transactions are applied and not answered, for ms
  'store-lag', // what is watched for reaches member a late, for ms
  'store-lost-answers',
  'store-compaction',
  'portal-restart', // the group portal
] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/** Moments that an event can wait for: those that members tell of, and what an initiator was promised. */
export const POINTS = [...WAYPOINTS, 'io.flushed', 'io.durable'] as const;
export type Point = (typeof POINTS)[number];

const count = z.number().int().min(0);
const PlanEvent = z.object({
  /** When; with `on`, from when on. */
  atMs: count,
  kind: z.enum(EVENT_KINDS),
  a: count,
  b: count,
  ms: count,
  /** It happens when this is next reached, and so much later. */
  on: z.enum(POINTS).optional(),
  delayMs: z.number().min(0).default(0),
  /** Which member instead of a: the one that reached the point, or the other end of what it is about. */
  who: z.enum(['chosen', 'here', 'there']).default('chosen'),
  /** Of a move; absent: none, unless a says so. */
  rateKiB: count.optional(),
  strict: z.boolean().default(false),
  /** A move that is asked for until it can be had, and to a member that does not hold it all. */
  insists: z.boolean().default(false),
});
export type PlanEvent = z.infer<typeof PlanEvent>;

/** How an initiator behaves when it is asked to leave, and what it keeps. */
export const MANNERS = ['at-once', 'drain', 'ignore', 'write-on', 'hang-up'] as const;
/** What it does, in parts: see WORKS in load.ts. */
export const WORK_KINDS = ['mixed', 'writes', 'holes', 'durable', 'flushes', 'syncs'] as const;

const InitiatorPlan = z.object({
  volume: count,
  manner: z.enum(MANNERS),
  /** As open-iscsi does; libiscsi takes a new one at each login. */
  keepsIsid: z.boolean(),
  depth: z.number().int().min(1),
  thinkMs: z.number().min(0),
  /** The same while something is under way that it could meet. */
  hotThinkMs: z.number().min(0).optional(),
  work: z.enum(WORK_KINDS).default('mixed'),
  /** Writes all of the volume first. */
  fills: z.boolean().default(false),
  /** Goes to this member's portal instead of the group's, whoever is home. */
  goesTo: count.optional(),
  /** R2T for every write, in small pieces. */
  asksForR2t: z.boolean(),
  digests: z.boolean(),
});
export type InitiatorPlan = z.infer<typeof InitiatorPlan>;

const VolumePlan = z.object({
  home: count,
  extents: z.number().int().min(1),
  extentKiB: z.number().int().min(64).default(64),
  blockBytes: z.union([z.literal(512), z.literal(4096)]),
});
export type VolumePlan = z.infer<typeof VolumePlan>;

export const Plan = z.object({
  seed: count,
  members: z.number().int().min(1).max(8),
  /** All on one machine: a process can see that another is gone, and the power never goes. */
  oneMachine: z.boolean(),
  /** Initiators are redirected to the home, or served by every member. */
  access: z.enum(['redirect', 'alua']).default('redirect'),
  volumes: z.array(VolumePlan),
  initiators: z.array(InitiatorPlan),
  durationMs: count,
  events: z.array(PlanEvent),
});
export type Plan = z.infer<typeof Plan>;
