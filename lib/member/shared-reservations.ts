/**
 * The reservations of every volume as the group shares them (I9): kept in the store, known at every member, and enforced
 * wherever a volume is served. A change is a compare-and-swap in the store; then every member is told, and the initiator that
 * asked is answered when each of them goes by it (everywhere.ts). So what one initiator was granted at one member no other
 * can get around at another.
 *
 * What is written holds: from then on BUSY, which says that nothing was done, would be a lie. So the others are asked until
 * they have all answered. A member that sleeps past its lease is not waited for. It reads what it has missed before it
 * serves again.
 */
import { Mutex } from 'async-mutex';
import { z } from 'zod';
import { sleep, type Clock } from '../base/clock.js';
import { BlockferryError, describeError } from '../base/errors.js';
import {
  FORWARD_RETRY_MS,
  HOME_COMMAND_MS_MAX,
  MEMBERS_MAX,
  READ_BACK_RETRY_MS,
  REGISTRATIONS_MAX,
} from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { ATTEMPTS_MAX } from '../group/attempts.js';
import { ReservationsRecord, formatRecord, keys, parseRecord } from '../group/records.js';
import type { GroupStore, StoreEntry } from '../group/store.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../peer/contract.js';
import { nexusLost, type Change } from '../scsi/reservations/changes.js';
import { releaseOf, type Nexuses, type ReservationKeeper } from '../scsi/reservations/keeper.js';
import { NO_RESERVATIONS, type Reservations } from '../scsi/reservations/state.js';
import { NOTICES, SENSE } from '../scsi/sense.js';
import type { ScsiNexus } from '../scsi/task.js';
import type { Everywhere, Present } from './everywhere.js';
import type { FollowedRecords } from './followed-records.js';
import { RecordKeepers } from './record-keepers.js';
import { isInGroup } from './group-facts.js';

export interface SharedReservationsOptions {
  readonly store: GroupStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** This process. */
  readonly incarnation: string;
  readonly everywhere: Everywhere;
  /** Ends the links of every other process than these here; resolves when none of their requests is in service. */
  endAbsent(present: readonly Present[]): Promise<void>;
  /** Whether a process with that incarnation is in the group, as far as this member has heard. */
  isThere(incarnation: string): boolean;
}

const initiatorPort = z.string().max(245);

/** RESERVED: what the sender has written, and what every member has to do about it. */
const Reserved = z.object({
  volume: z.string().max(64),
  revision: z.number().int().min(1),
  notices: z.array(z.object({ initiatorPort, notice: z.enum(NOTICES) })).max(2 * REGISTRATIONS_MAX),
  aborts: z.array(initiatorPort).max(REGISTRATIONS_MAX),
  present: z.array(z.object({ name: z.string().max(64), incarnation: z.string().max(64) })).max(MEMBERS_MAX),
});
type Reserved = z.infer<typeof Reserved>;

/** What members have to do about a change. */
type Consequences = Pick<Extract<Change, { kind: 'done' }>, 'notices' | 'aborts'>;

interface Written {
  /** Null: too many attempts. */
  readonly change: Change | null;
  /** The revision that has it; null: nothing was written. */
  readonly revision: number | null;
}

/** Changes whose end is remembered: who made one asks again at once, while it waits. */
const CARRIED_OUT_MAX = 64;
const NOT_WRITTEN: Written = { change: null, revision: null };
/** A process that was taken for gone. */
const STILL_THERE: Written = { change: { kind: 'conflict' }, revision: null };
/** It is written, and this member stops before everybody goes by it: neither GOOD nor BUSY would be true. */
const CUT_SHORT: Change = { kind: 'refused', sense: SENSE.COMMAND_ABORTED };

export class SharedReservations {
  /** Who waits for others to go by a change: told when the member begins to stop. */
  readonly cutShort = new Set<() => void>();
  isStopping = false;

  private constructor(
    readonly options: SharedReservationsOptions,
    private readonly keepers: RecordKeepers<SharedKeeper>,
  ) {}

  /** Reads what there is, then follows. */
  static async open(options: SharedReservationsOptions): Promise<SharedReservations> {
    const keepers = await RecordKeepers.open<SharedKeeper>({ ...options, prefix: keys.reservations });
    return new SharedReservations(options, keepers);
  }

  /** The member stops: its sessions cannot end while their commands wait for others. */
  stopAsking(): void {
    this.isStopping = true;
    for (const tell of this.cutShort) tell();
  }

  close(): void {
    this.stopAsking();
    this.records.close();
  }

  get records(): FollowedRecords {
    return this.keepers.records;
  }

  /** The keeper of a volume at this member. */
  keeperOf(volume: string, volumeId: number): ReservationKeeper {
    return this.keepers.add(volume, new SharedKeeper(this, volume, volumeId));
  }

  /** The volume was deleted. */
  forget(volume: string, volumeId: number): void {
    this.keepers.forget(volume, volumeId);
  }

