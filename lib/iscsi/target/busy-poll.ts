/**
 * The busy poll: after activity the event loop keeps turning (setImmediate) for a while before it may sleep in epoll, since
 * being woken takes longer than a command: 20 µs on a machine of its own, 100 µs and more on a virtual one. At small queue
 * depths that is what an initiator sees. It is bounded in time and in turns, and nothing runs when idle.
 *
 *     always          SHORT_US after the last activity
 *     while it pays   up to the longest: while who comes after SHORT_US has mostly come in that time
 *
 * What it polls beyond SHORT_US counts as idle (spareMs): a member that waits for one initiator at depth 1 is not a busy
 * one. Others who want the processor meanwhile get it from the kernel.
 */
import type { Clock } from '../../base/clock.js';

const SHORT_US = 50;
/** Longer than a virtual machine takes to wake an initiator that answers at once. */
const LONGEST_US = 300;
/** So that a clock that stands still cannot keep the loop turning. */
const TURNS_MAX = 16_384;
/** A turn is empty for as much of it as this many times the shortest; beyond that it had something to do. */
const EMPTY_TURNS = 2;
/** Long polls are made from this many points on. Somebody whom only a long one finds gives one, one in vain costs four. */
const PAYS_FROM = 16;
const POINTS_MAX = 32;
const IN_VAIN_POINTS = 4;

export class BusyPoll {
  /** Ever, in milliseconds. */
  spareMs = 0;
  private readonly longestMs: number;
  private readonly shortMs: number;
  private points = PAYS_FROM;
  private activeMs = -Infinity;
  private untilMs = 0;
  private turnedMs = 0;
  private shortestTurnMs = Infinity;
  private turns = 0;
  private turning = false;
  private isLong = false;
  private readonly turn = (): void => {
    const nowMs = this.clock.nowMs();
    this.turns += 1;
    this.turned(nowMs);
    if (this.turns < TURNS_MAX && nowMs < this.untilMs) this.soon(this.turn);
    else this.ended();
  };

  /**
   * @param longestUs 0: never
   * @param soon calls back in the next turn of the loop
   */
  constructor(
    private readonly clock: Clock,
    longestUs = LONGEST_US,
    private readonly soon: (callback: () => void) => void = setImmediate,
  ) {
    this.longestMs = longestUs / 1000;
    this.shortMs = Math.min(SHORT_US, longestUs) / 1000;
  }

  /** Called once for each socket read. */
  activity(): void {
    if (this.longestMs === 0) return;
    const nowMs = this.clock.nowMs();
    const gapMs = nowMs - this.activeMs;
    // Where the loop had gone to sleep, the gap has its waking in it: who is late by that may well be in time without.
    if (gapMs > this.shortMs && gapMs < 2 * this.longestMs)
      this.points = Math.min(this.points + 1, POINTS_MAX);
    this.isLong = this.points >= PAYS_FROM && this.longestMs > this.shortMs;
    this.activeMs = nowMs;
    this.untilMs = nowMs + (this.isLong ? this.longestMs : this.shortMs);
    this.turns = 0;
    if (this.turning) return;
    this.turning = true;
    this.turnedMs = nowMs;
    this.soon(this.turn);
  }

  private turned(nowMs: number): void {
    const lastedMs = nowMs - this.turnedMs;
    this.turnedMs = nowMs;
    if (lastedMs > 0 && lastedMs < this.shortestTurnMs) this.shortestTurnMs = lastedMs;
    const isSpare = this.isLong && nowMs - this.activeMs > this.shortMs;
    if (isSpare) this.spareMs += Math.min(lastedMs, EMPTY_TURNS * this.shortestTurnMs);
  }

  /** Nobody came: the loop may sleep. */
  private ended(): void {
    this.turning = false;
    if (this.isLong) this.points = Math.max(this.points - IN_VAIN_POINTS, 0);
  }
}
