/**
 * The ledger's tables in an LMDB environment: four databases of JSON rows. Reads outside of a write see one snapshot,
 * reads inside of one see the write. Knows nothing of the rules (ledger.ts) nor of processes and bells.
 */
import { closeSync, openSync, readSync, statfsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { open, type Database, type RootDatabase, type Transaction } from 'lmdb';
import { BlockferryError, errnoOf } from '../base/errors.js';
import { makeFolders } from '../base/make-folder.js';
import type { ChangeRow, EntryRow, LeaseRow, LedgerTables, StateRow } from './ledger.js';
import { isWhole } from './lmdb-file.js';
import type { History } from './watchers.js';

/** Address space, not disk: the file grows as it is used, and the map need never be changed under other processes. */
const MAP_BYTES = 4 * 1024 * 1024 * 1024;
const FILE = 'store.mdb';
const FORMAT = 'blockferry-store-1';
const EMPTY: StateRow = { revision: 0, changesFrom: 1, changeBytes: 0 };
/** Above every character of a key (printable ASCII). */
const KEY_END = '\x7f';

export class LmdbTables implements LedgerTables {
  /** The snapshot to read from; undefined inside a write, which reads what it wrote. */
  private snapshot: Transaction | undefined;

  private constructor(
    private readonly root: RootDatabase<unknown, string>,
    private readonly entryRows: Database<EntryRow, string>,
    private readonly leaseRows: Database<LeaseRow, string>,
    private readonly changeRows: Database<ChangeRow, number>,
    private readonly meta: Database<unknown, string>,
  ) {}

  /** False: open() would create it. */
  static async isIn(folder: string): Promise<boolean> {
    try {
      await stat(join(folder, FILE));
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return false;
    }
    return true; // whatever it is: open() says
  }

  /** Opens or creates the environment. Throws INVALID for a folder that holds something else. */
  static async open(folder: string): Promise<LmdbTables> {
    let tables: LmdbTables | undefined;
    try {
      await makeFolders(resolve(folder));
      await checkFile(join(folder, FILE));
      // overlappingSync would show a commit to other processes, and resolve it, before it is on disk: I3 forbids both.
      // Without it a commit is LMDB's own: data, fsync, then the meta page, written through.
      const root = open<unknown, string>({
        path: join(folder, FILE),
        noSubdir: true,
        overlappingSync: false,
        // Its batches have promises that nobody can catch when a commit fails (a full disk), which would end the process.
        eventTurnBatching: false,
        mapSize: MAP_BYTES,
        maxDbs: 8,
        encoding: 'json',
      });
      const database = <V, K extends string | number>(name: string): Database<V, K> =>
        root.openDB<V, K>(name, { encoding: 'json' });
      tables = new LmdbTables(
        root,
        database('entries'),
        database('leases'),
        database('changes'),
        database('meta'),
      );
      await tables.claim();
      return tables;
    } catch (error) {
      if (tables !== undefined) await tables.close();
      throw storeError(folder, error);
    }
  }

  /** Marks a new environment as ours, and checks an old one. */
  private async claim(): Promise<void> {
    const format = await this.root.transaction(() => {
      const found = this.meta.get('format');
      if (found === undefined) {
        if (this.root.getKeysCount() > 4) return 'of another program';
        void this.meta.put('format', FORMAT);
      }
      return found ?? FORMAT;
    });
    if (format !== FORMAT) {
      throw new BlockferryError(
        'INVALID',
        `the store is ${String(format)}`,
        'give the group a folder of its own',
      );
    }
  }

  /** Runs `action` as one transaction, alone among all processes. Durable when it resolves. */
  async write<T>(action: () => T): Promise<T> {
    try {
      return await this.root.transaction(action);
    } catch (error) {
      // A failed commit hides its reason in a promise, which must be caught in this turn. It prints it as well, in its C code
      // and by console.error, which no option of it keeps off.
      const reason = (error as { commitError?: Promise<never> } | null)?.commitError;
      if (reason === undefined) throw error;
      return reason;
    }
  }

  /** Runs `action` on one snapshot, the newest. */
  read<T>(action: () => T): T {
    // lmdb keeps a read transaction for the rest of the turn: another process may have committed since it began.
    this.root.resetReadTxn();
    this.snapshot = this.root.useReadTransaction();
    try {
      return action();
    } finally {
      this.snapshot.done();
      this.snapshot = undefined;
    }
  }

  close(): Promise<void> {
    return this.root.close();
  }

  state = (): StateRow => (this.meta.get('state', this.at()) as StateRow | undefined) ?? EMPTY;
  putState = (row: StateRow): void => void this.meta.put('state', row);
  entry = (key: string): EntryRow | undefined => this.entryRows.get(key, this.at());
  putEntry = (key: string, row: EntryRow): void => void this.entryRows.put(key, row);
  deleteEntry = (key: string): void => void this.entryRows.remove(key);
  lease = (id: string): LeaseRow | undefined => this.leaseRows.get(id, this.at());
  putLease = (id: string, row: LeaseRow): void => void this.leaseRows.put(id, row);
  deleteLease = (id: string): void => void this.leaseRows.remove(id);
  change = (revision: number): ChangeRow | undefined => this.changeRows.get(revision, this.at());
  putChange = (revision: number, row: ChangeRow): void => void this.changeRows.put(revision, row);
  deleteChange = (revision: number): void => void this.changeRows.remove(revision);

  leases = (): (readonly [string, LeaseRow])[] =>
    [...this.leaseRows.getRange(this.at())].map(({ key, value }) => [key, value] as const);

  /** In key order. */
  entriesFrom(prefix: string): (readonly [string, EntryRow])[] {
    const range = this.entryRows.getRange({ start: prefix, end: prefix + KEY_END, ...this.at() });
    return [...range].map(({ key, value }) => [key, value] as const);
  }

  /** The history from a revision on, or null when there is nothing that new. Call inside read(). */
  history(fromRevision: number): History | null {
    const { revision, changesFrom } = this.state();
    if (fromRevision > revision) return null;
    const range = this.changeRows.getRange({ start: Math.max(fromRevision, changesFrom), ...this.at() });
    return { revision, changesFrom, changes: [...range].map(({ key, value }) => [key, value] as const) };
  }

  private at(): { transaction?: Transaction } {
    return this.snapshot === undefined ? {} : { transaction: this.snapshot };
  }
}

/** An LMDB file's first page carries this after the page header: MDB_MAGIC, then the format's version (mdb.c). */
const MAGIC_OFFSET = 24;
const MAGIC = Buffer.from([0xde, 0xc0, 0xef, 0xbe, 2, 0, 0, 0]);

/** A new store is a new group, which knows none of the volumes whose files are there (storage/data-folder.ts). */
const RESTORE = 'restore it from a backup: a new one knows no volume that was there';

/** Throws INVALID for a file that is not LMDB's, or was cut short: the library would crash on some. None is fine. */
async function checkFile(path: string): Promise<void> {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  try {
    const found = Buffer.alloc(MAGIC.length);
    const bytes = readSync(file, found, 0, found.length, MAGIC_OFFSET);
    // Empty: somebody else is creating it right now.
    if (bytes > 0 && !found.equals(MAGIC)) {
      throw new BlockferryError('INVALID', `${path} is not a group store`, RESTORE);
    }
    if (!(await isWhole(file)))
      throw new BlockferryError('INVALID', `${path} is not a whole group store`, RESTORE);
  } finally {
    closeSync(file);
  }
}

/** LMDB's own codes (lmdb.h) for an environment that is not one, or not whole. */
const BROKEN = new Set([
  -30796 /* corrupted */, -30794 /* version mismatch */, -30793 /* invalid */, -30784 /* incompatible */,
]);
const MAP_FULL = -30792;

const EIO = 5;
const ENOSPC = 28;
/** With less than this free, a failed write is for want of room. */
const ROOM_BYTES_MIN = 1024 * 1024;

/** An error of lmdb or the operating system, by the catalogue. */
export function storeError(folder: string, cause: unknown): BlockferryError {
  if (cause instanceof BlockferryError) return cause;
  const error = cause as { code?: unknown; message?: unknown } | null;
  const code = error?.code;
  const text = `group store ${folder}: ${String(error?.message ?? cause)}`;
  // LMDB says EIO when a full disk took a part of a write.
  const isFull =
    code === ENOSPC || code === 'ENOSPC' || code === MAP_FULL || (code === EIO && !hasRoom(folder));
  if (isFull) return new BlockferryError('NO_SPACE', text, 'make room on its disk', { cause });
  if (typeof code === 'number' && BROKEN.has(code)) {
    return new BlockferryError('INVALID', text, RESTORE, { cause });
  }
  return new BlockferryError('IO', text, 'check the folder and its disk', { cause });
}

function hasRoom(folder: string): boolean {
  try {
    const disk = statfsSync(folder);
    return disk.bavail * disk.bsize >= ROOM_BYTES_MIN;
  } catch {
    return true;
  }
}
