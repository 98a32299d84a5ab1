/** Balancing at one member put together: the settings it follows, its load, and the balancer that acts at each window's end. */
import { plan } from '../balance/plan.js';
import { ShareWatch, sharesOf } from '../balance/share-watch.js';
import { describeError } from '../base/errors.js';
import { balanceOf, balanceOrNone, shareOf } from '../group/admin.js';
import { keys, type BalanceRecord } from '../group/records.js';
import type { GroupStore, StoreEntry } from '../group/store.js';
import type { RoutingTable } from '../routing/table.js';
import { Balancer } from './balancer.js';
import { FollowedRecords } from './followed-records.js';
import { TraceRecorder } from './trace-recorder.js';
import { MemberLoad, type MemberLoadParts } from './load.js';

export interface BalancingParts extends MemberLoadParts {
  readonly store: GroupStore;
  readonly table: RoutingTable;
}

export class Balancing {
  private record: BalanceRecord = balanceOf(undefined);
  /** Settings were read, of this group. */
  private isKnown = false;
  private shares = new ShareWatch(this.record.settings);

  readonly load: MemberLoad;
  readonly recorder: TraceRecorder;
  private records: FollowedRecords | null = null;
  private balancer: Balancer | null = null;

  constructor(private readonly parts: BalancingParts) {
    this.load = new MemberLoad(parts);
    this.recorder = new TraceRecorder(parts.clock, parts.random, () => parts.host.all);
  }

  /** Measures, follows the settings and balances from now on. */
  async start(): Promise<void> {
    const { store, table, clock, random, log, view, self } = this.parts;
    const { load } = this;
    this.records = await FollowedRecords.open({
      ...{ store, clock, log, prefix: keys.balances },
      adopted: (_, entry) => this.adopt(entry),
    });
    const balancer = new Balancer({
      ...{ self, store, table, clock, random, log, plan },
      members: () => view.members.map(({ name }) => name),
      vectors: () => new Map(load.board.all().map((dated) => [dated.vector.member, dated])),
      balance: () => this.record,
    });
    load.monitor.onWindow(({ windowMs }) => {
      // The first one after a start, or after a change of the settings, says little.
      if (windowMs < this.record.settings.windowMs / 2) return;
      this.watchShares();
      void balancer.windowEnded();
    });
    this.balancer = balancer;
    load.start();
  }

  close(): void {
    this.balancer?.close();
    this.records?.close();
    this.load.close();
  }

  /** Says when this member begins to serve more than its share, and when it no longer does. */
  private watchShares(): void {
    const { self, clock, log } = this.parts;
    const vectors = this.load.board.all().flatMap(({ vector, isFresh }) => (isFresh ? [vector] : []));
    const weightOf = (name: string): number => shareOf(this.record, name).weight;
    for (const event of this.shares.feed(clock.nowMs(), sharesOf(vectors, weightOf))) {
      if (event.member !== self) continue; // it says so itself
      const { kind, share, limit, requestsPerSecond, utilisation, text } = event;
      log.info({ event: kind, share, limit, requestsPerSecond, utilisation }, text);
    }
  }

  private adopt(entry: StoreEntry): void {
    const { load } = this;
    try {
      this.record = balanceOf(entry);
      this.isKnown = true;
    } catch (error) {
      if (!this.isKnown) this.record = balanceOrNone(entry);
      const until = this.isKnown ? 'are left as they were' : 'cannot be read: nothing is balanced';
      this.parts.log.error({ error: describeError(error) }, `the settings of balancing ${until}`);
      if (this.isKnown) return;
    }
    this.shares = new ShareWatch(this.record.settings);
    load.monitor.setWindow(this.record.settings.windowMs);
    load.setStale(this.record.settings.staleMs);
  }
}
