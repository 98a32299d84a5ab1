/** Counts what is on its way outside the event loop, so that a file is closed only when nothing is. */
import { assert } from '../base/assert.js';

export class InFlight {
  private count = 0;
  private readonly waiters: (() => void)[] = [];

  begin(): void {
    this.count += 1;
  }

  end(): void {
    assert(this.count > 0, 'more ends than begins');
    this.count -= 1;
    if (this.count > 0 || this.waiters.length === 0) return; // as nearly always: splice() makes an array
    for (const waiter of this.waiters.splice(0)) waiter();
  }

  /** Resolves when nothing is in flight, now or next. */
  idle(): Promise<void> {
    if (this.count === 0) return Promise.resolve();
    return new Promise((resolve) => this.waiters.push(resolve));
  }
}
