/**
 * One session, and the owner of its state: numbering, tasks, budgets, and how far it has come to its end. Handlers and
 * transfers act on it; it moves no data itself. With MaxConnections 1 it has exactly one connection, its link.
 *
 *   active → told → leaving → closing → gone
 *      told     an Asynchronous Message asked the initiator to leave; it is served as before
 *      leaving  a Logout came: no new commands, those in flight are finished and answered
 *      closing  nothing is accepted or answered any more; I/O at the device runs to its end (I8)
 *      gone     nothing of it can reach the device
 */
import { assert, invariant } from '../../base/assert.js';
import { COMMAND_WINDOW } from '../../base/limits.js';
import { serialAdd } from '../../base/serial.js';
import type { BlockDevice } from '../../block/device.js';
import type { ScsiNexus } from '../../scsi/task.js';
import type { DataInPdu } from '../wire/data-in.js';
import type { OperationalParameters } from '../wire/negotiation.js';
import type { BufferPool, PooledBuffer } from './buffer-pool.js';
import type { LoginIdentity, ServedTarget } from './directory.js';
import type { PduWriter } from './pdu-writer.js';
import type { SessionMemory } from './session-memory.js';
import { blankDataIn, type EarlyPdu, type SessionLink, type TextExchange } from './session-parts.js';
import { Task, type TaskOwner } from './task.js';
import { TaskSet } from './task-set.js';
import { TaskTable } from './task-table.js';
import { CommandWindow } from './window.js';

export type SessionState = 'active' | 'told' | 'leaving' | 'closing' | 'gone';

export interface SessionOptions {
  readonly identity: LoginIdentity;
  readonly tsih: number;
  /** Null for a discovery session. */
  readonly target: ServedTarget | null;
  readonly parameters: OperationalParameters;
  readonly link: SessionLink;
  readonly pool: BufferPool;
  readonly memory: SessionMemory;
  readonly taskOwner: TaskOwner<Session>;
  /** See ScsiNexus. */
  readonly abortTasks: (session: Session, done: () => void) => void;
  /** CmdSN of the login, and the next StatSN. */
  readonly cmdSN: number;
  readonly statSN: number;
  /** Clock.wallMs at the end of the login. */
  readonly wallMs: number;
}

export class Session {
  readonly identity: LoginIdentity;
  readonly tsih: number;
  readonly target: ServedTarget | null;
  readonly parameters: OperationalParameters;
  readonly link: SessionLink;
  readonly writer: PduWriter;
  readonly pool: BufferPool;
  readonly memory: SessionMemory;
  readonly nexus: ScsiNexus;
  /** Where its tasks move their data; null in a discovery session. */
  device: BlockDevice | null = null;
  readonly taskSet = new TaskSet();
  readonly window: CommandWindow;
  readonly tasks = new TaskTable();
  /** By CmdSN; null: a command that was aborted before it came (RFC 7143 11.6.1). */
  readonly early = new Map<number, EarlyPdu | null>();
  /** ExpCmdSN at the last look for what is overdue, −1: nothing was waited for; and the looks since that found no other. */
  seenCmdSN = -1;
  looksInVain = 0;
  readonly sinceMs: number;

  commands = 0;
  bytesRead = 0;
  bytesWritten = 0;

  /** Tasks whose write data waits for memory, oldest first. */
  readonly parked: Task[] = [];
  /** Tasks whose next piece of read data waits for the socket. */
  readonly stalled: Task[] = [];
  /** They are being gone through: what ends at once in the course of it begins nothing anew. */
  isGoingOn = false;
  /** Tasks in phase 'gathering'. */
  gathering = 0;
  /** Tasks in phase 'device' or 'executing'. */
  busy = 0;
  immediateTasks = 0;
  /** Task management functions that are not answered. */
  functions = 0;
  /** Whether the framer puts the data of the PDU under way where it belongs (handlers/data-out.ts). */
  dataPlaced = false;
  /** Immediate data of the PDU under way, when it is gathered in a buffer of ours. */
  immediateBuffer: PooledBuffer | null = null;
  /** Filled and encoded for every Data-In PDU, so that none needs an object of its own. */
  readonly dataIn: DataInPdu = blankDataIn();
  /** A text exchange under way (handlers/text.ts). */
  text: TextExchange | null = null;

