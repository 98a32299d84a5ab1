/**
 * The event loop as it is seen from outside of any I/O path: its pauses (how long everybody on this member has waited for
 * somebody), by a timer that notes how late it is; how long it has had nothing to do; and what the process has used of the
 * processors.
 */
import { monitorEventLoopDelay, performance, type IntervalHistogram } from 'node:perf_hooks';

/** A pause is overstated by this at most; the timer costs some ten microseconds a second. */
const RESOLUTION_MS = 4;

export class LoopPause {
  private readonly histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  /** Of what takeDelayMs() has forgotten. */
  private maxBeforeMs = 0;

  /** @param spareMs how long the loop has turned for nothing, ever: see LoopTurns */
  constructor(private readonly spareMs: () => number = () => 0) {
    this.histogram.enable();
  }

  /** The longest since the start or the last reset, in milliseconds; 0 when there was none. */
  get maxPauseMs(): number {
    const ms = Math.max(this.maxBeforeMs, this.histogram.max / 1e6);
    return ms <= 2 * RESOLUTION_MS ? 0 : Math.round(ms * 100) / 100;
  }

  /** How long it has had nothing to do, ever, in milliseconds. */
  get idleMs(): number {
    return performance.eventLoopUtilization().idle + this.spareMs();
  }

  /** What this process's threads have worked, ever, in milliseconds of one processor; turning for nothing is no work. */
  get processorMs(): number {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000 - this.spareMs();
  }

  /** How late the timer was at most in 99 of 100 times since the last call, in milliseconds. */
  takeDelayMs(): number {
    const { histogram } = this;
    const delayMs = histogram.count === 0 ? 0 : histogram.percentile(99) / 1e6 - RESOLUTION_MS;
    this.maxBeforeMs = Math.max(this.maxBeforeMs, histogram.max / 1e6);
    histogram.reset();
    return Math.max(0, delayMs);
  }

  reset(): void {
    this.maxBeforeMs = 0;
    this.histogram.reset();
  }

  close(): void {
    this.histogram.disable();
  }
}
