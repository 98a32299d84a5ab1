/**
 * One volume at one member: its route, its slots, its file once it has one, and the SCSI disk that initiators see. The
 * file is opened when this member holds or is to receive an extent, not before; a mere home has none.
 */
import { invariant } from '../base/assert.js';
import { sleep, type Timer } from '../base/clock.js';
import { BlockferryError, describeError } from '../base/errors.js';
import {
  GIVE_BACK_BYTES_MAX,
  GIVE_BACK_DELAY_MS,
  GIVE_BACK_RETRY_MS,
  OPEN_RETRY_MS,
} from '../base/limits.js';
import type { Waypoints } from '../base/waypoints.js';
import type { DiskTime } from '../block/disk-time.js';
import type { Creations } from '../group/creations.js';
import type { VolumeRecord } from '../group/records.js';
import type { ServedTarget } from '../iscsi/target/directory.js';
import { VolumeTraffic } from '../load/traffic.js';
import type { DestinationVolume } from '../migration/destination.js';
import type { RemoteVolume } from '../peer/remote-slot.js';
import type { MemberIds } from '../routing/member-ids.js';
import type { RoutedVolume } from '../routing/table.js';
import type { DataFolder } from '../storage/data-folder.js';
import type { SparseFile } from '../storage/sparse-file.js';
import { LocalSlot } from '../volume/local-slot.js';
import type { ExtentSlot } from '../volume/slot.js';
import { Volume } from '../volume/volume.js';
import { allocate, creationFailure, isImpossible } from './allocation.js';
import type { VolumePlace } from './every-path.js';
import { punchForeign } from './foreign-bytes.js';
import { OtherHolders } from './other-holders.js';
import { VolumeUnit, type VolumeUnitContext } from './volume-unit.js';

export interface HeldVolumeContext extends VolumeUnitContext {
  readonly ids: MemberIds;
  readonly folder: DataFolder;
  readonly waypoints: Waypoints;
  /** Reads the route from the store if it is not at `epoch` yet (0: in any case), then calls back. */
  refresh(volume: string, epoch: number, done: () => void): void;
  /** Raises the route of a volume above epoch 1, durably. */
  begin(volume: VolumeRecord): Promise<void>;
  readonly creations: Creations;
  /** Whether this member may serve, by its clock (I4); suspends every volume where not. */
  leaseIsValid(): boolean;
  /** The disk under the files, where it is to be slower than it is. */
  readonly diskTime?: DiskTime | undefined;
  /** Resolves when the file of a deleted volume of the same name is gone. */
  readonly vacated: Promise<void>;
}

export class HeldVolume implements DestinationVolume {
  readonly record: VolumeRecord;
  readonly local: LocalSlot;
  readonly traffic: VolumeTraffic;
  readonly volume: Volume;
  readonly target: ServedTarget;
  readonly unit: VolumeUnit;
  private readonly others: OtherHolders;
  private opening: Promise<SparseFile> | null = null;
  /** Extents whose bytes are still to be given back. */
  private readonly owed = new Set<number>();
  /** Punches under way: an extent that comes back waits for them. */
  private givingBack: Promise<void> = Promise.resolve();
  /** Gives back what is owed when it fires. */
  private payment: Timer | null = null;
  /** Tries to open the file again when it fires: one, however many asked for the file and were refused. */
  private reopening: Timer | null = null;
  /** Why it was last not to be opened; '' since it was. */
  private openFailure = '';
  private isClosed = false;
  private leftBehind = false;
  private timesLeftBehind = 0;

  constructor(
    private routed: RoutedVolume,
    private readonly context: HeldVolumeContext,
  ) {
    this.record = routed.record;
    const { self, ids } = context;
    this.others = new OtherHolders(this.record.name, this.remoteVolume(), routed.route, context);
    this.traffic = new VolumeTraffic(context.clock, routed.record.extentBytes);
    this.local = new LocalSlot(this.traffic);
    const remote = (holder: number): ExtentSlot => this.others.slotOf(holder);
    this.volume = new Volume(routed.record, routed.route, ids.idOf(self), this.local, remote);
    this.volume.elsewhere = this.others;
    this.unit = new VolumeUnit(this.volume, this.place(), context);
    this.target = { iqn: this.record.iqn, server: this.unit.server };
    this.guardIfAway();
    this.openIfHeld();
    this.unit.begin();
  }

  get extentBytes(): number {
    return this.record.extentBytes;
  }
  get sizeBytes(): number {
    return this.record.sizeBytes;
  }
  get epoch(): number {
    return this.routed.route.epoch;
  }
  holdsHere(extent: number): boolean {
    return this.volume.holdsHere(extent);
  }
  isLeaving(extent: number): boolean {
    return this.volume.moving.has(extent);
  }
  holderAt(extent: number): string {
    return this.routed.route.holderNameAt(extent);
  }

  /** A new epoch. */
  adopt(routed: RoutedVolume): void {
    this.routed = routed;
    this.volume.adopt(routed.route);
    this.others.adopt(routed.route);
    this.guardIfAway();
    this.unit.settle();
    this.others.findUntold();
    if (!this.holdsAny) this.payBack();
    this.openIfHeld();
  }

