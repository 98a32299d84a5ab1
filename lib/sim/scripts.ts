/**
 * Small plots: what has to come together at one moment of a move, a hand-over or a promise for something to go wrong. A
 * theme (themes.ts) picks some of them; chance says how long, how late and to whom.
 */
import type { Chance } from '../base/chance.js';
import type { PlanEvent, Point } from './plan.js';

export type Script = (draw: ScriptChance) => PlanEvent[];

/** Events in a script's words. */
export class ScriptChance {
  constructor(
    readonly chance: Chance,
    private readonly durationMs: number,
  ) {}

  /** At any time, or from any time on. */
  event(kind: PlanEvent['kind'], fields: Partial<PlanEvent> = {}): PlanEvent {
    const { chance } = this;
    const usual = { a: chance.below(16), b: chance.below(16), ms: chance.pick([50, 300, 1_000]) };
    const atMs = 100 + chance.below(Math.min(400, Math.floor(this.durationMs * 0.5)));
    return { atMs, kind, ...usual, delayMs: 0, who: 'chosen', strict: false, insists: false, ...fields };
  }

  /** At the member that reaches a point, from some time on. */
  here(on: Point, kind: PlanEvent['kind'], fields: Partial<PlanEvent> = {}): PlanEvent {
    return this.event(kind, { on, who: 'here', delayMs: this.chance.pick([0, 0, 0.4, 1.5]), ...fields });
  }

  there(on: Point, kind: PlanEvent['kind'], fields: Partial<PlanEvent> = {}): PlanEvent {
    return this.here(on, kind, { who: 'there', ...fields });
  }

  /** Several that wait for the same moment. */
  together(events: readonly PlanEvent[]): PlanEvent[] {
    const atMs = events[0]?.atMs ?? 0;
    return events.map((event) => ({ ...event, atMs }));
  }
}

const SHORT = [20, 60, 150, 400];
const WRITES = 1;
const SYNCS = 2;

// ---- the copy meets a destination, a source or a link that fails

export const destinationFails: Script = (draw) => [
  draw.there(
    draw.chance.pick(['batch.installed', 'extent.begun', 'extent.copied', 'batch.mirrored']),
    'disk-error',
    {
      b: WRITES,
      ms: draw.chance.pick(SHORT),
    },
  ),
];
export const destinationIsFull: Script = (draw) => [
  draw.there('extent.begun', 'disk-full', { ms: draw.chance.pick(SHORT) }),
];
export const destinationIsSlow: Script = (draw) => [
  draw.there(draw.chance.pick(['extent.begun', 'batch.mirrored', 'batch.synced']), 'disk-slow', { ms: 300 }),
];
export const sourceIsSlow: Script = (draw) => [
  draw.here(draw.chance.pick(['batch.installed', 'extent.begun', 'batch.mirrored']), 'disk-slow', {
    ms: 300,
  }),
];
export const sourceFails: Script = (draw) => [
  draw.here(draw.chance.pick(['batch.installed', 'extent.begun']), 'disk-error', {
    b: draw.chance.below(2),
    ms: draw.chance.pick(SHORT),
  }),
];
export const linkBreaks: Script = (draw) => [
  draw.here(draw.chance.pick(['extent.begun', 'extent.copied', 'batch.mirrored', 'batch.synced']), 'cut'),
];
/** What was under way on the old link comes after the new one has begun. */
export const linkIsLate: Script = (draw) =>
  draw.together([
    draw.here('extent.begun', 'spikes', { ms: draw.chance.pick([3_000, 8_000]) }),
    draw.here('extent.begun', 'cut', { b: 15, delayMs: draw.chance.between(0, 15) }),
  ]);
export const calledOff: Script = (draw) => [
  draw.here(draw.chance.pick(['extent.begun', 'extent.copied', 'batch.durable']), 'cancel'),
];

// ---- a commit meets a crash

