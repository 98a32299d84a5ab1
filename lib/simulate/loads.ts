/** The synthetic loads of `blockferry simulate --load`: what every volume is asked for, by the time of the run. */
import { COMMAND_WINDOW } from '../base/limits.js';
import { Dice, zipfShares } from './dice.js';
import { drawFilled, drawHeat, scanHeat } from './shapes.js';
import { SimVolume, type Demand } from './volume.js';
import { storageMs, type Load, type Scenario, type SimMember, type World } from './world.js';

export const LOADS = ['zipf', 'scan', 'diurnal', 'burst', 'flash-crowd', 'noisy-neighbour'] as const;
export type LoadName = (typeof LOADS)[number];

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;
const DAY_MS = 86_400_000;
const JITTER = 0.05;
/** Shapes of volumes; more than so many are alike, or 100,000 of them would not fit. */
const SHAPES = 32;
/** Of the capacity of all members that the load offers on average: one that is out of balance has a bottleneck then. */
const LOAD_SHARE = 0.6;

export interface LoadOptions {
  readonly members: number;
  readonly volumes: number;
  readonly seconds: number;
  readonly windowMs: number;
  readonly seed: number;
}

export function loadScenario(name: LoadName, options: LoadOptions): Scenario {
  const { seconds, windowMs, seed } = options;
  return {
    title: name,
    seed,
    windows: Math.max(1, Math.round((seconds * 1000) / windowMs)),
    windowMs,
    measuringNoise: 0.03,
    build: () => {
      const world = zipfWorld(options);
      return { world, load: LOAD_OF[name](world, options) };
    },
  };
}

/** The ordinary member of a simulated group. */
export function plainMember(index: number): SimMember {
  return {
    ...{ name: `m${index + 1}`, speed: 1, requestMs: 0.25, bytesPerSecond: GiB, variation: 1, delayMs: 0 },
    ...{ weight: 1, capacityBytes: 64 * 1024 * GiB },
  };
}

/** Equal members, volumes with Zipf popularity laid out by chance. */
export function zipfWorld({ members: memberCount, volumes: volumeCount, seed }: LoadOptions): World {
  const dice = new Dice(seed);
  const members = Array.from({ length: memberCount }, (_, m) => plainMember(m));
  const names = members.map(({ name }) => name);
  const shapes = Array.from({ length: Math.min(SHAPES, volumeCount) }, () => {
    const filled = drawFilled(dice, Math.round(dice.logBetween(64, 256)), dice.between(0.4, 1));
    return { filled, heat: drawHeat(dice, filled, dice.between(0.6, 1.1), 8) };
  });
  const capacity = (memberCount * 1000) / storageMs(plainMember(0), 8192);
  const popularity = dice.shuffle([...zipfShares(volumeCount, 0.9)]);
  const volumes = popularity.map((share, v) => {
    const demand: Demand = {
      offeredPerSecond: capacity * LOAD_SHARE * share,
      ...{ outstanding: 64, readShare: dice.pick([0.5, 0.7, 0.9]), requestBytes: 8192, sequentialShare: 0.1 },
    };
    const shape = { name: `v${v + 1}`, extentBytes: 4 * MiB, ...dice.pick(shapes) };
    return new SimVolume(shape, names, dice.below(memberCount), demand);
  });
  return { members, volumes };
}

/** Every volume is asked for what it was drawn with, give or take `jitter` (sigma) a window. */
export function steadyLoad(world: World, jitter: number, seed: number): Load {
  return varying(world, jitter, seed, () => 1);
}

/** @param factor on what volume number `v` is asked for, at a time of the run */
function varying(
  world: World,
  jitter: number,
  seed: number,
  factor: (v: number, atMs: number) => number,
): Load {
  const dice = new Dice(seed ^ 0x6c6f6164);
  const offered = world.volumes.map(({ demand }) => demand.offeredPerSecond);
  return {
    apply: ({ volumes }, fromMs) =>
      volumes.forEach((volume, v) => {
        const noise = dice.noise(jitter);
        volume.demand.offeredPerSecond = (offered[v] as number) * factor(v, fromMs) * noise;
      }),
  };
}

