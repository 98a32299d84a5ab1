/**
 * Decides from latencies whether calls that may block are still welcome on the event loop. One slow call there closes the
 * gate; a run of fast ones in the thread pool opens it again, and each relapse asks for a longer run.
 */
import { FAST_CALLS_MAX, FAST_CALLS_MIN } from '../base/limits.js';

export class LatencyGate {
  private fastInARow = 0;
  private required = FAST_CALLS_MIN;
  private open = true;

  /** @param slowMs a call that takes longer has stopped the loop for too long */
  constructor(private readonly slowMs: number) {}

  /** Whether the next call may run on the loop. */
  get onLoop(): boolean {
    return this.open;
  }

  /** Tells how long a call on the loop took; true when it was slow. */
  tookOnLoop(durationMs: number): boolean {
    if (durationMs <= this.slowMs) {
      this.settle();
      return false;
    }
    this.open = false;
    this.fastInARow = 0;
    this.required = Math.min(this.required * 2, FAST_CALLS_MAX);
    return true;
  }

  /** Tells how long a call in the pool took, its way there and back included. */
  tookInPool(durationMs: number): void {
    if (this.open) return;
    this.fastInARow = durationMs <= this.slowMs ? this.fastInARow + 1 : 0;
    if (this.fastInARow < this.required) return;
    this.open = true;
    this.fastInARow = 0;
  }

  /** A long quiet time on the loop forgives earlier relapses. */
  private settle(): void {
    if (this.required === FAST_CALLS_MIN) return;
    this.fastInARow += 1;
    if (this.fastInARow < FAST_CALLS_MAX) return;
    this.required = FAST_CALLS_MIN;
    this.fastInARow = 0;
  }
}
