/** Balancing at one member put together: the settings it follows, its load, and the balancer that acts at each window's end. */
import { plan } from '../balance/plan.js';
import { ShareWatch, sharesOf } from '../balance/share-watch.js';
import type { Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Random } from '../base/random.js';
import { balanceOf } from '../group/admin.js';
import type { GroupView } from '../group/membership.js';
import { keys, type BalanceRecord } from '../group/records.js';
import type { GroupStore, StoreEntry } from '../group/store.js';
import type { RoutingTable } from '../routing/table.js';
import { Balancer } from './balancer.js';
import { FollowedRecords } from './followed-records.js';
import type { MemberLoad } from './load.js';

export interface BalancingParts {
  readonly self: string;
  readonly store: GroupStore;
  readonly table: RoutingTable;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly view: Pick<GroupView, 'members'>;
  readonly load: MemberLoad;
}

export class Balancing {
  private record: BalanceRecord = balanceOf(undefined);
  private shares = new ShareWatch(this.record.settings);

  private constructor(private readonly parts: BalancingParts) {}

  /** Follows the settings and balances from now on. @returns what ends that */
  static async open(parts: BalancingParts): Promise<() => void> {
    const balancing = new Balancing(parts);
    const { store, clock, log, load, view } = parts;
    const records = await FollowedRecords.open({
      ...{ store, clock, log, prefix: keys.balances },
      adopted: (_, entry) => balancing.adopt(entry),
    });
    const balancer = new Balancer({
      ...{ ...parts, plan },
      members: () => view.members.map(({ name }) => name),
      vectors: () => new Map(load.board.all().map((dated) => [dated.vector.member, dated])),
      balance: () => balancing.record,
    });
    load.monitor.onWindow(() => {
      balancing.watchShares();
      void balancer.windowEnded();
    });
    return () => {
      balancer.close();
      records.close();
    };
  }

  /** Says when this member begins to serve more than its share, and when it no longer does. */
  private watchShares(): void {
    const { self, clock, log, load } = this.parts;
    const vectors = load.board.all().flatMap(({ vector, isFresh }) => (isFresh ? [vector] : []));
    const weightOf = (name: string): number => this.record.members[name]?.weight ?? 1;
    for (const event of this.shares.feed(clock.nowMs(), sharesOf(vectors, weightOf))) {
      if (event.member !== self) continue; // it says so itself
      const { kind, share, limit, requestsPerSecond, utilisation, text } = event;
      log.info({ event: kind, share, limit, requestsPerSecond, utilisation }, text);
    }
  }

  private adopt(entry: StoreEntry): void {
    const { load, log } = this.parts;
    try {
      this.record = balanceOf(entry);
    } catch (error) {
      log.error({ error: describeError(error) }, 'the settings of balancing are left as they were');
      return;
    }
    this.shares = new ShareWatch(this.record.settings);
    load.monitor.setWindow(this.record.settings.windowMs);
    load.setStale(this.record.settings.staleMs);
  }
}
