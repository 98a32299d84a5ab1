/**
 * How the members stand while a plan is made: what each serves now, and after the moves that the plan already has. Only
 * members with a fresh vector are in it: of the others nothing is known that could be acted on.
 */
import { requestsPerSecond, type LoadVector, type VolumeLoad } from '../load/vector.js';
import type { CoolingRun, ExtentRange, GroupPicture, MemberPicture, VolumePicture } from './contract.js';
import { demandsOf, responseMs, utilisationAt, type Demand } from './model.js';
import type { BalanceSettings } from './settings.js';

export interface MemberLoad {
  readonly name: string;
  readonly picture: MemberPicture;
  readonly vector: LoadVector;
  /** When the window of the vector began, of the picture's clock. */
  readonly begunMs: number;
  readonly demand: Demand;
  /** The same as a plan counts it: a member of half the weight is to be half as busy, as if it were half as fast. */
  readonly weighted: Demand;
  /** A second, with the moves of the plan. */
  requests: number;
  freeBytes: number;
}

export class Standing {
  /** By name. */
  readonly members: readonly MemberLoad[];
  readonly requests: number;
  private readonly byName: ReadonlyMap<string, MemberLoad>;
  /** Moves that are counted: levels are the same until it changes. */
  moves = 0;
  private readonly settling: ReadonlySet<string>;
  /** Milliseconds that requests spend in the group in a second. */
  private spentMs: number;

  constructor(picture: GroupPicture, { coolDownMs }: Pick<BalanceSettings, 'coolDownMs'>) {
    this.members = freshMembers(picture);
    this.byName = new Map(this.members.map((member) => [member.name, member]));
    this.settling = settlingMembers(picture, coolDownMs, this.byName);
    this.countMovesUnderWay(picture, coolDownMs);
    this.requests = this.members.reduce((sum, { requests }) => sum + requests, 0);
    this.spentMs = this.members.reduce((sum, member) => sum + spent(member, member.requests), 0);
  }

  member(name: string): MemberLoad | undefined {
    return this.byName.get(name);
  }

  /**
   * In its last window extents came to it or left it, or do now: what it measured is of the copy as well, and of before.
   * Initiators who waited at a member that was full ask for more as soon as some of it is elsewhere, so that what moves
   * next is better decided a whole window later.
   */
  isSettling({ name }: MemberLoad): boolean {
    return this.settling.has(name);
  }

  /** The mean over all requests of the group, members of less weight counted as slower ones. */
  get latencyMs(): number {
    return this.requests === 0 ? 0 : this.spentMs / this.requests;
  }

  /** The mean when `requests` a second have gone from one to the other. */
  latencyMsAfter(from: MemberLoad, to: MemberLoad, requests: number): number {
    return this.requests === 0 ? 0 : (this.spentMs + changeMs(from, to, requests)) / this.requests;
  }

  /** Counts a move of the plan. */
  shift(from: MemberLoad, to: MemberLoad, requests: number, bytes: number): void {
    this.moves++;
    this.spentMs += changeMs(from, to, requests);
    from.requests = Math.max(0, from.requests - requests);
    to.requests += requests;
    // What the source gets back it has only when the move is done: not counted.
    to.freeBytes -= bytes;
  }

  /**
   * Vectors are older than routes: what a member says of what has gone in its window, or is about to, is the new holder's.
   * Requests of both windows add up, since each has its part of the time.
   */
  private countMovesUnderWay({ volumes }: GroupPicture, coolDownMs: number): void {
    for (const from of this.members) {
      for (const load of from.vector.volumes) {
        const volume = volumes.get(load.volume);
        if (volume === undefined) continue;
        for (const gone of goneFrom(from, volume, load, coolDownMs)) {
          if (gone.requests === 0 || gone.to === from.name) continue;
          from.requests = Math.max(0, from.requests - gone.requests);
          const to = gone.to === null ? undefined : this.byName.get(gone.to);
          if (to !== undefined) to.requests += gone.requests;
        }
      }
    }
  }
}

export function requestsOf(load: VolumeLoad): number {
  return load.readsPerSecond + load.writesPerSecond;
}

export function utilisationOf({ demand, requests }: MemberLoad): number {
  return utilisationAt(demand, requests);
}

