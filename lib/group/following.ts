/**
 * Parts of the store that a member knows by heart: read once, followed by watches, and read anew when the history that a
 * watch needs is gone. What is read, and what becomes of it, is for those who follow; the retries and the end are here.
 */
import type { Clock, Timer } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import { STORE_RELIST_RETRY_MS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import type { GroupStore, StoreEvent, StoreWatch } from './store.js';

/** Every event on these keys after that revision is still to be heard. */
export interface ReadUpTo {
  readonly prefix: string;
  readonly revision: number;
}

export interface FollowOptions {
  readonly store: GroupStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** For the log, such as "the routing table". */
  readonly what: string;
  /** Reads all there is, in one listing a prefix; what it does not find is gone. Rejects when the store does not answer. */
  read(): Promise<readonly ReadUpTo[]>;
  events(events: readonly StoreEvent[]): void;
}

export class Following {
  private watches: StoreWatch[] = [];
  private retry: Timer | null = null;
  private isReading = false;
  /** What is read at the moment is not enough. */
  private isStale = false;
  private isClosed = false;

  private constructor(private readonly options: FollowOptions) {}

  /** Reads, then follows. Rejects as read() does. */
  static async begin(options: FollowOptions): Promise<Following> {
    const following = new Following(options);
    await following.readAll();
    return following;
  }

  close(): void {
    this.isClosed = true;
    this.retry?.cancel();
    this.unwatch();
  }

  /** Reads all of it, as often as it takes: the history is gone, or news came that could not be made use of. */
  again(): void {
    this.isStale = true;
    if (this.isReading || this.retry !== null || this.isClosed) return;
    this.readAll().catch((error: unknown) => {
      if (this.isClosed) return;
      const { what, log, clock } = this.options;
      log.warn({ error: describeError(error) }, `${what} cannot be read; trying again`);
      this.retry = clock.after(STORE_RELIST_RETRY_MS, () => {
        this.retry = null;
        this.again();
      });
    });
  }

  private async readAll(): Promise<void> {
    this.isReading = true;
    try {
      do {
        this.unwatch();
        this.isStale = false;
        const read = await this.options.read();
        if (this.isClosed) return;
        if (!this.isStale) this.watches = read.map((upTo) => this.watch(upTo));
      } while (this.isStale);
    } finally {
      this.isReading = false;
    }
  }

  private watch({ prefix, revision }: ReadUpTo): StoreWatch {
    return this.options.store.watch(prefix, revision, {
      events: (events) => this.options.events(events),
      compacted: () => this.again(),
    });
  }

  private unwatch(): void {
    for (const watch of this.watches) watch.close();
    this.watches = [];
  }
}
