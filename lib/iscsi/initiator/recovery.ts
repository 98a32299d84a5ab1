/**
 * Keeps a session alive across logouts, drops and crashes of the target: reconnects to the portal first known, as real
 * initiators do, logs in anew with a new ISID, and sends every unanswered command again. It measures how long commands
 * had to wait for that. What the commands are is not its affair.
 */
import type { Clock, Timer } from '../../base/clock.js';
import { BlockferryError, describeError } from '../../base/errors.js';
import { INITIATOR_BACKOFF_MS_MAX, INITIATOR_BACKOFF_MS_MIN } from '../../base/limits.js';
import { formatPortal } from './url.js';
import { LoginRefused, type LoggedIn } from './login.js';
import type { InitiatorTask, RecoveryWatch } from './command.js';

/** One loss of the session, as it went. */
export interface Recovery {
  /** Why the session ended. */
  readonly reason: string;
  /** What the target had announced, if anything: AsyncEvent 1, 2 or 3. */
  readonly announced: number | null;
  /** Wall-clock date of the loss. */
  readonly atMs: number;
  /** From the loss to the end of the new login. */
  readonly downMs: number;
  readonly attempts: number;
  /** Portals of the login that succeeded, in order: more than one when redirected. */
  readonly hops: readonly string[];
  /** Commands sent again. */
  readonly resent: number;
  /** The longest that any command it touched took from its submission to its answer. */
  readonly stallMsMax: number;
}

/** A recovery under way: counts the commands it touched until the last one is answered. */
export class RecoveryRecord implements Recovery, RecoveryWatch {
  downMs = 0;
  attempts = 0;
  hops: readonly string[] = [];
  resent = 0;
  stallMsMax = 0;
  private pending = 0;
  private loggedIn = false;

  constructor(
    readonly reason: string,
    readonly announced: number | null,
    readonly atMs: number,
    private readonly finished: (recovery: Recovery) => void,
  ) {}

  watch(task: InitiatorTask): void {
    // A second loss before the answer: the command is the later recovery's.
    task.recovery?.answered(0);
    task.recovery = this;
    this.pending += 1;
  }

  answered(stallMs: number): void {
    this.stallMsMax = Math.max(this.stallMsMax, stallMs);
    this.pending -= 1;
    this.finishIfDone();
  }

  login(downMs: number, login: LoggedIn): void {
    this.downMs = downMs;
    this.hops = login.hops.map(formatPortal);
    this.loggedIn = true;
    this.finishIfDone();
  }

  private finishIfDone(): void {
    if (this.loggedIn && this.pending === 0) this.finished(this);
  }
}

/** Tries again and again, the first time at once, then with pauses that double, until `deadlineMs` have passed. */
export class Reconnector {
  private timer: Timer | null = null;
  private stopped = false;

  constructor(
    private readonly clock: Clock,
    private readonly attempt: () => Promise<LoggedIn>,
  ) {}

  /**
   * @param waitMs before the first attempt: what the target asked for
   * @returns the login, or null when stopped meanwhile
   * Rejects with UNAVAILABLE at the deadline, or at once when the target's refusal is lasting.
   */
  async run(waitMs: number, deadlineMs: number, attempted: () => void): Promise<LoggedIn | null> {
    const startMs = this.clock.nowMs();
    let pauseMs = INITIATOR_BACKOFF_MS_MIN;
    if (waitMs > 0) await this.sleep(waitMs);
    while (!this.stopped) {
      attempted();
      try {
        const login = await this.attempt();
        if (!this.stopped) return login;
        login.connection.close('no longer wanted');
      } catch (error) {
        const lasting = error instanceof LoginRefused && error.isLasting;
        const spentMs = this.clock.nowMs() - startMs;
        if (lasting || isLoop(error)) throw error;
        if (spentMs + pauseMs >= deadlineMs) {
          const text = `no session again within ${Math.round(deadlineMs)} ms: ${describeError(error)}`;
          throw new BlockferryError('UNAVAILABLE', text, undefined, { cause: error });
        }
      }
      if (this.stopped) break;
      await this.sleep(pauseMs);
      pauseMs = Math.min(pauseMs * 2, INITIATOR_BACKOFF_MS_MAX);
    }
    return null;
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
    this.wake?.();
  }

  private wake: (() => void) | null = null;

  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
      this.timer = this.clock.after(ms, resolve);
    });
  }
}

function isLoop(error: unknown): boolean {
  return error instanceof BlockferryError && error.code === 'PROTOCOL';
}
