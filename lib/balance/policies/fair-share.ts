/**
 * Each member its fair part of the requests, by what it can serve: the ground of 'share' and 'heat'. A member's level is
 * its part over its fair part, so 1 is fair for everybody.
 */
import type { Measure } from '../contract.js';
import type { Rule } from '../rule.js';
import { utilisationOf, type MemberLoad, type Standing } from '../standing.js';
import type { BalanceSettings } from '../settings.js';

/** Levels that differ by less are the same one, in numbers that are not exact. */
const LEVEL_GRAIN = 1e-9;

export class FairShare implements Rule {
  readonly prefersHolders = false;
  private readonly capacities: ReadonlyMap<MemberLoad, number>;
  /** Requests a second for each unit of capacity, were all equally loaded. */
  private readonly fair: number;

  /** @param capacityOf in any unit: what counts is its relation between members */
  constructor(
    readonly policy: 'share' | 'heat',
    readonly asksPayBack: boolean,
    private readonly standing: Standing,
    private readonly settings: BalanceSettings,
    capacityOf: (member: MemberLoad) => number,
  ) {
    this.capacities = new Map(standing.members.map((member) => [member, capacityOf(member)]));
    const all = [...this.capacities.values()].reduce((sum, capacity) => sum + capacity, 0);
    this.fair = all === 0 ? 0 : standing.requests / all;
  }

  level(member: MemberLoad, requests = member.requests): number {
    const fair = this.fair * this.capacityOf(member);
    return fair === 0 ? 0 : requests / fair;
  }

  measure(): Measure | null {
    const worst = this.standing.members
      .filter(({ picture }) => picture.weight > 0)
      .reduce<MemberLoad | null>(
        (most, member) => (most === null || this.level(member) > this.level(most) ? member : most),
        null,
      );
    if (worst === null || this.standing.requests === 0) return null;
    const name = this.policy === 'share' ? 'share' : 'load';
    return {
      name: `${name} of ${worst.name} over its fair one`,
      value: this.level(worst),
      limit: this.settings.shareHigh,
    };
  }

  isOver(member: MemberLoad, hasBegun: boolean): boolean {
    const { shareHigh, shareLow } = this.settings;
    return this.level(member) > (hasBegun ? Math.min(shareLow, shareHigh) : shareHigh) + LEVEL_GRAIN;
  }

  isBusy(member: MemberLoad): boolean {
    return utilisationOf(member) >= this.settings.busyMin;
  }

  /** Down to the source's fair part; up to half of what is still counted as fair at the destination. */
  ideal(from: MemberLoad, to: MemberLoad): number {
    const excess = from.requests - this.fair * this.capacityOf(from);
    const full = this.fair * this.capacityOf(to) * ((1 + this.settings.shareLow) / 2);
    return Math.max(0, Math.min(excess, full - to.requests, this.most(from, to)));
  }

  /** (a - r) / A = (b + r) / B */
  most(from: MemberLoad, to: MemberLoad): number {
    const [a, b] = [this.capacityOf(from), this.capacityOf(to)];
    return a + b === 0 ? 0 : Math.max(0, (from.requests * b - to.requests * a) / (a + b));
  }

  refuses(): null {
    return null;
  }

  private capacityOf(member: MemberLoad): number {
    return this.capacities.get(member) ?? 0;
  }
}
