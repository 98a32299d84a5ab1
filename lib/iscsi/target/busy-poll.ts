/**
 * The short busy poll: after activity the event loop keeps turning (setImmediate) for some 50 µs before it may sleep in
 * epoll. At queue depth 1 that halves the latency. It is bounded in time and in turns, and nothing runs when idle.
 */
import type { Clock } from '../../base/clock.js';

/** So that a clock that stands still cannot keep the loop turning. */
const TURNS_MAX = 256;

export class BusyPoll {
  private untilMs = 0;
  private turns = 0;
  private turning = false;
  private readonly turn = (): void => {
    this.turns += 1;
    if (this.turns < TURNS_MAX && this.clock.nowMs() < this.untilMs) setImmediate(this.turn);
    else this.turning = false;
  };

  /** @param windowUs how long to keep turning after the last activity; 0: never */
  constructor(
    private readonly clock: Clock,
    private readonly windowUs: number,
  ) {}

  /** Called once for each socket read. */
  activity(): void {
    if (this.windowUs === 0) return;
    this.untilMs = this.clock.nowMs() + this.windowUs / 1000;
    this.turns = 0;
    if (this.turning) return;
    this.turning = true;
    setImmediate(this.turn);
  }
}
