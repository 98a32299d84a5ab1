/**
 * The public face of the harness: one unit of one target, read and written by promises or, under load, by task objects.
 * It follows redirects, survives logouts and drops, and notes what the target did wrong.
 */
import { EventEmitter } from 'node:events';
import type { Timer } from '../../base/clock.js';
import { BlockferryError, describeError } from '../../base/errors.js';
import type { AsyncMessagePdu } from '../wire/async-message.js';
import { decodeLogoutResponse, encodeLogoutRequest } from '../wire/logout.js';
import type { OperationalParameters } from '../wire/negotiation-rules.js';
import { AsyncEvent, LogoutReason, RESERVED_TAG, TaskManagementFunction } from '../wire/opcodes.js';
import { decodeTaskManagementResponse, encodeTaskManagementRequest } from '../wire/task-management.js';
import * as cdb from './cdb.js';
import { TaskQueue, type InitiatorTask } from './command.js';
import { PromisedTask, expectGood, type CommandResult } from './execute.js';
import { logIn, type LoggedIn } from './login.js';
import { settle, type InitiatorOptions, type Settings } from './options.js';
import { Reconnector, RecoveryRecord, type Recovery } from './recovery.js';
import { Session, type SessionOwner } from './session.js';
import { lunHighOf } from './transmitter.js';
import { formatPortal, parseIscsiUrl, type IscsiUrl } from './url.js';

const LENGTHS = { totalAHSLength: 0, dataSegmentLength: 0 };
/** Unit attentions a new nexus may have to take before it is ready. */
const UNIT_ATTENTIONS_MAX = 8;
const INQUIRY_BYTES = 255;

export interface InitiatorEvents {
  /** A login ended elsewhere than at the portal that was asked: all portals, in order. */
  redirected: [hops: readonly string[]];
  /** A lost session is back, and every command it touched was answered. */
  recovered: [recovery: Recovery];
  asyncMessage: [message: AsyncMessagePdu];
  /** The target broke the protocol without breaking the session. */
  violation: [detail: string];
}

export interface ExecuteOptions {
  dataOut?: Buffer;
  dataInBytes?: number;
}

export class Initiator extends EventEmitter<InitiatorEvents> implements SessionOwner {
  /** What happened so far. */
  readonly recoveries: Recovery[] = [];
  readonly violations: string[] = [];
  /** Logins that were redirected, the first one included. */
  redirects = 0;
  private readonly queue = new TaskQueue();
  private session: Session | null = null;
  private reconnector: Reconnector | null = null;
  private submitted = 0;
  /** Why no command will ever be served again. */
  private failure: BlockferryError | null = null;
  /** What the target announced before the session that is about to be lost. */
  private announced: AsyncMessagePdu | null = null;
  private pingTimer: Timer | null = null;
  private capacity_: cdb.Capacity | null = null;

  private constructor(
    readonly url: IscsiUrl,
    private readonly settings: Settings,
  ) {
    super();
  }

  /**
   * Logs in and waits until the unit is ready. Rejects with USAGE (the URL), NOT_FOUND (no such target), UNAVAILABLE or
   * PROTOCOL.
   */
  static async connect(url: string | IscsiUrl, options: InitiatorOptions = {}): Promise<Initiator> {
    const parsed = typeof url === 'string' ? parseIscsiUrl(url) : url;
    const initiator = new Initiator(parsed, settle(options));
    initiator.begin(await initiator.logIn());
    try {
      await initiator.becomeReady();
      initiator.capacity_ = await initiator.readCapacity();
    } catch (error) {
      await initiator.close();
      throw error;
    }
    return initiator;
  }

  /** As it was at connect(). */
  get capacity(): cdb.Capacity {
    if (this.capacity_ === null) throw new BlockferryError('UNAVAILABLE', 'not connected yet');
    return this.capacity_;
  }

  /** What the present session negotiated; undefined while there is none. */
  get parameters(): OperationalParameters | undefined {
    return this.session?.login.parameters;
  }

  /** The portal that serves now, "host:port"; undefined while there is none. */
  get portal(): string | undefined {
    return this.session === null ? undefined : formatPortal(this.session.login.connection.address);
  }

  /** By the clock that everything here is measured by. */
  nowMs(): number {
    return this.settings.clock.nowMs();
  }

  // --- commands ----------------------------------------------------------------------------------------------------

  /** Reads `blocks` at `lba`, into `into` where it is given. Rejects with IO when the answer is not GOOD. */
  async read(lba: number, blocks: number, into?: Buffer): Promise<Buffer> {
    const task = new PromisedTask();
    cdb.read16(task.cdb, lba, blocks);
    task.dataIn = into ?? Buffer.allocUnsafe(blocks * this.capacity.blockBytes);
    return expectGood('READ(16)', await this.run(task)).dataIn;
  }

  /** Writes whole blocks at `lba`; `data` must not change until it resolves. */
  async write(lba: number, data: Buffer, options: { fua?: boolean } = {}): Promise<void> {
    const task = new PromisedTask();
    cdb.write16(task.cdb, lba, data.length / this.capacity.blockBytes, options.fua === true);
    task.dataOut = data;
    expectGood('WRITE(16)', await this.run(task));
  }

