/**
 * What a run is about. Each seed has one theme, so that every few seeds everything has had its turn: a run in which all may
 * happen seldom gets two things to meet.
 */
import type { InitiatorPlan } from './plan.js';
import * as scripts from './scripts.js';
import type { Script } from './scripts.js';

/** Who is there in any case, as far as it matters to what is played. */
export type Role = Pick<InitiatorPlan, 'work' | 'manner'>;

export interface Theme {
  readonly name: string;
  /** Chance that all is on one machine. */
  readonly oneMachine: number;
  readonly members: readonly number[];
  readonly work: readonly InitiatorPlan['work'][];
  readonly manners: readonly InitiatorPlan['manner'][];
  readonly cast: readonly Role[];
  /** Initiators that know a member's portal only. */
  readonly goToMembers: number;
  readonly thinkMs: readonly number[];
  /** Moves of a part, of all moves; each begins when the one before has ended. */
  readonly parts: number;
  /** Moves of the whole volume by their number, whatever `parts` says. */
  readonly whole: readonly number[];
  readonly moves: readonly [number, number];
  readonly rateKiB: readonly number[];
  readonly strict: number;
  /** So many of the scripts, and so many events of any kind. */
  readonly scripts: readonly [number, number];
  readonly strays: readonly [number, number];
  readonly from: readonly Script[];
  readonly durationMs: readonly [number, number];
}

const MOVING: Theme = {
  name: 'copy',
  oneMachine: 0.5,
  members: [2, 3],
  work: ['writes', 'mixed'],
  manners: ['at-once', 'at-once', 'drain'],
  cast: [],
  goToMembers: 0.1,
  thinkMs: [80, 200],
  parts: 0.5,
  whole: [],
  moves: [4, 7],
  rateKiB: [0, 0, 1024, 4096],
  strict: 0.05,
  scripts: [3, 5],
  strays: [0, 1],
  from: [
    scripts.destinationFails,
    scripts.destinationFails,
    scripts.destinationFails,
    scripts.destinationIsFull,
    scripts.destinationIsSlow,
    scripts.sourceIsSlow,
    scripts.sourceIsSlow,
    scripts.sourceFails,
    scripts.linkBreaks,
    scripts.calledOff,
  ],
  durationMs: [600, 1_200],
};

const LOST_HOME: Theme = {
  ...MOVING,
  name: 'lost home',
  members: [2, 3],
  work: ['writes'],
  manners: ['at-once', 'ignore', 'write-on'],
  parts: 0.2,
  rateKiB: [0],
  moves: [2, 4],
  thinkMs: [100, 200],
  scripts: [1, 1],
  strays: [0, 0],
  from: [scripts.oldHomeIsLost],
};

export const THEMES: readonly Theme[] = [
  MOVING,
  LOST_HOME,
  {
    ...MOVING,
    name: 'holes',
    work: ['holes'],
    from: [
      scripts.destinationFails,
      scripts.linkBreaks,
      scripts.linkIsLate,
      scripts.linkBreaks,
      scripts.linkIsLate,
    ],
  },
  {
    ...MOVING,
    name: 'commit',
    oneMachine: 0,
    rateKiB: [0],
    moves: [4, 8],
    from: [
      scripts.destinationLosesPower,
      scripts.destinationIsAnother,
      scripts.destinationIsSlow,
      scripts.endsAreKilled,
    ],
  },
  {
    ...MOVING,
    name: 'durable',
    oneMachine: 0,
    work: ['durable'],
    moves: [3, 6],
    from: [scripts.powerAfterPromise, scripts.powerEverywhere, scripts.syncsFail, scripts.sourceLosesPower],
    durationMs: [1_500, 2_200],
  },
  {
    ...MOVING,
    name: 'holder',
    oneMachine: 0,
    work: ['mixed', 'mixed', 'durable'],
    thinkMs: [30, 80],
    parts: 0.7,
    moves: [1, 3],
    rateKiB: [0],
    scripts: [1, 2],
    from: [scripts.holderLosesPower],
    durationMs: [800, 1_500],
  },
  {
    ...MOVING,
    name: 'hand-over',
    members: [2, 3, 3],
    manners: ['at-once', 'drain', 'ignore', 'write-on', 'hang-up'],
    goToMembers: 0.4,
    work: ['durable'],
    parts: 0.2,
    rateKiB: [0],
    from: [
      scripts.newHomeIsSlow,
      scripts.newHomeIsSlow,
      scripts.oldHomeForwardsAndDies,
      scripts.oldHomeForwardsAndDies,
      scripts.oldHomeStalls,
      scripts.initiatorsAreCut,
      scripts.holderHangs,
      scripts.oldHomeDies,
      scripts.initiatorDies,
      scripts.destinationIsSlow,
    ],
    durationMs: [1_200, 2_500],
  },
  {
    ...MOVING,
    name: 'late',
    work: ['durable'],
    parts: 0.5,
    rateKiB: [0],
    moves: [3, 6],
    from: [
      scripts.forwardedLate,
      scripts.sessionsAreLate,
      scripts.newHomeIsSlow,
      scripts.oldHomeForwardsAndDies,
    ],
    durationMs: [1_000, 2_000],
  },
  {
    ...MOVING,
    name: 'back',
    work: ['holes', 'mixed'],
    parts: 0.8,
    rateKiB: [0],
    from: [scripts.backBeforeKnown, scripts.backAtOnce, scripts.owesAndReceives, scripts.owesAndReceives],
    durationMs: [1_500, 3_000],
  },
  {
    ...MOVING,
    name: 'two homes',
    oneMachine: 0,
    members: [4],
    whole: [0],
    work: ['flushes', 'writes', 'mixed'],
    manners: ['ignore', 'ignore', 'at-once'],
    cast: [
      { work: 'writes', manner: 'at-once' },
      { work: 'syncs', manner: 'ignore' },
    ],
    parts: 0.9,
    moves: [6, 9],
    rateKiB: [0],
    scripts: [2, 3],
    from: [scripts.oldHomeLags, scripts.oldHomeLags, scripts.powerEverywhere],
    durationMs: [1_500, 2_500],
  },
  {
    ...MOVING,
    name: 'third holds',
    oneMachine: 1,
    members: [3],
    work: ['durable'],
    manners: ['ignore', 'write-on'],
    parts: 1,
    whole: [0],
    moves: [2, 3],
    rateKiB: [0],
    scripts: [1, 1],
    strays: [0, 0],
    from: [scripts.oldHomeForwardsElsewhere],
    durationMs: [1_000, 1_500],
  },
  {
    ...MOVING,
    name: 'returns',
    members: [2],
    work: ['holes'],
    parts: 1,
    rateKiB: [0],
    moves: [1, 1],
    scripts: [1, 1],
    strays: [0, 0],
    from: [scripts.owesAndIsPaidLate],
    durationMs: [1_000, 1_500],
  },
  {
    ...MOVING,
    name: 'forwarded',
    members: [2],
    work: ['durable'],
    parts: 1,
    rateKiB: [0],
    moves: [1, 2],
    scripts: [1, 1],
    strays: [0, 0],
    from: [scripts.forwardedTwice],
    durationMs: [1_000, 1_500],
  },
  // Again, for it takes several things to meet, each of which may not.
  LOST_HOME,
];
