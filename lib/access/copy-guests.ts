/**
 * The copies that other homes, and this one, make at one unit while it is served here. Each is known by the process that
 * makes it and its number there, and is let in once. When the home has gone nothing of them begins any more, and who asks
 * is told whether a copy had been ended before that.
 */
import { COPY_GUESTS_MAX } from '../base/limits.js';
import { Guest } from '../scsi/copy/guest.js';
import type { DiskUnit } from '../scsi/unit.js';
import type { Server } from './messages.js';
import { isSameSender, type Sender } from './sender.js';

interface Entry {
  readonly copy: Sender;
  readonly guest: Guest;
  /** Nothing of it begins any more. */
  isOver: boolean;
  /** It was told to end while it was let in. */
  wasAborted: boolean;
}

export class CopyGuests {
  private readonly entries = new Set<Entry>();

  constructor(
    private readonly unit: DiskUnit,
    private readonly incarnation: string,
  ) {}

  isLoggedIn(initiatorName: string): boolean {
    return this.unit.nexuses.of(initiatorName).length > 0;
  }

  find(copy: Sender): Guest | undefined {
    for (const { copy: known, guest, isOver, wasAborted } of this.entries)
      if ((!isOver || wasAborted) && isSameSender(known, copy)) return guest;
    return undefined;
  }

  /** Lets it in, once. False: its initiator is not logged in. */
  letIn(copy: Sender, initiatorName: string): boolean {
    if (this.find(copy) !== undefined) return true;
    const guest = Guest.enter(this.unit, initiatorName);
    if (guest === null) return false;
    if (this.entries.size >= COPY_GUESTS_MAX) this.forgetOldest();
    const { from, incarnation, token } = copy;
    this.entries.add({ copy: { from, incarnation, token }, guest, isOver: false, wasAborted: false });
    return true;
  }

  /** Most likely a link has lost its last word; one that is still there is let in again. */
  private forgetOldest(): void {
    const idle = [...this.entries].filter(({ guest }) => !guest.isAtWork);
    const oldest = idle.find(({ guest }) => !guest.isAborted) ?? idle[0];
    if (oldest !== undefined) this.forget((entry) => entry === oldest);
  }

  /**
   * A copy has gone from here.
   * @param done called once nothing can reach the medium in its name, with whether it had been told to end
   */
  end(copy: Sender, done: (wasAborted: boolean) => void): void {
    this.stop(
      (entry) => isSameSender(entry.copy, copy),
      (stopped) => {
        for (const entry of stopped) this.entries.delete(entry);
        done(stopped.some(({ wasAborted }) => wasAborted));
      },
    );
  }

  /** Resolves when nothing is under way that any other process than these, and this one, has sent, or ever will be (I8). */
  endAbsent(present: readonly Server[]): Promise<void> {
    const incarnations = new Set([this.incarnation, ...present.map(({ incarnation }) => incarnation)]);
    return new Promise((resolve) => {
      this.forget(({ copy }) => !incarnations.has(copy.incarnation), resolve);
    });
  }

  /** A process has left the group. */
  gone({ incarnation }: Server): void {
    this.forget(({ copy }) => copy.incarnation === incarnation);
  }

  /** The unit is served elsewhere from now on. */
  leave(): void {
    this.partFrom(() => true);
  }

  /**
   * This member is without its lease: others take what they have sent here for undone (I8). Resolves when nothing of it is
   * under way.
   */
  lapse(): Promise<void> {
    return new Promise((resolve) =>
      this.partFrom(({ copy }) => copy.incarnation !== this.incarnation, resolve),
    );
  }

  /** Who was told to end learns of it yet: nobody else knows, and it would be let in again. */
  private partFrom(isOne: (entry: Entry) => boolean, done: () => void = () => undefined): void {
    this.stop(isOne, (stopped) => {
      for (const entry of stopped) if (!entry.wasAborted) this.entries.delete(entry);
      done();
    });
  }

  private forget(isOne: (entry: Entry) => boolean, done: () => void = () => undefined): void {
    this.stop(isOne, (stopped) => {
      for (const entry of stopped) this.entries.delete(entry);
      done();
    });
  }

  /** Calls back when nothing of these is under way. */
  private stop(isOne: (entry: Entry) => boolean, done: (stopped: readonly Entry[]) => void): void {
    const stopped = [...this.entries].filter(isOne);
    let left = stopped.length + 1;
    const one = (): void => {
      left -= 1;
      if (left === 0) done(stopped);
    };
    for (const entry of stopped) this.stopOne(entry, one);
    one();
  }

  private stopOne(entry: Entry, done: () => void): void {
    const { guest } = entry;
    if (!entry.isOver) entry.wasAborted = guest.isAborted;
    entry.isOver = true;
    guest.abortTasks(() => {
      guest.leave();
      done();
    });
  }
}
