/** Small simulated groups for tests, and loads that do what a test says. */
import { SimVolume } from '../../lib/simulate/volume.js';
import type { Load, Scenario, SimMember, World } from '../../lib/simulate/world.js';

export const MiB = 1024 * 1024;

export function memberOf(index: number, more: Partial<SimMember> = {}): SimMember {
  return {
    ...{
      name: `m${index + 1}`,
      speed: 1,
      requestMs: 1,
      bytesPerSecond: 1e12,
      variation: 1,
      delayMs: 0,
      weight: 1,
    },
    capacityBytes: 1024 * 1024 * MiB,
    ...more,
  };
}

export function twoMembers(): SimMember[] {
  return [memberOf(0), memberOf(1)];
}

export interface TestVolume {
  readonly heat: readonly number[];
  /** Infinity: closed. */
  readonly perSecond: number;
  readonly outstanding?: number;
  readonly name?: string;
}

/** All of it at one member, every extent of 1 MiB with data. */
export function volumeAt(
  members: readonly SimMember[],
  home: number,
  { heat, perSecond, outstanding = 64, name = 'v' }: TestVolume,
): SimVolume {
  const shape = {
    name,
    extentBytes: MiB,
    filled: new Uint8Array(heat.length).fill(1),
    heat: Float64Array.from(heat),
  };
  const demand = {
    ...{ offeredPerSecond: perSecond, outstanding, readShare: 0.7, requestBytes: 4096, sequentialShare: 0 },
  };
  return new SimVolume(
    shape,
    members.map((member) => member.name),
    home,
    demand,
  );
}

export function evenHeat(extents: number): number[] {
  return Array<number>(extents).fill(1 / extents);
}

/** @param change applied before each window */
export function scenarioOf(
  world: () => World,
  windows: number,
  change: Load['apply'] = () => undefined,
  measuringNoise = 0.02,
): Scenario {
  return {
    ...{ title: 'test', seed: 7, windows, windowMs: 30_000, measuringNoise },
    build: () => ({ world: world(), load: { apply: change } }),
  };
}
