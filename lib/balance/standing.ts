/**
 * How the members stand while a plan is made: what each serves now, and after the moves that the plan already has. Only
 * members with a fresh vector are in it: of the others nothing is known that could be acted on.
 */
import { requestsPerSecond, type LoadVector, type VolumeLoad } from '../load/vector.js';
import type { ExtentRange, GroupPicture, MemberPicture, VolumePicture } from './contract.js';
import { demandsOf, responseMs, utilisationAt, type Demand } from './model.js';

export interface MemberLoad {
  readonly name: string;
  readonly picture: MemberPicture;
  readonly vector: LoadVector;
  readonly demand: Demand;
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
  /** Milliseconds that requests spend in the group in a second. */
  private spentMs: number;

  constructor(picture: GroupPicture) {
    this.members = freshMembers(picture);
    this.byName = new Map(this.members.map((member) => [member.name, member]));
    this.countMovesUnderWay(picture);
    this.requests = this.members.reduce((sum, { requests }) => sum + requests, 0);
    this.spentMs = this.members.reduce((sum, member) => sum + spent(member, member.requests), 0);
  }

  member(name: string): MemberLoad | undefined {
    return this.byName.get(name);
  }

  /** The mean over all requests of the group. */
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
   * Vectors are older than routes: what a member says of a volume that has gone, or is about to, is the new holder's.
   * Requests of both windows add up, since each has its part of the time.
   */
  private countMovesUnderWay({ volumes }: GroupPicture): void {
    for (const from of this.members) {
      for (const load of from.vector.volumes) {
        const volume = volumes.get(load.volume);
        if (volume === undefined) continue;
        const gone = goneFrom(from.name, volume, load);
        if (gone.requests === 0 || gone.to === from.name) continue;
        from.requests = Math.max(0, from.requests - gone.requests);
        const to = gone.to === null ? undefined : this.byName.get(gone.to);
        if (to !== undefined) to.requests += gone.requests;
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
  return fresh.map((member, index) => {
    const vector = vectors[index] as LoadVector;
    const demand = demands[index] as Demand;
    return {
      name: member.name,
      picture: member,
      vector,
      demand,
      requests: requestsPerSecond(vector),
      freeBytes: member.freeBytes,
    };
  });
}

const NOTHING = { requests: 0, to: null };

function goneFrom(
  from: string,
  volume: VolumePicture,
  load: VolumeLoad,
): { requests: number; to: string | null } {
  if (volume.isMoving && volume.underWay !== undefined) {
    return { requests: requestsWithin(volume, load, from, volume.underWay.extents), to: volume.underWay.to };
  }
  if (volume.holders.has(from)) return NOTHING;
  const [only] = volume.holders.keys();
  return { requests: requestsOf(load), to: volume.holders.size === 1 ? (only ?? null) : null };
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
  const held = Math.max(1, volume.holders.get(holder) ?? 0);
  const part = Math.min(1, (range.last - range.first + 1) / held);
  return Math.min(all, inside + Math.max(0, all - hot) * part);
}

function spent({ demand }: MemberLoad, requests: number): number {
  return requests * responseMs(demand, requests);
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
