/**
 * The unit of a volume at one member, as initiators see it: what it is made of, who serves it, and what its home has to
 * know and to finish. A home that comes reads first what the one before has made of the unit; a home that goes finishes
 * what must not meet the next one's work.
 */
import type { AccessServer } from '../access/access-server.js';
import { CopyGuests } from '../access/copy-guests.js';
import type { CopyLanes } from '../access/copy-lanes.js';
import { type CopyPlace, CopyVisit } from '../access/copy-visit.js';
import type { Standing } from '../access/errand.js';
import type { GuestPlace } from '../access/guest-service.js';
import { assert } from '../base/assert.js';
import { sleep, type Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import { FORWARD_RETRY_MS, HANDOVER_DEADLINE_SECONDS, READ_BACK_RETRY_MS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import type { BlockDevice } from '../block/device.js';
import type { PeerHub } from '../peer/contract.js';
import type { RoutedVolume } from '../routing/table.js';
import type { Copying, Visit } from '../scsi/copy/visit.js';
import { DiskServer } from '../scsi/disk-server.js';
import { KeptUnitState } from '../scsi/kept-state.js';
import type { ReservationKeeper } from '../scsi/reservations/keeper.js';
import type { DeviceServer } from '../scsi/task.js';
import type { DiskUnit, UnitParts } from '../scsi/unit.js';
import type { EveryPath, VolumePlace } from './every-path.js';
import { HomeOffice } from './home-office.js';
import type { VolumeUnits } from './shared-units.js';

export interface VolumeUnitContext {
  readonly self: string;
  readonly incarnation: string;
  readonly hub: PeerHub;
  /** Of this member's copies. */
  readonly lanes: CopyLanes;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where every member serves every volume; null: its home alone does. */
  readonly everyPath: EveryPath | null;
  /** Who keeps the reservations of a volume, by name and number. */
  keeperOf(volume: string, volumeId: number): ReservationKeeper;
  readonly units: VolumeUnits;
  /** Resolves when nothing of the volume is carried out at another member; rejects when that was not so in time. */
  vacateOthers(volume: RoutedVolume): Promise<void>;
  /** The units of all volumes, as of now: what a copy may reach. */
  allUnits(): Iterable<DiskUnit>;
  /** See AccessUnits. */
  mayServe(): boolean;
  /** Whether that process of a member is not in the group any more, by the store. */
  hasLeft(member: string, incarnation: string): Promise<boolean>;
}

export class VolumeUnit implements GuestPlace {
  readonly server: DeviceServer;
  readonly disk: DiskUnit;
  /** Null: the home alone serves it. */
  readonly access: AccessServer | null;
  /** The copies that come here. */
  readonly guests: CopyGuests;
  private lastVisit = 0;
  private knownHome: string;
  /** When who was asked to follow the home has done so, or is not expected any more. */
  private followedByMs = 0;
  private readonly office: HomeOffice;
  /** What the home before has made of it is known here. */
  private isKnown = false;
  private isCatchingUp = false;
  /** Commits under way that give the home away: a cancelled move's may overlap the next one's. */
  private givesHome = 0;
  private commitsHome = 0;
  private isClosed = false;

  constructor(
    device: BlockDevice,
    private readonly place: VolumePlace,
    private readonly context: VolumeUnitContext,
  ) {
    const { record } = place.routed;
    const { name, id, removable, readOnly, full } = record;
    const { everyPath, units, keeperOf } = context;
    // Where every member serves, a home that is about to go finishes what it has begun, and that may enter.
    const isHome = everyPath === null ? () => this.isSurelyHome : () => this.isHome;
    this.office = new HomeOffice({ isHome, othersGone: () => this.othersGone() });
    const parts: UnitParts = {
      device,
      identity: record,
      options: { removable, readOnly, full },
      state: new KeptUnitState(units.keeperOf(name, id)),
      reservations: keeperOf(name, id),
      others: () => context.allUnits(),
      visit: (copying) => this.visit(copying),
      office: this.office,
    };
    this.access = everyPath?.serve(record, parts, place) ?? null;
    const disk = this.access?.disk ?? new DiskServer(parts);
    this.server = this.access ?? disk;
    this.disk = disk.unit;
    this.guests = new CopyGuests(disk.unit, context.incarnation);
    this.knownHome = place.routed.route.home;
  }

  epoch(): number {
    return this.place.routed.route.epoch;
  }

  get isHome(): boolean {
    return this.place.routed.route.home === this.context.self;
  }

  /** Home, and not about to hear that it has given that away. */
  get isSurelyHome(): boolean {
    return this.isHome && this.givesHome === 0;
  }

  /** A commit is under way by which another is home: it may be so already. */
  get isHomeInDoubt(): boolean {
    return this.isHome && this.commitsHome > 0;
  }

  get isNewHome(): boolean {
    return this.isHome && this.context.clock.nowMs() < this.followedByMs;
  }

  /** And knows it as the home before has left it: what it does here it does nowhere else. */
  get isServedHere(): boolean {
    return this.isSurelyHome && this.isKnown;
  }

  /** How many losses of its device every initiator knows of. */
  get lossesTold(): number {
    return this.disk.nexuses.lossesKnownToAll;
  }

  private get standing(): Standing {
    if (this.isServedHere) return 'here';
    return this.isHome ? 'held' : 'elsewhere';
  }

  /** This member begins with the volume: no home before it is left that could change the unit. */
  begin(): void {
    this.settle();
    if (this.isHome) this.server.resume();
  }

  /** A new epoch, or what has come of a commit. */
  settle(): void {
    if (!this.isHome) {
      this.isKnown = false;
      this.office.close();
      this.guests.leave();
    }
    this.access?.stand(this.standing);
    this.homeMayHaveMoved();
    this.office.settle();
    if (this.access !== null && this.isHome && !this.isKnown) void this.keepCatchingUp();
  }

  private homeMayHaveMoved(): void {
    const { home } = this.place.routed.route;
    if (home === this.knownHome) return;
    this.knownHome = home;
    if (!this.isHome) return this.access?.introduceAll();
    this.disk.nexuses.forgetLosses(this.disk.device.losses);
    // They are given so long to leave, and may need some time to get here.
    this.followedByMs = this.context.clock.nowMs() + 2 * HANDOVER_DEADLINE_SECONDS * 1000;
  }

  /** Whether no other home would meet anything of it that this member does. */
  isVacant(hasSessions: boolean): boolean {
    if (this.access !== null) return this.access.standing === 'elsewhere';
    return !hasSessions && !this.disk.nexuses.hasGuestsAtWork;
  }

  // ---- the home comes

  /** Before an initiator is served. Rejects when the store does not answer. */
  async catchUp(): Promise<void> {
    if (!this.isHome || this.isKnown) return;
    let epoch: number;
    do {
      ({ epoch } = this.place.routed.route);
      await this.context.units.catchUp(this.place.routed.record.name);
      // The home may have gone meanwhile: what is unfinished is then the next one's to do.
      if (!this.isHome) return;
    } while (this.place.routed.route.epoch !== epoch); // or gone, and come back
    this.isKnown = true;
    this.settle();
    this.server.resume();
  }

  /** No login has to come for it, where the commands of sessions wait that are there already. */
  private async keepCatchingUp(): Promise<void> {
    if (this.isCatchingUp) return;
    this.isCatchingUp = true;
    while (this.isHome && !this.isKnown && !this.isClosed) {
      try {
        await this.catchUp();
      } catch (error) {
        this.warn(error, 'the state of a unit cannot be read; trying again');
        await sleep(this.context.clock, READ_BACK_RETRY_MS);
      }
    }
    this.isCatchingUp = false;
  }

  private async othersGone(): Promise<void> {
    while (this.isHome && !this.isClosed) {
      try {
        await this.context.vacateOthers(this.place.routed);
        return;
      } catch (error) {
        this.warn(error, 'sessions of the home before are still there');
        await sleep(this.context.clock, FORWARD_RETRY_MS);
      }
    }
  }

  // ---- the home goes

  /** The home is given away: from when that is asked for until it is known what came of it. */
  givingHome(isUnderWay: boolean): void {
    this.givesHome += isUnderWay ? 1 : -1;
    assert(this.givesHome >= 0, 'a home was given more often than was asked for');
  }

  /** The same from its commit. */
  committingHome(isUnderWay: boolean): void {
    this.commitsHome += isUnderWay ? 1 : -1;
    assert(this.commitsHome >= 0, 'more commits of a home ended than began');
  }

  /** Resolves when no command here rests on being home; false: that takes too long now. */
  async quieten(): Promise<boolean> {
    if (this.access !== null) return this.access.quieten();
    await this.office.emptied();
    return true;
  }

  close(): void {
    this.isClosed = true;
    this.access?.close();
  }

  introduce(initiatorName: string): void {
    this.access?.introduce(initiatorName);
  }

  // ---- copies from here

  private visit(copying: Copying): Visit {
    this.lastVisit = this.lastVisit === 0xffffffff ? 1 : this.lastVisit + 1;
    return new CopyVisit(this.copyPlace(), copying, this.lastVisit);
  }

  private copyPlace(): CopyPlace {
    const { self: name, incarnation, hub, lanes, clock, mayServe, hasLeft } = this.context;
    const { place, disk, guests } = this;
    const standing = (): Standing => this.standing;
    const isClosed = (): boolean => this.isClosed;
    const isNewHome = (): boolean => this.isNewHome;
    return {
      ...{ hub, lanes, clock, disk, guests, mayServe, hasLeft, volumeId: place.routed.record.id },
      self: { name, incarnation },
      get standing() {
        return standing();
      },
      get isClosed() {
        return isClosed();
      },
      get isNewHome() {
        return isNewHome();
      },
      home: () => place.routed.route.home,
      epoch: () => this.epoch(),
      refresh: (epoch, done) => place.refresh(epoch, done),
      timesLeftBehind: () => place.timesLeftBehind(),
      introduce: (initiatorName) => this.introduce(initiatorName),
    };
  }

  private warn(error: unknown, what: string): void {
    this.context.log.warn({ volume: this.place.routed.record.name, error: describeError(error) }, what);
  }
}
