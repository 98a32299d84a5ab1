/** The scenes of `make balance`, and the lines that must hold in each. */
import { sleep, systemClock } from '../../base/clock.js';
import { DEMONSTRATION_SETTINGS } from '../../balance/settings.js';
import { Scope } from '../../bench/scope.js';
import { describeDecisions } from '../../cli/explain.js';
import type { MoveView } from '../../manage/api.js';
import { survivalLine, type Line } from '../figures.js';
import { MEMBERS, Stage, type WantedLoad } from './stage.js';

export interface SceneOptions {
  readonly workFolder: string;
  /** How long a balanced group is watched for moves that it need not make. */
  readonly quietMs: number;
  readonly say: (text: string) => void;
}

export interface SceneResult {
  readonly scene: string;
  /** For people and programs: what was measured, with its unit in the name. */
  readonly figures: Readonly<Record<string, number>>;
  readonly lines: readonly Line[];
  /** What the group decided, where a line is missed. */
  readonly explanation?: string;
}

export type Scene = (options: SceneOptions) => Promise<SceneResult>;

/** A thousand requests a second at each member: light work for two processors, whatever else they do. */
const DISK_MS = 1;
const SETTLE_MS = 60_000;
const LOOK_MS = 1000;
const IMBALANCE_BEFORE = 2.5;
const IMBALANCE_AFTER = 1.25;
const GAIN = 1.25;
const THROUGHPUT_MS = 5000;
const { windowMs, coolDownMs, latencyGapMs } = DEMONSTRATION_SETTINGS;

/** Four volumes at m1, the second half as busy as the first, the third a third: Zipf. */
const ZIPF: readonly WantedLoad[] = [12, 6, 4, 3].map((queueDepth, i) => ({
  ...{ volume: `zipf${i + 1}`, home: 'm1', queueDepth },
}));

async function onStage(
  scene: string,
  diskMs: readonly number[],
  options: SceneOptions,
  play: (stage: Stage) => Promise<Omit<SceneResult, 'scene'>>,
): Promise<SceneResult> {
  const scope = new Scope();
  try {
    const stage = await Stage.open(diskMs, options.workFolder, scope);
    const { lines, ...played } = await play(stage);
    const result = { scene, ...played, lines: [...lines, survivalLine(scene, stage.group.dead())] };
    if (result.lines.every(({ holds }) => holds)) return result;
    return { ...result, explanation: describeDecisions(await stage.group.client.decisions()) };
  } finally {
    const faults = await scope.close();
    if (faults.length > 0) options.say(`${scene} did not end well: ${faults.join('; ')}`);
  }
}

/** All load at one member, which is the bottleneck. */
async function skewed(
  scene: string,
  loads: readonly WantedLoad[],
  options: SceneOptions,
): Promise<SceneResult> {
  return onStage(scene, [DISK_MS, DISK_MS, DISK_MS], options, async (stage) => {
    await stage.load(loads);
    await sleep(systemClock, 2 * windowMs);
    const before = await measured(stage);
    await stage.balance();
    const settledMs = await settle(stage, scene, options);
    const after = await measured(stage);
    const moves = (await stage.moves()).length;
    const quiet = await watchQuiet(stage, moves, scene, options);
    const bad = await stage.end();
    const volumes = await stage.group.client.volumes();
    const most = Math.max(...volumes.map(({ holders }) => Object.keys(holders).length));
    const seen: Skewed = { before, after, settledMs, moves, quiet, most, bad };
    return {
      figures: figuresOf(seen),
      lines: linesOf(seen, loads.length === 1, options).map(({ text, holds }) => ({
        text: `${scene}: ${text}`,
        holds,
      })),
    };
  });
}

/** What was seen of load that was all at one member. */
interface Skewed {
  readonly before: Measured;
  readonly after: Measured;
  readonly settledMs: number;
  readonly moves: number;
  /** After it had settled. */
  readonly quiet: { readonly moves: number; readonly imbalance: number };
  /** Members that hold extents of one volume. */
  readonly most: number;
  /** Errors and wrong blocks. */
  readonly bad: number;
}

interface Measured {
  readonly imbalance: number;
  readonly ops: number;
}

async function measured(stage: Stage): Promise<Measured> {
  return { imbalance: await stage.imbalance(), ops: await stage.throughput(THROUGHPUT_MS) };
}

