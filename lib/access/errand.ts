/**
 * One command on its way to the home of its unit, wherever that is: here, at another member, or about to move, when it
 * waits. It is done once, or not at all, or said to be in doubt:
 *
 *   the home says that it is none, is starting, or does not know the session     not done: it goes again
 *   the link breaks                                                              in doubt: what may be done twice goes
 *                                                                                again; the rest is answered BUSY, once
 *                                                                                the home says that it is over
 *
 * So nothing is done a second time behind a later write unless the initiator itself asks for it again. What was begun
 * before a member was left behind, or without a lease, does not go at all (I8).
 */
import type { Clock } from '../base/clock.js';
import { FORWARD_PATIENCE_MS, FORWARD_RETRY_MS, HOME_COMMAND_MS_MAX } from '../base/limits.js';
import { PeerRequest, PeerStatus, type PeerHub } from '../peer/contract.js';
import { SENSE } from '../scsi/sense.js';
import { ScsiStatus, type Refusal } from '../scsi/task.js';
import { parseNotGood } from './messages.js';

/** Where a unit is served, as this member knows: by itself, by nobody until its home is known again, or by another. */
export type Standing = 'here' | 'held' | 'elsewhere';

/** Who waits until it is known where the unit is served. */
export interface Held {
  go(): void;
  readonly isWanted: boolean;
  /** A session's command here, which is under way until this has ended. */
  readonly isCommand: boolean;
}

/** What an errand needs to know of its unit. */
export interface UnitPlace {
  readonly standing: Standing;
  readonly volumeId: number;
  readonly hub: PeerHub;
  readonly clock: Clock;
  /** The member that is home, by the epoch that this member knows. */
  home(): string;
  epoch(): number;
  /** Whether this member has its lease (I4), and knows what it has missed without one. */
  mayServe(): boolean;
  /** The volume is deleted, or this member ends. */
  readonly isClosed: boolean;
  /** Reads the route from the store if it is not at `epoch` yet (0: in any case), then calls back. */
  refresh(epoch: number, done: () => void): void;
  /** Lets it go on once, when the unit is not held any more or nobody wants it. By default it is tried again soon. */
  hold?(waiting: Held): void;
  /** The home's D_SENSE, where somebody goes by it. */
  saysDescriptors?(isSo: boolean): void;
}

export const BUSY: Refusal = Object.freeze({ status: ScsiStatus.BUSY, sense: null });
const ABORTED: Refusal = Object.freeze({
  status: ScsiStatus.CHECK_CONDITION,
  sense: SENSE.COMMAND_ABORTED,
});
const FAILED: Refusal = Object.freeze({
  status: ScsiStatus.CHECK_CONDITION,
  sense: SENSE.INTERNAL_TARGET_FAILURE,
});

export abstract class Errand extends PeerRequest implements Held {
  private waitingSinceMs = 0;

  constructor(protected readonly place: UnitPlace) {
    super();
    this.volumeId = place.volumeId;
    this.deadlineMs = HOME_COMMAND_MS_MAX;
  }

  /** Doing it twice is as good as once, whatever comes between. */
  protected abstract readonly mayRepeat: boolean;
  /** Somebody waits for it. */
  abstract readonly isWanted: boolean;
  /** See Held. */
  readonly isCommand: boolean = false;
  /** Why it may not go from here, or null. */
  protected obstacle(): Refusal | null {
    return this.place.mayServe() ? null : BUSY;
  }
  protected abstract serveHere(): void;
  /** It ended well; `payload` is to be used or copied before this returns. */
  protected abstract done(payload: Buffer): void;
  protected abstract refused(refusal: Refusal): void;
  /** The home does not know the session. */
  protected unknownThere(): void {
    this.retryLater();
  }

  /** It may be done, or still be under way at the home. */
  protected inDoubt(): void {
    this.refused(BUSY);
  }

  /** Goes where the unit is served now. */
  go(): void {
    const { place } = this;
    if (!this.isWanted) return this.refused(ABORTED);
    const { standing } = place;
    if (standing === 'held') return place.hold === undefined ? this.retryLater() : place.hold(this);
    const obstacle = this.obstacle();
    if (obstacle !== null) return this.refused(obstacle);
    if (standing === 'here') return this.serveHere();
    if (place.isClosed) return this.refused(FAILED);
    this.epoch = place.epoch();
    this.sendTo(place.home());
  }

  protected sendTo(home: string): void {
    this.place.hub.send(home, this);
  }

  answered(status: number, payload: Buffer, epoch: number): void {
    switch (status) {
      case PeerStatus.OK:
        return this.done(payload);
      case PeerStatus.NOT_GOOD: {
        const notGood = parseNotGood(payload);
        if (notGood !== null) this.place.saysDescriptors?.(notGood.descriptorSense);
        return this.refused(notGood ?? FAILED);
      }
      case PeerStatus.STALE:
        // One that knows of no later home than we do has to hear of it first.
        if (epoch <= this.epoch) return this.retryLater();
        // The store may not answer: then this member does not hear of it either.
        return this.place.refresh(epoch, () => (this.place.epoch() < epoch ? this.retryLater() : this.go()));
      case PeerStatus.NOT_FOUND:
        return this.unknownThere();
      case PeerStatus.UNAVAILABLE:
        return this.retryLater();
      case PeerStatus.LINK_LOST:
      case PeerStatus.DEADLINE:
        return this.mayRepeat ? this.retryLater() : this.inDoubt();
      default:
        return this.refused(FAILED);
    }
  }

  /** The home is away, or does not know yet that it is home. */
  protected retryLater(): void {
    const { clock, refresh } = this.place;
    const nowMs = clock.nowMs();
    if (this.waitingSinceMs === 0) this.waitingSinceMs = nowMs;
    if (nowMs - this.waitingSinceMs > FORWARD_PATIENCE_MS) return this.refused(BUSY);
    clock.after(FORWARD_RETRY_MS, () => {
      if (this.isWanted) refresh(0, () => this.go());
      else this.refused(ABORTED);
    });
  }
}
