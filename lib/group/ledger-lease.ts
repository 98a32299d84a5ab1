/** A lease of an engine that runs on the ledger's rules, as its owner holds it. */
import type { Clock } from '../base/clock.js';
import type { StoreLease } from './store.js';

/**
 * How much of its time a member believes in: it stops serving while the lease still has the rest to run, which is more
 * than the longest stall between looking at the clock and acting on it that we expect.
 */
const BELIEVED = 0.7;

/** What the engine does with it, each in a transaction. */
export interface LeaseActions {
  renew(id: string): Promise<boolean>;
  end(id: string): Promise<void>;
}

export class LedgerLease implements StoreLease {
  private validUntil: number;

  /** @param askedAtMs when it was asked for: the lease runs from a later moment, never from an earlier one */
  constructor(
    readonly id: string,
    private readonly ttlMs: number,
    askedAtMs: number,
    private readonly clock: Clock,
    private readonly actions: LeaseActions,
  ) {
    this.validUntil = askedAtMs + ttlMs * BELIEVED;
  }

  get validUntilMs(): number {
    return this.validUntil;
  }

  async renew(): Promise<boolean> {
    const askedAtMs = this.clock.nowMs();
    const isAlive = await this.actions.renew(this.id);
    this.validUntil = isAlive ? askedAtMs + this.ttlMs * BELIEVED : 0;
    return isAlive;
  }

  async revoke(): Promise<void> {
    this.validUntil = 0;
    await this.actions.end(this.id);
  }
}
