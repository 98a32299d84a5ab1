/**
 * The memory that all sessions of a member share for write data and read data on its way out. Each session has a bound
 * of its own (session-memory.ts); here is what keeps five hundred of them from taking it all at once. It decides who may
 * have memory now and who comes next; it hands none out and knows neither tasks nor sockets.
 *
 *     0 ───────────── MEMBER_DATA_BYTES ─────────── + UNASKED ─────── + one transfer + a share for each session
 *       read pieces and data asked  │ data that comes unasked  │ the first in line, and shares: never more (asserted)
 *       for by R2T: first come      │ beyond: TASK SET FULL    │
 *
 * Who may take memory: a session that leaves at least as much free as it then has (so a greedy one, or many, never take the
 * last), or that stays within its own small share. Reads that get nothing are cut to the share and go on as the socket
 * takes what is queued: a slow reader waits for itself alone. Writes that get nothing wait in one line, in the order they
 * came, and nobody passes them.
 *
 * Why nobody waits for ever. What is held is held by one of four:
 *   - I/O at the device, which ends by itself;
 *   - answers in an output, which go when that initiator reads, and no other's share depends on them;
 *   - writes whose data was asked for: they have all of their memory, and their session's socket is read in any case;
 *   - writes that wait in the line, or for their turn (task-set.ts), with a first burst in hand. Were all the memory theirs,
 *     nobody could go on: so the first in line may go beyond the budget, one command at a time, whatever is held.
 * An initiator that does not send data it was asked for, or a command before others, keeps what it has until its session is
 * ended (overdue.ts); the others live on what it leaves free.
 */
import { assert } from '../../base/assert.js';
import {
  MEMBER_DATA_BYTES_MAX,
  MEMBER_UNASKED_BYTES_MAX,
  SESSION_SHARE_BYTES_MAX,
  TRANSFER_BYTES_MAX,
} from '../../base/limits.js';

/** One session, as the budget sees it. */
export interface MemoryUser {
  /** Memory may be had: goes on as far as it goes, and calls wait() again where it does not suffice. */
  goOn(): void;
}

export class MemoryBudget {
  private held = 0;
  private peak = 0;
  private users = 0;
  /** Who waits with a write, first come first. */
  private readonly line: MemoryUser[] = [];
  /** Whether the first in line, while it went on, has asked again. */
  private askedAgain = false;
  private isOverdrawn = false;
  private waking = false;

  /**
   * @param budgetBytes what sessions may take beyond their own small shares
   * @param unaskedBytes how far data that comes unasked may go beyond that
   */
  constructor(
    readonly budgetBytes: number = MEMBER_DATA_BYTES_MAX,
    private readonly unaskedBytes: number = MEMBER_UNASKED_BYTES_MAX,
  ) {}

  /** What all sessions hold now. */
  get heldBytes(): number {
    return this.held;
  }

  /** For those who look. */
  get figures(): { peakBytes: number; waitingSessions: number } {
    return { peakBytes: this.peak, waitingSessions: this.line.length };
  }

  /** So much that not even unasked data is kept any more. */
  get isOverrun(): boolean {
    return this.held > this.budgetBytes + this.unaskedBytes;
  }

  /** What may be held at most, come what may. */
  get limitBytes(): number {
    const beyond = this.unaskedBytes + TRANSFER_BYTES_MAX;
    return this.budgetBytes + beyond + this.users * SESSION_SHARE_BYTES_MAX;
  }

  join(): void {
    this.users += 1;
  }

  /** The session holds nothing any more, and never will. */
  part(user: MemoryUser): void {
    assert(this.users > 0, 'more sessions parted than joined');
    this.users -= 1;
    this.leaveLine(user);
  }

  /** What a session holds has changed. */
  changed(byBytes: number): void {
    this.held += byBytes;
    if (byBytes < 0) {
      assert(this.held >= 0, 'more memory was given back than taken');
      if (this.line.length > 0) this.wakeLater();
      return;
    }
    if (this.held <= this.peak) return;
    this.peak = this.held;
    assert(this.held <= this.limitBytes, 'the sessions hold more than the budget and their shares');
  }

  /** May a session that holds `ownBytes` have so much more? */
  affords(user: MemoryUser, ownBytes: number, moreBytes: number): boolean {
    if (this.line.length > 0 && this.line[0] !== user) return false;
    return ownBytes + moreBytes <= this.budgetBytes - this.held;
  }

  /** Puts a session at the end of the line, if it is not there. */
  wait(user: MemoryUser): void {
    if (this.line[0] === user) this.askedAgain = true;
    if (this.line.includes(user)) return;
    this.line.push(user);
    this.wakeLater();
  }

  leaveLine(user: MemoryUser): void {
    const at = this.line.indexOf(user);
    if (at === -1) return;
    this.line.splice(at, 1);
    if (this.line.length > 0) this.wakeLater();
  }

  /** The first in line may have one command's worth beyond the budget; true: it has it now. */
  overdraw(user: MemoryUser): boolean {
    if (this.isOverdrawn || this.line[0] !== user) return false;
    this.isOverdrawn = true;
    return true;
  }

  /** That command is over. */
  overdraftEnded(): void {
    assert(this.isOverdrawn, 'an overdraft ended that never began');
    this.isOverdrawn = false;
    if (this.line.length > 0) this.wakeLater();
  }

  private wakeLater(): void {
    if (this.waking) return;
    this.waking = true;
    setImmediate(this.wake);
  }

  private readonly wake = (): void => {
    this.waking = false;
    // Those behind one that still waits are not asked: they would pass it.
    for (let first = this.line[0]; first !== undefined; first = this.line[0]) {
      this.askedAgain = false;
      first.goOn();
      if (this.line[0] !== first) continue;
      if (this.askedAgain) break;
      this.line.shift();
    }
  };
}