  get isHome(): boolean {
    return this.unit.isHome;
  }
  get isSurelyHome(): boolean {
    return this.unit.isSurelyHome;
  }

  /**
   * The lease was lost, and initiators may have been admitted without asking this member: nothing of their old sessions may
   * land any more (I8), nor of new ones, where the home is elsewhere, until it comes here.
   */
  leaveBehind(): void {
    this.leftBehind = !this.isSurelyHome;
    this.timesLeftBehind += 1;
    this.volume.resume();
  }

  /** Only the home admits initiators; so elsewhere the lease must hold for each I/O of a session that is left here. */
  private guardIfAway(): void {
    const { isSurelyHome } = this;
    if (isSurelyHome) this.leftBehind = false;
    this.volume.guard = isSurelyHome ? null : () => !this.leftBehind && this.context.leaseIsValid();
  }

  /** See MovingVolumes. */
  unflushed(): Record<string, string> {
    return this.others.unflushed(this.unit.lossesTold);
  }

  /** See VolumeUnit. */
  givingHome(isUnderWay: boolean): void {
    this.unit.givingHome(isUnderWay);
    this.guardIfAway();
    this.unit.settle();
  }

  /** The open file, with nothing left to give back. Rejects when it cannot be opened. */
  async file(): Promise<SparseFile> {
    this.opening ??= this.open();
    const file = await this.opening;
    this.payBack();
    await this.givingBack;
    return file;
  }

  /** See DestinationVolume. What was owed goes with the file. */
  async leaveSpentFile(): Promise<void> {
    const file = await this.opening?.catch(() => undefined);
    if (file === undefined || this.holdsAny || !file.isSpent || this.isClosed) return;
    this.opening = null;
    this.owed.clear();
    this.local.left();
    this.context.log.warn({ volume: this.record.name }, 'the file that could make nothing durable is left');
    await file.close().catch(() => undefined); // it cannot be flushed: that is why it goes
  }

  /**
   * Makes holes of extents that are held elsewhere now; their I/O has ended. While others are held here that waits: a punch
   * holds the file, and every write with it, a forwarded one too. It is done when the last extent has gone, when the move
   * is over, or when enough has gathered, and tried until it is done. A crash before that leaves bytes that the next open
   * punches.
   */
  giveBack(extents: readonly number[]): void {
    for (const extent of extents) this.owed.add(extent);
    const waits = this.holdsAny && this.owed.size * this.extentBytes < GIVE_BACK_BYTES_MAX;
    if (waits) this.payBackIn(GIVE_BACK_DELAY_MS);
    else this.payBack();
  }

  /**
   * The same of extents that were served here until now, whose memory is given back while their space waits. What was
   * received for an attempt may not have reached the disk: it would be written first.
   */
  gaveAway(extents: readonly number[]): void {
    this.giveBack(extents);
    if (this.payment === null) return; // their space does not wait, and takes the memory along
    const uncache = (file: SparseFile): void => {
      for (const extent of extents)
        if (this.owed.has(extent)) file.uncache(extent * this.extentBytes, this.extentBytes);
    };
    this.opening?.then(uncache, () => undefined); // that it cannot be opened is told by who needs it
  }

  /** An extent is about to be received: what it had here before is the receiver's to clear. */
  expect(extent: number): void {
    this.owed.delete(extent);
  }

  private payBackIn(delayMs: number): void {
    this.payment?.cancel();
    this.payment = this.isClosed ? null : this.context.clock.after(delayMs, () => this.payBack());
  }

  private payBack(): void {
    this.payment?.cancel();
    this.payment = null;
    if (this.owed.size === 0 || (this.isClosed && this.opening === null)) return;
    this.givingBack = this.givingBack.then(async () => {
      try {
        for (const extent of this.owed) {
          this.opening ??= this.open(); // not file(), which waits for this
          if (!this.holdsHere(extent)) await this.punch(await this.opening, extent);
          this.owed.delete(extent);
        }
        this.context.waypoints.reached('space.given-back');
      } catch (error) {
        const { log } = this.context;
        log.warn({ volume: this.record.name, error: describeError(error) }, 'space was not given back yet');
        this.payBackIn(GIVE_BACK_RETRY_MS);
      }
    });
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.unit.close();
    this.reopening?.cancel();
    this.payBack();
    await this.givingBack;
    const file = await this.opening?.catch(() => undefined); // open() has told the slot and the log
    await file?.close();
  }

  private openIfHeld(): void {
    if (this.opening === null && this.holdsAny && !this.isClosed) {
      this.opening = this.open();
      this.opening.catch(() => undefined); // open() has told the slot and the log
    }
  }

  private get holdsAny(): boolean {
    return this.routed.route.holders.includes(this.context.ids.idOf(this.context.self));
  }

