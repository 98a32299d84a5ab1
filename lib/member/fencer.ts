/**
 * The fence of a login (I8): before a session of an initiator begins here, every member drains and closes what that
 * initiator left there. A member that runs is waited for; one whose process is gone has nothing left in flight.
 */
import { sleep, type Clock } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { FENCE_DEADLINE_MS, FORWARD_RETRY_MS } from '../base/limits.js';
import type { Waypoints } from '../base/waypoints.js';
import type { MemberRecord } from '../group/records.js';
import type { LoginIdentity } from '../iscsi/target/directory.js';
import { Fence, type FenceAnswer } from '../migration/messages.js';
import { ask } from '../peer/ask.js';
import { PeerStatus, PeerType, type IncomingRequest, type PeerHub } from '../peer/contract.js';
import type { RoutedVolume } from '../routing/table.js';

export interface FencerOptions {
  readonly hub: PeerHub;
  readonly clock: Clock;
  readonly waypoints: Waypoints;
  /** Members alive besides this one. */
  others(): readonly MemberRecord[];
  /** False when it can be known that the process is gone: on this machine, by its number. */
  mayBeRunning(member: MemberRecord): boolean;
  /** Fences the sessions at this member. */
  fenceHere(volume: string, login: LoginIdentity): Promise<FenceAnswer>;
  /** A fenced session's pause, for the figures of a move. */
  fenced(volume: string, answer: FenceAnswer): void;
  /** The table is at least at this epoch when it resolves. */
  catchUp(volume: string, epoch: number): Promise<void>;
}

export class Fencer {
  constructor(private readonly options: FencerOptions) {}

  /** Resolves when no command of this initiator's old sessions can land any more; rejects when that cannot be had. */
  async fenceEverywhere(routed: RoutedVolume, login: LoginIdentity): Promise<void> {
    const { waypoints, others } = this.options;
    waypoints.reached('fence.asking');
    await Promise.all(others().map((member) => this.fenceAt(member, routed, login)));
    waypoints.reached('fence.done');
  }

  private async fenceAt(member: MemberRecord, routed: RoutedVolume, login: LoginIdentity): Promise<void> {
    const { hub, clock } = this.options;
    const { name: volume, id: volumeId } = routed.record;
    const message: Fence = { volume, initiatorName: login.initiatorName, isid: login.isid };
    const deadlineMs = clock.nowMs() + FENCE_DEADLINE_MS;
    while (clock.nowMs() < deadlineMs) {
      const fields = {
        type: PeerType.FENCE,
        volumeId,
        epoch: routed.route.epoch,
        deadlineMs: FENCE_DEADLINE_MS,
      };
      const answer = await ask(hub, member.name, fields, message);
      if (answer.status === PeerStatus.OK) return;
      if (!this.isStillThere(member)) return;
      await sleep(clock, FORWARD_RETRY_MS);
    }
    throw new BlockferryError('UNAVAILABLE', `${member.name} did not fence ${login.initiatorName} in time`);
  }

  private isStillThere(member: MemberRecord): boolean {
    const now = this.options.others().find((other) => other.name === member.name);
    return now !== undefined && now.incarnation === member.incarnation && this.options.mayBeRunning(member);
  }

  /** Another member admits an initiator. */
  async serve(request: IncomingRequest): Promise<void> {
    const fence = Fence.parse(JSON.parse(request.payload.toString('utf8')));
    // The sender may know of a new home before this member does: its sessions are told to leave first, then fenced.
    await this.options.catchUp(fence.volume, request.epoch);
    this.options.waypoints.reached('fence.draining');
    const answer = await this.options.fenceHere(fence.volume, { ...fence, iqn: '' });
    this.options.fenced(fence.volume, answer);
    this.options.waypoints.reached('fence.drained');
    request.answer(PeerStatus.OK, Buffer.from(JSON.stringify(answer)));
  }
}
