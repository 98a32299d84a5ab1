/**
 * Counts the logins of a portal that were not authenticated, and says so in the log: who guesses secrets must not go
 * unseen, nor fill a disk with lines.
 */
import type { Clock } from '../../base/clock.js';
import { FAILED_LOGIN_LOG_MS } from '../../base/limits.js';
import type { Logger } from '../../base/log.js';

export class FailedLogins {
  private count = 0;
  private saidAtMs = -Infinity;

  constructor(
    private readonly clock: Clock,
    private readonly log: Logger,
  ) {}

  /** @param initiatorName as it was declared, unproven */
  add(peer: string, initiatorName: string | undefined): void {
    this.count += 1;
    const nowMs = this.clock.nowMs();
    if (nowMs - this.saidAtMs < FAILED_LOGIN_LOG_MS) return;
    this.saidAtMs = nowMs;
    this.log.warn({ peer, initiatorName, failedLogins: this.count }, 'a login was not authenticated');
  }
}
