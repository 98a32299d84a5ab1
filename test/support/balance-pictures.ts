/** Groups for planners: volumes with a heat for every extent, members that serve them as queues do, and plans applied. */
import type { CoolingRun, ExtentRun, GroupPicture, Plan, VolumePicture } from '../../lib/balance/contract.js';
import type { LoadVector, VolumeLoad } from '../../lib/load/vector.js';
import { HOT_EXTENTS_MAX, LOADED_VOLUMES_MAX } from '../../lib/base/limits.js';

const MiB = 1024 * 1024;
export const GiB = 1024 * MiB;

export interface TestMember {
  readonly name: string;
  /** What a request asks of the storage and of the loop. */
  readonly storageMs: number;
  readonly loopMs: number;
  readonly weight: number;
  readonly capacityBytes: number;
  readonly labels: Record<string, string>;
  readonly isFresh: boolean;
  readonly ageMs: number;
  readonly restsUntilMs?: number | undefined;
}

export interface TestVolume {
  readonly name: string;
  home: string;
  readonly extentBytes: number;
  readonly usedBytes: number;
  /** Requests per second of each extent. */
  heat: number[];
  readonly holders: string[];
  readonly isPinned: boolean;
  readonly isMoving: boolean;
  readonly underWay?: VolumePicture['underWay'];
  readonly labels: Record<string, string>;
  readonly burstiness: number;
  cooling: CoolingRun[];
}

/** One of three alike, with room for everything: 1 ms of storage and 0.01 ms of the loop a request. */
export function member(name: string, given: Partial<TestMember> = {}): TestMember {
  return {
    name,
    storageMs: 1,
    loopMs: 0.01,
    weight: 1,
    capacityBytes: 1024 * GiB,
    labels: {},
    isFresh: true,
    ageMs: 0,
    ...given,
  };
}

/** 64 extents of 4 MiB, all at `home`; `requests` a second over them evenly unless `heat` says otherwise. */
export function volume(
  name: string,
  home: string,
  requests: number,
  given: Partial<TestVolume> = {},
): TestVolume {
  const heat = given.heat ?? Array.from({ length: 64 }, () => requests / 64);
  return {
    name,
    home,
    extentBytes: 4 * MiB,
    usedBytes: heat.length * 4 * MiB,
    isPinned: false,
    isMoving: false,
    labels: {},
    burstiness: 0.1,
    ...given,
    // A copy: apply() adds to it.
    cooling: [...(given.cooling ?? [])],
    heat,
    holders: given.holders ?? heat.map(() => home),
  };
}

/** `total` over `count`, the k-th as much as the first by k to the exponent. */
export function zipf(count: number, total: number, exponent = 1): number[] {
  const parts = Array.from({ length: count }, (_, index) => 1 / (index + 1) ** exponent);
  const sum = parts.reduce((a, b) => a + b, 0);
  return parts.map((part) => (part / sum) * total);
}

/** The picture as members with fresh vectors of `windowMs` would have it. */
export function picture(
  members: readonly TestMember[],
  volumes: readonly TestVolume[],
  { nowMs = 0, windowMs = 30_000, movesUnderWay = 0 } = {},
): GroupPicture {
  const loads = loadsByMember(members, volumes);
  const used = usedByMember(volumes);
  return {
    nowMs,
    movesUnderWay,
    members: members.map((one) => ({
      name: one.name,
      vector: vectorOf(one, loads.get(one.name) ?? [], windowMs),
      ageMs: one.ageMs,
      isFresh: one.isFresh,
      weight: one.weight,
      freeBytes: Math.max(0, one.capacityBytes - (used.get(one.name) ?? 0)),
      labels: one.labels,
      restsUntilMs: one.restsUntilMs,
    })),
    volumes: new Map(volumes.map((one) => [one.name, volumePicture(one)])),
  };
}

/** As if all moves of the plan were done in an instant; what has moved cools until `untilMs`. */
export function apply(plan: Plan, volumes: readonly TestVolume[], untilMs: number): void {
  for (const { volume: name, extents, from, to } of plan.moves) {
    const moved = volumes.find((one) => one.name === name);
    if (moved === undefined) throw new Error(`there is no volume ${name}`);
    const { first, last } = extents ?? { first: 0, last: moved.heat.length - 1 };
    moved.holders.fill(to, first, last + 1);
    if (extents === null) moved.home = to;
    moved.cooling.push({ first, last, untilMs, from });
  }
}

export function requestsByMember(
  members: readonly { readonly name: string }[],
  volumes: readonly TestVolume[],
): Map<string, number> {
  const sums = new Map(members.map(({ name }) => [name, 0]));
  for (const { heat, holders } of volumes) {
    heat.forEach((requests, extent) => {
      const holder = holders[extent] as string;
      sums.set(holder, (sums.get(holder) ?? 0) + requests);
    });
  }
  return sums;
}

