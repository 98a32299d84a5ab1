/**
 * The rules of a group store, apart from where its bytes lie: compares, revisions, the history for watches, leases.
 * Every function runs inside one transaction of the engine that owns the tables; none of them waits.
 *
 *   entries   key → (value, revision, lease)
 *   leases    id → (until when, of which boot, which keys it was given)
 *   changes   revision → what it changed: the newest CHANGES_MAX revisions, for watches
 *   state     the current revision, and where the history begins
 */
import { BlockferryError } from '../base/errors.js';
import { STORE_VALUE_BYTES_MAX } from '../base/limits.js';
import type {
  StoreCompare,
  StoreEntry,
  StoreEvent,
  StoreLease,
  StoreOperation,
  StoreTransaction,
} from './store.js';

/** Revisions of history kept ... */
export const CHANGES_MAX = 4096;
/** ... and bytes of values in it: a commit of a large route writes tens of KiB. */
export const CHANGE_BYTES_MAX = 32 * 1024 * 1024;
const KEY_PATTERN = /^[\x21-\x7e]{1,512}$/;

export interface EntryRow {
  readonly value: string;
  readonly revision: number;
  /** '' when it belongs to no lease. */
  readonly lease: string;
}

export interface LeaseRow {
  /** By CLOCK_MONOTONIC of the boot below. */
  readonly expiresAtMs: number;
  readonly bootId: string;
  readonly ttlMs: number;
  /** Every key that was ever put under it; those that still belong to it go with it. */
  readonly keys: readonly string[];
}

export interface StateRow {
  readonly revision: number;
  /** The oldest revision whose changes are kept. */
  readonly changesFrom: number;
  readonly changeBytes: number;
}

/** (key, new value or null) of one revision. */
export type ChangeRow = readonly (readonly [string, string | null])[];

/** What an engine provides, inside a transaction. */
export interface LedgerTables {
  state(): StateRow;
  putState(row: StateRow): void;
  entry(key: string): EntryRow | undefined;
  putEntry(key: string, row: EntryRow): void;
  deleteEntry(key: string): void;
  lease(id: string): LeaseRow | undefined;
  putLease(id: string, row: LeaseRow): void;
  deleteLease(id: string): void;
  leases(): Iterable<readonly [string, LeaseRow]>;
  change(revision: number): ChangeRow | undefined;
  putChange(revision: number, row: ChangeRow): void;
  deleteChange(revision: number): void;
}

/** The time of this machine, by which leases run. */
export interface LeaseTime {
  readonly nowMs: number;
  readonly bootId: string;
}

/** Throws INVALID for operations that no engine may take. */
export function checkOperations(operations: readonly StoreOperation[]): void {
  const seen = new Set<string>();
  for (const operation of operations) {
    const key = 'put' in operation ? operation.put : operation.delete;
    if (!KEY_PATTERN.test(key)) throw new BlockferryError('INVALID', `'${key}' is not a store key`);
    if (seen.has(key)) throw new BlockferryError('INVALID', `a transaction changes ${key} twice`);
    seen.add(key);
    if ('put' in operation && Buffer.byteLength(operation.value) > STORE_VALUE_BYTES_MAX) {
      throw new BlockferryError(
        'INVALID',
        `store record ${key} is larger than ${STORE_VALUE_BYTES_MAX} bytes`,
      );
    }
  }
}

/** The heart of txn(). Throws CONFLICT, before it has written anything, for a lease that has run out. */
export function commit(
  tables: LedgerTables,
  compares: readonly StoreCompare[],
  operations: readonly StoreOperation[],
  time: LeaseTime,
): StoreTransaction {
  const { revision } = tables.state();
  const holds = compares.every(({ key, revision: wanted }) => (tables.entry(key)?.revision ?? 0) === wanted);
  if (!holds) return { committed: false, revision };
  for (const operation of operations) {
    if ('put' in operation && operation.lease !== undefined) requireLease(tables, operation.lease, time);
  }
  const changes = operations.filter(
    (operation) => 'put' in operation || tables.entry(operation.delete) !== undefined,
  );
  return { committed: true, revision: changes.length === 0 ? revision : apply(tables, changes) };
}

function requireLease(tables: LedgerTables, lease: StoreLease, time: LeaseTime): void {
  const row = tables.lease(lease.id);
  if (row === undefined || isExpired(row, time))
    throw new BlockferryError('CONFLICT', 'the lease has run out');
}

