/**
 * The public face of the harness: one unit of one target, read and written by promises or, under load, by task objects.
 * What happens to the session meanwhile (redirects, logouts, drops) is the keeper's; here it is counted and told.
 */
import { EventEmitter } from 'node:events';
import { BlockferryError } from '../../base/errors.js';
import { INITIATOR_VIOLATIONS_MAX } from '../../base/limits.js';
import type { AsyncMessagePdu } from '../wire/async-message.js';
import type { OperationalParameters } from '../wire/negotiation-rules.js';
import { RESERVED_TAG, TaskManagementFunction } from '../wire/opcodes.js';
import { decodeTaskManagementResponse, encodeTaskManagementRequest } from '../wire/task-management.js';
import * as cdb from './cdb.js';
import type { InitiatorTask } from './command.js';
import { PromisedTask, expectGood, type CommandResult } from './execute.js';
import { SessionKeeper } from './keeper.js';
import { settle, type InitiatorOptions, type Settings } from './options.js';
import type { Recovery } from './recovery.js';
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

export class Initiator extends EventEmitter<InitiatorEvents> {
  /** What happened so far. */
  readonly recoveries: Recovery[] = [];
  /** The first of them; all are emitted. */
  readonly violations: string[] = [];
  /** Logins that were redirected, the first one included. */
  redirects = 0;
  private readonly keeper: SessionKeeper;
  private capacity_: cdb.Capacity | null = null;

  private constructor(
    readonly url: IscsiUrl,
    private readonly settings: Settings,
  ) {
    super();
    this.keeper = new SessionKeeper(url, settings, {
      redirected: (hops) => {
        this.redirects += 1;
        this.emit('redirected', hops);
      },
      recovered: (recovery) => {
        this.recoveries.push(recovery);
        this.emit('recovered', recovery);
      },
      asyncMessage: (message) => void this.emit('asyncMessage', message),
      violation: (detail) => {
        if (this.violations.length < INITIATOR_VIOLATIONS_MAX) this.violations.push(detail);
        this.emit('violation', detail);
      },
    });
  }

  /**
   * Logs in and waits until the unit is ready. Rejects with USAGE (the URL), NOT_FOUND (no such target), UNAVAILABLE or
   * PROTOCOL.
   */
  static async connect(url: string | IscsiUrl, options: InitiatorOptions = {}): Promise<Initiator> {
    const parsed = typeof url === 'string' ? parseIscsiUrl(url) : url;
    const initiator = new Initiator(parsed, settle(options));
    await initiator.keeper.open();
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
    return this.keeper.session?.login.parameters;
  }

  /** The portal that serves now, "host:port"; undefined while there is none. */
  get portal(): string | undefined {
    const { session } = this.keeper;
    return session === null ? undefined : formatPortal(session.login.connection.address);
  }

  /** Commands of the present session that were sent and are not answered. */
  get unanswered(): readonly InitiatorTask[] {
    return this.keeper.session?.unanswered ?? [];
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

  /** SYNCHRONIZE CACHE; without arguments, of the whole unit. Unit attentions that come first are taken. */
  async flush(lba = 0, blocks = 0): Promise<void> {
    for (let tries = 0; ; tries++) {
      const task = new PromisedTask();
      cdb.synchronizeCache16(task.cdb, lba, blocks);
      const result = await this.run(task);
      if (cdb.isUnitAttention(result.sense) && tries < UNIT_ATTENTIONS_MAX) continue;
      return void expectGood('SYNCHRONIZE CACHE(16)', result);
    }
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
    this.keeper.submit(task);
  }

  /**
   * A task management function (RFC 7143 11.5).
   * @param task the one that ABORT TASK means; if the function ends it unanswered, it completes as TASK ABORTED
   * @returns TaskManagementResponseCode
   */
  taskManagement(code: number, task?: InitiatorTask): Promise<number> {
    const { session } = this.keeper;
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
  close(): Promise<void> {
    return this.keeper.close();
  }

  private async becomeReady(): Promise<void> {
    for (let tries = 0; ; tries++) {
      const result = await this.testUnitReady();
      if (result.status === 0) return;
      // LOGICAL UNIT NOT SUPPORTED (SPC-4 4.5.2): the number at the end of the URL is wrong.
      if (cdb.parseSense(result.sense)?.asc === 0x25)
        throw new BlockferryError('NOT_FOUND', 'the target has no such LUN', 'use LUN 0');
      const isOver = !cdb.isUnitAttention(result.sense) || tries === UNIT_ATTENTIONS_MAX;
      if (isOver) expectGood('TEST UNIT READY', result);
    }
  }
}