function figuresOf({ before, after, settledMs, moves, quiet, most, bad }: Skewed): SceneResult['figures'] {
  return {
    imbalanceBefore: before.imbalance,
    imbalanceAfter: after.imbalance,
    settledSeconds: settledMs / 1000,
    opsBefore: before.ops,
    opsAfter: after.ops,
    gain: after.ops / before.ops,
    moves,
    movesWhileQuiet: quiet.moves,
    imbalanceQuiet: quiet.imbalance,
    holdersOfOneVolume: most,
    bad,
  };
}

/** @param isOneHot all load is on one volume */
function linesOf(
  { before, after, settledMs, quiet, most, bad }: Skewed,
  isOneHot: boolean,
  { quietMs }: SceneOptions,
): Line[] {
  const gain = after.ops / before.ops;
  return [
    line(
      `the imbalance was ${before.imbalance.toFixed(2)}, at least ${IMBALANCE_BEFORE}`,
      before.imbalance >= IMBALANCE_BEFORE,
    ),
    line(
      `it is at most ${IMBALANCE_AFTER} within ${SETTLE_MS / 1000} s: ${after.imbalance.toFixed(2)} after ${(settledMs / 1000).toFixed(0)} s`,
      settledMs < SETTLE_MS,
    ),
    line(`${gain.toFixed(2)} × the throughput, at least ${GAIN}`, gain >= GAIN),
    line(
      `${quiet.moves} moves in the next ${(quietMs / 1000).toFixed(0)} s of the same load, none wanted`,
      quiet.moves === 0,
    ),
    line('no error, no wrong block', bad === 0),
    ...(isOneHot ? [line(`the hot volume is spread over ${most} members`, most > 1)] : []),
  ];
}

/** Until the imbalance has been low for two windows and nothing moves. @returns when it became so, or SETTLE_MS */
async function settle(stage: Stage, scene: string, { say }: SceneOptions): Promise<number> {
  const beganMs = systemClock.nowMs();
  const since = (): number => systemClock.nowMs() - beganMs;
  let lowSinceMs: number | null = null;
  while (since() < SETTLE_MS + 2 * windowMs) {
    await sleep(systemClock, LOOK_MS);
    const imbalance = await stage.imbalance();
    const isLow = imbalance <= IMBALANCE_AFTER;
    lowSinceMs = isLow ? (lowSinceMs ?? since()) : null;
    const moving = (await stage.moves()).some(({ state }) => state === 'active');
    say(`${scene}: ${(since() / 1000).toFixed(0)} s, imbalance ${imbalance.toFixed(2)}`);
    if (lowSinceMs !== null && !moving && since() - lowSinceMs > 2 * windowMs)
      return Math.min(lowSinceMs, SETTLE_MS);
  }
  return SETTLE_MS;
}

async function watchQuiet(
  stage: Stage,
  known: number,
  scene: string,
  { quietMs, say }: SceneOptions,
): Promise<{ moves: number; imbalance: number }> {
  say(`${scene}: the same load for ${(quietMs / 1000).toFixed(0)} s more`);
  await sleep(systemClock, quietMs);
  return { moves: (await stage.moves()).length - known, imbalance: await stage.imbalance() };
}

/** Nothing is to move: everybody has the same to do, or nobody has much. */
async function unmoved(
  scene: string,
  loads: readonly WantedLoad[],
  options: SceneOptions,
): Promise<SceneResult> {
  return onStage(scene, [DISK_MS, DISK_MS, DISK_MS], options, async (stage) => {
    await stage.load(loads);
    // They begin one after the other: until all have a window behind them, the first is alone.
    await sleep(systemClock, 2 * windowMs);
    await stage.balance();
    const quiet = await watchQuiet(stage, 0, scene, options);
    const bad = await stage.end();
    return {
      figures: { ...quiet, bad },
      lines: [line(`${scene}: no move`, quiet.moves === 0), line(`${scene}: no error`, bad === 0)],
    };
  });
}