export const destinationLosesPower: Script = (draw) => [
  draw.there(draw.chance.pick(['batch.given', 'commit.done', 'batch.given']), 'power', {
    b: draw.chance.pick([0, 2]),
  }),
];
/** It holds a part by then: whoever wrote there, and did not flush, can learn of it by nothing but a flush. */
export const holderLosesPower: Script = (draw) => [
  draw.there('move.finished', 'power', {
    b: 0,
    delayMs: draw.chance.between(5, 200),
    ms: draw.chance.pick([20, 100]),
  }),
];
export const sourceLosesPower: Script = (draw) => [
  draw.here(draw.chance.pick(['commit.asked', 'commit.done', 'batch.given']), 'power', { b: 0 }),
];
/** The destination is another process by the time of the commit, and has thrown away what it did not hold. */
export const destinationIsAnother: Script = (draw) =>
  draw.together([
    draw.here('batch.sealed', 'pause', { ms: draw.chance.pick([600, 1_500]), delayMs: 0 }),
    draw.there('batch.sealed', 'kill', { ms: 50, delayMs: 0 }),
  ]);
export const endsAreKilled: Script = (draw) => [
  draw.here(
    draw.chance.pick([
      'batch.synced',
      'batch.held',
      'batch.sealed',
      'commit.asked',
      'commit.done',
      'batch.given',
    ]),
    'kill',
    { who: draw.chance.pick(['here', 'there']) },
  ),
];
/** The answer of a commit is lost; before it is read back, the extents return. */
export const backBeforeKnown: Script = (draw) =>
  draw.together([
    draw.here('commit.asked', 'store-mute', { ms: 20, delayMs: 0 }),
    draw.here('commit.asked', 'back', { insists: true, delayMs: draw.chance.between(4, 60) }),
  ]);
export const backAtOnce: Script = (draw) => [
  draw.here(draw.chance.pick(['batch.given', 'move.finished']), 'back', {
    insists: true,
    delayMs: draw.chance.between(2, 80),
    ...(draw.chance.happens(0.2) ? { rateKiB: 256 } : {}),
  }),
];
/** Space cannot be given back just now, and the extents return slowly. */
export const owesAndReceives: Script = (draw) =>
  draw.together([
    draw.here('batch.given', 'punch-error', { ms: draw.chance.pick([100, 300]), delayMs: 0 }),
    draw.here('batch.given', 'back', {
      insists: true,
      delayMs: draw.chance.between(2, 40),
      rateKiB: draw.chance.pick([128, 512]),
    }),
  ]);
/**
 * A home leaves what it gave in its file for a while. Some of it is cleared before it returns, and the punch fails then; when
 * that is tried again the extents have returned, or are on their way.
 */
export const owesAndIsPaidLate: Script = (draw) => {
  const { chance } = draw;
  const back = draw.here('batch.given', 'back', {
    ...{ atMs: 0, insists: true, delayMs: chance.between(60, 350) },
    ...(chance.happens(0.5) ? { rateKiB: 48 } : {}),
  });
  // The first move is giving by now; so this is when the extents return.
  const failure = { ms: chance.pick([10, 30]), atMs: 150, delayMs: 0 };
  return [back, draw.there('move.giving', 'punch-error', failure)];
};

// ---- a promise meets a loss of power

export const powerAfterPromise: Script = (draw) => [
  draw.here(draw.chance.pick(['io.flushed', 'io.durable']), 'power', { b: 0, delayMs: 0, ms: 200 }),
];
export const powerEverywhere: Script = (draw) => [
  draw.here('io.flushed', 'power-everywhere', { delayMs: draw.chance.pick([0, 1]), ms: 200 }),
];
export const syncsFail: Script = (draw) => [
  draw.event('disk-error', { b: SYNCS, ms: draw.chance.pick([100, 400, 1_000]) }),
  draw.here('io.flushed', 'power-everywhere', { atMs: draw.chance.within(1_200, 2_000), ms: 200 }),
];
/**
 * The old home still has sessions, and has not heard where extents went since: the move is called off when the home has
 * gone, or the next would wait until they have left.
 */
export const oldHomeLags: Script = (draw) => [
  draw.here('handover.asked', 'store-lag', { atMs: 0, ms: 2_000, delayMs: 0 }),
  draw.here('handover.asked', 'cancel', { atMs: 0, delayMs: draw.chance.between(1, 10) }),
  draw.here('io.flushed', 'power-everywhere', { atMs: draw.chance.within(600, 2_000), ms: 200 }),
];

// ---- a hand-over meets what is late

