/**
 * The group store of one machine: a folder that the member processes share, without a server. The rules are ledger.ts's,
 * the bytes LMDB's; this file adds what several processes need: bells, reapers, and the clock of this boot.
 *
 *   store.mdb, store.mdb-lock   the LMDB environment. One writer at a time, held only inside a transaction; a writer that
 *                               is killed leaves the last commit, and its lock is taken over (a robust mutex).
 *   bell                        touched after each commit that can be watched; whoever has it under inotify looks for
 *                               news. It is only a hint: everybody looks once a second anyway, more often without it.
 */
import { closeSync, futimesSync, openSync, watch as watchFile, type FSWatcher } from 'node:fs';
import { join } from 'node:path';
import type { Clock, Timer } from '../base/clock.js';
import { BlockferryError, describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { readBootId } from '../base/processes.js';
import { randomToken, type Random } from '../base/random.js';
import { noWaypoints, type Waypoints } from '../base/waypoints.js';
import {
  checkOperations,
  commit,
  endLease,
  expiredLeases,
  grantLease,
  reapLeases,
  renewLease,
  toEntry,
  type LeaseTime,
} from './ledger.js';
import { LedgerLease } from './ledger-lease.js';
import { LmdbTables, storeError } from './lmdb-tables.js';
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
import { Watchers } from './watchers.js';

/** How often it looks for news that no bell told of, as when their writer died before it rang. Each look by each process
 *  of an idle group wakes a processor that had nothing to do. */
const LOOK_MS = 1_000;
/** The same where there is no bell: what waits for news may be I/O. */
const LOOK_DEAF_MS = 250;

export interface EmbeddedStoreOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Default: none. */
  readonly waypoints?: Waypoints;
}

export class EmbeddedStore implements GroupStore {
  private readonly watchers: Watchers;
  /** Tells the boots of this machine apart: CLOCK_MONOTONIC begins anew with each. */
  private readonly bootId = readBootId() || 'unknown';
  private bellWatch: FSWatcher | null;
  private timer: Timer | null = null;
  /** When the first of the leases that are known runs out. */
  private expiresAtMs = Infinity;
  private isClosed = false;
  /** Transactions under way; close() waits for them. */
  private readonly writes = new Set<Promise<unknown>>();

  private constructor(
    private readonly folder: string,
    private readonly tables: LmdbTables,
    private readonly bell: number,
    private readonly options: EmbeddedStoreOptions,
  ) {
    this.watchers = new Watchers((from) => tables.read(() => tables.history(from)));
    this.bellWatch = this.watchBell();
  }

