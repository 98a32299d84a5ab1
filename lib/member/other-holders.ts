/**
 * A volume's slots for what other members hold of it, and what those members have lost of it while this one believed them
 * to have it.
 */
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import type { PeerHub } from '../peer/contract.js';
import { RemoteSlot, type RemoteVolume } from '../peer/remote-slot.js';
import type { MemberIds } from '../routing/member-ids.js';

/** Initiators of the home before, or of an earlier process, are back by then. */
const RETURN_MS = 60_000;

export interface OtherHoldersContext {
  readonly hub: PeerHub;
  readonly ids: MemberIds;
  readonly self: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What a route says of them. */
interface Holders {
  readonly home: string;
  /** Everybody who holds something, by number; this member too. */
  readonly holders: readonly number[];
  /** See RouteHeadRecord. */
  readonly unflushed: Readonly<Record<string, string>>;
}

export class OtherHolders {
  /** See BlockDevice. */
  losses = 0;
  /** By the member's number. */
  private readonly slots = new Map<number, RemoteSlot>();
  /** When this member, or this process, began to be home, and what it had found by then. */
  private arrivedMs: number;
  private lossesBefore = 0;

  constructor(
    private readonly name: string,
    private readonly volume: RemoteVolume,
    private route: Holders,
    private readonly context: OtherHoldersContext,
  ) {
    this.arrivedMs = context.clock.nowMs();
  }

  slotOf(holder: number): RemoteSlot {
    let slot = this.slots.get(holder);
    if (slot === undefined) {
      const { hub, ids, clock } = this.context;
      const member = ids.nameOf(holder);
      slot = new RemoteSlot(hub, member, this.volume, clock, () => this.lost(member));
      this.slots.set(holder, slot);
    }
    return slot;
  }

  /** Of a new epoch. */
  adopt(route: Holders): void {
    const { self } = this.context;
    const wasHome = this.route.home === self;
    const isHome = route.home === self;
    this.route = route;
    if (isHome && !wasHome) return this.arrive();
    for (const [holder, { unflushed }] of this.slots) {
      if (route.holders.includes(holder)) continue;
      if (isHome) unflushed.left();
      else unflushed.forget();
    }
  }

  /** What the home before knew is this one's to tell; what was this member's when it was home before is not. */
  private arrive(): void {
    const { ids, clock } = this.context;
    for (const { unflushed } of this.slots.values()) unflushed.forget();
    for (const holder of this.elsewhere()) {
      const verifier = this.route.unflushed[ids.nameOf(holder)];
      const { unflushed } = this.slotOf(holder);
      if (verifier === undefined) unflushed.acknowledged();
      else unflushed.inherited(verifier);
    }
    this.arrivedMs = clock.nowMs();
    this.lossesBefore = this.losses;
  }

  /** See BlockDevice. Where this member is not home, its initiators' writes do not go this way. */
  admit(): number {
    if (this.route.home !== this.context.self) return this.losses;
    const mayReturn = this.context.clock.nowMs() - this.arrivedMs < RETURN_MS;
    for (const holder of this.elsewhere()) {
      const { unflushed } = this.slotOf(holder);
      if (mayReturn) unflushed.acknowledged();
      else unflushed.compare();
    }
    return mayReturn ? this.lossesBefore : this.losses;
  }

  /** See MovingVolumes. Whatever is written until the next home is there counts with it: so of every holder. */
  unflushed(): Record<string, string> {
    const { ids, hub, self } = this.context;
    const known = this.route.holders.map((holder): [string, string] => {
      const member = ids.nameOf(holder);
      return [member, member === self ? hub.verifierOf(self) : this.slotOf(holder).unflushed.oldestVerifier];
    });
    return Object.fromEntries(known.filter(([, verifier]) => verifier !== ''));
  }

  private elsewhere(): number[] {
    const { ids, self } = this.context;
    return this.route.holders.filter((holder) => holder !== ids.idOf(self));
  }

  private lost(holder: string): void {
    this.losses += 1;
    this.context.log.error({ volume: this.name, holder }, 'a member lost writes that nobody had flushed');
  }
}