/** Writes the operations as one new revision, and returns it. */
function apply(tables: LedgerTables, operations: readonly StoreOperation[]): number {
  const revision = tables.state().revision + 1;
  const changes: [string, string | null][] = [];
  for (const operation of operations) {
    if ('delete' in operation) {
      tables.deleteEntry(operation.delete);
      changes.push([operation.delete, null]);
      continue;
    }
    const { put: key, value, lease } = operation;
    tables.putEntry(key, { value, revision, lease: lease?.id ?? '' });
    if (lease !== undefined) attach(tables, lease.id, key);
    changes.push([key, value]);
  }
  remember(tables, revision, changes);
  return revision;
}

function attach(tables: LedgerTables, id: string, key: string): void {
  const row = tables.lease(id);
  if (row !== undefined && !row.keys.includes(key)) tables.putLease(id, { ...row, keys: [...row.keys, key] });
}

/** Adds a revision to the history and drops what is too old. */
function remember(tables: LedgerTables, revision: number, changes: ChangeRow): void {
  let { changesFrom, changeBytes } = tables.state();
  tables.putChange(revision, changes);
  changeBytes += changeSize(changes);
  while (
    changesFrom < revision &&
    (revision - changesFrom >= CHANGES_MAX || changeBytes > CHANGE_BYTES_MAX)
  ) {
    changeBytes -= changeSize(tables.change(changesFrom) ?? []);
    tables.deleteChange(changesFrom);
    changesFrom += 1;
  }
  tables.putState({ revision, changesFrom, changeBytes });
}

function changeSize(changes: ChangeRow): number {
  return changes.reduce((sum, [key, value]) => sum + key.length + (value?.length ?? 0), 0);
}

// --- leases ------------------------------------------------------------------------------------------------------

/** A lease of another boot has run out: its clock is gone, and so is the process that held it. */
function isExpired(row: LeaseRow, time: LeaseTime): boolean {
  return row.bootId !== time.bootId || row.expiresAtMs <= time.nowMs;
}

export function grantLease(tables: LedgerTables, id: string, ttlMs: number, time: LeaseTime): void {
  tables.putLease(id, { expiresAtMs: time.nowMs + ttlMs, bootId: time.bootId, ttlMs, keys: [] });
}

/** False when it has run out; then its keys are gone. */
export function renewLease(tables: LedgerTables, id: string, time: LeaseTime): boolean {
  const row = tables.lease(id);
  if (row === undefined) return false;
  if (isExpired(row, time)) {
    endLease(tables, id);
    return false;
  }
  tables.putLease(id, { ...row, expiresAtMs: time.nowMs + row.ttlMs });
  return true;
}

/** Deletes the lease and the keys that still belong to it. */
export function endLease(tables: LedgerTables, id: string): void {
  const keys = tables.lease(id)?.keys ?? [];
  tables.deleteLease(id);
  const owned = keys.filter((key) => tables.entry(key)?.lease === id);
  if (owned.length > 0)
    apply(
      tables,
      owned.map((key) => ({ delete: key })),
    );
}

/** What a reaper has to do, and when there may be more; for a look outside of a write transaction. */
export function expiredLeases(
  tables: Pick<LedgerTables, 'leases'>,
  time: LeaseTime,
): { expired: string[]; nextExpiresAtMs: number } {
  const expired: string[] = [];
  let nextExpiresAtMs = Infinity;
  for (const [id, row] of tables.leases()) {
    if (isExpired(row, time)) expired.push(id);
    else nextExpiresAtMs = Math.min(nextExpiresAtMs, row.expiresAtMs);
  }
  return { expired, nextExpiresAtMs };
}

/** Ends those of `ids` that have still run out: one may have been renewed since it was listed. */
export function reapLeases(tables: LedgerTables, ids: readonly string[], time: LeaseTime): void {
  for (const id of ids) {
    const row = tables.lease(id);
    if (row !== undefined && isExpired(row, time)) endLease(tables, id);
  }
}

// --- views -------------------------------------------------------------------------------------------------------

export function toEntry(key: string, row: EntryRow): StoreEntry {
  return { key, value: row.value, revision: row.revision };
}

/** The events of one revision on keys that start with `prefix`. */
export function toEvents(revision: number, changes: ChangeRow, prefix: string): StoreEvent[] {
  const events: StoreEvent[] = [];
  for (const [key, value] of changes) {
    if (key.startsWith(prefix)) {
      events.push({ key, entry: value === null ? null : { key, value, revision }, revision });
    }
  }
  return events;
}
