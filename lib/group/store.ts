/**
 * The GroupStore contract: a small ordered key-value store with revisions, compare-and-swap transactions, watches and
 * leases. Every engine (embedded, etcd) passes the same suite (test/support/store-suite.ts). It never carries data,
 * and no I/O of an initiator waits for it in the steady state.
 *
 * Keys are '/'-separated ASCII, values are UTF-8 text of at most STORE_VALUE_BYTES_MAX. Every successful transaction
 * that writes raises the store's revision by one; an entry's revision is that of its last write.
 */

export interface StoreEntry {
  readonly key: string;
  readonly value: string;
  readonly revision: number;
}

/** Holds when the key's current revision equals `revision`; 0 means "absent". */
export interface StoreCompare {
  readonly key: string;
  readonly revision: number;
}

export type StoreOperation =
  { readonly put: string; readonly value: string; readonly lease?: StoreLease } | { readonly delete: string };

export interface StoreTransaction {
  /** False when a compare did not hold; nothing was written. */
  readonly committed: boolean;
  /** The store's revision after the transaction (or as read, when it did not commit). */
  readonly revision: number;
}

/** A key's new state; entry is null when it was deleted (or its lease ran out). */
export interface StoreEvent {
  readonly key: string;
  readonly entry: StoreEntry | null;
  readonly revision: number;
}

export interface StoreListing {
  readonly entries: readonly StoreEntry[];
  /** The revision the listing is true at: watch from here. */
  readonly revision: number;
}

export interface StoreWatcher {
  /** Events of one revision come in one call, revisions in ascending order, none skipped, none twice. */
  events(events: readonly StoreEvent[]): void;
  /** The history from the asked revision is gone: list again, then watch from the listing's revision. */
  compacted(): void;
}

export interface StoreWatch {
  close(): void;
}

export interface StoreLease {
  readonly id: string;
  /** By Clock.nowMs(): until when this member may believe its lease (already less a safety margin). */
  readonly validUntilMs: number;
  /** Extends the lease; false when it has run out (its keys are gone). Rejects when the store cannot be reached. */
  renew(): Promise<boolean>;
  /** Ends the lease and deletes its keys. */
  revoke(): Promise<void>;
}

export interface GroupStore {
  get(key: string): Promise<StoreEntry | undefined>;
  /** All entries whose key starts with `prefix`, in key order, at one revision. */
  list(prefix: string): Promise<StoreListing>;
  /**
   * Atomically: if every compare holds, apply every operation. Durable when it resolves. When it rejects, it may or may
   * not have been applied: read back before acting.
   */
  txn(compares: readonly StoreCompare[], operations: readonly StoreOperation[]): Promise<StoreTransaction>;
  /** Every event after `fromRevision` on keys that start with `prefix`. */
  watch(prefix: string, fromRevision: number, watcher: StoreWatcher): StoreWatch;
  lease(ttlMs: number): Promise<StoreLease>;
  close(): Promise<void>;
}