  /**
   * Opens the store in `folder`, creating it if needed. What leases of the dead have left is gone when it resolves: nobody
   * may have looked since, and a member that starts again must not meet the record of its last life, whose process number
   * another process may have by now.
   * @throws INVALID for a folder of something else, NO_SPACE, IO
   */
  static async open(folder: string, options: EmbeddedStoreOptions): Promise<EmbeddedStore> {
    const tables = await LmdbTables.open(folder);
    let bell: number;
    try {
      bell = openSync(join(folder, 'bell'), 'a', 0o600);
    } catch (error) {
      await tables.close();
      throw storeError(folder, error);
    }
    const store = new EmbeddedStore(folder, tables, bell, options);
    try {
      await store.reap();
      store.lookLater();
      return store;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  async get(key: string): Promise<StoreEntry | undefined> {
    return this.read(() => {
      const row = this.tables.entry(key);
      return row === undefined ? undefined : toEntry(key, row);
    });
  }

  async list(prefix: string): Promise<StoreListing> {
    return this.read(() => ({
      entries: this.tables.entriesFrom(prefix).map(([key, row]) => toEntry(key, row)),
      revision: this.tables.state().revision,
    }));
  }

  async txn(
    compares: readonly StoreCompare[],
    operations: readonly StoreOperation[],
  ): Promise<StoreTransaction> {
    checkOperations(operations);
    return this.writeNews((time) => commit(this.tables, compares, operations, time));
  }

  watch(prefix: string, fromRevision: number, watcher: StoreWatcher): StoreWatch {
    return this.watchers.add(prefix, fromRevision, watcher);
  }

  async lease(ttlMs: number): Promise<StoreLease> {
    const { clock, random } = this.options;
    const askedAtMs = clock.nowMs();
    const id = randomToken(random);
    await this.write((time) => grantLease(this.tables, id, ttlMs, time));
    return new LedgerLease(id, ttlMs, askedAtMs, clock, {
      renew: (lease) => this.renew(lease),
      end: (lease) => this.writeNews(() => endLease(this.tables, lease)),
    });
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.timer?.cancel();
    this.watchers.close();
    this.bellWatch?.close();
    await Promise.allSettled([...this.writes]);
    closeSync(this.bell);
    await this.tables.close();
  }

  private read<T>(action: () => T): T {
    this.requireOpen();
    try {
      return this.tables.read(action);
    } catch (error) {
      throw storeError(this.folder, error);
    }
  }

  /** One transaction among all processes; on disk when it resolves. */
  private async write<T>(action: (time: LeaseTime) => T): Promise<T> {
    this.requireOpen();
    const { clock, waypoints = noWaypoints } = this.options;
    const writing = this.tables.write(() => {
      const written = action({ nowMs: clock.nowMs(), bootId: this.bootId });
      waypoints.reached('store.writing');
      return written;
    });
    this.writes.add(writing);
    try {
      const result = await writing;
      waypoints.reached('store.written');
      return result;
    } catch (error) {
      throw storeError(this.folder, error);
    } finally {
      this.writes.delete(writing);
    }
  }

  /** The same for what others may watch: everything but the time of a lease. */
  private async writeNews<T>(action: (time: LeaseTime) => T): Promise<T> {
    const result = await this.write(action);
    this.ring();
    return result;
  }

  /** One that comes too late ends the lease. */
  private async renew(lease: string): Promise<boolean> {
    const isAlive = await this.write((time) => renewLease(this.tables, lease, time));
    if (!isAlive) this.ring();
    return isAlive;
  }

  private requireOpen(): void {
    if (this.isClosed) throw new BlockferryError('UNAVAILABLE', 'the group store is closed');
  }

  // --- news ----------------------------------------------------------------------------------------------------

  private ring(): void {
    this.watchers.ring();
    const now = this.options.clock.wallMs() / 1000;
    try {
      if (!this.isClosed) futimesSync(this.bell, now, now);
    } catch (error) {
      this.warn(error, 'store bell'); // what it tells of is committed, and found by the next look
    }
  }

  private watchBell(): FSWatcher | null {
    try {
      const watcher = watchFile(join(this.folder, 'bell'), { persistent: false }, () => this.watchers.ring());
      watcher.on('error', (error) => {
        this.warn(error, 'store bell');
        this.bellWatch = null;
      });
      return watcher;
    } catch (error) {
      this.warn(error, 'store bell'); // out of inotify watches: the look four times a second has to do
      return null;
    }
  }

  /** The net under the bell, and the reaper: whoever is alive ends the leases of the dead. */
  private look(): void {
    this.watchers.ring();
    this.reap().catch((error: unknown) => this.warn(error, 'store reaper'));
    this.lookLater();
  }

  private lookLater(): void {
    const { clock } = this.options;
    const lookMs = this.bellWatch === null ? LOOK_DEAF_MS : LOOK_MS;
    this.timer = clock.after(Math.min(lookMs, this.expiresAtMs - clock.nowMs()), () => this.look());
  }

  /** A store without room for it serves what it has: the next look tries again. */
  private async reap(): Promise<void> {
    const time = { nowMs: this.options.clock.nowMs(), bootId: this.bootId };
    this.expiresAtMs = Infinity;
    const { expired, nextExpiresAtMs } = this.read(() => expiredLeases(this.tables, time));
    this.expiresAtMs = nextExpiresAtMs;
    if (expired.length === 0) return;
    await this.writeNews((now) => reapLeases(this.tables, expired, now)).catch((error: unknown) =>
      this.warn(error, 'store reaper'),
    );
  }

  private warn(error: unknown, what: string): void {
    this.options.log.warn({ error: describeError(error) }, what);
  }
}
