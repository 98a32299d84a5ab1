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
/** Each is a member that has lost its power since this home came. */
const LOSSES_REMEMBERED_MAX = 64;
/** Stands for the verifier of what is gone where the member has the same one still, or none: no member ever has this one. */
const LOST = 'lost';

export interface OtherHoldersContext {
  readonly hub: PeerHub;
  readonly ids: MemberIds;
  readonly self: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What a route says of them. */
interface Holders {
  readonly epoch: number;
  readonly home: string;
  /** Everybody who holds something, by number; this member too. */
  readonly holders: readonly number[];
  /** See RouteHeadRecord, of all four. */
  readonly unflushed: Readonly<Record<string, string>>;
  readonly gave: Readonly<Record<string, string>>;
  readonly lostAt: Readonly<Record<string, number>>;
  readonly homeSince: number;
}

/** Writes are gone that a member had acknowledged under that verifier. */
interface Loss {
  /** What `losses` is with it. */
  readonly number: number;
  readonly member: string;
  readonly verifier: string;
}

export class OtherHolders {
  /** See BlockDevice. */
  losses = 0;
  /** Sessions may be here, and flush here. */
  private hasBeenHome: boolean;
  /** By the member's number. */
  private readonly slots = new Map<number, RemoteSlot>();
  /** When this member, or this process, began to be home, and what it had found by then. */
  private arrivedMs: number;
  private lossesBefore = 0;
  /** The home has just come. */
  private mustFind = false;
  /** It has come from another member, whose sessions are given some time to leave. */
  private hasCome = false;
  /** What this home has found, oldest first, and may not have told to every initiator. */
  private readonly untold: Loss[] = [];

  constructor(
    private readonly name: string,
    private readonly volume: RemoteVolume,
    private route: Holders,
    private readonly context: OtherHoldersContext,
  ) {
    this.arrivedMs = context.clock.nowMs();
    this.hasBeenHome = route.home === context.self;
  }

  slotOf(holder: number): RemoteSlot {
    let slot = this.slots.get(holder);
    if (slot === undefined) {
      const { hub, ids, clock } = this.context;
      const member = ids.nameOf(holder);
      const lost = (verifier: string): void => this.lost(member, verifier);
      slot = new RemoteSlot(hub, member, this.volume, clock, lost, () => this.mayPassBy);
      this.slots.set(holder, slot);
    }
    return slot;
  }

  /** Of a new epoch: perhaps not the next, where word of one came late. */
  adopt(route: Holders): void {
    const { self } = this.context;
    const before = this.route;
    const isHome = route.home === self;
    this.route = route;
    this.hasBeenHome ||= isHome;
    if (isHome && before.home !== self) return this.arrive();
    // Also where this member is home no more: sessions that have not left yet flush here.
    this.findLostSince(before.epoch);
    for (const [holder, { unflushed, member }] of this.slots)
      if (!route.holders.includes(holder)) unflushed.left(route.gave[member]);
  }

  /**
   * What a member's disk has lost, this one's too, it finds when it gives its last extent (migration/batch.ts): no flush comes
   * to it then. By now it may hold some again, under the verifier that it had, and flush them well.
   */
  private findLostSince(epoch: number): void {
    const { hub, ids, self } = this.context;
    for (const member of this.lostSince(epoch)) {
      if (member === self) {
        if (this.hasBeenHome) this.lost(self, hub.verifierOf(self));
        continue;
      }
      const holder = ids.idOf(member);
      const { unflushed } = this.slotOf(holder);
      unflushed.gone();
      if (this.route.holders.includes(holder)) unflushed.acknowledged(); // what it has got since is not flushed
    }
  }

  private lostSince(epoch: number): string[] {
    const { lostAt } = this.route;
    return Object.keys(lostAt).filter((member) => (lostAt[member] ?? 0) > epoch);
  }

