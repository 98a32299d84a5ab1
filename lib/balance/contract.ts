/**
 * What a planner sees and what it says. A planner is a pure function: the same picture and settings give the same plan,
 * in a member, in the simulator and in a test. It moves nothing (member/balancer.ts does) and measures nothing (load/).
 */
import type { LoadVector } from '../load/vector.js';
import type { BalanceSettings } from './settings.js';

export interface MemberPicture {
  readonly name: string;
  /** Null: nothing is known of it yet. */
  readonly vector: LoadVector | null;
  /** Since the vector's window ended: what it tells is of the time from `ageMs + windowMs` ago to `ageMs` ago. */
  readonly ageMs: number;
  /** The vector is young enough to be acted on. A member whose vector is not gives nothing and takes nothing. */
  readonly isFresh: boolean;
  /** What it can serve beside the others, 1 unless it was set; 0: it takes nothing, and what it has goes. */
  readonly weight: number;
  /** Room for what comes, after what is on its way there. */
  readonly freeBytes: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Copies to it have failed: until then, of the picture's clock, it takes nothing. */
  readonly restsUntilMs?: number | undefined;
}

export interface ExtentRange {
  /** Both included. */
  readonly first: number;
  readonly last: number;
}

export interface ExtentRun extends ExtentRange {
  readonly holder: string;
}

export interface CoolingRun extends ExtentRange {
  /** It stays until then, of the picture's clock. */
  readonly untilMs: number;
  /** When it moved, where that is not a cool-down before `untilMs`: what has failed again and again stays for longer. */
  readonly movedAtMs?: number | undefined;
  /**
   * Who gave it away to be less loaded (leave it out for moves that people asked for). As long as a gift of its cools, a
   * member goes on giving down to `shareLow`: this is the hysteresis, which a pure function could not remember.
   */
  readonly from?: string | undefined;
}

export interface VolumePicture {
  readonly name: string;
  readonly home: string;
  readonly extents: number;
  readonly extentBytes: number;
  /** Bytes that a move of all of it would have to copy: holes are free. */
  readonly usedBytes: number;
  /** Extents held by each member that holds any. */
  readonly holders: ReadonlyMap<string, number>;
  /** Must stay where it is. */
  readonly isPinned: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** A move of it is under way: it cannot be moved now. */
  readonly isMoving: boolean;
  /** Where the move under way takes it, if it is known: the planner counts its load there already. */
  readonly underWay?: { readonly extents: ExtentRange | null; readonly to: string } | undefined;
  /** Runs of extents that have moved not long ago. */
  readonly cooling: readonly CoolingRun[];
  /** The route, in order, covering every extent once. Asked only for volumes that are about to be split. */
  runs(): readonly ExtentRun[];
}

/** A group at one moment. */
export interface GroupPicture {
  readonly nowMs: number;
  readonly members: readonly MemberPicture[];
  readonly volumes: ReadonlyMap<string, VolumePicture>;
  /** Moves under way, whoever asked for them. */
  readonly movesUnderWay: number;
}

/** What a decision rests on: a figure, and the limit that it was held against. */
export interface Measure {
  /** Such as 'share of m1', 'latency gap m1-m3', 'utilisation of m2'. */
  readonly name: string;
  readonly value: number;
  readonly limit: number;
}

/** One move that a planner looked at. */
export interface Candidate {
  readonly volume: string;
  /** Null: the whole volume, its home included. */
  readonly extents: ExtentRange | null;
  readonly from: string;
  readonly to: string;
  /** Requests a second that go along. */
  readonly requestsPerSecond: number;
  readonly bytes: number;
  /** What it is expected to do; of the same unit for all candidates of a plan (its policy says which). */
  readonly predicted: {
    /** How loaded the source is after the move, as the policy counts it: 'share', 'heat': its part over its fair part;
     *  'latency-gap': its mean latency in milliseconds. */
    readonly measure: number;
    /** Mean response time over the group's requests, before and after, loop and storage together. Where weights differ, a
     *  member of less weight counts as a slower one. */
    readonly latencyMsBefore: number;
    readonly latencyMsAfter: number;
    /** Until the time won pays for the time that the copy costs; Infinity: never. */
    readonly payBackMs: number;
  };
}

export interface ProposedMove extends Candidate {
  /** One line for people. */
  readonly reason: string;
  /**
   * The volume of an earlier move of this plan that makes room for this one: not to be started before that is done. Who
   * does not wait leaves it out; the next plan proposes it again.
   */
  readonly after: string | null;
}

/** A candidate that was not taken, and why in a few words. */
export interface RejectedMove extends Candidate {
  readonly because: string;
}

export type Verdict =
  /** There is something to do: `moves`. */
  | 'act'
  /** Nothing is out of proportion. */
  | 'balanced'
  /** It is, but nobody has so much to do that it would matter. */
  | 'idle'
  /** Too little is known, or it is too old. */
  | 'stale'
  /** The budget of moves is spent. */
  | 'busy'
  /** What would help has moved not long ago, is pinned, or has no room. */
  | 'held'
  /** Nothing would help enough for what it costs. */
  | 'no-gain'
  /** The policy does nothing. */
  | 'off';

export interface Plan {
  readonly verdict: Verdict;
  /** Null where nothing could be measured. */
  readonly measure: Measure | null;
  /** The verdict in one line, with figures. */
  readonly reason: string;
  readonly moves: readonly ProposedMove[];
  /** The best of what was not taken, at most ALTERNATIVES_MAX. */
  readonly alternatives: readonly RejectedMove[];
}

/** One way to decide. */
export type Policy = (picture: GroupPicture, settings: BalanceSettings) => Plan;