  /** Its initiator has sent a NOP-Out: it would answer a ping. */
  sendsNops = false;
  /** An Asynchronous Message asked it to leave, whatever came after. */
  wasTold = false;
  private state_: SessionState = 'active';
  private statSN_: number;
  private lastTransferTag = 0;
  private paused = false;
  private readonly free: Task[] = [];
  private readonly taskOwner: TaskOwner<Session>;
  private readonly onIdle: (() => void)[] = [];
  private readonly onGone: (() => void)[] = [];

  constructor(options: SessionOptions) {
    const { initiatorName, isid } = options.identity;
    this.identity = options.identity;
    this.tsih = options.tsih;
    this.target = options.target;
    this.parameters = options.parameters;
    this.link = options.link;
    this.writer = options.link.writer;
    this.pool = options.pool;
    this.memory = options.memory;
    this.taskOwner = options.taskOwner;
    this.nexus = {
      initiatorName,
      initiatorPortName: `${initiatorName},i,0x${isid}`,
      abortTasks: (done) => options.abortTasks(this, done),
    };
    this.window = new CommandWindow(options.cmdSN);
    this.statSN_ = options.statSN;
    this.sinceMs = options.wallMs;
  }

  get state(): SessionState {
    return this.state_;
  }

  /** New commands are taken up. */
  get accepting(): boolean {
    return this.state_ === 'active' || this.state_ === 'told';
  }

  /** Answers still go out. */
  get answering(): boolean {
    return this.state_ !== 'closing' && this.state_ !== 'gone';
  }

  // ---- numbering

  /** The next StatSN, not consumed: R2T, and NOP-In that starts an exchange (RFC 7143 11.8.3, 11.19.2). */
  get nextStatSN(): number {
    return this.statSN_;
  }

  /** Consumes a StatSN. */
  takeStatSN(): number {
    const statSN = this.statSN_;
    this.statSN_ = serialAdd(statSN, 1);
    return statSN;
  }

  /** Unique as long as any PDU could still carry an older one; never the reserved tag. */
  takeTransferTag(): number {
    this.lastTransferTag = (this.lastTransferTag + 1) % 0xffffffff;
    return this.lastTransferTag;
  }

  // ---- tasks

  /** A free task, entered under `initiatorTaskTag`. */
  beginTask(initiatorTaskTag: number): Task {
    const task = this.free.pop() ?? new Task<Session>(this.taskOwner);
    assert(task.phase === 'free', 'a task in use came from the free list');
    task.session = this;
    task.nexus = this.nexus;
    task.initiatorTaskTag = initiatorTaskTag;
    task.phase = 'preparing';
    this.tasks.add(task);
    return task;
  }

  /** Moves a task to its next phase and keeps count. */
  setPhase(task: Task, phase: Task['phase']): void {
    this.countPhase(task.phase, -1);
    this.countPhase(phase, 1);
    task.phase = phase;
  }

  private countPhase(phase: Task['phase'], by: number): void {
    if (phase === 'device' || phase === 'executing') this.busy += by;
    else if (phase === 'gathering') this.gathering += by;
  }

  /** Its command is over for the initiator: its place in the window is free. Called before the answer is encoded. */
  leaveWindow(task: Task): void {
    if (task.immediate) this.immediateTasks -= 1;
    else this.window.ended();
  }

  /** The last of a task: buffers go back, whoever waited for it is told. */
  endTask(task: Task): void {
    const { groups } = task;
    this.taskSet.left(task);
    this.setPhase(task, 'free');
    this.tasks.remove(task);
    if (task.budgetBytes > 0) this.memory.writeBytes -= task.budgetBytes;
    if (task.isOverdrawn) this.memory.overdraftEnded();
    if (task.span.buffer !== null) this.writer.output.release(task.span);
    if (task.readBuffer !== null) this.dropReadBuffer(task);
    if (task.writeBuffer !== null) {
      task.writeBuffer.letGo();
      task.writeBuffer = null;
    }
    task.reset();
    if (this.free.length < COMMAND_WINDOW) this.free.push(task);
    for (const group of groups) group.taskEnded();
    if (this.tasks.size === 0 && (this.onIdle.length > 0 || !this.answering)) this.idle();
    if (this.taskSet.hasDormant) this.taskSet.enableNext();
  }

  /**
   * What has been read reaches the kernel: data that is sent from the page cache itself (data-in.ts) is until then what the
   * cache has, and would show a write that begins now.
   */
  settleReads(): void {
    this.writer.output.flush();
  }

  // ---- pressure (I11): memory is bounded by not reading and by not letting the window grow

