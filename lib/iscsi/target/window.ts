/**
 * The command window of a session (RFC 7143 4.2.2.1): which CmdSN is next, which are early, which are none of ours,
 * and how far the initiator may go. Pure arithmetic; who holds early commands is the session's business.
 *
 *        ExpCmdSN                     MaxCmdSN
 *   ─────┼──────────────────────────────┼──────────▶ CmdSN
 *   old  │next│     early (ahead)       │  outside
 *
 * MaxCmdSN grows by one for every command that ends, so the initiator never has more than `size` outstanding.
 * It never shrinks: closing the window means not letting it grow.
 */
import { assert } from '../../base/assert.js';
import { COMMAND_WINDOW } from '../../base/limits.js';
import { serialAdd, serialDistance } from '../../base/serial.js';

export type WindowVerdict = 'next' | 'ahead' | 'outside';

export class CommandWindow {
  private max: number;
  private outstanding_ = 0;
  private held_ = false;

  /** @param expCmdSN the CmdSN of the login, which is the first one in full feature phase (RFC 7143 4.2.2.1) */
  constructor(
    private exp: number,
    private readonly size = COMMAND_WINDOW,
  ) {
    this.max = serialAdd(exp, size - 1);
  }

  get expCmdSN(): number {
    return this.exp;
  }

  get maxCmdSN(): number {
    return this.max;
  }

  /** Commands that were accepted and have not ended. */
  get outstanding(): number {
    return this.outstanding_;
  }

  get held(): boolean {
    return this.held_;
  }

  /** True when the initiator, as far as this window tells it, may not send another command. */
  get closed(): boolean {
    return serialDistance(this.exp, this.max) < 0;
  }

  verdict(cmdSN: number): WindowVerdict {
    if (cmdSN === this.exp && !this.closed) return 'next';
    if (serialDistance(this.exp, cmdSN) < 0 || serialDistance(cmdSN, this.max) < 0) return 'outside';
    return 'ahead';
  }

  /** The next command was delivered. */
  accept(): void {
    this.exp = serialAdd(this.exp, 1);
    this.outstanding_ += 1;
  }

  /** A delivered command ended: the initiator may send one more, unless the window is held. */
  ended(): void {
    assert(this.outstanding_ > 0, 'a command ended that was never accepted');
    this.outstanding_ -= 1;
    if (!this.held_) this.grow();
  }

  /** Stops MaxCmdSN from growing. */
  hold(): void {
    this.held_ = true;
  }

  /** Lets MaxCmdSN grow again; true when the window was closed and opens, which the initiator must be told. */
  letGo(): boolean {
    const wasClosed = this.closed;
    this.held_ = false;
    this.grow();
    return wasClosed && !this.closed;
  }

  private grow(): void {
    const candidate = serialAdd(this.exp, this.size - this.outstanding_ - 1);
    if (serialDistance(this.max, candidate) > 0) this.max = candidate;
  }
}