  /** SYNCHRONIZE CACHE; without arguments, of the whole unit. */
  async flush(lba = 0, blocks = 0): Promise<void> {
    const task = new PromisedTask();
    cdb.synchronizeCache16(task.cdb, lba, blocks);
    expectGood('SYNCHRONIZE CACHE(16)', await this.run(task));
  }

  async unmap(ranges: readonly cdb.LbaRange[]): Promise<void> {
    const task = new PromisedTask();
    task.dataOut = cdb.unmapParameters(ranges);
    cdb.unmapCdb(task.cdb, task.dataOut.length);
    expectGood('UNMAP', await this.run(task));
  }

  /** Writes one block many times; `unmap`: the target may unmap instead where that reads the same. */
  async writeSame(
    lba: number,
    blocks: number,
    block: Buffer,
    options: { unmap?: boolean } = {},
  ): Promise<void> {
    const task = new PromisedTask();
    cdb.writeSame16(task.cdb, lba, blocks, options.unmap === true);
    task.dataOut = block;
    expectGood('WRITE SAME(16)', await this.run(task));
  }

  async readCapacity(): Promise<cdb.Capacity> {
    const task = new PromisedTask();
    cdb.readCapacity16(task.cdb, 32);
    task.dataIn = Buffer.alloc(32);
    return cdb.parseCapacity(expectGood('READ CAPACITY(16)', await this.run(task)).dataIn);
  }

  /** Standard data, or a vital product data page. */
  async inquiry(page?: number): Promise<Buffer> {
    const task = new PromisedTask();
    cdb.inquiryCdb(task.cdb, page, INQUIRY_BYTES);
    task.dataIn = Buffer.alloc(INQUIRY_BYTES);
    return expectGood('INQUIRY', await this.run(task)).dataIn;
  }

  async testUnitReady(): Promise<CommandResult> {
    const task = new PromisedTask();
    cdb.testUnitReadyCdb(task.cdb);
    return this.run(task);
  }

  /** Any command; whatever status it ends with is a result, not a rejection. */
  execute(command: Uint8Array, options: ExecuteOptions = {}): Promise<CommandResult> {
    const task = new PromisedTask();
    task.cdb.fill(0);
    task.cdb.set(command);
    if (options.dataOut !== undefined) task.dataOut = options.dataOut;
    if (options.dataInBytes !== undefined) task.dataIn = Buffer.alloc(options.dataInBytes);
    return this.run(task);
  }

  private run(task: PromisedTask): Promise<CommandResult> {
    this.submit(task);
    return task.result;
  }

