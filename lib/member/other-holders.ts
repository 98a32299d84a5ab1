/**
 * A volume's slots for what other members hold of it, and what those members have lost of it while this one believed them
 * to have it.
 */
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import type { PeerHub } from '../peer/contract.js';
import { RemoteSlot, type RemoteVolume } from '../peer/remote-slot.js';
import type { MemberIds } from '../routing/member-ids.js';

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
}

export class OtherHolders {
  /** See BlockDevice. */
  losses = 0;
  /** By the member's number. */
  private readonly slots = new Map<number, RemoteSlot>();

  constructor(
    private readonly name: string,
    private readonly volume: RemoteVolume,
    private route: Holders,
    private readonly context: OtherHoldersContext,
  ) {}

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
    const before = this.route;
    this.route = route;
    for (const [holder, { unflushed }] of this.slots) {
      if (route.home !== before.home) unflushed.forget();
      else if (!route.holders.includes(holder)) unflushed.left();
    }
    // Its initiators come from a home that forwarded to others, or to itself.
    if (route.home !== before.home) this.expectUnflushed();
  }

  /** See BlockDevice. Where this member is not home, its initiators' writes do not go this way. */
  expectUnflushed(): void {
    const { ids, self } = this.context;
    if (this.route.home !== self) return;
    for (const holder of this.route.holders)
      if (holder !== ids.idOf(self)) this.slotOf(holder).unflushed.acknowledged();
  }

  private lost(holder: string): void {
    this.losses += 1;
    this.context.log.error({ volume: this.name, holder }, 'a member lost writes that nobody had flushed');
  }
}
