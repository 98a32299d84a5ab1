/**
 * Keeps one session going for an initiator: the queue of its commands, the silence of its target, requests to leave, and
 * the way back after a loss. What the commands are, and who waits for them, is not its affair.
 *
 *   begin ──▶ serving ── event 1 ── logout ──┐
 *               │  └──── event 2, 3, drop, silence ──▶ lost ── recover ──▶ serving, unanswered commands first
 *               └── close ──▶ ended                      └── deadline, refusal ──▶ given up: every command fails
 */
import type { Timer } from '../../base/clock.js';
import { BlockferryError, describeError } from '../../base/errors.js';
import type { AsyncMessagePdu } from '../wire/async-message.js';
import { decodeLogoutResponse, encodeLogoutRequest } from '../wire/logout.js';
import { AsyncEvent, LogoutReason } from '../wire/opcodes.js';
import { TaskQueue, type InitiatorTask } from './command.js';
import { logIn, type LoggedIn } from './login.js';
import type { Settings } from './options.js';
import { Reconnector, RecoveryRecord, type Recovery } from './recovery.js';
import { Session, type SessionOwner } from './session.js';
import { formatPortal, type IscsiUrl } from './url.js';

const DRAIN_POLL_MS = 1;

/** Who is told what happens to the session. */
export interface KeeperEvents {
  redirected(hops: readonly string[]): void;
  recovered(recovery: Recovery): void;
  asyncMessage(message: AsyncMessagePdu): void;
  violation(detail: string): void;
}

export class SessionKeeper implements SessionOwner {
  private readonly queue = new TaskQueue();
  private session_: Session | null = null;
  private reconnector: Reconnector | null = null;
  private submitted = 0;
  /** Why no command will ever be served again. */
  private failure: BlockferryError | null = null;
  /** What the target announced before the session that is about to be lost. */
  private announced: AsyncMessagePdu | null = null;
  private pingTimer: Timer | null = null;

  constructor(
    private readonly url: IscsiUrl,
    private readonly settings: Settings,
    private readonly events: KeeperEvents,
  ) {}

  /** The present session, or null while there is none. */
  get session(): Session | null {
    return this.session_;
  }

  /** The first login; it is not tried again. */
  async open(): Promise<void> {
    this.begin(await this.logIn());
  }

  submit(task: InitiatorTask): void {
    task.submittedAtMs = this.settings.clock.nowMs();
    task.order = ++this.submitted;
    task.recovery = null;
    if (this.failure !== null) {
      const failure = this.failure;
      process.nextTick(() => task.completed(failure));
      return;
    }
    this.queue.push(task);
    this.session_?.pump();
  }

  /** Logs out, if there is a session; commands that wait fail with CANCELLED. */
  async close(): Promise<void> {
    this.pingTimer?.cancel();
    this.reconnector?.stop();
    const session = this.session_;
    this.failure ??= new BlockferryError('CANCELLED', 'the initiator was closed');
    if (session === null) return this.failWaiting(this.failure);
    session.hold();
    await this.logOut(session, this.settings.loginDeadlineMs);
    session.close('logged out');
  }

  // --- the session's events ------------------------------------------------------------------------------------------

  taskAnswered(task: InitiatorTask): void {
    const { recovery } = task;
    if (recovery !== null) {
      task.recovery = null;
      recovery.answered(this.settings.clock.nowMs() - task.submittedAtMs);
    }
    task.completed(null);
  }

  violation(detail: string): void {
    this.events.violation(detail);
  }

  /** RFC 7143 11.9.1; events 0 and 255 only inform. */
  asyncMessage(message: AsyncMessagePdu): void {
    this.events.asyncMessage(message);
    const session = this.session_;
    if (session === null) return;
    const { asyncEvent } = message;
    if (asyncEvent === AsyncEvent.LOGOUT_REQUEST || asyncEvent === AsyncEvent.NEGOTIATE) {
      const { onLogoutRequest } = this.settings;
      if (this.announced !== null || onLogoutRequest === 'ignore') return;
      this.announced = message;
      if (onLogoutRequest === 'hang-up') setImmediate(() => session.close('hung up instead of logging out'));
      else void this.leave(session, message.parameter3);
    } else if (asyncEvent === AsyncEvent.CONNECTION_DROP || asyncEvent === AsyncEvent.SESSION_DROP) {
      this.announced = message;
      // Not inside the delivery of this very PDU.
      setImmediate(() => session.close('the target drops the session'));
    }
  }

