/**
 * Asks every member of the group for one thing, and is done when each of them has done it. A member that runs is waited for.
 * One that is gone, or has no lease any more, cannot be asked; but what it had forwarded may still be unread, or at a holder's
 * device. So every member is told who is present, and ends what it has with any other process before it answers.
 */
import { sleep, type Clock } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { FENCE_DEADLINE_MS, FORWARD_RETRY_MS } from '../base/limits.js';
import type { MemberRecord } from '../group/records.js';
import { ask, type AskFields } from '../peer/ask.js';
import { PeerStatus, type PeerHub } from '../peer/contract.js';

/** One life of a member. */
export type Present = Pick<MemberRecord, 'name' | 'incarnation'>;

export interface EverywhereOptions {
  readonly hub: PeerHub;
  readonly self: Present;
  readonly clock: Clock;
  /** Members alive besides this one. */
  others(): readonly MemberRecord[];
  /** False when it can be known that the process is gone: on this machine, by its number. */
  mayBeRunning(member: MemberRecord): boolean;
  /** Ends the links of every other process than these here; resolves when none of their requests is in service. */
  endAbsent(present: readonly Present[]): Promise<void>;
}

export class Everywhere {
  constructor(private readonly options: EverywhereOptions) {}

  /**
   * Resolves when every member has answered OK, or has left.
   * @param message what each is sent, with who is present
   * @param isOver nobody is asked again then
   * @throws UNAVAILABLE when one that is there did not answer in time
   */
  async ask(
    fields: AskFields,
    message: (present: Present[]) => object,
    isOver = (): boolean => false,
  ): Promise<void> {
    const { self, endAbsent } = this.options;
    let asked: MemberRecord[];
    do {
      asked = this.running();
      const present = [self, ...asked.map(({ name, incarnation }) => ({ name, incarnation }))];
      const answers = asked.map((member) => this.askOne(member, fields, message(present), isOver));
      await Promise.all([endAbsent(present), ...answers]);
      // The others took one that went meanwhile for present.
    } while (!asked.every((member) => this.isStillThere(member)));
  }

  private running(): MemberRecord[] {
    return this.options.others().filter((member) => this.options.mayBeRunning(member));
  }

  private async askOne(
    member: MemberRecord,
    fields: AskFields,
    message: object,
    isOver: () => boolean,
  ): Promise<void> {
    const { hub, clock } = this.options;
    const deadlineMs = clock.nowMs() + FENCE_DEADLINE_MS;
    while (clock.nowMs() < deadlineMs && !isOver()) {
      const answer = await ask(hub, member.name, { deadlineMs: FENCE_DEADLINE_MS, ...fields }, message);
      if (answer.status === PeerStatus.OK) return;
      if (!this.isStillThere(member)) return;
      await sleep(clock, FORWARD_RETRY_MS);
    }
    throw new BlockferryError('UNAVAILABLE', `${member.name} did not answer in time`);
  }

  private isStillThere(member: MemberRecord): boolean {
    const now = this.options.others().find((other) => other.name === member.name);
    return now !== undefined && now.incarnation === member.incarnation && this.options.mayBeRunning(member);
  }
}