  /**
   * Where the disk fails, I/O is told so, and the file is tried again: the disk may have been mended, and an operator may
   * have put the file back.
   */
  private async open(): Promise<SparseFile> {
    const { vacated, clock, diskTime } = this.context;
    await vacated;
    try {
      if (this.isClosed) throw new BlockferryError('NOT_FOUND', `volume ${this.record.name} is closed`);
      const file = await this.openClean();
      this.openFailure = '';
      this.local.opened(diskTime?.slowed(file) ?? file);
      return file;
    } catch (error) {
      this.logOpenFailure(describeError(error));
      const isNew = this.epoch === 1 && this.holdsAny && !this.isClosed;
      if (isNew && (this.record.full || isImpossible(error))) await this.giveUpMaking(error);
      this.local.failed(describeError(error));
      this.opening = null; // whoever needs it next tries again
      this.reopening?.cancel();
      this.reopening = this.isClosed ? null : clock.after(OPEN_RETRY_MS, () => this.openIfHeld());
      throw error;
    }
  }

  /** The file, without what is not held here. */
  private async openClean(): Promise<SparseFile> {
    const file = await this.openFile();
    try {
      await punchForeign(file, this.routed, this.context.self);
      return file;
    } catch (error) {
      await file.close().catch(() => undefined); // or the next try would find it locked
      throw error;
    }
  }

  /** Once for as long as the reason stays the same: it is tried for ever. */
  private logOpenFailure(reason: string): void {
    if (reason === this.openFailure) return;
    this.openFailure = reason;
    this.context.log.error(
      { volume: this.record.name, error: reason },
      'the file of a volume cannot be opened',
    );
  }

  /**
   * Epoch 1 means that nobody has had the file yet: it is left before the first I/O is served. From then on a holder's
   * file must be there, since a new one would serve zeros for what was written (I1). Whatever lies there at epoch 1, or
   * at a member that holds nothing, is of a volume of the same name that was deleted while this member was away.
   */
  private async openFile(): Promise<SparseFile> {
    const { folder, log, waypoints } = this.context;
    const { name, sizeBytes, blockBytes, full: keepsSpace } = this.record;
    const isNew = this.epoch === 1 || !this.holdsAny;
    if (isNew) await folder.remove(name);
    const options = { sizeBytes, blockBytes, create: isNew, readOnly: false, keepsSpace, log };
    const file = await folder.openVolume(name, options);
    try {
      if (this.epoch === 1 && this.holdsAny) {
        waypoints.reached('volume.file-made');
        if (keepsSpace) await this.takeSpace(file);
        await this.beginRoute();
        waypoints.reached('volume.begun');
      }
      return file;
    } catch (error) {
      await file.close().catch(() => undefined); // why it is closed says more
      throw error;
    }
  }

  /**
   * A store that does not answer, or has no room, says nothing of the file: I/O goes on waiting. Nor is it made anew, since the commit
   * may have been made all the same: a full one would then be less than its route says of it for a while.
   */
  private async beginRoute(): Promise<void> {
    for (;;) {
      try {
        return await this.context.begin(this.record);
      } catch (error) {
        this.logOpenFailure(describeError(error));
        if (!(error instanceof BlockferryError) || this.isClosed) throw error;
      }
      await sleep(this.context.clock, OPEN_RETRY_MS);
    }
  }

  private async takeSpace(file: SparseFile): Promise<void> {
    const { folder, clock, creations } = this.context;
    const { headRevision } = this.routed.route;
    await allocate(file, (await folder.space()).freeBytes, {
      clock,
      isWanted: () => !this.isClosed,
      tell: (bytes) => void creations.allocated(this.record, headRevision, bytes).catch(() => undefined),
    });
  }

  /** A new volume whose file cannot be, or a full one that does not get its space, is none: nothing stays but the reason. */
  private async giveUpMaking(error: unknown): Promise<void> {
    const { creations, self, refresh } = this.context;
    const reread = (): Promise<void> => new Promise((resolve) => refresh(this.record.name, 0, resolve));
    await reread(); // what failed may have been the answer of the commit alone
    if (this.epoch !== 1 || this.isClosed) return;
    try {
      await creations.failed(this.record, this.routed.route.headRevision, creationFailure(error, self));
      await reread(); // the file goes with the volume
    } catch (failure) {
      this.logOpenFailure(describeError(failure)); // the file is tried again, and fails again
    }
  }

  private async punch(file: SparseFile, extent: number): Promise<void> {
    invariant('I1', !this.volume.holdsHere(extent), `extent ${extent} is held here and given back`);
    const fromBytes = extent * this.record.extentBytes;
    await file.punch(fromBytes, Math.min(this.record.extentBytes, this.record.sizeBytes - fromBytes));
  }

  private place(): VolumePlace {
    const routed = (): RoutedVolume => this.routed;
    return {
      get routed() {
        return routed();
      },
      timesLeftBehind: () => this.timesLeftBehind,
      refresh: (seen, done) => this.context.refresh(this.record.name, seen, done),
    };
  }

  private remoteVolume(): RemoteVolume {
    return {
      volumeId: this.record.id,
      blockBytes: this.record.blockBytes,
      epoch: () => this.epoch,
      timesLeftBehind: () => this.timesLeftBehind,
      refresh: (seen, done) => this.context.refresh(this.record.name, seen, done),
    };
  }
}
