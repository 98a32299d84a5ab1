/** The scenes of `make balance`, and the lines that must hold in each. */
import { sleep, systemClock } from '../../base/clock.js';
import { DEMONSTRATION_SETTINGS } from '../../balance/settings.js';
import { Scope } from '../../bench/scope.js';
import { describeDecisions } from '../../cli/explain.js';
import type { MoveView } from '../../manage/api.js';
import { survivalLine } from '../figures.js';
import {
  gapOf,
  IMBALANCE_AFTER,
  imbalanceOf,
  judgeOscillated,
  judgeSkewed,
  judgeSlow,
  judgeUnmoved,
  SETTLE_MS,
  type Judged,
  type Measured,
} from './lines.js';
import { MEMBERS, Stage, type WantedLoad } from './stage.js';

export interface SceneOptions {
  readonly workFolder: string;
  /** How long a balanced group is watched for moves that it need not make. */
  readonly quietMs: number;
  readonly say: (text: string) => void;
}

export interface SceneResult extends Judged {
  readonly scene: string;
  /** What the group decided, where a line is missed. */
  readonly explanation?: string;
}

export type Scene = (options: SceneOptions) => Promise<SceneResult>;

/** A thousand requests a second at each member: light work for two processors, whatever else they do. */
const DISK_MS = 1;
const LOOK_MS = 1000;
const THROUGHPUT_MS = 5000;
const { windowMs, coolDownMs, latencyGapMs } = DEMONSTRATION_SETTINGS;
/** In less time nobody may have looked at all. */
const WATCH_MS_MIN = 3 * windowMs;

/** Four volumes at m1, the second half as busy as the first, the third a third: Zipf. */
const ZIPF: readonly WantedLoad[] = [12, 6, 4, 3].map((queueDepth, i) => ({
  ...{ volume: `zipf${i + 1}`, home: 'm1', queueDepth },
}));

async function onStage(
  scene: string,
  diskMs: readonly number[],
  options: SceneOptions,
  play: (stage: Stage) => Promise<Judged>,
): Promise<SceneResult> {
  const scope = new Scope();
  try {
    const stage = await Stage.open(diskMs, options.workFolder, scope);
    const { figures, lines } = await play(stage);
    const named = lines.map(({ text, holds }) => ({ text: `${scene}: ${text}`, holds }));
    const result = { scene, figures, lines: [...named, survivalLine(scene, stage.group.dead())] };
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
    const { settledMs } = await settle(stage, {
      measure: async () => imbalanceOf(await stage.served()),
      ...{ atMost: IMBALANCE_AFTER, withinMs: SETTLE_MS },
      say: (value) => options.say(`${scene}: imbalance ${value.toFixed(2)}`),
    });
    const after = await measured(stage);
    const known = await stage.moves();
    const quiet = await watchQuiet(stage, known, scene, options);
    const bad = await stage.end();
    const volumes = await stage.group.client.volumes();
    const most = Math.max(...volumes.map(({ holders }) => Object.keys(holders).length));
    const { quietMs } = options;
    const seen = { before, after, settledMs, moves: known.length, quiet, quietMs, most, bad };
    return judgeSkewed(seen, loads.length === 1);
  });
}

async function measured(stage: Stage): Promise<Measured> {
  return { imbalance: imbalanceOf(await stage.served()), ops: await stage.throughput(THROUGHPUT_MS) };
}

interface Settling {
  readonly measure: () => Promise<number>;
  readonly atMost: number;
  readonly withinMs: number;
  readonly say: (value: number) => void;
}

/** Until a measure has been low for two windows and nothing moves. @returns when it became so, or `withinMs`; the last value */
async function settle(
  stage: Stage,
  { measure, atMost, withinMs, say }: Settling,
): Promise<{ settledMs: number; value: number }> {
  const beganMs = systemClock.nowMs();
  const since = (): number => systemClock.nowMs() - beganMs;
  let value = NaN;
  let lowSinceMs: number | null = null;
  while (since() < withinMs + 2 * windowMs) {
    await sleep(systemClock, LOOK_MS);
    value = await measure();
    lowSinceMs = value <= atMost ? (lowSinceMs ?? since()) : null;
    const moving = (await stage.moves()).some(({ state }) => state === 'active');
    say(value);
    if (lowSinceMs !== null && !moving && since() - lowSinceMs > 2 * windowMs)
      return { settledMs: Math.min(lowSinceMs, withinMs), value };
  }
  return { settledMs: withinMs, value };
}

