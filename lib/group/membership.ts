/**
 * A member's place in the group: its record under a lease that it keeps alive, and whether it may believe in it (I4). It
 * serves nothing itself; who serves asks isValid, or is told by onLost and onRegained.
 */
import type { Clock, Timer } from '../base/clock.js';
import { BlockferryError, describeError } from '../base/errors.js';
import { LEASE_TTL_MS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { isProcessGone } from '../base/processes.js';
import { MemberRecord, formatRecord, keys, parseRecord } from './records.js';
import type { GroupStore, StoreLease } from './store.js';

/** How soon a member that has lost its lease, or the store, tries again. */
const RETRY_MS = 500;

export interface MembershipOptions {
  readonly name: string;
  readonly portal: MemberRecord['portal'];
  readonly peer: MemberRecord['peer'];
  readonly pid: number;
  readonly incarnation: string;
  /** See MemberRecord. */
  readonly targetPort?: number | undefined;
  /** Whether a process of this machine has ended; default: as the kernel says. */
  readonly isGone?: (pid: number) => boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Membership {
  /** The lease may have run out elsewhere: stop serving now. */
  onLost: () => void = () => {};
  /** The member is in the group again, under a new lease. What it knew of routes may be old. */
  onRegained: () => void = () => {};
  private readonly record: MemberRecord;
  private lease: StoreLease;
  private beatTimer: Timer | null = null;
  private expiryTimer: Timer | null = null;
  private beating: Promise<void> = Promise.resolve();
  private wasValid = true;
  private hasLeft = false;

  private constructor(
    private readonly store: GroupStore,
    private readonly options: MembershipOptions,
    record: MemberRecord,
    lease: StoreLease,
  ) {
    this.record = record;
    this.lease = lease;
    this.schedule();
  }

  /**
   * Takes the name in the group. A predecessor whose process is gone is replaced at once.
   * @throws BUSY when a living process has the name
   */
  static async join(store: GroupStore, options: MembershipOptions): Promise<Membership> {
    const { name, portal, peer, pid, incarnation, targetPort, clock } = options;
    const record: MemberRecord = {
      name,
      portal,
      peer,
      pid,
      incarnation,
      startedAtMs: Math.floor(clock.wallMs()),
      ...(targetPort !== undefined && { targetPort }),
    };
    const lease = await takeName(store, record, options);
    return new Membership(store, options, record, lease);
  }

  /** I4: whether this member may serve, by its own clock and without asking anybody. */
  get isValid(): boolean {
    return !this.hasLeft && this.options.clock.nowMs() < this.lease.validUntilMs;
  }

  /** The same, and tells of a loss that no timer has come to yet: after a pause of the process, sockets come first. */
  check(): boolean {
    const { isValid } = this;
    if (!isValid && this.wasValid) this.look();
    return isValid;
  }

  /** Gives the name back. */
  async leave(): Promise<void> {
    if (this.hasLeft) return;
    this.hasLeft = true;
    this.beatTimer?.cancel();
    this.expiryTimer?.cancel();
    await this.beating;
    await this.lease.revoke();
  }

  private schedule(): void {
    if (this.hasLeft) return;
    const { clock } = this.options;
    const delayMs = this.isValid ? LEASE_TTL_MS / 3 : RETRY_MS;
    this.beatTimer = clock.after(delayMs, () => {
      this.beating = this.beat();
    });
    // A store that does not answer must not keep us from seeing that our time is up.
    this.expiryTimer?.cancel();
    const leftMs = this.lease.validUntilMs - clock.nowMs();
    this.expiryTimer = leftMs <= 0 ? null : clock.after(leftMs + 1, () => this.look());
  }

  private async beat(): Promise<void> {
    try {
      if (!(await this.lease.renew()) && !this.hasLeft) await this.rejoin();
    } catch (error) {
      this.options.log.warn({ error: describeError(error) }, 'the lease could not be renewed');
    }
    this.look();
    this.schedule();
  }

  private async rejoin(): Promise<void> {
    this.look();
    this.lease = await takeName(this.store, this.record, this.options);
    if (this.hasLeft) await this.lease.revoke();
  }

  /** Tells of a change, once. */
  private look(): void {
    const isValid = this.isValid;
    if (this.hasLeft || isValid === this.wasValid) return;
    this.wasValid = isValid;
    this.options.log.warn({ member: this.record.name }, isValid ? 'in the group again' : 'the lease is lost');
    if (isValid) this.onRegained();
    else this.onLost();
  }
}

/** Writes the record under a new lease. Throws BUSY when a living process has the name. */
async function takeName(
  store: GroupStore,
  record: MemberRecord,
  { isGone = isProcessGone }: Pick<MembershipOptions, 'isGone'>,
): Promise<StoreLease> {
  const key = keys.member(record.name);
  const lease = await store.lease(LEASE_TTL_MS);
  try {
    for (;;) {
      const entry = await store.get(key);
      if (entry !== undefined) refuseIfAlive(parseRecord(MemberRecord, entry), record, isGone);
      const compare = { key, revision: entry?.revision ?? 0 };
      const done = await store.txn([compare], [{ put: key, value: formatRecord(record), lease }]);
      if (done.committed) return lease;
    }
  } catch (error) {
    await lease.revoke().catch(() => {});
    throw error;
  }
}

function refuseIfAlive(other: MemberRecord, self: MemberRecord, isGone: (pid: number) => boolean): void {
  if (other.incarnation === self.incarnation) return;
  // A process number means something only on the machine that gave it: the one whose address we share.
  if (other.peer.host === self.peer.host && isGone(other.pid)) return;
  throw new BlockferryError(
    'BUSY',
    `member ${self.name} is running already (process ${other.pid})`,
    'stop it, or give this one another --name',
  );
}
