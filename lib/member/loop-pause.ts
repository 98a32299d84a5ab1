/**
 * The event loop as it is seen from outside of any I/O path: its longest pause (how long everybody on this member has waited
 * for somebody), by a timer that notes how late it is; and how long it has had nothing to do.
 */
import { monitorEventLoopDelay, performance, type IntervalHistogram } from 'node:perf_hooks';

/** A pause is overstated by this at most; the timer costs some ten microseconds a second. */
const RESOLUTION_MS = 4;

export class LoopPause {
  private readonly histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.histogram.enable();
  }

  /** The longest since the start or the last reset, in milliseconds; 0 when there was none. */
  get maxPauseMs(): number {
    const ms = this.histogram.max / 1e6;
    return ms <= 2 * RESOLUTION_MS ? 0 : Math.round(ms * 100) / 100;
  }

  /** How long it has had nothing to do, ever, in milliseconds. */
  get idleMs(): number {
    return performance.eventLoopUtilization().idle;
  }

  reset(): void {
    this.histogram.reset();
  }

  close(): void {
    this.histogram.disable();
  }
}
