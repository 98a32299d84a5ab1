/**
 * Every volume of the group at one member: made when the routing table speaks of it, changed at each epoch, forgotten
 * when it is deleted. Forwarding, moves and sessions find their volumes here.
 */
import type { AccessServer } from '../access/access-server.js';
import { CopyLanes } from '../access/copy-lanes.js';
import type { GuestUnits } from '../access/guest-service.js';
import type { AccessUnits } from '../access/home-service.js';
import type { Server } from '../access/messages.js';
import { describeError } from '../base/errors.js';
import { keys, type VolumeRecord } from '../group/records.js';
import type { StoreCompare } from '../group/store.js';
import type { DestinationVolumes } from '../migration/destination.js';
import type { MovingVolumes } from '../migration/moving-volumes.js';
import type { HeldVolumes } from '../peer/holder-service.js';
import type { RoutingTable } from '../routing/table.js';
import type { DiskUnit } from '../scsi/unit.js';
import type { SparseFile } from '../storage/sparse-file.js';
import type { LocalSlot } from '../volume/local-slot.js';
import type { Volume } from '../volume/volume.js';
import { HeldVolume, type HeldVolumeContext } from './held-volume.js';
import type { VolumeUnit } from './volume-unit.js';

export interface VolumeHostOptions extends Omit<
  HeldVolumeContext,
  'refresh' | 'begin' | 'vacated' | 'allUnits' | 'mayServe' | 'lanes'
> {
  readonly table: RoutingTable;
  /** Sessions on a target at this member. */
  sessionCount(iqn: string): number;
  /** Whether there is one, or something of one that was can still land. */
  hasSessions(iqn: string): boolean;
  /** Ends them without another word; resolves when nothing of them can land any more. */
  cutOff(iqn: string): Promise<void>;
  /** How long this process's event loop has had nothing to do, ever. */
  loopIdleMs(): number;
  /** Asked at a hand-over to remember who dials whom for the bulk. */
  connect(member: string): void;
  /** Whether that process of a member is in the group. */
  isPresent(member: string, incarnation: string): boolean;
}

export class VolumeHost implements AccessUnits, GuestUnits, HeldVolumes, DestinationVolumes, MovingVolumes {
  readonly incarnation: string;
  private readonly byName = new Map<string, HeldVolume>();
  private readonly lanes: CopyLanes;
  private readonly refreshing = new Map<string, Promise<boolean>>();
  /** Volumes that were deleted, until their files are gone. */
  private readonly leaving = new Map<string, Promise<void>>();
  private suspended = true;
  /** AccessUnits. */
  term = 0;
  private isStopping = false;
  private hasGivenUp = false;

  constructor(private readonly options: VolumeHostOptions) {
    this.incarnation = options.incarnation;
    this.lanes = new CopyLanes(options.clock);
    const { table } = options;
    for (const routed of table.volumes) this.byName.set(routed.record.name, this.make(routed));
    table.onChange((now, before) => {
      if (now === undefined) this.drop(before?.record.name ?? '');
      else this.change(now);
    });
  }

  // ---- serving (I4)

  get serving(): boolean {
    return !this.suspended;
  }

  suspend(): void {
    this.suspended = true;
    this.term += 1;
    for (const { volume, unit } of this.byName.values()) {
      volume.suspend();
      void unit.guests.lapse(); // regain() waits for it
    }
    if (this.isStopping) this.giveUpHeld();
  }

  /**
   * The member stops: sessions cannot end while their I/O waits for a lease, which may never come. From now on it is given up
   * when there is none, and not served any more should one come.
   */
  stopWaiting(): void {
    this.isStopping = true;
    if (this.suspended) this.giveUpHeld();
  }

  /** The sessions end first, without a word: what is given up would be an error to their initiators (I7). */
  private giveUpHeld(): void {
    this.hasGivenUp = true;
    for (const { record, volume } of this.byName.values()) {
      void this.options.cutOff(record.iqn);
      volume.giveUpHeld();
    }
  }

  resume(): void {
    if (this.hasGivenUp) return;
    this.suspended = false;
    for (const held of this.byName.values()) held.volume.resume();
  }

  /**
   * Serves again after a time without a lease, when the others did not ask this member for anything (I8): they took what had
   * been sent here for undone, and newer commands may stand behind it. So all of it ends first. An initiator of a volume
   * that redirects to here cannot have gone elsewhere, and keeps its session.
   * @param term when this began: another one begins anew
   * @param present who is in the group by now: what others have sent ends
   */
  async regain(term: number, present: readonly Server[]): Promise<void> {
    if (term !== this.term) return;
    const left = [...this.byName.values()].filter(
      ({ isSurelyHome, unit }) => !isSurelyHome || unit.access !== null,
    );
    const endings = left.map((held) => this.leaveBehind(held));
    for (const { unit } of this.byName.values()) endings.push(unit.guests.lapse());
    // Not before: what it waits for may wait for what has been held back until now.
    endings.push(this.endAbsent(present));
    await Promise.all(endings);
    if (term === this.term && this.options.leaseIsValid()) this.resume();
  }

