/**
 * The watches of one open store: told that there may be something new, it reads the history and gives every watcher what
 * is new to it, one call per revision, in order. It does not know where news come from.
 */
import { toEvents, type ChangeRow } from './ledger.js';
import type { StoreWatch, StoreWatcher } from './store.js';

/** A stretch of history, read at one revision. */
export interface History {
  readonly revision: number;
  /** The oldest revision kept. */
  readonly changesFrom: number;
  /** (revision, changes) from the asked revision on, in order. */
  readonly changes: readonly (readonly [number, ChangeRow])[];
}

interface Watched {
  readonly prefix: string;
  readonly watcher: StoreWatcher;
  /** The first revision it has not been given. */
  next: number;
}

export class Watchers {
  private readonly watches = new Set<Watched>();
  private scheduled = false;

  /** @param read gives the history from a revision on, or null when there is nothing that new */
  constructor(private readonly read: (fromRevision: number) => History | null) {}

  add(prefix: string, fromRevision: number, watcher: StoreWatcher): StoreWatch {
    const watched = { prefix, watcher, next: fromRevision + 1 };
    this.watches.add(watched);
    this.ring();
    return { close: () => void this.watches.delete(watched) };
  }

  /** There may be news. They are given in a later turn of the loop. */
  ring(): void {
    if (this.scheduled || this.watches.size === 0) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.deliver();
    });
  }

  close(): void {
    this.watches.clear();
  }

  private deliver(): void {
    if (this.watches.size === 0) return;
    const history = this.read(Math.min(...[...this.watches].map((watched) => watched.next)));
    if (history === null) return;
    for (const watched of [...this.watches]) this.deliverTo(watched, history);
  }

  private deliverTo(watched: Watched, history: History): void {
    if (watched.next < history.changesFrom) {
      if (this.watches.delete(watched)) watched.watcher.compacted();
      return;
    }
    for (const [revision, changes] of history.changes) {
      // A watcher may close its watch, or another's, from inside a call.
      if (!this.watches.has(watched)) return;
      if (revision < watched.next) continue;
      watched.next = revision + 1;
      const events = toEvents(revision, changes, watched.prefix);
      if (events.length > 0) watched.watcher.events(events);
    }
  }
}