export const oldHomeStalls: Script = (draw) => [
  draw.here(draw.chance.pick(['handover.asked', 'home.done', 'fence.draining']), 'stall', {
    ms: draw.chance.pick([300, 1_000, 8_500]),
    delayMs: draw.chance.between(0, 3),
  }),
];
export const initiatorsAreCut: Script = (draw) => [
  draw.here(draw.chance.pick(['handover.asked', 'io.durable', 'fence.done']), 'cut-initiator', {
    delayMs: draw.chance.between(0, 3),
  }),
];
export const holderHangs: Script = (draw) => [
  draw.event('disk-hang', { ms: draw.chance.pick([300, 1_000, 4_000]) }),
  draw.here('handover.asked', 'disk-hang', { who: 'there', ms: draw.chance.pick([300, 4_000]) }),
];
export const oldHomeDies: Script = (draw) => [
  draw.here(draw.chance.pick(['home.asked', 'home.done', 'handover.asked']), 'kill', { ms: 50 }),
];
export const initiatorDies: Script = (draw) => [
  draw.here(draw.chance.pick(['handover.asked', 'io.durable', 'batch.mirrored']), 'kill-initiator', {
    ms: 50,
  }),
];
/** What the old home has forwarded is at a slow disk; its initiators are cut off, and at the new home before it. */
export const newHomeIsSlow: Script = (draw) => {
  const cuts = Array.from({ length: 3 }, (_, i) =>
    draw.here('home.asked', 'cut-initiator', { a: i, delayMs: draw.chance.between(1, 12) }),
  );
  return draw.together([draw.there('home.asked', 'disk-slow', { atMs: 0, ms: 400, delayMs: 0 }), ...cuts]);
};
/** The same, and the old home dies. */
export const oldHomeForwardsAndDies: Script = (draw) =>
  draw.together([
    draw.there('home.asked', 'disk-slow', { atMs: 0, ms: 500, delayMs: 0 }),
    draw.here('handover.asked', 'kill', { ms: 800, delayMs: draw.chance.between(0, 6) }),
  ]);
/**
 * An old home still has sessions, forwards what they write to a member that is neither home, and dies: it is at a slow disk
 * there when its initiators are at the new home.
 */
export const oldHomeForwardsElsewhere: Script = (draw) => {
  const atMs = 150; // the home has gone by now; what is given from here on goes on to others
  return [
    draw.here('handover.asked', 'cancel', { atMs: 0, delayMs: draw.chance.between(1, 10) }),
    draw.there('batch.given', 'disk-slow', { atMs, ms: 1_000, delayMs: 0 }),
    draw.here('batch.given', 'kill-old-home', { atMs, ms: 3_000, delayMs: draw.chance.between(10, 100) }),
  ];
};
/** What is sent again over a new link may still be at a slow disk from the old one. */
export const forwardedTwice: Script = (draw) => {
  const { chance } = draw;
  const cuts = Array.from({ length: 3 }, () =>
    draw.here('batch.given', 'cut', { b: 0, delayMs: chance.between(10, 200) }),
  );
  return draw.together([draw.there('batch.given', 'disk-slow', { atMs: 0, ms: 1_000, delayMs: 0 }), ...cuts]);
};
/** The old home stands still for longer than its lease, with commands that it has not read. */
export const oldHomeIsLost: Script = (draw) => [
  draw.here('home.asked', 'stall', {
    atMs: 100,
    ms: 8_500,
    delayMs: draw.chance.between(0.3, 4),
  }),
];
/** What is at a slow disk is there still when the initiator is back. */
export const sessionsAreLate: Script = (draw) => {
  const { chance } = draw;
  const cuts = Array.from({ length: 4 }, (_, i) =>
    draw.here('io.durable', 'cut-initiator', { a: i, delayMs: chance.between(20, 250) }),
  );
  return draw.together([draw.here('io.durable', 'disk-slow', { ms: 400, delayMs: 0 }), ...cuts]);
};
/** What a home had forwarded is at a slow disk, or on its way, when its next life serves. */
export const forwardedLate: Script = (draw) =>
  draw.together([
    draw.here('io.durable', draw.chance.happens(0.8) ? 'disk-slow' : 'spikes', { ms: 1_000, delayMs: 0 }),
    draw.here('io.durable', 'kill-home', { ms: 20, delayMs: draw.chance.between(5, 100) }),
  ]);