  /** Another member has changed something. */
  async serve(request: IncomingRequest): Promise<void> {
    const { volume, revision, notices, aborts, present } = Reserved.parse(
      JSON.parse(request.payload.toString('utf8')),
    );
    if ((this.records.get(volume)?.revision ?? 0) < revision) await this.records.read(volume);
    const ended = this.keepers.get(volume)?.carryOut(revision, { notices, aborts });
    // At once: who comes back while commands end is not on this list, and would be ended with those who are gone.
    await Promise.all([ended, aborts.length > 0 ? this.options.endAbsent(present) : null]);
    request.answer(PeerStatus.OK);
  }

  /** A process has left the group: what RESERVE (6) gave to a nexus with it has ended. */
  memberLeft(): void {
    for (const keeper of this.keepers.all()) keeper.releaseOfTheGone();
  }
}

class SharedKeeper implements ReservationKeeper {
  readonly survivePowerLoss = true;
  state = NO_RESERVATIONS;
  /** As the store has it. */
  private kept = NO_RESERVATIONS;
  /** What ends with nexuses, and is not written yet. */
  private readonly endings = new Set<(state: Reservations) => Change>();
  private nexuses!: Nexuses;
  /** Changes are written in the order of their commands: what ends with a nexus before what the next one asks for. */
  private readonly oneWrite = new Mutex();
  /** By revision: resolves when what it aborts has ended. */
  private readonly carriedOut = new Map<number, Promise<void>>();
  /** Of these, what has ended, oldest first. */
  private readonly endedRevisions: number[] = [];
  /** What this member is writing: it may hear of it before it is answered. */
  private writing: string | null = null;
  /** The store fails what has to be written before anything else. */
  private isStuck = false;

  constructor(
    private readonly shared: SharedReservations,
    private readonly volume: string,
    readonly volumeId: number,
  ) {}

  get incarnation(): string {
    return this.shared.options.incarnation;
  }

  change(
    make: (state: Reservations) => Change,
    done: (change: Change | null) => void,
    written?: () => void,
  ): void {
    if (this.isStuck) return done(null);
    this.commit(() => this.writeChange(make), written).then(done, (error: unknown) => {
      this.warn(error, 'reservations could not be changed');
      done(null);
    });
  }

  /** It holds here at once: a store on a busy disk takes seconds to keep what nobody has any more. */
  insist(make: (state: Reservations) => Change): void {
    this.endings.add(make);
    this.settle();
    const isOver = (): void => {
      this.endings.delete(make);
      this.settle();
    };
    this.insistOn(() => this.writeChange(make), isOver);
  }

  private settle(): void {
    this.state = this.kept;
    for (const make of this.endings) {
      const change = make(this.state);
      if (change.kind === 'done') this.state = change.state;
    }
  }

  attach(nexuses: Nexuses): void {
    this.nexuses = nexuses;
  }

  ended(nexus: ScsiNexus): void {
    releaseOf(nexus, this, this.nexuses);
  }

  /**
   * Once for each revision, however often it is asked for: an answer may be late, or lost, and what the preempted initiators
   * do after that, registered anew, is none of what was to be aborted.
   * @returns resolves when all that is to be aborted has ended
   */
  carryOut(revision: number, { notices, aborts }: Consequences): Promise<void> {
    const known = this.carriedOut.get(revision);
    if (known !== undefined) return known;
    this.nexuses.tell(notices);
    if (notices.length + aborts.length === 0) return Promise.resolve();
    const ended = new Promise<void>((resolve) => this.nexuses.abort(aborts, resolve));
    this.carriedOut.set(revision, ended);
    void ended.then(() => this.hasEnded(revision));
    return ended;
  }

  /** What is under way stays known: who waits for it asks again. */
  private hasEnded(revision: number): void {
    this.endedRevisions.push(revision);
    if (this.endedRevisions.length > CARRIED_OUT_MAX)
      this.carriedOut.delete(this.endedRevisions.shift() as number);
  }

  /**
   * A process is in the group before it serves, but who follows members and reservations may hear of them in any order: the
   * store says whether it has left.
   */
  releaseOfTheGone(): void {
    const { reservedBy, reservedAt } = this.state;
    const { isThere, store } = this.shared.options;
    if (reservedBy === null || isThere(reservedAt)) return;
    this.insistOn(async () => {
      if (await isInGroup(store, reservedAt)) return STILL_THERE;
      return this.writeChange((state) => nexusLost(state, reservedBy, reservedAt));
    });
  }

  /** A record that cannot be read changes nothing: what was reserved stays so. */
  adopt(entry: StoreEntry | undefined): void {
    try {
      const before = this.state;
      this.kept = (entry === undefined ? undefined : this.recordOf(entry)) ?? NO_RESERVATIONS;
      this.settle();
      if (entry?.value !== this.writing) this.tellOfRelease(before);
    } catch (error) {
      const { log } = this.shared.options;
      log.error({ volume: this.volume, error: describeError(error) }, 'a record of reservations is wrong');
    }
    this.releaseOfTheGone(); // it may have left before this was heard of
  }

