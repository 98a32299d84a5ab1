/**
 * The fence of a login (I8): before a session of an initiator begins here, every member drains and closes what that
 * initiator left there. A member that runs is waited for. One that is gone, or has no lease any more, cannot be asked; but
 * what it had forwarded may still be unread, or at a holder's device. So every member is told who is present, and ends what
 * it has with any other process before it answers.
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
  readonly self: Present;
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
  /** Ends the links of every other process than these here; resolves when none of their requests is in service. */
  endAbsent(present: readonly Present[]): Promise<void>;
  /** The table is at least at this epoch when it resolves. */
  catchUp(volume: string, epoch: number): Promise<void>;
}

/** One life of a member. */
export type Present = Pick<MemberRecord, 'name' | 'incarnation'>;

export class Fencer {
  constructor(private readonly options: FencerOptions) {}

  /** Resolves when no command of this initiator's old sessions can land any more; rejects when that cannot be had. */
  async fenceEverywhere(routed: RoutedVolume, login: LoginIdentity): Promise<void> {
    const { waypoints, self, endAbsent } = this.options;
    waypoints.reached('fence.asking');
    let asked: MemberRecord[];
    do {
      asked = this.running();
      const present = [self, ...asked.map(({ name, incarnation }) => ({ name, incarnation }))];
      const fences = asked.map((member) => this.fenceAt(member, present, routed, login));
      await Promise.all([endAbsent(present), ...fences]);
      // The others took one that went meanwhile for present.
    } while (!asked.every((member) => this.isStillThere(member)));
    waypoints.reached('fence.done');
  }

  private running(): MemberRecord[] {
    return this.options.others().filter((member) => this.options.mayBeRunning(member));
  }

  private async fenceAt(
    member: MemberRecord,
    present: Present[],
    routed: RoutedVolume,
    login: LoginIdentity,
  ): Promise<void> {
    const { hub, clock } = this.options;
    const { name: volume, id: volumeId } = routed.record;
    const message: Fence = { volume, initiatorName: login.initiatorName, isid: login.isid, present };
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
    const { volume, initiatorName, isid, present } = fence;
    const answer = await this.options.fenceHere(volume, { initiatorName, isid, iqn: '' });
    await this.options.endAbsent(present);
    this.options.fenced(fence.volume, answer);
    this.options.waypoints.reached('fence.drained');
    request.answer(PeerStatus.OK, Buffer.from(JSON.stringify(answer)));
  }
}
