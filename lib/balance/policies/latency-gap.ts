/**
 * 'latency-gap': the rules of EqualLogic's Automatic Performance Load Balancer, as Dell's TR1070 (chapters 7 and 11) tells
 * them. A member whose mean latency is 20 ms or more above the lowest gives hot data to one with a low latency, one that
 * holds some of the volume first; where space is tight, cold data comes back for it. Members that are all low or all high
 * are left alone, and so is one whose load comes and goes.
 */
import type { VolumeLoad } from '../../load/vector.js';
import type { Measure } from '../contract.js';
import { timeInQueueMs } from '../model.js';
import { figure, type Rule, type RuleOf } from '../rule.js';
import type { MemberLoad, Standing } from '../standing.js';
import type { BalanceSettings } from '../settings.js';

/** Requests that vary by more than their mean from window to window: what is hot now may be cold when it has arrived. */
const THRASHING_BURSTINESS = 1;
/** Halvings of an interval: beyond a millionth of the requests nothing is to be gained. */
const BISECTIONS = 20;

export const latencyGapRule: RuleOf = (standing, settings) => new LatencyGap(standing, settings);

class LatencyGap implements Rule {
  readonly policy = 'latency-gap';
  readonly asksPayBack = false;
  readonly prefersHolders = true;
  private low = { moves: -1, level: 0 };

  constructor(
    private readonly standing: Standing,
    private readonly settings: BalanceSettings,
  ) {}

  /** The latency of its storage; 0 where nothing is served. */
  level(member: MemberLoad, requests = member.requests): number {
    return requests === 0 ? 0 : timeInQueueMs(member.demand.storageMs, requests);
  }

  measure(): Measure | null {
    const takers = this.takers();
    if (takers.length === 0) return null;
    const byLevel = (a: MemberLoad, b: MemberLoad): number => this.level(a) - this.level(b);
    const lowest = takers.reduce((best, member) => (byLevel(member, best) < 0 ? member : best));
    const highest = takers.reduce((worst, member) => (byLevel(member, worst) > 0 ? member : worst));
    return {
      name: `latency gap ${highest.name}-${lowest.name}, ms`,
      value: this.level(highest) - this.level(lowest),
      limit: this.settings.latencyGapMs,
    };
  }

  /** Once it gives, until half of the gap is left. */
  isOver(member: MemberLoad, hasBegun: boolean): boolean {
    const gap = this.settings.latencyGapMs * (hasBegun ? 0.5 : 1);
    const [level, lowest] = [this.level(member), this.lowest()];
    return member.requests > 0 && level - lowest >= gap && level > lowest;
  }

  isBusy(): boolean {
    return true;
  }

  /** A bit less than all: what is predicted is not exact, and turning the gap round would be thrashing. */
  ideal(from: MemberLoad, to: MemberLoad): number {
    return this.most(from, to) * 0.8;
  }

  most(from: MemberLoad, to: MemberLoad): number {
    let [low, high] = [0, from.requests];
    for (let i = 0; i < BISECTIONS; i++) {
      const middle = (low + high) / 2;
      const isFine = this.level(to, to.requests + middle) <= this.level(from, from.requests - middle);
      if (isFine) low = middle;
      else high = middle;
    }
    return low;
  }

  refuses({ pattern: { burstiness } }: VolumeLoad): string | null {
    return burstiness > THRASHING_BURSTINESS
      ? `its load comes and goes: burstiness ${figure(burstiness)}`
      : null;
  }

  /** Of a member that may take something. Asked for every member, and the same until a move is planned. */
  private lowest(): number {
    if (this.low.moves !== this.standing.moves) {
      const level = this.takers().reduce((low, member) => Math.min(low, this.level(member)), Infinity);
      this.low = { moves: this.standing.moves, level };
    }
    return this.low.level;
  }

  private takers(): readonly MemberLoad[] {
    return this.standing.members.filter(({ picture }) => picture.weight > 0);
  }
}
