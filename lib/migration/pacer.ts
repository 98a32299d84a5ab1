/** The ceiling of a move's background copy: a token bucket in bytes. Mirrored writes are never paced. */
import { sleep, type Clock } from '../base/clock.js';

/** What may be sent at once after a pause: a fifth of a second's worth keeps the flow even. */
const BURST_SECONDS = 0.2;

export class Pacer {
  private nextFreeMs = 0;

  /** @param rateBytesPerSecond null: no ceiling */
  constructor(
    private readonly clock: Clock,
    private readonly rateBytesPerSecond: number | null,
  ) {}

  /** Resolves when `bytes` may be sent. */
  async take(bytes: number): Promise<void> {
    if (this.rateBytesPerSecond === null) return;
    const nowMs = this.clock.nowMs();
    const earliestMs = nowMs - BURST_SECONDS * 1000;
    const dueMs = Math.max(this.nextFreeMs, earliestMs);
    this.nextFreeMs = dueMs + (bytes / this.rateBytesPerSecond) * 1000;
    if (dueMs > nowMs) await sleep(this.clock, dueMs - nowMs);
  }
}
