/** A clock that only a test moves; timers fire in their order as it passes them. */
import type { Clock, Timer } from '../../lib/base/clock.js';

export class SteppedClock implements Clock {
  private now = 1_000;
  private timers: { atMs: number; fire: () => void }[] = [];

  nowMs(): number {
    return this.now;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.now;
  }

  after(delayMs: number, fire: () => void): Timer {
    const timer = { atMs: this.now + delayMs, fire };
    this.timers.push(timer);
    return { cancel: () => (this.timers = this.timers.filter((other) => other !== timer)) };
  }

  /** @param between done before each timer, and at the end */
  pass(ms: number, between: () => void = () => undefined): void {
    const untilMs = this.now + ms;
    for (;;) {
      const [next] = this.timers.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.timers = this.timers.filter((other) => other !== next);
      this.now = next.atMs;
      between();
      next.fire();
    }
    this.now = untilMs;
    between();
  }
}