  sessionLost(reason: string, unanswered: InitiatorTask[]): void {
    this.pingTimer?.cancel();
    this.session_ = null;
    this.queue.unshiftAll(unanswered);
    const { announced } = this;
    this.announced = null;
    if (this.failure !== null) return this.failWaiting(this.failure);
    if (this.settings.recoveryDeadlineMs === 0) {
      return this.giveUp(new BlockferryError('UNAVAILABLE', `the session was lost: ${reason}`));
    }
    void this.recover(reason, announced, unanswered.length);
  }

  // --- leaving -------------------------------------------------------------------------------------------------------

  /** Answers a request to log out: with what is outstanding left unanswered, or once it is answered. */
  private async leave(session: Session, seconds: number): Promise<void> {
    const { clock, onLogoutRequest, loginDeadlineMs } = this.settings;
    if (onLogoutRequest !== 'write-on') session.hold();
    // Half of what the target gives: the logout itself must still be in time.
    const deadlineMs = clock.nowMs() + seconds * 500;
    while (onLogoutRequest === 'drain' && session.outstandingTasks > 0 && clock.nowMs() < deadlineMs) {
      await new Promise<void>((resolve) => clock.after(DRAIN_POLL_MS, resolve));
    }
    await this.logOut(session, loginDeadlineMs);
    session.close('logged out as the target asked');
  }

  /** Resolves at the Logout Response, at the deadline, or when the session ends. */
  private logOut(session: Session, deadlineMs: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        timer.cancel();
        resolve();
      };
      const timer = this.settings.clock.after(deadlineMs, resolve);
      session.onLost = finish;
      session.control(
        (into, at, initiatorTaskTag, cmdSN, expStatSN) => {
          const lengths = { totalAHSLength: 0, dataSegmentLength: 0 };
          const header = { immediate: true, reason: LogoutReason.CLOSE_SESSION, cid: 0 };
          encodeLogoutRequest({ ...lengths, ...header, initiatorTaskTag, cmdSN, expStatSN }, into, at);
        },
        null,
        (bhs) => {
          const { response } = decodeLogoutResponse(bhs);
          if (response !== 0) this.violation(`the logout was answered ${response}`);
          finish();
        },
      );
    });
  }

  // --- coming back -----------------------------------------------------------------------------------------------------

  private logIn(): Promise<LoggedIn> {
    return logIn(this.url, this.url.iqn, this.settings);
  }

  private begin(login: LoggedIn): void {
    if (login.hops.length > 1) this.events.redirected(login.hops.map(formatPortal));
    const session = new Session(login, this.url.lun, this.queue, this);
    this.session_ = session;
    session.start();
    if (this.settings.pingMs > 0) this.watchSilence(session);
  }

  private async recover(reason: string, announced: AsyncMessagePdu | null, resent: number): Promise<void> {
    const { clock, recoveryDeadlineMs } = this.settings;
    const startMs = clock.nowMs();
    const event = announced?.asyncEvent ?? null;
    const record = new RecoveryRecord(reason, event, clock.wallMs(), (recovery) =>
      this.events.recovered(recovery),
    );
    record.resent = resent;
    const reconnector = new Reconnector(clock, () => this.logIn());
    this.reconnector = reconnector;
    // Events 2 and 3 say in Parameter2 how many seconds to stay away; event 1 leaves it reserved.
    const waitMs = event === AsyncEvent.LOGOUT_REQUEST ? 0 : (announced?.parameter2 ?? 0) * 1000;
    try {
      const login = await reconnector.run(waitMs, recoveryDeadlineMs, () => (record.attempts += 1));
      if (login === null) return;
      for (const task of this.queue) record.watch(task);
      this.begin(login);
      record.login(clock.nowMs() - startMs, login);
    } catch (error) {
      const isOurs = error instanceof BlockferryError;
      this.giveUp(isOurs ? error : new BlockferryError('INTERNAL', describeError(error)));
    }
  }

  private giveUp(failure: BlockferryError): void {
    this.failure ??= failure;
    this.failWaiting(failure);
  }

  private failWaiting(failure: BlockferryError): void {
    for (let task = this.queue.shift(); task !== null; task = this.queue.shift()) task.completed(failure);
  }

  /** A target that hangs keeps its connection: only silence shows it. */
  private watchSilence(session: Session): void {
    const { clock, pingMs } = this.settings;
    this.pingTimer = clock.after(pingMs, () => {
      if (session !== this.session_) return;
      const silentMs = clock.nowMs() - session.lastReceivedMs;
      if (silentMs >= 2 * pingMs) return session.close(`nothing was heard for ${Math.round(silentMs)} ms`);
      if (silentMs >= pingMs / 2) session.ping();
      this.watchSilence(session);
    });
  }
}
