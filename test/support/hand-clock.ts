/** A clock that only a test moves; timers fire in their order as it passes them. And the system's with some pauses cut short. */
import { systemClock, type Clock, type Timer } from '../../lib/base/clock.js';
import { sleepMs } from './wait.js';

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

/** Lets `clock` pass, `stepMs` at a time with room for what goes on besides, until `promise` has settled. */
export async function passUntil<T>(clock: SteppedClock, stepMs: number, promise: Promise<T>): Promise<T> {
  let isSettled = false;
  const settle = (): void => void (isSettled = true);
  promise.then(settle, settle);
  while (!isSettled) {
    clock.pass(stepMs);
    await sleepMs(1);
  }
  return promise;
}

/**
 * The system's clock, but who waits for exactly `pauseMs` waits for `shortMs`: for a pause that stands in the way of what a
 * test looks at. How long it is has to be seen elsewhere.
 */
export function cutShort(pauseMs: number, shortMs = 20): Clock {
  return {
    ...systemClock,
    after: (delayMs, fire) => systemClock.after(delayMs === pauseMs ? shortMs : delayMs, fire),
  };
}