  /** What the home before knew is this one's to tell; what was this member's when it was home before is not. */
  private arrive(): void {
    const { ids, clock } = this.context;
    this.untold.length = 0;
    for (const { unflushed } of this.slots.values()) unflushed.forget();
    for (const holder of this.elsewhere()) {
      const verifier = this.route.unflushed[ids.nameOf(holder)];
      const { unflushed } = this.slotOf(holder);
      if (verifier === undefined) unflushed.acknowledged();
      else unflushed.inherited(verifier);
    }
    this.arrivedMs = clock.nowMs();
    this.lossesBefore = this.losses;
    this.mustFind = true;
    this.hasCome = true;
  }

  /**
   * What the home before had found, and not told to everybody, of this member and of those that hold nothing any more: of the
   * others their slots find it. To be called once the unit has forgotten what was lost before this member was home.
   */
  findUntold(): void {
    if (!this.mustFind) return;
    this.mustFind = false;
    const { ids, hub } = this.context;
    const { homeSince } = this.route; // what was lost before, the home before has found
    this.findLostSince(homeSince);
    const others = this.elsewhere().map((holder) => ids.nameOf(holder));
    const found = new Set([...others, ...this.lostSince(homeSince)]);
    for (const [member, verifier] of Object.entries(this.route.unflushed)) {
      if (found.has(member)) continue;
      // What it gave by is old where it holds something again, or still.
      const holds = this.route.holders.includes(ids.idOf(member));
      const now = (holds ? undefined : this.route.gave[member]) ?? hub.verifierOf(member);
      if (now !== '' && now !== verifier) this.lost(member, verifier);
    }
  }

  /** See BlockDevice. Where this member is not home, its initiators' writes do not go this way. */
  admit(): number {
    if (this.route.home !== this.context.self) return this.losses;
    const { mayReturn } = this;
    for (const holder of this.elsewhere()) {
      const { unflushed } = this.slotOf(holder);
      if (mayReturn) unflushed.acknowledged();
      else unflushed.compare();
    }
    return mayReturn ? this.lossesBefore : this.losses;
  }

  /** Sessions at the home before may still be at work: what they write comes to the holders without this home. */
  private get mayPassBy(): boolean {
    return this.hasCome && this.mayReturn && this.route.home === this.context.self;
  }

  /** Initiators of the home before may still come. */
  private get mayReturn(): boolean {
    return this.context.clock.nowMs() - this.arrivedMs < RETURN_MS;
  }

  /**
   * See MovingVolumes. Whatever is written until the next home is there counts with it: so of every holder. And the verifiers
   * before what is still to be told: the next home finds it anew.
   * @param told how many of `losses` every initiator knows of
   */
  unflushed(told: number): Record<string, string> {
    const { ids, hub, self } = this.context;
    const known = this.mayReturn ? Math.min(told, this.lossesBefore) : told; // who is not here yet knows of none
    const present = this.route.holders.map((holder): [string, string] => {
      const member = ids.nameOf(holder);
      return [member, member === self ? hub.verifierOf(self) : this.slotOf(holder).unflushed.oldestVerifier];
    });
    const untold = this.untold.filter(({ number }) => number > known).reverse(); // of one member the oldest counts
    const owed = untold.map(({ member, verifier }): [string, string] => [member, verifier]);
    return Object.fromEntries([...present.filter(([, verifier]) => verifier !== ''), ...owed]);
  }

  private elsewhere(): number[] {
    const { ids, self } = this.context;
    return this.route.holders.filter((holder) => holder !== ids.idOf(self));
  }

  private lost(holder: string, before: string): void {
    this.losses += 1;
    const isStill = before === '' || before === this.context.hub.verifierOf(holder);
    const verifier = isStill ? LOST : before; // or the next home would not find it
    this.untold.push({ number: this.losses, member: holder, verifier });
    if (this.untold.length > LOSSES_REMEMBERED_MAX) this.untold.shift();
    this.context.log.error({ volume: this.name, holder }, 'a member lost writes that nobody had flushed');
  }
}
