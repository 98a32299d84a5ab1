/** The time of one link, and its signs of life. Sends nothing and has no timer: link.ts asks at every tick. */
import { PEER_PING_MS, PEER_SILENCE_MS } from '../base/limits.js';

/** Granularity of deadlines: one timer for the whole link instead of one per request. */
export const TICK_MS = 200;

export class Pulse {
  /** Milliseconds the link has lived while this process was running: a stall of our own loop is not the peer's. */
  nowMs = 0;
  /** Of the last ping, −1 before the first. */
  rttMs = -1;
  private lastTickMs = 0;
  private lastBytesMs = 0;
  private lastPingMs = 0;
  private pingSentAtMs = -1;

  start(clockMs: number): void {
    this.lastTickMs = clockMs;
  }

  tick(clockMs: number): void {
    this.nowMs += Math.min(clockMs - this.lastTickMs, 2 * TICK_MS);
    this.lastTickMs = clockMs;
  }

  /** Bytes have come. */
  heard(): void {
    this.lastBytesMs = this.nowMs;
  }

  /** Whether something should have come, and nothing has for too long. */
  isDead(isWaiting: boolean): boolean {
    return (isWaiting || this.pingSentAtMs >= 0) && this.nowMs - this.lastBytesMs > PEER_SILENCE_MS;
  }

  get isPingDue(): boolean {
    return this.nowMs - this.lastPingMs >= PEER_PING_MS && this.pingSentAtMs < 0;
  }

  pinged(clockMs: number): void {
    this.lastPingMs = this.nowMs;
    this.pingSentAtMs = clockMs;
  }

  ponged(clockMs: number): void {
    if (this.pingSentAtMs >= 0) this.rttMs = clockMs - this.pingSentAtMs;
    this.pingSentAtMs = -1;
  }
}
