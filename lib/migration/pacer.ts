/**
 * The pace of a move's background copy: a token bucket in bytes, under the ceiling that was asked for, and under a lower
 * one while initiators are at work, so that a live move stays one. The lower one is also a floor: a move converges at
 * any load, since mirrored writes, which are never paced, make nothing dirty.
 */
import { sleep, type Clock } from '../base/clock.js';
import { MOVE_BUSY_BYTES_PER_SECOND, MOVE_BUSY_OPS_PER_SECOND } from '../base/limits.js';

/** What may be sent at once after a pause: enough to keep the flow even, little enough not to be felt. */
const BURST_SECONDS = 0.05;
/** How often the foreground is looked at. */
const LOOK_MS = 50;

/** How many I/Os initiators have begun on the volume here, ever. */
export type ForegroundCount = () => number;

export class Pacer {
  private nextFreeMs = 0;
  private lookedAtMs: number;
  private seen: number;
  /** Until the first look, initiators are taken to be at work. */
  private busy = true;

  /** @param rateBytesPerSecond null: no ceiling */
  constructor(
    private readonly clock: Clock,
    private readonly rateBytesPerSecond: number | null,
    private readonly foreground: ForegroundCount,
  ) {
    this.lookedAtMs = clock.nowMs();
    this.seen = foreground();
  }

  /** Resolves when `bytes` may be sent. */
  async take(bytes: number): Promise<void> {
    const nowMs = this.clock.nowMs();
    const rate = this.rateAt(nowMs);
    const dueMs = Math.max(this.nextFreeMs, nowMs - BURST_SECONDS * 1000);
    this.nextFreeMs = dueMs + (bytes / rate) * 1000;
    if (dueMs > nowMs) await sleep(this.clock, dueMs - nowMs);
  }

  private rateAt(nowMs: number): number {
    const elapsedMs = nowMs - this.lookedAtMs;
    if (elapsedMs >= LOOK_MS) {
      const count = this.foreground();
      this.busy = ((count - this.seen) / elapsedMs) * 1000 > MOVE_BUSY_OPS_PER_SECOND;
      this.lookedAtMs = nowMs;
      this.seen = count;
    }
    const ceiling = this.rateBytesPerSecond ?? Infinity;
    return this.busy ? Math.min(ceiling, MOVE_BUSY_BYTES_PER_SECOND) : ceiling;
  }
}
