/** A plan in the making: what it has, what it looked at and left, and who may take what. */
import { ALTERNATIVES_MAX } from '../base/limits.js';
import type {
  Candidate,
  ExtentRange,
  GroupPicture,
  ProposedMove,
  RejectedMove,
  VolumePicture,
} from './contract.js';
import { payBackMs } from './cost.js';
import type { Rule } from './rule.js';
import type { BalanceSettings } from './settings.js';
import { requestsOf, type MemberLoad, type Standing } from './standing.js';

/** A move that is being looked at. */
export interface Option {
  readonly volume: VolumePicture;
  readonly extents: ExtentRange | null;
  readonly from: MemberLoad;
  readonly to: MemberLoad;
  readonly requests: number;
  readonly bytes: number;
  /** What comes back for it, first, where room is tight. */
  readonly exchange: Option | null;
}

export class Draft {
  readonly moves: ProposedMove[] = [];
  /** Something that would have helped may not be moved now. */
  isHeld = false;
  /** Not long ago: what they gave still cools. */
  readonly haveGiven: ReadonlySet<string>;
  private readonly rejected = new Map<string, RejectedMove>();
  private readonly taken = new Set<string>();
  private readonly alone = new Map<string, VolumePicture[]>();
  private readonly loads = new Map<string, ReadonlyMap<string, number>>();
  private receivers: readonly MemberLoad[] = [];
  private readonly receiversByLabels = new Map<string, readonly MemberLoad[]>();

  constructor(
    readonly picture: GroupPicture,
    readonly settings: BalanceSettings,
    readonly standing: Standing,
    readonly rule: Rule,
  ) {
    this.haveGiven = thoseWhoHaveGiven(picture);
    this.sortReceivers();
  }

  /** Moves that may still be started. */
  get budget(): number {
    return this.settings.movesMax - this.picture.movesUnderWay - this.moves.length;
  }

  /** Why no part of the volume can move now; null: it can. */
  barOf(volume: VolumePicture): string | null {
    if (this.taken.has(volume.name)) return 'another move of it is in this plan';
    if (volume.isMoving) return 'a move of it is under way';
    return volume.isPinned ? 'it is pinned' : null;
  }

  isCooling({ cooling }: VolumePicture): boolean {
    return cooling.some(({ untilMs }) => untilMs > this.picture.nowMs);
  }

  /** Who is to be empty takes nothing, nor does who could not take what was sent to it lately. */
  takes({ picture: { weight, restsUntilMs = 0 } }: MemberLoad): boolean {
    return weight > 0 && restsUntilMs <= this.picture.nowMs;
  }

  /** Who may take the volume by the labels: the least loaded first. */
  receiversFor(volume: VolumePicture): readonly MemberLoad[] {
    const labels = JSON.stringify(volume.labels);
    if (labels === '{}') return this.receivers;
    let receivers = this.receiversByLabels.get(labels);
    if (receivers === undefined) {
      receivers = this.receivers.filter((member) => fits(volume, member));
      this.receiversByLabels.set(labels, receivers);
    }
    return receivers;
  }

  /** Volumes whose extents are all held by the member, the smallest first. */
  heldAloneBy(member: string): readonly VolumePicture[] {
    if (this.alone.size === 0) {
      for (const volume of this.picture.volumes.values()) {
        const [holder] = volume.holders.keys();
        if (volume.holders.size !== 1 || holder === undefined) continue;
        const volumes = this.alone.get(holder);
        if (volumes === undefined) this.alone.set(holder, [volume]);
        else volumes.push(volume);
      }
      for (const volumes of this.alone.values())
        volumes.sort((a, b) => a.usedBytes - b.usedBytes || byName(a, b));
    }
    return this.alone.get(member) ?? [];
  }

  /** Requests a second for the volume at the member, as far as it told. */
  requestsAt({ name, vector }: MemberLoad, volume: VolumePicture): number {
    let loads = this.loads.get(name);
    if (loads === undefined) {
      loads = new Map(vector.volumes.map((load) => [load.volume, requestsOf(load)]));
      this.loads.set(name, loads);
    }
    return loads.get(volume.name) ?? 0;
  }

  candidateOf(option: Option): Candidate {
    const { volume, extents, from, to, requests, bytes, exchange } = option;
    const net = requests - (exchange?.requests ?? 0);
    const latencyMsAfter = this.standing.latencyMsAfter(from, to, net);
    const allBytes = bytes + (exchange?.bytes ?? 0);
    return {
      volume: volume.name,
      extents,
      from: from.name,
      to: to.name,
      requestsPerSecond: requests,
      bytes,
      predicted: {
        measure: this.rule.level(from, from.requests - net),
        latencyMsBefore: this.standing.latencyMs,
        latencyMsAfter,
        payBackMs: payBackMs(this.standing, from, to, allBytes, latencyMsAfter),
      },
    };
  }

  take(option: Option, candidate: Candidate, reason: string, after: string | null = null): void {
    const { volume, from, to, requests, bytes } = option;
    this.moves.push({ ...candidate, reason, after });
    this.taken.add(volume.name);
    this.standing.shift(from, to, requests, bytes);
    this.sortReceivers();
  }

  /** Keeps the candidate among those that were not taken; of one volume the last word counts. */
  reject(candidate: Candidate, because: string): void {
    this.rejected.set(`${candidate.from} ${candidate.volume}`, { ...candidate, because });
    if (this.rejected.size > 8 * ALTERNATIVES_MAX) this.forgetLeast();
  }

  /** The best of what was not taken. */
  alternatives(): RejectedMove[] {
    return [...this.rejected.values()]
      .filter(({ volume }) => !this.taken.has(volume))
      .sort(byRequests)
      .slice(0, ALTERNATIVES_MAX);
  }

  private forgetLeast(): void {
    const kept = [...this.rejected].sort(([, a], [, b]) => byRequests(a, b)).slice(0, 2 * ALTERNATIVES_MAX);
    this.rejected.clear();
    for (const [key, move] of kept) this.rejected.set(key, move);
  }

  private sortReceivers(): void {
    this.receiversByLabels.clear();
    const level = new Map(this.standing.members.map((member) => [member, this.rule.level(member)]));
    this.receivers = this.standing.members
      .filter((member) => this.takes(member))
      .sort((a, b) => (level.get(a) as number) - (level.get(b) as number) || byName(a, b));
  }
}

/** A volume with a label goes to members where it has the same value, and to those that do not have the label. */
export function fits(volume: VolumePicture, member: MemberLoad): boolean {
  const own = member.picture.labels;
  return Object.entries(volume.labels).every(
    ([label, value]) => !Object.hasOwn(own, label) || own[label] === value,
  );
}

export function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

function byRequests(a: Candidate, b: Candidate): number {
  return b.requestsPerSecond - a.requestsPerSecond || (a.volume < b.volume ? -1 : 1);
}

/** Members whose gifts are still cooling. */
function thoseWhoHaveGiven({ volumes, nowMs }: GroupPicture): ReadonlySet<string> {
  const givers = new Set<string>();
  for (const { cooling } of volumes.values()) {
    for (const { from, untilMs } of cooling) if (from !== undefined && untilMs > nowMs) givers.add(from);
  }
  return givers;
}
