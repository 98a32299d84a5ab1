/**
 * The event loop as it is seen from outside of any I/O path: its pauses (how long everybody on this member has waited for
 * somebody), by a timer that notes how late it is; how long it has had nothing to do; and what the process has used of the
 * processors. While the loop has next to nothing to do the timer is a slow one: a member at rest woke a processor 260 times
 * a second, and does so 64 times.
 */
import { monitorEventLoopDelay, performance, type IntervalHistogram } from 'node:perf_hooks';
import { systemClock, type Clock, type Timer } from '../base/clock.js';

/** A pause is overstated by this at most while the loop is at work ... */
const RESOLUTION_MS = 4;
/** ... and understated by this at most while it is at rest. The first interval after a reset is not counted in either. */
const RESOLUTION_AT_REST_MS = 64;
/** Share of its time from which it is at work: below, somebody waits for somebody else one time in ten at most. */
const AT_WORK = 0.1;
const LOOK_MS = 1_000;

/** What it watches with. */
export interface LoopDoors {
  readonly clock: Clock;
  monitor(resolutionMs: number): IntervalHistogram;
  /** How long the loop has slept, ever, in milliseconds. */
  sleptMs(): number;
}

export const systemLoop: LoopDoors = {
  clock: systemClock,
  monitor: (resolution) => monitorEventLoopDelay({ resolution }),
  sleptMs: () => performance.eventLoopUtilization().idle,
};

/** The same for a process whose every pause is to be measured, whatever it does. */
export const alwaysAtWork: LoopDoors = { ...systemLoop, sleptMs: () => 0 };

export class LoopPause {
  private resolutionMs = RESOLUTION_MS;
  private histogram: IntervalHistogram;
  /** Of what the histogram has forgotten: ever, and since the last takeDelayMs(). */
  private maxBeforeMs = 0;
  private delayBeforeMs = 0;
  private lookedAtMs: number;
  private idleAtLookMs: number;
  private timer: Timer;

  /** @param spareMs how long the loop has turned for nothing, ever: see LoopTurns */
  constructor(
    private readonly spareMs: () => number = () => 0,
    private readonly doors: LoopDoors = systemLoop,
  ) {
    this.histogram = this.watch(RESOLUTION_MS);
    this.lookedAtMs = doors.clock.nowMs();
    this.idleAtLookMs = this.idleMs;
    this.timer = doors.clock.after(LOOK_MS, () => this.look());
  }

  /** The longest since the start or the last reset, in milliseconds; 0 when there was none. */
  get maxPauseMs(): number {
    const ms = Math.max(this.maxBeforeMs, this.maxNowMs);
    return ms <= 2 * RESOLUTION_MS ? 0 : Math.round(ms * 100) / 100;
  }

  /** How long it has had nothing to do, ever, in milliseconds. */
  get idleMs(): number {
    return this.doors.sleptMs() + this.spareMs();
  }

  /** What this process's threads have worked, ever, in milliseconds of one processor; turning for nothing is no work. */
  get processorMs(): number {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000 - this.spareMs();
  }

  /**
   * How late the timer was at most in 99 of 100 times since the last call, in milliseconds; where it was changed meanwhile,
   * between two changes, the worst.
   */
  takeDelayMs(): number {
    this.keep();
    const delayMs = this.delayBeforeMs;
    this.delayBeforeMs = 0;
    this.histogram.reset();
    return delayMs;
  }

  reset(): void {
    this.takeDelayMs();
    this.maxBeforeMs = 0;
  }

  close(): void {
    this.timer.cancel();
    this.histogram.disable();
  }

  private watch(resolutionMs: number): IntervalHistogram {
    this.resolutionMs = resolutionMs;
    const histogram = this.doors.monitor(resolutionMs);
    histogram.enable();
    return histogram;
  }

  private look(): void {
    const { clock } = this.doors;
    const { idleMs } = this;
    const nowMs = clock.nowMs();
    const tookMs = nowMs - this.lookedAtMs;
    const busy = 1 - (idleMs - this.idleAtLookMs) / Math.max(tookMs, 1);
    // A pause that this look was late for may be one that the histogram has not come to yet, and is about to be changed for.
    this.maxBeforeMs = Math.max(this.maxBeforeMs, tookMs - LOOK_MS + RESOLUTION_MS);
    this.lookedAtMs = nowMs;
    this.idleAtLookMs = idleMs;
    const resolutionMs = busy >= AT_WORK ? RESOLUTION_MS : RESOLUTION_AT_REST_MS;
    if (resolutionMs !== this.resolutionMs) {
      this.keep();
      this.histogram.disable();
      this.histogram = this.watch(resolutionMs);
    }
    this.timer = clock.after(LOOK_MS, () => this.look());
  }

  /** Before the histogram forgets. */
  private keep(): void {
    const { histogram } = this;
    const delayMs = histogram.count === 0 ? 0 : histogram.percentile(99) / 1e6 - this.resolutionMs;
    this.maxBeforeMs = Math.max(this.maxBeforeMs, this.maxNowMs);
    this.delayBeforeMs = Math.max(this.delayBeforeMs, delayMs);
  }

  private get maxNowMs(): number {
    return this.histogram.max / 1e6 - (this.resolutionMs - RESOLUTION_MS);
  }
}
