/**
 * The facts of every unit as the group shares them (I9): its modes, its medium, a sanitize operation. One record a volume
 * in the store, written by its home alone: a write compares the head of the route. The next home reads it before it admits
 * anybody. While the medium is sanitized the home stays, so that what erases never meets what another home serves: its
 * commit compares this record, in turn.
 */
import { Mutex } from 'async-mutex';
import { sleep, type Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import { READ_BACK_RETRY_MS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { ATTEMPTS_MAX } from '../group/attempts.js';
import { UnitRecord, formatRecord, keys, parseRecord } from '../group/records.js';
import type { GroupStore, StoreCompare, StoreEntry } from '../group/store.js';
import { DEFAULT_FACTS, type UnitFacts, type UnitKeeper } from '../scsi/state.js';
import type { FollowedRecords } from './followed-records.js';
import { RecordKeepers } from './record-keepers.js';

export interface SharedUnitsOptions {
  readonly store: GroupStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** What holds while this member is home of a volume as it knows it; null: it is not. */
  officeOf(volume: string): StoreCompare | null;
  /** The route as the store has it; rejects when it does not answer. */
  refreshRoute(volume: string): Promise<unknown>;
}

/** What a member's volumes need of it. */
export interface VolumeUnits {
  /** Who keeps the facts of a volume at this member, by name and number. */
  keeperOf(volume: string, volumeId: number): UnitKeeper;
  /** What the home before has written, however late the news of it are. Rejects when the store does not answer. */
  catchUp(volume: string): Promise<void>;
  /** What must hold for the home of a volume to be given away; null: it has to stay for now. */
  homeCondition(volume: string): StoreCompare | null;
}

export class SharedUnits implements VolumeUnits {
  isClosed = false;

  private constructor(
    readonly options: SharedUnitsOptions,
    private readonly keepers: RecordKeepers<SharedUnitKeeper>,
  ) {}

  /** Reads what there is, then follows. */
  static async open(options: SharedUnitsOptions): Promise<SharedUnits> {
    const keepers = await RecordKeepers.open<SharedUnitKeeper>({ ...options, prefix: keys.units });
    return new SharedUnits(options, keepers);
  }

  close(): void {
    this.isClosed = true;
    this.records.close();
  }

  get records(): FollowedRecords {
    return this.keepers.records;
  }

  keeperOf(volume: string, volumeId: number): UnitKeeper {
    return this.keepers.add(volume, new SharedUnitKeeper(this, volume, volumeId));
  }

  /** The volume was deleted. */
  forget(volume: string, volumeId: number): void {
    this.keepers.forget(volume, volumeId);
  }

  async catchUp(volume: string): Promise<void> {
    await this.records.read(volume);
  }

  homeCondition(volume: string): StoreCompare | null {
    const isFree = this.keepers.get(volume)?.isSanitizing !== true;
    return isFree ? { key: keys.unit(volume), revision: this.records.get(volume)?.revision ?? 0 } : null;
  }
}

class SharedUnitKeeper implements UnitKeeper {
  facts = DEFAULT_FACTS;
  private changed: (before: UnitFacts) => void = () => undefined;
  private readonly oneWrite = new Mutex();
  /** What this process is about to write: news of it are none. */
  private writing = '';

  constructor(
    private readonly shared: SharedUnits,
    private readonly volume: string,
    readonly volumeId: number,
  ) {}

  get isSanitizing(): boolean {
    return typeof this.facts.sanitize === 'object' && this.facts.sanitize !== null;
  }

  attach(changed: (before: UnitFacts) => void): void {
    this.changed = changed;
  }

  change(make: (facts: UnitFacts) => UnitFacts, done: (isKept: boolean) => void): void {
    this.oneWrite
      .runExclusive(() => this.write(make))
      .then(done, (error: unknown) => {
        this.warn(error, 'the state of a unit could not be kept');
        done(false);
      });
  }

  /** Somebody else is home: what was to be kept was of the time before. */
  insist(make: (facts: UnitFacts) => UnitFacts, done: () => void): void {
    this.change(make, (isKept) => {
      if (isKept || this.shared.options.officeOf(this.volume) === null) done();
      else void this.later(() => this.insist(make, done));
    });
  }

  /** A record that cannot be read changes nothing. */
  adopt(entry: StoreEntry | undefined): void {
    const before = this.facts;
    try {
      if (entry !== undefined) this.facts = this.factsOf(entry);
    } catch (error) {
      this.warn(error, 'the record of a unit is wrong');
    }
    if (entry?.value !== this.writing) this.changed(before);
  }

  private async later(again: () => void): Promise<void> {
    const { isClosed, options } = this.shared;
    if (isClosed) return;
    await sleep(options.clock, READ_BACK_RETRY_MS);
    again();
  }

  /** False: this is not its home any more. */
  private async write(make: (facts: UnitFacts) => UnitFacts): Promise<boolean> {
    const { records, options } = this.shared;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const office = options.officeOf(this.volume);
      if (office === null) return false;
      const facts = make(this.facts);
      if (facts === this.facts) return true;
      const before = records.get(this.volume)?.revision ?? 0;
      this.writing = formatRecord({ ...facts, volumeId: this.volumeId } satisfies UnitRecord);
      const revision = await records.write(this.volume, this.writing, before, [office]);
      this.writing = '';
      if (revision !== null) return true;
      await Promise.all([records.read(this.volume), options.refreshRoute(this.volume)]);
    }
    return false;
  }

  /** A volume of the same name before had its own. */
  private factsOf(entry: StoreEntry): UnitFacts {
    const { volumeId, ...facts } = parseRecord(UnitRecord, entry);
    return volumeId === this.volumeId ? facts : DEFAULT_FACTS;
  }

  private warn(error: unknown, what: string): void {
    this.shared.options.log.warn({ volume: this.volume, error: describeError(error) }, what);
  }
}
