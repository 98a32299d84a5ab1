/**
 * Records of the store, one a volume, as this member knows them: read, followed by a watch, and written by
 * compare-and-swap. What the records mean is for those who keep them (reservations, the state of units).
 */
import { sleep, type Clock } from '../base/clock.js';
import { READ_BACK_RETRY_MS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { Following, type ReadUpTo } from '../group/following.js';
import type { GroupStore, StoreCompare, StoreEntry, StoreEvent } from '../group/store.js';

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
  private following!: Following;
  private isClosed = false;

  private constructor(private readonly options: FollowedRecordsOptions) {}

  /** Reads what there is, then follows. */
  static async open(options: FollowedRecordsOptions): Promise<FollowedRecords> {
    const records = new FollowedRecords(options);
    records.following = await Following.begin({
      ...options,
      what: `what the store has under ${options.prefix}`,
      read: () => records.readAll(),
      events: (events) => records.take(events),
    });
    return records;
  }

  close(): void {
    this.isClosed = true;
    this.following.close();
  }

  get(volume: string): StoreEntry | undefined {
    return this.entries.get(volume);
  }

  /** The store as it is now; rejects when it does not answer. Called before this member serves again (I4). */
  async refresh(): Promise<void> {
    await this.readAll();
  }

  async read(volume: string): Promise<StoreEntry | undefined> {
    const known = this.entries.get(volume);
    const entry = await this.options.store.get(this.options.prefix + volume);
    if (entry !== undefined) this.adopt(volume, entry);
    else if (this.entries.get(volume) === known) this.entries.delete(volume); // or it was written meanwhile
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

  /** The volume was deleted, by then: one that is made anew under its name has a number of its own. */
  private forget(volume: string, revision: number): void {
    if ((this.entries.get(volume)?.revision ?? revision) < revision) this.entries.delete(volume);
  }

  private async readAll(): Promise<ReadUpTo[]> {
    const { store, prefix } = this.options;
    const { entries, revision } = await store.list(prefix);
    const present = new Set(entries.map(({ key }) => this.volumeOf(key)));
    // What it had no more is gone, but for what was written after it.
    for (const volume of [...this.entries.keys()])
      if (!present.has(volume)) this.forget(volume, revision + 1);
    for (const entry of entries) this.adopt(this.volumeOf(entry.key), entry);
    return [{ prefix, revision }];
  }

  private take(events: readonly StoreEvent[]): void {
    for (const { key, entry, revision } of events) {
      if (entry === null) this.forget(this.volumeOf(key), revision);
      else this.adopt(this.volumeOf(key), entry);
    }
  }

  private volumeOf(key: string): string {
    return key.slice(this.options.prefix.length);
  }
}
