/**
 * The busy poll: after activity the event loop keeps turning (base/loop-turns.ts) for a while before it may sleep in epoll,
 * since being woken takes longer than a command: 20 µs on a machine of its own, 100 µs and more on a virtual one. At small
 * queue depths that is what an initiator sees. It is bounded in time and in turns, and nothing runs when idle.
 *
 *     always          SHORT_US after the last activity
 *     while it pays   up to the longest: while who comes after SHORT_US has mostly come in that time; these turns are spare
 */
import { DONE, type LoopTurns, SPARE, type Turned, type Turner, USED } from '../../base/loop-turns.js';

const SHORT_US = 50;
/** Longer than a virtual machine takes to wake an initiator that answers at once. */
const LONGEST_US = 300;
/** So that a clock that stands still cannot keep the loop turning. */
const TURNS_MAX = 16_384;
/** Long polls are made from this many points on. Somebody whom only a long one finds gives one, one in vain costs four. */
const PAYS_FROM = 16;
const POINTS_MAX = 32;
const IN_VAIN_POINTS = 4;

export class BusyPoll implements Turner {
  private readonly longestMs: number;
  private readonly shortMs: number;
  private points = PAYS_FROM;
  private activeMs = -Infinity;
  private untilMs = 0;
  private turns = 0;
  private turning = false;
  private isLong = false;

  /** @param longestUs 0: never */
  constructor(
    private readonly loop: LoopTurns,
    longestUs = LONGEST_US,
  ) {
    this.longestMs = longestUs / 1000;
    this.shortMs = Math.min(SHORT_US, longestUs) / 1000;
  }

  /** Called once for each socket read. */
  activity(): void {
    if (this.longestMs === 0) return;
    const nowMs = this.loop.nowMs();
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
    this.loop.add(this);
  }

  turn(nowMs: number): Turned {
    this.turns += 1;
    if (this.turns >= TURNS_MAX || nowMs >= this.untilMs) return this.ended();
    return this.isLong && nowMs - this.activeMs > this.shortMs ? SPARE : USED;
  }

  /** Nobody came: the loop may sleep. */
  private ended(): Turned {
    this.turning = false;
    if (this.isLong) this.points = Math.max(this.points - IN_VAIN_POINTS, 0);
    return DONE;
  }
}