/** A disk of 30 ms beside disks of 1 ms, all asked for more than they can, sheds load until latencies meet, where latencies count. */
async function slowMember(options: SceneOptions): Promise<SceneResult> {
  const scene = 'slow member';
  const wanted = MEMBERS.flatMap((home) =>
    [1, 2].map((i) => ({ volume: `v${i}-${home}`, home, queueDepth: 8 })),
  );
  return onStage(scene, [30, 1, 1], options, async (stage) => {
    await stage.load(wanted);
    await sleep(systemClock, 2 * windowMs);
    const gapOf = async (): Promise<number> => {
      const served = (await stage.served()).filter(({ requestsPerSecond }) => requestsPerSecond > 1);
      const latencies = served.map(({ latencyMs }) => latencyMs);
      return latencies.length === 0 ? 0 : Math.max(...latencies) - Math.min(...latencies);
    };
    const before = { gapMs: await gapOf(), ops: await stage.throughput(THROUGHPUT_MS) };
    await stage.balance('latency-gap');
    const beganMs = systemClock.nowMs();
    let gapMs = Infinity;
    while (systemClock.nowMs() - beganMs < 2 * SETTLE_MS && gapMs > latencyGapMs) {
      await sleep(systemClock, LOOK_MS);
      gapMs = await gapOf();
      options.say(`${scene}: ${gapMs.toFixed(1)} ms apart`);
    }
    const seconds = (systemClock.nowMs() - beganMs) / 1000;
    const ops = await stage.throughput(THROUGHPUT_MS);
    const bad = await stage.end();
    return {
      figures: {
        gapMsBefore: before.gapMs,
        gapMsAfter: gapMs,
        seconds,
        opsBefore: before.ops,
        opsAfter: ops,
        bad,
      },
      lines: [
        line(
          `${scene}: latencies meet: ${before.gapMs.toFixed(1)} ms apart, then ${gapMs.toFixed(1)}, at most ${latencyGapMs}`,
          gapMs <= latencyGapMs,
        ),
        line(`${scene}: no error`, bad === 0),
      ],
    };
  });
}

/** Load that jumps from one member to the other faster than the window. */
async function oscillating(options: SceneOptions): Promise<SceneResult> {
  const scene = 'oscillating';
  return onStage(scene, [DISK_MS, DISK_MS, DISK_MS], options, async (stage) => {
    const wanted = ['m1', 'm2'].map((home) => ({ volume: `at-${home}`, home, queueDepth: 8 }));
    const loads = await stage.prepare(wanted);
    await stage.balance();
    const endMs = systemClock.nowMs() + Math.min(options.quietMs, coolDownMs);
    let bad = 0;
    for (let turn = 0; systemClock.nowMs() < endMs; turn++) {
      const report = await loads[turn % loads.length]?.burst(windowMs / 4000);
      bad += (report?.errors ?? 0) + (report?.wrongCount ?? 0);
      options.say(`${scene}: turn ${turn}`);
    }
    const moves = (await stage.moves()).filter(({ state }) => state === 'done');
    const most = mostMovesOfAnExtent(moves);
    return {
      figures: { moves: moves.length, mostMovesOfAnExtent: most, bad },
      lines: [
        line(`${scene}: an extent moves ${most} times within the cool-down, at most once`, most <= 1),
        line(`${scene}: no error`, bad === 0),
      ],
    };
  });
}

function mostMovesOfAnExtent(moves: readonly MoveView[]): number {
  const counts = new Map<string, number>();
  for (const { volume, range, extents } of moves) {
    const { first, last } = range ?? { first: 0, last: extents - 1 };
    for (let extent = first; extent <= last; extent++) {
      const key = `${volume} ${extent}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  }
  return Math.max(0, ...counts.values());
}

function line(text: string, holds: boolean): Line {
  return { text, holds };
}

export const SCENES: Readonly<Record<string, Scene>> = {
  zipf: (options) => skewed('four volumes', ZIPF, options),
  'one-hot': (options) => skewed('one hot volume', [{ volume: 'hot', home: 'm1', queueDepth: 24 }], options),
  'all-low': (options) =>
    unmoved('all low', [{ volume: 'idler', home: 'm1', queueDepth: 1, opsPerSecondMax: 50 }], options),
  'all-high': (options) =>
    unmoved(
      'all equally high',
      MEMBERS.map((home) => ({ volume: `at-${home}`, home, queueDepth: 8 })),
      options,
    ),
  slow: slowMember,
  oscillating,
};