  /** A buffer for a piece of read data that takes several PDUs. */
  takeReadBuffer(task: Task, lengthBytes: number): Buffer {
    const buffer = this.pool.take(lengthBytes);
    buffer.hold();
    task.readBuffer = buffer;
    task.readBufferBytes = lengthBytes;
    this.memory.pieceBytes += lengthBytes;
    return buffer.bytes.subarray(0, lengthBytes);
  }

  dropReadBuffer(task: Task): void {
    task.readBuffer?.letGo();
    task.readBuffer = null;
    this.memory.pieceBytes -= task.readBufferBytes;
    task.readBufferBytes = 0;
  }

  /**
   * Pauses reading, holds the window, or takes either back, as the budgets say. With Data-Out on the way reading goes
   * on although the write budget is spent: only that data frees it; and with commands that wait for their turn, which may
   * be a long time: what the initiator says meanwhile is heard.
   * @returns true when the window opened, which an initiator with nothing outstanding has to be told
   */
  balance(): boolean {
    const { writeFull, sendQueueFull } = this.memory;
    const waitsForDevice = this.gathering === 0 && this.busy > 0 && !this.taskSet.hasDormant;
    const pause = sendQueueFull || (writeFull && waitsForDevice);
    if (pause !== this.paused) {
      this.paused = pause;
      this.link.setPaused(pause);
    }
    const hold = pause || writeFull || this.parked.length > 0;
    if (hold === this.window.held) return false;
    if (!hold) return this.window.letGo();
    this.window.hold();
    return false;
  }

  /** Data that was announced, or asked for or will be, is still to come. */
  get waitsForData(): boolean {
    return this.gathering > 0 || this.parked.length > 0;
  }

  /** Nothing of its initiator is read, which can do nothing about it. */
  get isUnheard(): boolean {
    return this.paused && !this.memory.sendQueueFull;
  }

  /** Only room in the socket's queue lets it go on. */
  get waitsForSocket(): boolean {
    return this.answering && (this.stalled.length > 0 || this.paused);
  }

  // ---- the end

  markTold(): void {
    this.wasTold = true;
    if (this.state_ === 'active') this.state_ = 'told';
  }

  markLeaving(): void {
    if (this.accepting) this.state_ = 'leaving';
  }

  /** From here on nothing is accepted or answered. */
  close(): void {
    if (!this.answering) return;
    this.state_ = 'closing';
    this.dropWaiting();
    for (const task of this.tasks.inOrder()) task.markEnding();
    this.letGo(() => true);
    if (this.tasks.size === 0) this.idle();
  }

  /**
   * After an error on the way of a command: what nobody works on would keep the session from ever being gone. What was
   * given to the device or the device server stays: nobody knows whether it can still reach the medium (I8).
   */
  dropUnbegun(): void {
    for (const task of this.tasks.inOrder()) if (task.phase === 'preparing') this.endTask(task);
  }

  /** Ends, unanswered, what goes on for hours without its initiator. */
  letGoOfHours(): void {
    this.letGo(({ goesOnForHours }) => goesOnForHours);
  }

  private letGo(which: (task: Task) => boolean): void {
    for (const task of this.tasks.inOrder()) {
      if (task.letGo === null || !which(task)) continue;
      task.letGo();
      this.endTask(task);
    }
  }

  /**
   * Gives up the commands whose data is still to come, unanswered, and reads nothing any more. Those that wait for their
   * turn as well: were they done, an elder that is sent again would come after them.
   */
  dropWaiting(): void {
    this.link.stopReading();
    this.early.clear();
    this.memory.earlyBytes = 0;
    this.memory.leaveLine();
    this.stalled.length = 0;
    this.parked.length = 0;
    this.taskSet.together(() => {
      for (const task of this.tasks.inOrder()) {
        const { phase } = task;
        if (phase === 'gathering' || phase === 'parked' || phase === 'dormant') this.endTask(task);
      }
    });
    this.memory.settle();
  }

  /** Calls back once no command is in flight: at once if that is so. */
  whenIdle(callback: () => void): void {
    if (this.tasks.size === 0) callback();
    else this.onIdle.push(callback);
  }

  /** Calls back once nothing of this session can reach the device any more. */
  whenGone(callback: () => void): void {
    if (this.state_ === 'gone') callback();
    else this.onGone.push(callback);
  }

  private idle(): void {
    for (const callback of this.onIdle.splice(0)) callback();
    if (this.state_ !== 'closing') return;
    invariant(
      'I8',
      this.tasks.size === 0 && this.busy === 0,
      'a session went while its I/O was at the device',
    );
    this.state_ = 'gone';
    this.memory.end();
    for (const callback of this.onGone.splice(0)) callback();
  }
}
