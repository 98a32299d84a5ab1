/**
 * What happens in one simulated run, as data: the group, its initiators, and a list of events with their times. A plan is
 * drawn from a seed; shrinking takes events away; a fixture is a plan in a file. What is drawn while it runs (delays,
 * sizes, what a crash leaves) comes from the seed as well.
 */
import { z } from 'zod';
import { Chance } from './chance.js';

const KiB = 1024;

/** What may happen, besides load. `a` and `b` choose members, initiators or volumes; `ms` is how long. */
export const EVENT_KINDS = [
  'move', // volume a → member b
  'move-part', // some extents of volume a → member b
  'cancel', // whatever moves of volume a
  'drain', // everything away from member a
  'recreate', // the spare volume is made anew, or deleted
  'kill', // the process of member a, back after ms
  'kill-two', // members a and b
  'power', // the machine of member a, back after ms
  'pause', // member a stands still for ms
  'wall-clock', // member a's jumps
  'cut', // connections between members a and b
  'cut-initiator', // connections of initiator a
  'block', // nothing of member a reaches member b for ms
  'spikes', // packets take long for ms
  'disk-slow', // of member a, for ms
  'disk-hang',
  'disk-full',
  'disk-error',
  'store-slow', // for ms
  'store-away', // for member a, or for all
  'store-lost-answers',
  'store-compaction',
  'portal-restart', // the group portal
] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

const count = z.number().int().min(0);
const PlanEvent = z.object({ atMs: count, kind: z.enum(EVENT_KINDS), a: count, b: count, ms: count });
export type PlanEvent = z.infer<typeof PlanEvent>;

/** How an initiator behaves when it is asked to leave, and what it keeps. */
export const MANNERS = ['at-once', 'drain', 'ignore', 'write-on', 'hang-up'] as const;

const InitiatorPlan = z.object({
  volume: count,
  manner: z.enum(MANNERS),
  /** As open-iscsi does; libiscsi takes a new one at each login. */
  keepsIsid: z.boolean(),
  depth: z.number().int().min(1),
  thinkMs: z.number().min(0),
  /** R2T for every write, in small pieces. */
  asksForR2t: z.boolean(),
  digests: z.boolean(),
});
export type InitiatorPlan = z.infer<typeof InitiatorPlan>;

const VolumePlan = z.object({
  home: count,
  extents: z.number().int().min(1),
  blockBytes: z.union([z.literal(512), z.literal(4096)]),
});
export type VolumePlan = z.infer<typeof VolumePlan>;

export const Plan = z.object({
  seed: count,
  members: z.number().int().min(1).max(8),
  /** All on one machine: a process can see that another is gone, and the power never goes. */
  oneMachine: z.boolean(),
  volumes: z.array(VolumePlan),
  initiators: z.array(InitiatorPlan),
  durationMs: count,
  events: z.array(PlanEvent),
});
export type Plan = z.infer<typeof Plan>;

export const EXTENT_BYTES = 64 * KiB;

/** These belong to every run: without moves there is little to prove. */
const ALWAYS: readonly EventKind[] = ['move', 'move-part'];
/** Only where machines are several. */
const OF_MACHINES: readonly EventKind[] = ['power'];

/** Draws a plan: kinds of events on and off at random, then events of those that are on. */
export function drawPlan(seed: number): Plan {
  const chance = new Chance(seed);
  const members = chance.pick([2, 3, 3, 3, 4]);
  const oneMachine = chance.happens(0.5);
  const volumes = Array.from({ length: chance.within(1, 2) }, () => drawVolume(chance, members));
  const durationMs = chance.within(1_500, 4_000);
  const kinds = EVENT_KINDS.filter((kind) => {
    if (OF_MACHINES.includes(kind)) return !oneMachine && chance.happens(0.7);
    return ALWAYS.includes(kind) || chance.happens(0.3);
  });
  const events = Array.from({ length: chance.within(4, 14) }, () => drawEvent(chance, kinds, durationMs));
  return {
    ...{ seed, members, oneMachine, volumes, durationMs },
    initiators: Array.from({ length: chance.within(1, 3) }, (_, i) =>
      drawInitiator(chance, i, volumes.length),
    ),
    events: events.sort((x, y) => x.atMs - y.atMs),
  };
}

function drawVolume(chance: Chance, members: number): VolumePlan {
  return {
    home: chance.below(members),
    extents: chance.pick([1, 4, 8, 8]),
    blockBytes: chance.pick([512, 4096] as const),
  };
}

function drawInitiator(chance: Chance, index: number, volumes: number): InitiatorPlan {
  return {
    volume: index % volumes,
    manner: chance.happens(0.5) ? 'at-once' : chance.pick(MANNERS),
    keepsIsid: chance.happens(0.5),
    depth: chance.within(1, 3),
    thinkMs: chance.pick([20, 60, 120]),
    asksForR2t: chance.happens(0.3),
    digests: chance.happens(0.2),
  };
}

function drawEvent(chance: Chance, kinds: readonly EventKind[], durationMs: number): PlanEvent {
  // Moves are half of what happens: the rest is meant to meet them.
  const kind = chance.happens(0.4) ? chance.pick(ALWAYS) : chance.pick(kinds);
  return {
    atMs: chance.below(durationMs),
    kind,
    a: chance.below(16),
    b: chance.below(16),
    ms: chance.pick([50, 300, 1_000, 3_000, 8_000]),
  };
}
