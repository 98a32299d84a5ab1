/** The door to time. Everything that waits or dates takes a Clock, so that a test can own the time. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds with fractions; comparable between processes of one machine (CLOCK_MONOTONIC). */
  nowMs(): number;
  /** Wall-clock milliseconds since 1970, for dates that people read. */
  wallMs(): number;
  /** Runs `fire` once after `delayMs`. */
  after(delayMs: number, fire: () => void): Timer;
}

export const systemClock: Clock = {
  nowMs: () => {
    const [seconds, nanoseconds] = process.hrtime();
    return seconds * 1000 + nanoseconds / 1e6;
  },
  wallMs: () => Date.now(),
  after: (delayMs, fire) => {
    const timer = setTimeout(fire, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Resolves after `delayMs` of `clock`. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.after(delayMs, resolve));
}
