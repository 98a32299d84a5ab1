/**
 * What policies differ in: whom they call loaded, and how much they would move. How candidates are found, what bars them
 * and what they cost is the same for all (search.ts, draft.ts).
 */
import type { VolumeLoad } from '../load/vector.js';
import type { BalanceSettings, POLICIES } from './settings.js';
import type { Measure } from './contract.js';
import type { MemberLoad, Standing } from './standing.js';

export interface Rule {
  /** For people: 'share', 'utilisation', 'latency'. */
  readonly policy: (typeof POLICIES)[number];
  /** How loaded a member is, or would be at so many requests a second; it grows with them. */
  level(member: MemberLoad, requests?: number): number;
  /** What the plan rests on: the worst member's figure. Null in a group without requests. */
  measure(): Measure | null;
  /** It has more than its part, whether or not it is busy. `hasBegun`: it is giving already (hysteresis). */
  isOver(member: MemberLoad, hasBegun: boolean): boolean;
  /** It is so busy that having more than its part matters. */
  isBusy(member: MemberLoad): boolean;
  /** Requests a second that should go from one to the other; 0: none. */
  ideal(from: MemberLoad, to: MemberLoad): number;
  /** More than these, and the destination would be more loaded than the source is then. */
  most(from: MemberLoad, to: MemberLoad): number;
  /** Whether a move has to win back what it costs. */
  readonly asksPayBack: boolean;
  /** Whether a member that holds some of the volume already comes before others. */
  readonly prefersHolders: boolean;
  /** Why a volume is no use to this rule, if it is not. */
  refuses(load: VolumeLoad): string | null;
}

/** Makes the rule for one plan. */
export type RuleOf = (standing: Standing, settings: BalanceSettings) => Rule;

const KiB = 1024;

/** '1.2 GiB' */
export function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const power = bytes < KiB ? 0 : Math.min(units.length - 1, Math.floor(Math.log(bytes) / Math.log(KiB)));
  return `${figure(bytes / KiB ** power)} ${units[power]}`;
}

/** Three digits are what a person compares. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return 'without end';
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

export function percent(share: number): string {
  return `${figure(share * 100)} %`;
}
