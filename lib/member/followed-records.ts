/**
 * Records of the store, one a volume, as this member knows them: read, followed by a watch, and written by
 * compare-and-swap. What the records mean is for those who keep them (reservations, the state of units).
 */
import { sleep, type Clock, type Timer } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import { MOVE_LIST_RETRY_MS, READ_BACK_RETRY_MS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import type { GroupStore, StoreCompare, StoreEntry, StoreWatch } from '../group/store.js';

export interface FollowedRecordsOptions {
  readonly store: GroupStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** What the keys begin with; the name of the volume follows. */
  readonly prefix: string;
  /** A newer entry is known of a volume, by whoever wrote it. */
  adopted(volume: string, entry: StoreEntry): void;
}

export class FollowedRecords {
  private readonly entries = new Map<string, StoreEntry>();
  private watch: StoreWatch | null = null;
  private retry: Timer | null = null;
  private isClosed = false;

  private constructor(private readonly options: FollowedRecordsOptions) {}

  /** Reads what there is, then follows. */
  static async open(options: FollowedRecordsOptions): Promise<FollowedRecords> {
    const records = new FollowedRecords(options);
    await records.follow();
    return records;
  }

  close(): void {
    this.isClosed = true;
    this.watch?.close();
    this.retry?.cancel();
  }

  get(volume: string): StoreEntry | undefined {
    return this.entries.get(volume);
  }

  /** The store as it is now; rejects when it does not answer. Called before this member serves again (I4). */
  async refresh(): Promise<void> {
    const { entries } = await this.options.store.list(this.options.prefix);
    for (const entry of entries) this.adopt(this.volumeOf(entry.key), entry);
  }

  async read(volume: string): Promise<StoreEntry | undefined> {
    const entry = await this.options.store.get(this.options.prefix + volume);
    if (entry !== undefined) this.adopt(volume, entry);
    return entry;
  }

  /**
   * Writes a record over the one of that revision (0: there is none). An answer that is lost is read back.
   * @param conditions what else must hold
   * @returns its revision; null: somebody else has changed it meanwhile, or a condition does not hold
   */
  async write(
    volume: string,
    value: string,
    revisionBefore: number,
    conditions: readonly StoreCompare[] = [],
  ): Promise<number | null> {
    const { store, prefix } = this.options;
    const key = prefix + volume;
    try {
      const done = await store.txn([{ key, revision: revisionBefore }, ...conditions], [{ put: key, value }]);
      if (!done.committed) return null;
      this.adopt(volume, { key, value, revision: done.revision });
      return done.revision;
    } catch {
      return this.readBack(volume, value, revisionBefore);
    }
  }

  /** Whether it was done says the store, once it answers. */
  private async readBack(volume: string, value: string, revisionBefore: number): Promise<number | null> {
    for (;;) {
      try {
        const entry = await this.read(volume);
        const isOurs = entry !== undefined && entry.revision !== revisionBefore && entry.value === value;
        return isOurs ? entry.revision : null;
      } catch (error) {
        if (this.isClosed) throw error;
        await sleep(this.options.clock, READ_BACK_RETRY_MS);
      }
    }
  }

  /** What is newer than what is known: answers of the store may come behind news of the watch. */
  private adopt(volume: string, entry: StoreEntry): void {
    if ((this.entries.get(volume)?.revision ?? 0) >= entry.revision) return;
    this.entries.set(volume, entry);
    this.options.adopted(volume, entry);
  }

  /** The volume was deleted: one that is made anew under its name has a number of its own. */
  private forget(volume: string, revision: number): void {
    if ((this.entries.get(volume)?.revision ?? revision) < revision) this.entries.delete(volume);
  }

  private async follow(): Promise<void> {
    const { store, prefix } = this.options;
    const listing = await store.list(prefix);
    for (const entry of listing.entries) this.adopt(this.volumeOf(entry.key), entry);
    this.watch?.close();
    if (this.isClosed) return;
    this.watch = store.watch(prefix, listing.revision, {
      events: (events) => {
        for (const { key, entry, revision } of events) {
          if (entry === null) this.forget(this.volumeOf(key), revision);
          else this.adopt(this.volumeOf(key), entry);
        }
      },
      compacted: () => this.followAgain(),
    });
  }

  private followAgain(): void {
    const { clock, log, prefix } = this.options;
    this.follow().catch((error: unknown) => {
      log.warn({ prefix, error: describeError(error) }, 'records cannot be read; trying again');
      if (!this.isClosed) this.retry = clock.after(MOVE_LIST_RETRY_MS, () => this.followAgain());
    });
  }

  private volumeOf(key: string): string {
    return key.slice(this.options.prefix.length);
  }
}