  /** The way of a load: no promise, no closure. The task is the initiator's until it is completed. */
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
    this.session?.pump();
  }

  /**
   * A task management function (RFC 7143 11.5).
   * @param task the one that ABORT TASK means; if the function ends it unanswered, it completes as TASK ABORTED
   * @returns TaskManagementResponseCode
   */
  taskManagement(code: number, task?: InitiatorTask): Promise<number> {
    const session = this.session;
    if (session === null) return Promise.reject(new BlockferryError('UNAVAILABLE', 'there is no session'));
    const meant = { referencedTaskTag: task?.initiatorTaskTag ?? RESERVED_TAG, refCmdSN: task?.cmdSN ?? 0 };
    const tagMeant = meant.referencedTaskTag;
    const lun = { lunHigh: lunHighOf(this.url.lun), lunLow: 0 };
    return new Promise((resolve) => {
      session.control(
        (into, at, initiatorTaskTag, cmdSN, expStatSN) => {
          const header = {
            immediate: true,
            function: code,
            initiatorTaskTag,
            cmdSN,
            expStatSN,
            expDataSN: 0,
          };
          encodeTaskManagementRequest({ ...LENGTHS, ...lun, ...meant, ...header }, into, at);
        },
        null,
        (bhs) => {
          const { response } = decodeTaskManagementResponse(bhs);
          const one = code === TaskManagementFunction.ABORT_TASK;
          if (response === 0) session.abortTasks((other) => !one || other.initiatorTaskTag === tagMeant);
          resolve(response);
        },
      );
    });
  }

  /** Logs out, if there is a session, and ends everything; commands still waiting fail with CANCELLED. */
  async close(): Promise<void> {
    this.pingTimer?.cancel();
    this.reconnector?.stop();
    const session = this.session;
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
    this.violations.push(detail);
    this.emit('violation', detail);
  }

  /** RFC 7143 11.9.1; events 0 and 255 only inform. */
  asyncMessage(message: AsyncMessagePdu): void {
    this.emit('asyncMessage', message);
    const session = this.session;
    if (session === null) return;
    const { asyncEvent } = message;
    if (asyncEvent === AsyncEvent.LOGOUT_REQUEST || asyncEvent === AsyncEvent.NEGOTIATE) {
      this.announced = message;
      void this.leave(session, message.parameter3);
    } else if (asyncEvent === AsyncEvent.CONNECTION_DROP || asyncEvent === AsyncEvent.SESSION_DROP) {
      this.announced = message;
      // Not inside the delivery of this very PDU.
      setImmediate(() => session.close('the target drops the session'));
    }
  }

  sessionLost(reason: string, unanswered: InitiatorTask[]): void {
    this.pingTimer?.cancel();
    this.session = null;
    this.queue.unshiftAll(unanswered);
    const { announced } = this;
    this.announced = null;
    if (this.failure !== null) return this.failWaiting(this.failure);
    if (this.settings.recoveryDeadlineMs === 0) {
      return this.giveUp(new BlockferryError('UNAVAILABLE', `the session was lost: ${reason}`));
    }
    void this.recover(reason, announced, unanswered.length);
  }

  // --- leaving and coming back -----------------------------------------------------------------------------------------

  /** Answers a request to log out: with what is outstanding left unanswered, or once it is answered. */
  private async leave(session: Session, seconds: number): Promise<void> {
    session.hold();
    const { clock, onLogoutRequest, loginDeadlineMs } = this.settings;
    const deadlineMs = clock.nowMs() + seconds * 500;
    while (onLogoutRequest === 'drain' && session.outstandingTasks > 0 && clock.nowMs() < deadlineMs) {
      await new Promise<void>((resolve) => clock.after(1, resolve));
    }
    await this.logOut(session, loginDeadlineMs);
    session.close('logged out as the target asked');
  }

  /** Resolves at the Logout Response, at the deadline, or when the session ends. */
  private logOut(session: Session, deadlineMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.settings.clock.after(deadlineMs, resolve);
      session.onLost = () => {
        timer.cancel();
        resolve();
      };
      session.control(
        (into, at, initiatorTaskTag, cmdSN, expStatSN) => {
          const header = { immediate: true, reason: LogoutReason.CLOSE_SESSION, cid: 0 };
          encodeLogoutRequest({ ...LENGTHS, ...header, initiatorTaskTag, cmdSN, expStatSN }, into, at);
        },
        null,
        (bhs) => {
          const { response } = decodeLogoutResponse(bhs);
          if (response !== 0) this.violation(`logout was answered ${response}`);
          timer.cancel();
          resolve();
        },
      );
    });
  }

  private logIn(): Promise<LoggedIn> {
    return logIn(this.url, this.url.iqn, this.settings);
  }

  private begin(login: LoggedIn): void {
    if (login.hops.length > 1) {
      this.redirects += 1;
      this.emit('redirected', login.hops.map(formatPortal));
    }
    const session = new Session(login, this.url.lun, this.queue, this);
    this.session = session;
    session.start();
    if (this.settings.pingMs > 0) this.watchSilence(session);
  }

  private async recover(reason: string, announced: AsyncMessagePdu | null, resent: number): Promise<void> {
    const { clock, recoveryDeadlineMs } = this.settings;
    const startMs = clock.nowMs();
    const record = new RecoveryRecord(reason, announced?.asyncEvent ?? null, clock.wallMs(), (recovery) => {
      this.recoveries.push(recovery);
      this.emit('recovered', recovery);
    });
    record.resent = resent;
    const reconnector = new Reconnector(clock, () => this.logIn());
    this.reconnector = reconnector;
    // Events 2 and 3 say in Parameter2 how many seconds to stay away.
    const waitMs = (announced?.parameter2 ?? 0) * 1000;
    try {
      const login = await reconnector.run(waitMs, recoveryDeadlineMs, () => (record.attempts += 1));
      if (login === null) return;
      for (const task of this.queue) record.watch(task);
      this.begin(login);
      record.login(clock.nowMs() - startMs, login);
    } catch (error) {
      this.giveUp(
        error instanceof BlockferryError ? error : new BlockferryError('INTERNAL', describeError(error)),
      );
    }
  }

  private giveUp(failure: BlockferryError): void {
    this.failure = failure;
    this.failWaiting(failure);
  }

  private failWaiting(failure: BlockferryError): void {
    for (let task = this.queue.shift(); task !== null; task = this.queue.shift()) task.completed(failure);
  }

  /** A target that hangs keeps its connection: only silence shows it. */
  private watchSilence(session: Session): void {
    const { clock, pingMs } = this.settings;
    this.pingTimer = clock.after(pingMs, () => {
      if (session !== this.session) return;
      const silentMs = clock.nowMs() - session.lastReceivedMs;
      if (silentMs >= 2 * pingMs) return session.close(`nothing was heard for ${Math.round(silentMs)} ms`);
      if (silentMs >= pingMs / 2) session.ping();
      this.watchSilence(session);
    });
  }

  private async becomeReady(): Promise<void> {
    for (let tries = 0; ; tries++) {
      const result = await this.testUnitReady();
      const isAttention = cdb.parseSense(result.sense)?.key === 0x6;
      if (result.status === 0) return;
      if (!isAttention || tries === UNIT_ATTENTIONS_MAX) expectGood('TEST UNIT READY', result);
    }
  }
}