function freshMembers(picture: GroupPicture): MemberLoad[] {
  const fresh = picture.members
    .filter(({ isFresh, vector }) => isFresh && vector !== null)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const vectors = fresh.map(({ vector }) => vector as LoadVector);
  const demands = demandsOf(vectors);
  const heaviest = fresh.reduce((most, { weight }) => Math.max(most, weight), 0);
  return fresh.map((member, index) => {
    const vector = vectors[index] as LoadVector;
    const demand = demands[index] as Demand;
    return {
      name: member.name,
      picture: member,
      vector,
      begunMs: picture.nowMs - member.ageMs - vector.windowMs,
      demand,
      weighted: weightedDemand(demand, member.weight, heaviest),
      requests: requestsPerSecond(vector),
      freeBytes: member.freeBytes,
    };
  });
}

/** Of weight 0 no work is fair, so there is nothing to relate it to. */
function weightedDemand({ storageMs, loopMs }: Demand, weight: number, heaviest: number): Demand {
  const factor = weight === 0 ? 1 : heaviest / weight;
  return { storageMs: storageMs * factor, loopMs: loopMs * factor };
}

interface Gone {
  readonly requests: number;
  /** Null: to several. */
  readonly to: string | null;
}

/** What `load` says of the member that is another's by now, or is about to be. */
function goneFrom(
  { name: from, begunMs }: MemberLoad,
  volume: VolumePicture,
  load: VolumeLoad,
  coolDownMs: number,
): Gone[] {
  if (volume.isMoving && volume.underWay !== undefined) {
    const { extents, to } = volume.underWay;
    return [{ requests: requestsWithin(volume, load, from, extents), to }];
  }
  if (!volume.holders.has(from)) {
    const [only] = volume.holders.keys();
    return [{ requests: requestsOf(load), to: volume.holders.size === 1 ? (only ?? null) : null }];
  }
  return volume.cooling
    .filter((run) => run.from === from && movedAtMs(run, coolDownMs) > begunMs)
    .map((run) => ({ requests: requestsWithin(volume, load, from, run), to: holderOf(volume, run.first) }));
}

function movedAtMs(run: CoolingRun, coolDownMs: number): number {
  return run.movedAtMs ?? run.untilMs - coolDownMs;
}

/**
 * Both members of a move, until each of them has told of a whole window after it: of what has gone, who has told earlier
 * says too much and the other too little, or the other way round, and neither is to be compared with the rest.
 */
function settlingMembers(
  { volumes }: GroupPicture,
  coolDownMs: number,
  members: ReadonlyMap<string, MemberLoad>,
): ReadonlySet<string> {
  const settling = new Set<string>();
  const earliestMs = [...members.values()].reduce((least, { begunMs }) => Math.min(least, begunMs), Infinity);
  for (const volume of volumes.values()) {
    const { underWay, cooling } = volume;
    if (underWay !== undefined) {
      settling.add(underWay.to);
      for (const holder of volume.holders.keys()) settling.add(holder);
    }
    for (const run of cooling) {
      const movedMs = movedAtMs(run, coolDownMs);
      if (movedMs <= earliestMs) continue;
      const both = [run.from, holderOf(volume, run.first)].filter((name) => typeof name === 'string');
      if (!both.some((name) => movedMs > (members.get(name)?.begunMs ?? -Infinity))) continue;
      for (const name of both) settling.add(name);
    }
  }
  return settling;
}

function holderOf(volume: VolumePicture, extent: number): string | null {
  return volume.runs().find(({ first, last }) => first <= extent && extent <= last)?.holder ?? null;
}

/** The hot ones that are in it, and of the rest as much as it has of the extents held there. */
function requestsWithin(
  volume: VolumePicture,
  load: VolumeLoad,
  holder: string,
  range: ExtentRange | null,
): number {
  const all = requestsOf(load);
  if (range === null) return all;
  let [hot, inside] = [0, 0];
  for (const [extent, requests] of load.hot) {
    hot += requests;
    if (extent >= range.first && extent <= range.last) inside += requests;
  }
  // As many as it held when it measured, with those that have gone since.
  const extents = range.last - range.first + 1;
  const part = extents / Math.max(extents, volume.holders.get(holder) ?? 0);
  return Math.min(all, inside + Math.max(0, all - hot) * part);
}

function spent({ weighted }: MemberLoad, requests: number): number {
  return requests * responseMs(weighted, requests);
}

function changeMs(from: MemberLoad, to: MemberLoad, requests: number): number {
  const left = Math.max(0, from.requests - requests);
  return (
    spent(from, left) -
    spent(from, from.requests) +
    spent(to, to.requests + requests) -
    spent(to, to.requests)
  );
}
