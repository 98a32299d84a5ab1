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

/** How long one member is asked. */
interface AskedUntil {
  readonly deadlineMs: number;
  isOver(): boolean;
  isOutdated(): boolean;
}

/** Thrown where who is present has to be said anew. */
const OUTDATED = new Error('one has come since');

function unlessOutdated(error: unknown): false {
  if (error !== OUTDATED) throw error;
  return false;
}

export class Everywhere {
  constructor(private readonly options: EverywhereOptions) {}

  /**
   * Resolves when every member has answered OK, or has left; who comes while one is asked again is asked, too.
   * @param message what each is sent, with who is present
   * @param isOver nobody is asked again then
   * @throws UNAVAILABLE when one that is there did not answer in time
   */
  async ask(
    fields: AskFields,
    message: (present: Present[]) => object,
    isOver = (): boolean => false,
  ): Promise<void> {
    const { clock, self, endAbsent } = this.options;
    let deadlineMs = clock.nowMs() + FENCE_DEADLINE_MS;
    // Who was absent once is waited for here, also where it is present again.
    const ended: Promise<void>[] = [];
    for (;;) {
      const asked = this.running();
      const present = [self, ...asked.map(({ name, incarnation }) => ({ name, incarnation }))];
      ended.push(endAbsent(present));
      const until = { deadlineMs, isOver, isOutdated: () => this.hasMoreThan(asked) };
      const answers = asked.map((member) => this.askOne(member, fields, message(present), until));
      const isHeard = await Promise.all([...ended, ...answers]).then(() => true, unlessOutdated);
      if (!isHeard) continue;
      if (asked.every((member) => this.isStillThere(member))) return;
      // The others took one that went meanwhile for present.
      deadlineMs = clock.nowMs() + FENCE_DEADLINE_MS;
    }
  }

  private running(): MemberRecord[] {
    return this.options.others().filter((member) => this.options.mayBeRunning(member));
  }

  /** @throws OUTDATED: it has not answered OK yet, and who is present has to be said anew */
  private async askOne(
    member: MemberRecord,
    fields: AskFields,
    message: object,
    { deadlineMs, isOver, isOutdated }: AskedUntil,
  ): Promise<void> {
    const { hub, clock } = this.options;
    while (clock.nowMs() < deadlineMs && !isOver()) {
      const answer = await ask(hub, member.name, { deadlineMs: FENCE_DEADLINE_MS, ...fields }, message);
      if (answer.status === PeerStatus.OK) return;
      if (!this.isStillThere(member)) return;
      await sleep(clock, FORWARD_RETRY_MS);
      if (isOutdated()) throw OUTDATED;
    }
    throw new BlockferryError('UNAVAILABLE', `${member.name} did not answer in time`);
  }

  /**
   * One has come, or come back, since these were asked. Nothing of what it sends is to be ended by a list that is older; and
   * it is asked, too, since it may have been without its lease for a while, and still have what is to end.
   */
  private hasMoreThan(asked: readonly MemberRecord[]): boolean {
    const wasAsked = ({ incarnation }: MemberRecord): boolean =>
      asked.some((member) => member.incarnation === incarnation);
    return !this.running().every(wasAsked);
  }

  private isStillThere(member: MemberRecord): boolean {
    const now = this.options.others().find((other) => other.name === member.name);
    return now !== undefined && now.incarnation === member.incarnation && this.options.mayBeRunning(member);
  }
}

/**
 * At a member that is asked: what it has come to by the time at which an answer is due, null if that is nothing yet. A link
 * on which a request stands unanswered breaks, with all that others have under way there; who asks does so again.
 */
export function inTime<T>(clock: Clock, work: Promise<T>): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const late = clock.after(FENCE_DEADLINE_MS / 2, () => resolve(null));
    work.then(resolve, reject).finally(() => late.cancel());
  });
}
