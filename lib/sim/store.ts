/**
 * The group store as one simulated process reaches it: every call takes its time on the way there and back, may find the
 * store away, or be applied and never answered; watches come late, and sometimes their history is gone.
 */
import type { Chance } from '../base/chance.js';
import { BlockferryError } from '../base/errors.js';
import { LedgerLease } from '../group/ledger-lease.js';
import type { MemoryStore } from '../group/memory-store.js';
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
} from '../group/store.js';
import type { SimProcess } from './process.js';

/** How the store is for everybody at the moment. */
export class StoreMood {
  /** Added to every call, at most. */
  slowMs = 0;
  /** Names of processes that cannot reach it; '*': nobody can. */
  readonly awayFor = new Set<string>();
  /** Names of processes whose transactions are applied and never answered. */
  readonly muteFor = new Set<string>();
  /** How much later what is watched for reaches a process, by its name. */
  readonly lagFor = new Map<string, number>();
  /** Chance that a transaction is applied and its answer lost. */
  lostAnswers = 0;
  /** Chance that a watch finds its history gone when something comes. */
  compactions = 0;
}

/** Told of every transaction that was applied, before anybody else can hear of it. */
export type Applied = (by: string, operations: readonly StoreOperation[], revision: number) => void;

/** What a call waits for before it finds the store away. */
const AWAY_MS = 400;

export class SimStore implements GroupStore {
  private readonly watches = new Set<StoreWatch>();
  private isClosed = false;

  constructor(
    private readonly process: SimProcess,
    private readonly inner: MemoryStore,
    private readonly mood: StoreMood,
    private readonly chance: Chance,
    private readonly applied: Applied,
  ) {}

  get(key: string): Promise<StoreEntry | undefined> {
    return this.call(() => this.inner.get(key));
  }

  list(prefix: string): Promise<StoreListing> {
    return this.call(() => this.inner.list(prefix));
  }

  txn(compares: readonly StoreCompare[], operations: readonly StoreOperation[]): Promise<StoreTransaction> {
    return this.call(
      async () => {
        const result = await this.inner.txn(compares, operations);
        if (result.committed) this.applied(this.process.name, operations, result.revision);
        return result;
      },
      () => this.lossOfAnswers(),
    );
  }

  async lease(ttlMs: number): Promise<StoreLease> {
    // The lease runs from when the store grants it; its owner counts from when it asked.
    const askedAtMs = this.process.clock.nowMs();
    const inner = await this.call(() => this.inner.lease(ttlMs));
    return new LedgerLease(inner.id, ttlMs, askedAtMs, this.process.clock, {
      renew: () =>
        this.call(
          () => inner.renew(),
          () => this.lossOfAnswers(),
        ),
      end: () => this.call(() => inner.revoke()),
    });
  }

  watch(prefix: string, fromRevision: number, watcher: StoreWatcher): StoreWatch {
    const { process } = this;
    let lastMs = 0;
    let isOpen = true;
    const inOrder = (run: () => void): void => {
      const lagMs = this.mood.lagFor.get(process.name) ?? 0;
      lastMs = Math.max(lastMs, process.timeline.nowMs + lagMs + this.delayMs());
      process.timeline.at(lastMs, () =>
        process.enter(() => {
          if (isOpen) run();
        }),
      );
    };
    const compacted = (): void => {
      inner.close();
      inOrder(() => watcher.compacted());
    };
    const inner = this.inner.watch(prefix, fromRevision, {
      events: (events) => {
        if (this.chance.happens(this.mood.compactions)) compacted();
        else inOrder(() => watcher.events(events));
      },
      compacted,
    });
    const watch = {
      close: () => {
        isOpen = false;
        inner.close();
        this.watches.delete(watch);
      },
    };
    this.watches.add(watch);
    return watch;
  }

  close(): Promise<void> {
    this.abandon();
    return Promise.resolve();
  }

  /** Its process is gone. */
  abandon(): void {
    this.isClosed = true;
    for (const watch of [...this.watches]) watch.close();
  }

  private lossOfAnswers(): number {
    return this.mood.muteFor.has(this.process.name) ? 1 : this.mood.lostAnswers;
  }

  private delayMs(): number {
    return (
      this.chance.between(0.1, 1.5) + (this.mood.slowMs === 0 ? 0 : this.chance.between(0, this.mood.slowMs))
    );
  }

  private call<T>(work: () => Promise<T>, lossOfAnswers = () => 0): Promise<T> {
    const { process, chance, mood } = this;
    const away = (): BlockferryError => new BlockferryError('UNAVAILABLE', 'the group store does not answer');
    return new Promise((resolve, reject) => {
      const isAway = mood.awayFor.has('*') || mood.awayFor.has(process.name);
      if (isAway || this.isClosed) {
        process.enterAfter(isAway ? AWAY_MS : 0, () => reject(away()));
        return;
      }
      process.timeline.after(this.delayMs(), () => {
        // A transaction happens inside of its process: none of a process that was killed.
        if (process.isDead) return;
        const loss = lossOfAnswers();
        const isLost = loss > 0 && chance.happens(loss);
        work().then(
          (value) =>
            process.enterAfter(isLost ? AWAY_MS : this.delayMs(), () =>
              isLost ? reject(away()) : resolve(value),
            ),
          (error: unknown) => process.enterAfter(this.delayMs(), () => reject(error as Error)),
        );
      });
    });
  }
}