  /**
   * Others take a process that has no lease for gone, and release what its sessions had reserved. A session that it keeps all
   * the same has to know (I9): it would go on as if the unit were still its own.
   */
  private tellOfRelease({ reservedBy, reservedAt }: Reservations): void {
    if (reservedBy === null || reservedAt !== this.incarnation || this.state.reservedBy === reservedBy)
      return;
    this.nexuses.tell([{ initiatorPort: reservedBy, notice: 'RESERVATIONS_RELEASED' }]);
  }

  /** Undefined: it is of a volume of the same name before. */
  private recordOf(entry: StoreEntry): ReservationsRecord | undefined {
    const record = parseRecord(ReservationsRecord, entry);
    return record.volumeId === this.volumeId ? record : undefined;
  }

  /** Told outside the turn: it may wait for commands to end that wait for theirs. */
  private async commit(write: () => Promise<Written>, written?: () => void): Promise<Change | null> {
    const { change, revision } = await this.oneWrite.runExclusive(write);
    if (change?.kind !== 'done' || revision === null) return change;
    written?.();
    return (await this.goesEverywhere(change, revision)) ? change : CUT_SHORT;
  }

  /** @param isOver called in its turn, before that of who comes next: it is written, or will not be */
  private insistOn(write: () => Promise<Written>, isOver = (): void => undefined): void {
    this.commit(() => this.untilKept(write).finally(isOver)).catch((error: unknown) => {
      this.warn(error, 'what RESERVE gave to a nexus that is lost stays');
    });
  }

  /** In its turn, so that a RESERVE of the same initiator port behind it is not what ends. */
  private async untilKept(write: () => Promise<Written>): Promise<Written> {
    try {
      do {
        const written = await this.tryToWrite(write);
        if (written.change !== null) return written;
        this.isStuck = true;
        await sleep(this.shared.options.clock, READ_BACK_RETRY_MS);
      } while (!this.shared.isStopping);
      return NOT_WRITTEN;
    } finally {
      this.isStuck = false;
    }
  }

  private async tryToWrite(write: () => Promise<Written>): Promise<Written> {
    try {
      return await write();
    } catch (error) {
      if (error instanceof BlockferryError && error.code === 'INVALID') throw error; // the record, now and later
      this.warn(error, 'what RESERVE gave to a nexus that is lost cannot be released; trying again');
      return NOT_WRITTEN;
    }
  }

  private warn(error: unknown, what: string): void {
    this.shared.options.log.warn({ volume: this.volume, error: describeError(error) }, what);
  }

  private async writeChange(make: (state: Reservations) => Change): Promise<Written> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const entry = await this.shared.records.read(this.volume);
      const state = (entry === undefined ? undefined : this.recordOf(entry)) ?? NO_RESERVATIONS;
      const change = make(state);
      if (change.kind !== 'done' || change.state === state) return { change, revision: null };
      const value = formatRecord({ ...change.state, volumeId: this.volumeId });
      const revision = await this.write(value, entry?.revision ?? 0);
      if (revision !== null) return { change, revision };
    }
    return NOT_WRITTEN;
  }

  private async write(value: string, revisionBefore: number): Promise<number | null> {
    this.writing = value;
    try {
      return await this.shared.records.write(this.volume, value, revisionBefore);
    } finally {
      this.writing = null;
    }
  }

  /** SPC-4 5.13.11.5: done once the commands that are aborted have ended. False: this member stops before that. */
  private async goesEverywhere(consequences: Consequences, revision: number): Promise<boolean> {
    const { cutShort, isStopping } = this.shared;
    const here = this.carryOut(revision, consequences);
    const everywhere = Promise.all([here, this.askUntilHeard(consequences, revision)]);
    if (isStopping) return false;
    let tell = (): void => undefined;
    const stopped = new Promise<false>((resolve) => (tell = () => resolve(false)));
    cutShort.add(tell);
    try {
      return await Promise.race([everywhere.then(([, isHeard]) => isHeard), stopped]);
    } finally {
      cutShort.delete(tell);
    }
  }

  private async askUntilHeard({ notices, aborts }: Consequences, revision: number): Promise<boolean> {
    const { volume, volumeId } = this;
    const { everywhere, clock, log } = this.shared.options;
    // Answered once what it aborts has ended, which may wait for a holder; the link is not to break over that.
    const fields = { type: PeerType.RESERVED, volumeId, deadlineMs: HOME_COMMAND_MS_MAX };
    const message = (present: Present[]): Reserved => ({
      ...{ volume, revision, present },
      notices: [...notices],
      aborts: [...aborts],
    });
    do {
      try {
        await everywhere.ask(fields, message, () => this.shared.isStopping);
        return true;
      } catch (error) {
        if (this.shared.isStopping) return false;
        log.warn(
          { volume, error: describeError(error) },
          'a member does not go by a change of reservations yet',
        );
        await sleep(clock, FORWARD_RETRY_MS);
      }
    } while (!this.shared.isStopping);
    return false;
  }
}