/** How busy the most loaded is, over the mean: 1 is balanced. Members count by their speed. */
export function imbalance(members: readonly TestMember[], volumes: readonly TestVolume[]): number {
  const requests = requestsByMember(members, volumes);
  const capacity = (one: TestMember): number => one.weight / Math.max(one.storageMs, one.loopMs);
  const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
  const fair = sum([...requests.values()]) / sum(members.map(capacity));
  return Math.max(...members.map((one) => (requests.get(one.name) as number) / (fair * capacity(one))));
}

function volumePicture(one: TestVolume): VolumePicture {
  const holders = new Map<string, number>();
  for (const holder of one.holders) holders.set(holder, (holders.get(holder) ?? 0) + 1);
  return {
    name: one.name,
    home: one.home,
    extents: one.heat.length,
    extentBytes: one.extentBytes,
    usedBytes: one.usedBytes,
    holders,
    isPinned: one.isPinned,
    labels: one.labels,
    isMoving: one.isMoving,
    underWay: one.underWay,
    cooling: one.cooling,
    runs: () => runsOf(one.holders),
  };
}

function runsOf(holders: readonly string[]): ExtentRun[] {
  const runs: { first: number; last: number; holder: string }[] = [];
  holders.forEach((holder, extent) => {
    const run = runs.at(-1);
    if (run?.holder === holder) run.last = extent;
    else runs.push({ first: extent, last: extent, holder });
  });
  return runs;
}

/** [volume, requests by extent] of what each member serves. */
type Served = { readonly volume: TestVolume; readonly extents: [number, number][] };

function loadsByMember(
  members: readonly TestMember[],
  volumes: readonly TestVolume[],
): Map<string, Served[]> {
  const served = new Map<string, Served[]>(members.map(({ name }) => [name, []]));
  for (const one of volumes) {
    const own = new Map<string, [number, number][]>();
    one.holders.forEach((holder, extent) => {
      const requests = one.heat[extent] as number;
      if (requests === 0) return;
      const extents = own.get(holder);
      if (extents === undefined) own.set(holder, [[extent, requests]]);
      else extents.push([extent, requests]);
    });
    for (const [holder, extents] of own) served.get(holder)?.push({ volume: one, extents });
  }
  return served;
}

function usedByMember(volumes: readonly TestVolume[]): Map<string, number> {
  const used = new Map<string, number>();
  for (const { holders, usedBytes } of volumes) {
    for (const holder of holders) used.set(holder, (used.get(holder) ?? 0) + usedBytes / holders.length);
  }
  return used;
}

function vectorOf(one: TestMember, served: readonly Served[], windowMs: number): LoadVector {
  const volumes = served.map(({ volume: { name, burstiness }, extents }) =>
    volumeLoad(name, burstiness, extents),
  );
  volumes.sort((a, b) => b.readsPerSecond - a.readsPerSecond);
  const requests = volumes.reduce((sum, { readsPerSecond }) => sum + readsPerSecond, 0);
  const utilisation = (requests * one.storageMs) / 1000;
  const meanMs = requests === 0 ? 0 : one.storageMs / (1 - Math.min(0.98, utilisation));
  return {
    member: one.name,
    incarnation: 'a',
    sequence: 1,
    measuredAtMs: 0,
    windowMs,
    server: {
      processors: 0.5,
      loopBusy: Math.min(1, (requests * one.loopMs) / 1000),
      loopDelayMsP99: 1,
      sessions: 0,
      bytesIn: 0,
      bytesOut: 0,
      roundTripMs: {},
    },
    storage: {
      readsPerSecond: requests,
      writesPerSecond: 0,
      readBytesPerSecond: requests * 4096,
      writeBytesPerSecond: 0,
      queueDepth: (requests * meanMs) / 1000,
      serviceMs: { mean: meanMs, p50: meanMs, p99: meanMs * 4 },
      usedBytes: 0,
      freeBytes: 0,
    },
    volumes: volumes.slice(0, LOADED_VOLUMES_MAX).map((load) => ({ ...load, serviceMs: meanMs })),
  };
}

function volumeLoad(name: string, burstiness: number, extents: [number, number][]): VolumeLoad {
  const requests = extents.reduce((sum, [, own]) => sum + own, 0);
  const hot = [...extents].sort(([a, x], [b, y]) => y - x || a - b).slice(0, HOT_EXTENTS_MAX);
  return {
    volume: name,
    readsPerSecond: requests,
    writesPerSecond: 0,
    readBytesPerSecond: requests * 4096,
    writeBytesPerSecond: 0,
    serviceMs: 0,
    pattern: {
      kind: 'random-read',
      readShare: 1,
      requestBytes: 4096,
      sequentialShare: 0,
      burstiness,
      initiators: 1,
    },
    hot,
  };
}