const LOAD_OF: Record<LoadName, (world: World, options: LoadOptions) => Load> = {
  zipf: (world, { seed }) => steadyLoad(world, JITTER, seed),
  scan: scanLoad,
  diurnal: diurnalLoad,
  burst: burstLoad,
  'flash-crowd': flashCrowdLoad,
  'noisy-neighbour': noisyNeighbourLoad,
};

/** A third of the volumes is read from the start to the end in a quarter of the run, over and over, by large requests. */
function scanLoad(world: World, { seed, seconds }: LoadOptions): Load {
  const steady = steadyLoad(world, JITTER, seed);
  const periodMs = (seconds * 1000) / 4;
  for (const [v, { demand }] of world.volumes.entries()) {
    if (v % 3 === 0) Object.assign(demand, { sequentialShare: 0.95, requestBytes: 65536, readShare: 1 });
  }
  return {
    apply: (now, fromMs, windowMs) => {
      steady.apply(now, fromMs, windowMs);
      now.volumes.forEach((volume, v) => {
        if (v % 3 !== 0) return;
        const at = (fromMs / periodMs + v / now.volumes.length) % 1;
        const width = Math.max(1, Math.round((volume.extents * windowMs) / periodMs));
        volume.heat = scanHeat(volume.filled, at, width);
      });
    },
  };
}

/** A day's wave from a tenth to nearly twice the mean, offices on three continents: a third of the volumes each. */
function diurnalLoad(world: World, { seed }: LoadOptions): Load {
  return varying(
    world,
    JITTER,
    seed,
    (v, atMs) => 1 + 0.9 * Math.sin(2 * Math.PI * (atMs / DAY_MS + (v % 3) / 3)),
  );
}

/** Volumes are on for some minutes, then off for longer, each at its own times; on, they ask for four times their mean. */
function burstLoad(world: World, { seed }: LoadOptions): Load {
  const dice = new Dice(seed ^ 0x62757273);
  const state = world.volumes.map(() => ({ isOn: dice.happens(0.25), untilMs: 0 }));
  return varying(world, JITTER, seed, (v, atMs) => {
    const of = state[v] as { isOn: boolean; untilMs: number };
    while (of.untilMs <= atMs) {
      of.isOn = !of.isOn;
      of.untilMs += -Math.log(1 - dice.uniform()) * (of.isOn ? 180_000 : 540_000) + 1;
    }
    return of.isOn ? 4 : 0.05;
  });
}

/** In the second and third quarters of the run everybody wants the volume in the middle: twenty times what it had. */
function flashCrowdLoad(world: World, { seed, seconds, members }: LoadOptions): Load {
  const crowded = Math.floor(world.volumes.length / 2);
  const volume = world.volumes[crowded] as SimVolume;
  const least = (1.5 * 1000) / storageMs(plainMember(0), volume.demand.requestBytes);
  const rise = Math.max(20, least / volume.demand.offeredPerSecond);
  volume.demand.outstanding = COMMAND_WINDOW * Math.min(members, 4);
  const quarterMs = (seconds * 1000) / 4;
  return varying(world, JITTER, seed, (v, atMs) =>
    v === crowded && atMs >= quarterMs && atMs < 3 * quarterMs ? rise : 1,
  );
}

/** From a quarter of the run on, the first volume keeps a deep queue full beside quiet neighbours. */
function noisyNeighbourLoad(world: World, { seed, seconds }: LoadOptions): Load {
  const quarterMs = (seconds * 1000) / 4;
  const load = varying(world, JITTER, seed, (v, atMs) => (v === 0 && atMs >= quarterMs ? Infinity : 1));
  const [noisy] = world.volumes;
  if (noisy !== undefined) noisy.demand.outstanding = COMMAND_WINDOW;
  return load;
}
