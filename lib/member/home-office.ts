/**
 * The office of a volume's home, as commands that must not meet another home's know it (scsi/office.ts). In a hand-over
 * sessions of the home before go on for some seconds: the first that enters has every member asked whether its sessions
 * of the volume have gone. And before the home is given away, who is inside comes out.
 *
 *     CLOSED ── asked for, and home ──► ASKING ── all have gone ──► OPEN ── given away ──► CLOSED
 */
import { assert } from '../base/assert.js';
import type { Office } from '../scsi/office.js';

export interface HomeOfficeOptions {
  /** This member is home, and is not giving that away. */
  isHome(): boolean;
  /** Resolves when no session of the volume is at any other member; tries until then, or until it is not home any more. */
  othersGone(): Promise<void>;
}

export class HomeOffice implements Office {
  private state: 'closed' | 'asking' | 'open' = 'closed';
  /** Counts the times it was closed: an answer of the time before opens nothing. */
  private terms = 0;
  private inside = 0;
  /** Who waits to enter; at a member that is not home any more, for the end of their sessions. */
  private waiting: (() => void)[] = [];
  private onEmpty: (() => void)[] = [];

  constructor(private readonly options: HomeOfficeOptions) {}

  enter(entered: () => void): void {
    if (this.state === 'open' && this.options.isHome()) {
      this.inside += 1;
      entered();
      return;
    }
    this.waiting.push(entered);
    this.settle();
  }

  leave(): void {
    assert(this.inside > 0, 'more left an office than had entered');
    this.inside -= 1;
    if (this.inside === 0) for (const callback of this.onEmpty.splice(0)) callback();
  }

  /** Resolves when nobody is inside; while this member is not home nobody enters. */
  emptied(): Promise<void> {
    if (this.inside === 0) return Promise.resolve();
    return new Promise((resolve) => this.onEmpty.push(resolve));
  }

  /** The home has come, has gone, or was not given away after all. */
  settle(): void {
    if (!this.options.isHome()) return;
    if (this.state === 'open') {
      const { waiting } = this;
      this.waiting = [];
      for (const entered of waiting) this.enter(entered);
    } else if (this.state === 'closed' && this.waiting.length > 0) {
      this.state = 'asking';
      const { terms } = this;
      void this.options.othersGone().then(() => {
        if (terms !== this.terms) return;
        this.state = 'open';
        this.settle();
      });
    }
  }

  /** The home is elsewhere: others have their sessions there by now. */
  close(): void {
    assert(this.inside === 0, 'a home was given away while a command rested on it');
    this.state = 'closed';
    this.terms += 1;
  }
}
