/** A group store in memory, for tests and simulations of a group in one process. Nothing of it outlives the process. */
import type { Clock, Timer } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { randomToken, type Random } from '../base/random.js';
import {
  checkOperations,
  commit,
  endLease,
  expiredLeases,
  grantLease,
  reapLeases,
  renewLease,
  toEntry,
  type ChangeRow,
  type EntryRow,
  type LeaseRow,
  type LeaseTime,
  type LedgerTables,
  type StateRow,
} from './ledger.js';
import { LedgerLease } from './ledger-lease.js';
import type {
  GroupStore,
  StoreCompare,
  StoreEntry,
  StoreLease,
  StoreListing,
  StoreOperation,
  StoreTransaction,
  StoreWatch,
  StoreWatcher,
} from './store.js';
import { Watchers, type History } from './watchers.js';

const REAP_MS = 250;

export interface MemoryStoreOptions {
  readonly clock: Clock;
  readonly random: Random;
}

class MemoryTables implements LedgerTables {
  readonly rows = new Map<string, EntryRow>();
  private readonly leaseRows = new Map<string, LeaseRow>();
  private readonly changeRows = new Map<number, ChangeRow>();
  private row: StateRow = { revision: 0, changesFrom: 1, changeBytes: 0 };

  state = (): StateRow => this.row;
  putState = (row: StateRow): void => void (this.row = row);
  entry = (key: string): EntryRow | undefined => this.rows.get(key);
  putEntry = (key: string, row: EntryRow): void => void this.rows.set(key, row);
  deleteEntry = (key: string): void => void this.rows.delete(key);
  lease = (id: string): LeaseRow | undefined => this.leaseRows.get(id);
  putLease = (id: string, row: LeaseRow): void => void this.leaseRows.set(id, row);
  deleteLease = (id: string): void => void this.leaseRows.delete(id);
  leases = (): Iterable<readonly [string, LeaseRow]> => [...this.leaseRows];
  change = (revision: number): ChangeRow | undefined => this.changeRows.get(revision);
  putChange = (revision: number, row: ChangeRow): void => void this.changeRows.set(revision, row);
  deleteChange = (revision: number): void => void this.changeRows.delete(revision);
}

/** What the handles of one store share: its tables, and each other's bells. */
interface Shared {
  readonly tables: MemoryTables;
  readonly handles: Set<MemoryStore>;
}

export class MemoryStore implements GroupStore {
  private readonly watchers = new Watchers((from) => this.history(from));
  private reaper: Timer | null = null;
  private isClosed = false;

  constructor(
    private readonly options: MemoryStoreOptions,
    private readonly shared: Shared = { tables: new MemoryTables(), handles: new Set() },
  ) {
    shared.handles.add(this);
    this.reapLater();
  }

  /** Another handle on the same data, as another process would have. */
  another(): MemoryStore {
    return new MemoryStore(this.options, this.shared);
  }

  async get(key: string): Promise<StoreEntry | undefined> {
    await this.turn();
    const row = this.shared.tables.entry(key);
    return row === undefined ? undefined : toEntry(key, row);
  }

  async list(prefix: string): Promise<StoreListing> {
    await this.turn();
    const { rows } = this.shared.tables;
    const found = [...rows.keys()].filter((key) => key.startsWith(prefix)).sort();
    const entries = found.flatMap((key) => {
      const row = rows.get(key);
      return row === undefined ? [] : [toEntry(key, row)];
    });
    return { entries, revision: this.shared.tables.state().revision };
  }

  txn(compares: readonly StoreCompare[], operations: readonly StoreOperation[]): Promise<StoreTransaction> {
    return this.write((tables, time) => {
      checkOperations(operations);
      return commit(tables, compares, operations, time);
    });
  }

  watch(prefix: string, fromRevision: number, watcher: StoreWatcher): StoreWatch {
    return this.watchers.add(prefix, fromRevision, watcher);
  }

  async lease(ttlMs: number): Promise<StoreLease> {
    const { clock, random } = this.options;
    const askedAtMs = clock.nowMs();
    const id = randomToken(random);
    await this.write((tables, time) => grantLease(tables, id, ttlMs, time));
    return new LedgerLease(id, ttlMs, askedAtMs, clock, {
      renew: (lease) => this.write((tables, time) => renewLease(tables, lease, time)),
      end: (lease) => this.write((tables) => endLease(tables, lease)),
    });
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.reaper?.cancel();
    this.watchers.close();
    this.shared.handles.delete(this);
  }

  /** As with any other store, nothing is answered in the same turn. */
  private async turn(): Promise<void> {
    await Promise.resolve();
    if (this.isClosed) throw new BlockferryError('UNAVAILABLE', 'the group store is closed');
  }

  private async write<T>(action: (tables: LedgerTables, time: LeaseTime) => T): Promise<T> {
    await this.turn();
    const result = action(this.shared.tables, { nowMs: this.options.clock.nowMs(), bootId: 'memory' });
    for (const handle of this.shared.handles) handle.watchers.ring();
    return result;
  }

  private history(fromRevision: number): History | null {
    const { tables } = this.shared;
    const { revision, changesFrom } = tables.state();
    if (fromRevision > revision) return null;
    const changes: (readonly [number, ChangeRow])[] = [];
    for (let at = Math.max(fromRevision, changesFrom); at <= revision; at++)
      changes.push([at, tables.change(at) ?? []]);
    return { revision, changesFrom, changes };
  }

  private reapLater(): void {
    this.reaper = this.options.clock.after(REAP_MS, () => {
      const time = { nowMs: this.options.clock.nowMs(), bootId: 'memory' };
      const { expired } = expiredLeases(this.shared.tables, time);
      if (expired.length > 0)
        void this.write((tables, now) => reapLeases(tables, expired, now)).catch(() => {});
      this.reapLater();
    });
  }
}