/** @param known moves that there were before */
async function watchQuiet(
  stage: Stage,
  known: readonly MoveView[],
  scene: string,
  { quietMs, say }: SceneOptions,
): Promise<{ moves: number; imbalance: number }> {
  say(`${scene}: the same load for ${(quietMs / 1000).toFixed(0)} s more`);
  await sleep(systemClock, quietMs);
  // By their ids: of a group that has moved much the oldest are forgotten.
  const moves = (await stage.moves()).filter(({ id }) => !known.some((move) => move.id === id));
  return { moves: moves.length, imbalance: imbalanceOf(await stage.served()) };
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
    const beganMs = systemClock.wallMs();
    const opsBefore = stage.ops;
    await stage.balance();
    const quietMs = Math.max(options.quietMs, WATCH_MS_MIN);
    const quiet = await watchQuiet(stage, [], scene, { ...options, quietMs });
    const ops = ((stage.ops - opsBefore) / (systemClock.wallMs() - beganMs)) * 1000;
    const verdicts = await stage.verdicts(beganMs);
    return judgeUnmoved({ ...quiet, ops, verdicts, bad: await stage.end() });
  });
}

/**
 * A disk of 30 ms beside disks of 1 ms, all asked for more than they can, sheds load until latencies meet, where latencies
 * count.
 */
async function slowMember(options: SceneOptions): Promise<SceneResult> {
  const scene = 'slow member';
  const wanted = MEMBERS.flatMap((home) =>
    [1, 2].map((i) => ({ volume: `v${i}-${home}`, home, queueDepth: 8 })),
  );
  return onStage(scene, [30, 1, 1], options, async (stage) => {
    await stage.load(wanted);
    await sleep(systemClock, 2 * windowMs);
    const measure = async (): Promise<number> => gapOf(await stage.served());
    const before = { gapMs: await measure(), ops: await stage.throughput(THROUGHPUT_MS) };
    await stage.balance('latency-gap');
    // What the first moves leave too much goes when their extents may move again.
    const withinMs = 3 * coolDownMs;
    const { settledMs, value: gapMs } = await settle(stage, {
      ...{ measure, atMost: latencyGapMs, withinMs },
      say: (value) => options.say(`${scene}: ${value.toFixed(1)} ms apart`),
    });
    const after = { gapMs, ops: await stage.throughput(THROUGHPUT_MS) };
    const moves = (await stage.moves()).filter(({ state }) => state === 'done').length;
    return judgeSlow({ before, after, settledMs, withinMs, moves, bad: await stage.end() });
  });
}

/** Load that jumps from one member to the other faster than the window. */
async function oscillating(options: SceneOptions): Promise<SceneResult> {
  const scene = 'oscillating';
  return onStage(scene, [DISK_MS, DISK_MS, DISK_MS], options, async (stage) => {
    const wanted = ['m1', 'm2'].map((home) => ({ volume: `at-${home}`, home, queueDepth: 8 }));
    const loads = await stage.prepare(wanted);
    const beganMs = systemClock.wallMs();
    await stage.balance();
    const watchMs = Math.min(Math.max(options.quietMs, WATCH_MS_MIN), coolDownMs);
    const endMs = systemClock.nowMs() + watchMs;
    let bad = 0;
    let opsLeast = Infinity;
    for (let turn = 0; systemClock.nowMs() < endMs; turn++) {
      const report = await loads[turn % loads.length]?.burst(windowMs / 4000);
      bad += (report?.errors ?? 0) + (report?.wrongCount ?? 0);
      opsLeast = Math.min(opsLeast, report?.ops ?? 0);
      options.say(`${scene}: turn ${turn}`);
    }
    const moves = (await stage.moves()).filter(({ state }) => state === 'done');
    return judgeOscillated({ moves, opsLeast, verdicts: await stage.verdicts(beganMs), bad });
  });
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
