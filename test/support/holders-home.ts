/** A home's belief in the other holders of a volume, without a volume. */
import { silentLog } from '../../lib/base/log.js';
import type { BlockOp } from '../../lib/block/device.js';
import { OtherHolders } from '../../lib/member/other-holders.js';
import { MemberIds } from '../../lib/routing/member-ids.js';
import { SteppedClock } from './hand-clock.js';
import { agreeingHub, forward, settledVolume } from './peer-rig.js';

type Route = Parameters<OtherHolders['adopt']>[0];

/** m1 with one volume; the others answer OK, and lose their unflushed writes when they are told to. */
export class HoldersHome {
  private readonly ids = new MemberIds();
  private readonly restarts = new Map<string, number>();
  readonly clock = new SteppedClock();
  /** Of the route that was made last. One that is added to is not read here. */
  epoch = 0;
  private lostAt: Record<string, number> = {};
  private homeSince = 0;
  readonly others: OtherHolders;

  constructor(home: string, ...holders: string[]) {
    const hub = agreeingHub((member) => `${member} ${this.restarts.get(member) ?? 0}`);
    const context = { hub, ids: this.ids, self: 'm1', clock: this.clock, log: silentLog };
    this.others = new OtherHolders('v', settledVolume(), this.route(home, holders), context);
  }

  route(home: string, holders: readonly string[], unflushed = {}, gave = {}): Route {
    this.epoch += 1;
    const { epoch, lostAt, homeSince } = this;
    const numbers = holders.map((member) => this.ids.idOf(member));
    return { epoch, home, holders: numbers, unflushed, gave, lostAt, homeSince };
  }

  /** The next epoch is one at which that member gives its last extents, and its disk has lost something. */
  losesWrites(member: string): void {
    this.lostAt = { ...this.lostAt, [member]: this.epoch + 1 };
  }

  /** The next epoch is one at which the home comes. */
  homeComes(): void {
    this.homeSince = this.epoch + 1;
  }

  adopt(home: string, ...holders: string[]): void {
    this.others.adopt(this.route(home, holders));
  }

  /** Members have given all that they held, under these verifiers. */
  adoptGiven(gave: Record<string, string>, ...holders: string[]): void {
    this.others.adopt(this.route('m1', holders, {}, gave));
  }

  /** The home comes from a member that left this. */
  comes(unflushed: Record<string, string>, ...holders: string[]): void {
    this.comesGiven({}, unflushed, ...holders);
  }

  comesGiven(gave: Record<string, string>, unflushed: Record<string, string>, ...holders: string[]): void {
    this.others.adopt(this.route('m1', holders, unflushed, gave));
    this.others.findUntold();
  }

  losesPower(member: string): void {
    this.restarts.set(member, (this.restarts.get(member) ?? 0) + 1);
  }

  forward(op: BlockOp, member: string): Promise<void> {
    return forward(this.others.slotOf(this.ids.idOf(member)), op);
  }
}