  private async leaveBehind(held: HeldVolume): Promise<void> {
    const { access } = held.unit;
    const sessionsEnd = this.options.cutOff(held.record.iqn);
    const visitorsEnd = access?.visitors.endAll();
    held.leaveBehind();
    // Where every member serves, what a session here has sent to a home elsewhere is that home's.
    const isServedElsewhere = access !== null && !held.isHome;
    await Promise.all([isServedElsewhere ? null : sessionsEnd, visitorsEnd]);
  }

  /** What waits for a lease, and has been told to end, would be waited for by who is to bring the lease back. */
  private dropUnwanted(): void {
    for (const { volume, unit } of this.byName.values()) {
      volume.dropUnwanted();
      unit.disk.device.dropUnwanted();
    }
  }

  // ---- finding

  get(name: string): HeldVolume | undefined {
    return this.byName.get(name);
  }

  get all(): IterableIterator<HeldVolume> {
    return this.byName.values();
  }

  private *allUnits(): Generator<DiskUnit> {
    for (const { unit } of this.byName.values()) yield unit.disk;
  }

  private byId(volumeId: number): HeldVolume | undefined {
    const routed = this.options.table.getById(volumeId);
    return routed === undefined ? undefined : this.byName.get(routed.record.name);
  }

  // ---- AccessUnits

  mayServe(): boolean {
    return this.options.leaseIsValid() && this.serving;
  }

  accessOf(volumeId: number): AccessServer | undefined {
    return this.byId(volumeId)?.unit.access ?? undefined;
  }

  /** GuestUnits. */
  guestPlaceOf(volumeId: number): VolumeUnit | undefined {
    return this.byId(volumeId)?.unit;
  }

  volumeById(volumeId: number): Volume | undefined {
    return this.byId(volumeId)?.volume;
  }

  // ---- DestinationVolumes

  async current(volumeId: number, epoch: number): Promise<HeldVolume | undefined> {
    const known = this.byId(volumeId);
    if (known === undefined || known.epoch < epoch) await this.refreshById(volumeId);
    return this.byId(volumeId);
  }

  async reread(volumeId: number): Promise<boolean> {
    const name = this.options.table.getById(volumeId)?.record.name ?? '';
    await this.refreshing.get(name); // it may have begun before the call
    return this.refreshById(volumeId);
  }

  /** HeldVolumes. */
  refresh(volumeId: number, done: () => void): void {
    void this.refreshById(volumeId).then(done);
  }

  connect(member: string): void {
    this.options.connect(member);
  }

  isPresent(member: string, incarnation: string): boolean {
    return this.options.isPresent(member, incarnation);
  }

  hasLeft(member: string, incarnation: string): Promise<boolean> {
    return this.options.hasLeft(member, incarnation);
  }

  /** DestinationVolumes and MovingVolumes. */
  loopIdleMs(): number {
    return this.options.loopIdleMs();
  }

  // ---- MovingVolumes

  async source(name: string): Promise<{ volume: Volume; local: LocalSlot; file: SparseFile }> {
    const held = this.byName.get(name);
    if (held === undefined) throw new Error(`volume ${name} is not here`);
    return { volume: held.volume, local: held.local, file: await held.file() };
  }

  givingHome(volumeId: number, isUnderWay: boolean): void {
    this.byId(volumeId)?.givingHome(isUnderWay);
  }

  committingHome(volumeId: number, isUnderWay: boolean): void {
    this.byId(volumeId)?.unit.committingHome(isUnderWay);
  }

  unflushed(name: string): Record<string, string> {
    return this.byName.get(name)?.unflushed() ?? {};
  }

  homeCondition(name: string): StoreCompare | null {
    return this.options.units.homeCondition(name);
  }

  async quieten(name: string): Promise<boolean> {
    return (await this.byName.get(name)?.unit.quieten()) ?? true;
  }

  gaveAway(name: string, extents: readonly number[]): void {
    this.byName.get(name)?.gaveAway(extents);
  }

  sessionCount(name: string): number {
    const held = this.byName.get(name);
    const stay = held === undefined || held.unit.access !== null;
    return stay ? 0 : this.options.sessionCount(held.record.iqn);
  }

  /** Whether another member that is home would meet nothing any more of what this one does for a volume. */
  isVacant(name: string): boolean {
    const held = this.byName.get(name);
    return held?.unit.isVacant(this.options.hasSessions(held.record.iqn)) ?? true;
  }

