/** How planning grows with the group: one plan over ever more members and volumes, its time and the memory of it all. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Policy } from '../balance/contract.js';
import type { BalanceSettings } from '../balance/settings.js';
import { Dice } from './dice.js';
import { loadScenario } from './loads.js';
import { Mover } from './mover.js';
import { median } from './numbers.js';
import { perform } from './performance.js';
import { pictureOf } from './run.js';

/** Members and volumes: each step about ten times as much work as the one before it. */
export const SCALE_STEPS = [
  { members: 10, volumes: 100 },
  { members: 10, volumes: 1_000 },
  { members: 100, volumes: 10_000 },
  { members: 1_000, volumes: 100_000 },
] as const;
const PLANS = 5;

export interface ScalePoint {
  readonly members: number;
  readonly volumes: number;
  /** The median of PLANS plans, and the longest: the first one, before the code is compiled. */
  readonly planMs: number;
  readonly planMsMax: number;
  /** In use with the group, its vectors and the plan, after a collection; and the most that the process ever had. */
  readonly heapBytes: number;
  readonly residentBytesMax: number;
  readonly moves: number;
}

export function scalePoint(
  { members, volumes }: { members: number; volumes: number },
  planner: Policy,
  settings: BalanceSettings,
  seed: number,
): ScalePoint {
  const { windowMs } = settings;
  const scenario = loadScenario('zipf', { members, volumes, seed, windowMs, seconds: windowMs / 1000 });
  const { world, load } = scenario.build();
  load.apply(world, 0, windowMs);
  const moment = perform(world, [], windowMs);
  const byName = new Map(world.volumes.map((volume) => [volume.name, volume]));
  const measuring = { noise: 0.03, dice: new Dice(seed), sequence: 0, nowMs: windowMs, windowMs };
  const picture = pictureOf(world, byName, moment, new Mover(world, settings.coolDownMs), measuring);
  const times: number[] = [];
  let moves = 0;
  for (let i = 0; i < PLANS; i += 1) {
    const begun = performance.now();
    moves = planner(picture, settings).moves.length;
    times.push(performance.now() - begun);
  }
  collectGarbage();
  const heapBytes = process.memoryUsage().heapUsed;
  return {
    ...{ members, volumes, planMs: median(times), planMsMax: Math.max(...times) },
    ...{ heapBytes, residentBytesMax: process.resourceUsage().maxRSS * 1024, moves },
  };
}

/** What is in use, not what happens to be left lying about. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}
