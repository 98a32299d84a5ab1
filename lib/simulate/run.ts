/**
 * One policy against one scenario: window by window, the load is performed, members measure, the planner is asked as a
 * member would ask it, and its moves begin. Everything from seeds: the same scenario gives the same run.
 */
import { invariant } from '../base/assert.js';
import type { GroupPicture, Policy, Verdict } from '../balance/contract.js';
import type { BalanceSettings } from '../balance/settings.js';
import { Dice } from './dice.js';
import { measure } from './measure.js';
import { Mover, type MoveRecord } from './mover.js';
import { sum } from './numbers.js';
import { perform, type Moment } from './performance.js';
import type { SimVolume } from './volume.js';
import { imbalance, usedBytes, type Scenario, type World } from './world.js';

/** One window of a run. */
export interface WindowFigures {
  readonly atMs: number;
  /** Requests answered, and what was offered (Infinity of closed loads). */
  readonly requestsPerSecond: number;
  readonly offeredPerSecond: number;
  /** Mean over all requests, from request to answer. */
  readonly latencyMs: number;
  /** Requests served, over speed: the busiest member's over the mean. */
  readonly imbalance: number;
  readonly bytesMoved: number;
  readonly movesBegun: number;
  readonly verdict: Verdict;
  /** Of each member. */
  readonly members: readonly { readonly perSecond: number; readonly serviceMs: number }[];
}

export interface PolicyRun {
  readonly windows: readonly WindowFigures[];
  readonly moves: readonly MoveRecord[];
  readonly bytesMoved: number;
  /** As it was left. */
  readonly world: World;
}

export function runPolicy(scenario: Scenario, policy: Policy, settings: BalanceSettings): PolicyRun {
  const { windowMs } = scenario;
  const { world, load } = scenario.build();
  const mover = new Mover(world, settings.coolDownMs);
  const volumes = new Map(world.volumes.map((volume) => [volume.name, volume]));
  const dice = new Dice(scenario.seed ^ 0x6d656173);
  const dataBytes = sum(usedBytes(world));
  const windows: WindowFigures[] = [];
  let waitMs: Float64Array | undefined;
  for (let w = 0; w < scenario.windows; w += 1) {
    const fromMs = w * windowMs;
    const nowMs = fromMs + windowMs;
    load.apply(world, fromMs, windowMs);
    const moment = perform(world, mover.copies(), windowMs, waitMs);
    waitMs = moment.waitMs;
    mover.advance(moment.copyBytesPerSecond, fromMs, windowMs);
    const measuring = { noise: scenario.measuringNoise, dice, sequence: w, nowMs, windowMs };
    const picture = pictureOf(world, volumes, moment, mover, measuring);
    const plan = policy(picture, settings);
    mover.begin(plan.moves, nowMs);
    windows.push(figuresOf(world, moment, fromMs, mover.bytesMoved, plan.moves.length, plan.verdict));
  }
  invariant('I2', sum(usedBytes(world)) === dataBytes, 'moves make no data and lose none');
  return { windows, moves: mover.records, bytesMoved: mover.bytesMoved, world };
}

/** The group as a member sees it at the end of a window. */
export function pictureOf(
  world: World,
  volumes: ReadonlyMap<string, SimVolume>,
  moment: Moment,
  mover: Mover,
  measuring: Parameters<typeof measure>[4],
): GroupPicture {
  const used = usedBytes(world);
  const expected = mover.expectedBytes(world.members.length);
  const free = world.members.map(({ capacityBytes }, m) => Math.max(capacityBytes - (used[m] as number), 0));
  const vectors = measure(world, moment, free, used, measuring);
  return {
    nowMs: measuring.nowMs,
    members: world.members.map(({ name, weight }, m) => ({
      name,
      vector: vectors[m] ?? null,
      // All windows end when the planner looks. In a group each ends by its member's own timer, so vectors are older by part
      // of a window; here a window is performed as a whole, and its parts have no figures.
      ageMs: 0,
      isFresh: true,
      weight,
      freeBytes: Math.max((free[m] as number) - (expected[m] as number), 0),
      labels: {},
    })),
    volumes,
    movesUnderWay: mover.underWay,
  };
}

function figuresOf(
  { members, volumes }: World,
  moment: Moment,
  atMs: number,
  bytesMoved: number,
  movesBegun: number,
  verdict: Verdict,
): WindowFigures {
  const { perSecond, responseMs } = moment.volumes;
  const requestsPerSecond = sum(perSecond);
  let spentMs = 0;
  perSecond.forEach((rate, v) => (spentMs += rate * (responseMs[v] as number)));
  const served = moment.members.map((member) => member.perSecond);
  return {
    atMs,
    requestsPerSecond,
    offeredPerSecond: sum(volumes.map(({ demand }) => demand.offeredPerSecond)),
    latencyMs: requestsPerSecond > 0 ? spentMs / requestsPerSecond : 0,
    imbalance: imbalance(
      served,
      members.map(({ speed }) => speed),
    ),
    bytesMoved,
    movesBegun,
    verdict,
    members: moment.members.map(({ perSecond, serviceMs }) => ({ perSecond, serviceMs })),
  };
}
