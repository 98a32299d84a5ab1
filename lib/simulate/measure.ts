/**
 * What members measure of a window: load vectors as the monitor makes them, with its bounds (so many volumes, so many hot
 * extents) and with errors, since it samples. The planner sees nothing but these and the picture.
 */
import { LOADED_VOLUMES_MAX } from '../base/limits.js';
import type { LoadVector, TrafficPattern, VolumeLoad } from '../load/vector.js';
import type { Dice } from './dice.js';
import { ROUND_TRIP_MS, serviceMsAt, type Moment } from './performance.js';
import type { SimVolume } from './volume.js';
import type { World } from './world.js';

/** A process is busy with more than its loop: threads that wait for the disk. */
const PROCESSORS_PER_LOOP = 1.2;
/** Peers whose round trip a vector tells; of a thousand a planner needs no more to know the network. */
const ROUND_TRIPS_MAX = 16;

export interface Measuring {
  /** Lognormal sigma of every figure. */
  readonly noise: number;
  readonly dice: Dice;
  readonly sequence: number;
  readonly nowMs: number;
  readonly windowMs: number;
}

/** A vector of each member. @param freeBytes on each member's disk */
export function measure(
  world: World,
  moment: Moment,
  freeBytes: ArrayLike<number>,
  used: ArrayLike<number>,
  measuring: Measuring,
): LoadVector[] {
  const loads = measureVolumes(world, moment, measuring);
  return world.members.map(({ name }, m) => {
    const volumes = loads[m] as VolumeLoad[];
    volumes.sort((a, b) => perSecond(b) - perSecond(a) || (a.volume < b.volume ? -1 : 1));
    return measureMember(world, moment, m, volumes.slice(0, LOADED_VOLUMES_MAX), volumes, {
      ...measuring,
      name,
      freeBytes: freeBytes[m] as number,
      usedBytes: used[m] as number,
    });
  });
}

function perSecond({ readsPerSecond, writesPerSecond }: Rates): number {
  return readsPerSecond + writesPerSecond;
}

function measureMember(
  { members, volumes: { length: volumeCount } }: World,
  moment: Moment,
  m: number,
  told: VolumeLoad[],
  all: readonly VolumeLoad[],
  given: Measuring & { name: string; freeBytes: number; usedBytes: number },
): LoadVector {
  const { dice, noise } = given;
  const of = moment.members[m] as Moment['members'][number];
  const rates = ratesOf(all);
  const meanMs = of.serviceMs * dice.noise(noise);
  const loopBusy = Math.min(of.loopBusy * dice.noise(noise), 1);
  const peers = members.slice(0, ROUND_TRIPS_MAX).filter(({ name }) => name !== given.name);
  return {
    member: given.name,
    incarnation: 'simulated',
    sequence: given.sequence,
    measuredAtMs: given.nowMs,
    windowMs: given.windowMs,
    server: {
      processors: loopBusy * PROCESSORS_PER_LOOP,
      loopBusy,
      loopDelayMsP99: loopBusy < 1 ? loopBusy / (1 - loopBusy) : 100,
      sessions: Math.min(all.length, volumeCount),
      bytesIn: rates.writeBytesPerSecond,
      bytesOut: rates.readBytesPerSecond,
      roundTripMs: Object.fromEntries(peers.map(({ name }) => [name, ROUND_TRIP_MS * dice.noise(noise)])),
    },
    storage: storageOf(rates, meanMs, given),
    volumes: told,
  };
}

type Rates = Pick<
  VolumeLoad,
  'readsPerSecond' | 'writesPerSecond' | 'readBytesPerSecond' | 'writeBytesPerSecond'
>;

function ratesOf(loads: readonly VolumeLoad[]): Rates {
  const rates = { readsPerSecond: 0, writesPerSecond: 0, readBytesPerSecond: 0, writeBytesPerSecond: 0 };
  for (const load of loads) {
    rates.readsPerSecond += load.readsPerSecond;
    rates.writesPerSecond += load.writesPerSecond;
    rates.readBytesPerSecond += load.readBytesPerSecond;
    rates.writeBytesPerSecond += load.writeBytesPerSecond;
  }
  return rates;
}

function storageOf(
  rates: Rates,
  meanMs: number,
  { usedBytes, freeBytes }: { usedBytes: number; freeBytes: number },
): LoadVector['storage'] {
  return {
    ...rates,
    // Little's law holds for what was measured as well.
    queueDepth: (perSecond(rates) * meanMs) / 1000,
    // As of an exponential distribution.
    serviceMs: { mean: meanMs, p50: meanMs * Math.LN2, p99: meanMs * Math.log(100) },
    usedBytes,
    freeBytes,
  };
}

/** Of each member the loads of the volumes that it holds extents of. */
function measureVolumes(world: World, moment: Moment, { dice, noise }: Measuring): VolumeLoad[][] {
  const loads: VolumeLoad[][] = world.members.map(() => []);
  world.volumes.forEach((volume, v) => {
    const rate = moment.volumes.perSecond[v] as number;
    if (rate === 0) return;
    const { readShare, requestBytes } = volume.demand;
    const hot = volume.hottest();
    for (const { member, share } of volume.heldShares()) {
      if (share * rate === 0) continue;
      const measured = rate * share * dice.noise(noise);
      const scale = rate * dice.noise(noise);
      (loads[member] as VolumeLoad[]).push({
        volume: volume.name,
        readsPerSecond: measured * readShare,
        writesPerSecond: measured * (1 - readShare),
        readBytesPerSecond: measured * readShare * requestBytes,
        writeBytesPerSecond: measured * (1 - readShare) * requestBytes,
        serviceMs: serviceMsAt(world, volume, member, moment.waitMs) * dice.noise(noise),
        pattern: patternOf(volume, member),
        hot: (hot.get(member) ?? []).map((e) => [e, (volume.heat[e] as number) * scale]),
      });
    }
  });
  return loads;
}

function patternOf({ demand, homeMember }: SimVolume, member: number): TrafficPattern {
  const { readShare, requestBytes, sequentialShare } = demand;
  const direction = readShare >= 0.8 ? 'read' : readShare <= 0.2 ? 'write' : 'mixed';
  const order = sequentialShare >= 0.5 ? 'sequential' : 'random';
  return {
    kind: direction === 'mixed' ? 'mixed' : `${order}-${direction}`,
    readShare,
    requestBytes,
    sequentialShare,
    burstiness: 0,
    initiators: homeMember === member ? 1 : 0,
  };
}