  /** Resolves when nothing is under way here for a session, or a copy, at any other process than these (I8). */
  async endAbsent(present: readonly Server[]): Promise<void> {
    const units = [...this.byName.values()].map(({ unit }) => unit);
    const endings = units.map(({ guests }) => guests.endAbsent(present));
    for (const { access } of units) if (access !== null) endings.push(access.visitors.endAbsent(present));
    this.dropUnwanted();
    await Promise.all(endings);
  }

  /** A process has left the group, and its sessions and copies with it; another one may have its name. */
  memberLeft(process: Server): void {
    for (const { unit } of this.byName.values()) {
      unit.access?.visitors.gone(process);
      unit.guests.gone(process);
    }
  }

  // ---- routes

  /** Reads a route from the store, once for all who ask at the same time. False: a failure, which is logged, not thrown. */
  refreshByName(name: string): Promise<boolean> {
    let refreshing = this.refreshing.get(name);
    if (refreshing === undefined) {
      const { table } = this.options;
      refreshing = this.succeeds(table.refresh(name), name).finally(() => this.refreshing.delete(name));
      this.refreshing.set(name, refreshing);
    }
    return refreshing;
  }

  /** False: the table may be behind that epoch, since the store does not answer. */
  async catchUp(name: string, epoch: number): Promise<boolean> {
    const { table } = this.options;
    const isBehind = (): boolean => (table.get(name)?.route.epoch ?? 0) < epoch;
    // A second time, where one was under way that had begun before; then there is no such volume.
    for (let tries = 0; tries < 2 && isBehind(); tries++) if (!(await this.refreshByName(name))) return false;
    return true;
  }

  private refreshById(volumeId: number): Promise<boolean> {
    const { table } = this.options;
    const name = table.getById(volumeId)?.record.name;
    return name !== undefined ? this.refreshByName(name) : this.succeeds(table.refreshNew(), 'any new one');
  }

  private succeeds(reading: Promise<unknown>, volume: string): Promise<boolean> {
    return reading.then(
      () => true,
      (error: unknown) => {
        this.options.log.warn({ volume, error: describeError(error) }, 'a route cannot be read');
        return false;
      },
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.leaving.values());
    const closings = await Promise.allSettled([...this.byName.values()].map((held) => held.close()));
    for (const closing of closings) {
      if (closing.status === 'rejected')
        this.options.log.error({ error: describeError(closing.reason) }, 'closing a volume');
    }
  }

  private make(routed: ConstructorParameters<typeof HeldVolume>[0]): HeldVolume {
    const held = new HeldVolume(routed, {
      ...this.options,
      refresh: (volume, epoch, done) => {
        const known = this.byName.get(volume);
        if (epoch !== 0 && known !== undefined && known.epoch >= epoch) setImmediate(done);
        else void this.refreshByName(volume).then(done);
      },
      begin: (volume) => this.begin(volume),
      allUnits: () => this.allUnits(),
      mayServe: () => this.mayServe(),
      lanes: this.lanes,
      vacated: this.leaving.get(routed.record.name) ?? Promise.resolve(),
    });
    if (this.suspended) held.volume.suspend();
    if (this.hasGivenUp) held.volume.giveUpHeld();
    return held;
  }

  private change(routed: ConstructorParameters<typeof HeldVolume>[0]): void {
    const { name, id } = routed.record;
    const known = this.byName.get(name);
    if (known !== undefined && known.record.id === id) known.adopt(routed);
    else this.byName.set(name, this.make(routed));
  }

  private async begin({ name, id, full }: VolumeRecord): Promise<void> {
    const { table } = this.options;
    for (;;) {
      const routed = table.get(name);
      if (routed === undefined || routed.record.id !== id || routed.route.epoch > 1) return;
      const made = full ? [{ delete: keys.creation(name) }] : [];
      await table.commit(routed, routed.route.begun(), [], made);
    }
  }

  private drop(name: string): void {
    const held = this.byName.get(name);
    if (held === undefined) return;
    this.byName.delete(name);
    held.volume.resume(); // what it holds back ends with the file
    const warn = (error: unknown): void =>
      this.options.log.warn({ volume: name, error: describeError(error) }, 'removing a volume');
    const { waypoints } = this.options;
    waypoints.reached('volume.forgotten');
    // Behind those of the same name before it: a file goes with the last of them, and never later.
    const gone = Promise.all([this.leaving.get(name), held.close().catch(warn)])
      .then(() => this.options.folder.remove(name))
      .then(() => waypoints.reached('volume.removed'))
      .catch(warn)
      .finally(() => {
        if (this.leaving.get(name) === gone) this.leaving.delete(name);
      });
    this.leaving.set(name, gone);
  }
}
