/**
 * The fence of a login (I8): before a session of an initiator begins here, every member drains and closes what that
 * initiator left there (everywhere.ts). And its other question: whether any session of a volume is left elsewhere.
 */
import type { Clock } from '../base/clock.js';
import type { Waypoints } from '../base/waypoints.js';
import type { LoginIdentity } from '../iscsi/target/directory.js';
import { Fence, type FenceAnswer, Vacate } from '../migration/messages.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../peer/contract.js';
import type { RoutedVolume } from '../routing/table.js';
import { inTime, type Everywhere, type Present } from './everywhere.js';

export interface FencerOptions {
  readonly everywhere: Everywhere;
  readonly clock: Clock;
  readonly waypoints: Waypoints;
  /** Fences the sessions at this member. */
  fenceHere(volume: string, login: LoginIdentity): Promise<FenceAnswer>;
  /** A fenced session's pause, for the figures of a move. */
  fenced(volume: string, answer: FenceAnswer): void;
  /** Ends the links of every other process than these here; resolves when none of their requests is in service. */
  endAbsent(present: readonly Present[]): Promise<void>;
  /** No session of the volume is left at this member, however it is ending. */
  isVacant(volume: string): boolean;
  /** The table is at least at this epoch when it resolves; false: it may not be. */
  catchUp(volume: string, epoch: number): Promise<boolean>;
}

export class Fencer {
  /** What others wait for, by what they ask. */
  private readonly underWay = new Set<string>();

  constructor(private readonly options: FencerOptions) {}

  /**
   * Resolves when no command of this initiator's old sessions can land any more; rejects when that cannot be had.
   * @param isid of sessions that end at every member; null: elsewhere only those do that are leaving, or have left
   */
  async fenceEverywhere(
    routed: RoutedVolume,
    { initiatorName }: LoginIdentity,
    isid: string | null,
  ): Promise<void> {
    const { waypoints, everywhere } = this.options;
    const { name: volume, id: volumeId } = routed.record;
    waypoints.reached('fence.asking');
    await everywhere.ask({ type: PeerType.FENCE, volumeId, epoch: routed.route.epoch }, (present): Fence => ({
      volume,
      initiatorName,
      isid,
      present,
    }));
    waypoints.reached('fence.done');
  }

  /** Resolves when no session of the volume is at another member; rejects when that was not so in time. */
  async vacateEverywhere({ record, route }: RoutedVolume): Promise<void> {
    const { name: volume, id: volumeId } = record;
    const fields = { type: PeerType.VACATE, volumeId, epoch: route.epoch };
    await this.options.everywhere.ask(fields, (present): Vacate => ({ volume, present }));
  }

  /** Another member has become home, and asks until this one answers OK. */
  async serveVacate(request: IncomingRequest): Promise<void> {
    const vacate = Vacate.parse(JSON.parse(request.payload.toString('utf8')));
    const isVacant = await this.inTime(vacate.volume, () => this.vacate(vacate, request.epoch));
    request.answer(isVacant === true ? PeerStatus.OK : PeerStatus.UNAVAILABLE);
  }

  private async vacate({ volume, present }: Vacate, epoch: number): Promise<boolean> {
    const isUpToDate = await this.options.catchUp(volume, epoch);
    if (!isUpToDate || !this.options.isVacant(volume)) return false;
    await this.options.endAbsent(present);
    return true;
  }

  /** Another member admits an initiator. */
  async serve(request: IncomingRequest): Promise<void> {
    const fence = Fence.parse(JSON.parse(request.payload.toString('utf8')));
    const whose = `${fence.volume} ${fence.initiatorName} ${fence.isid}`; // none has blanks
    const answer = await this.inTime(whose, () => this.fence(fence, request.epoch));
    if (answer === null) request.answer(PeerStatus.UNAVAILABLE);
    else request.answer(PeerStatus.OK, Buffer.from(JSON.stringify(answer)));
  }

  /** Null: it cannot be known whose sessions are to be told to leave. */
  private async fence(
    { volume, initiatorName, isid, present }: Fence,
    epoch: number,
  ): Promise<FenceAnswer | null> {
    const { waypoints } = this.options;
    // The sender may know of a new home before this member does: its sessions are told to leave first, then fenced.
    const isUpToDate = await this.options.catchUp(volume, epoch);
    if (!isUpToDate) return null;
    waypoints.reached('fence.draining');
    const drained = this.options.fenceHere(volume, { initiatorName, isid: isid ?? '', iqn: '' });
    // At once: who comes back while the sessions drain is not on this list, and would be ended with those who are gone.
    const [answer] = await Promise.all([drained, this.options.endAbsent(present)]);
    this.options.fenced(volume, answer);
    waypoints.reached('fence.drained');
    return answer;
  }

  /**
   * What others ask for, or null: it is not done in time, goes on, and they ask again. That finds it under way, so that there
   * is one at a time; and begins anew once it is over, since there may be more to end by then.
   */
  private async inTime<T>(what: string, begin: () => Promise<T>): Promise<T | null> {
    const { underWay } = this;
    if (underWay.has(what)) return null;
    underWay.add(what);
    return inTime(
      this.options.clock,
      begin().finally(() => underWay.delete(what)),
    );
  }
}
