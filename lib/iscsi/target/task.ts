/**
 * One SCSI command in flight, as a pooled object: the ScsiTask the device server sees, the BlockIo the device sees, and
 * the state of its transfers. It decides nothing: what happens next is its owner's business (transfers.ts).
 *
 *   free → preparing → gathering ─┬→ device ────┬→ ended → free
 *             ⇅     ↘  parked ↗   └→ executing ─┘
 *          dormant
 */
import { NO_BYTES } from '../../base/bytes.js';
import { BlockIo, type IoError } from '../../block/device.js';
import { CDB_BYTES } from '../../scsi/cdb.js';
import { ScsiTask, type TaskPlan } from '../../scsi/task.js';
import type { Sense } from '../../scsi/sense.js';
import { type PooledBuffer, Span } from './buffer-pool.js';

export type TaskPhase =
  | 'free'
  | 'preparing' // the device server looks at the CDB
  | 'parked' // waits for memory or for the socket, before its data goes on
  | 'gathering' // waits for Data-Out
  | 'dormant' // waits for its turn (task-set.ts), with what came of its data unasked
  | 'device' // its I/O is at the device
  | 'executing'; // the device server works on it

/** What becomes of the answer. */
export type TaskFate = 'answer' | 'silence' | 'task-aborted';

/** Told what a task's parts report. `S` is the session that the task belongs to, of which nothing is known here. */
export interface TaskOwner<S = unknown> {
  finished(task: Task<S>, status: number, sense: Sense | null): void;
  ioCompleted(task: Task<S>, error: IoError | null): void;
  /** It was dormant, and is no more. */
  turnCame(task: Task<S>): void;
  /** Whether its session still answers. */
  answers(task: Task<S>): boolean;
}

/** Tasks that end together: told when the last of them has (task management waits so). */
export interface TaskGroup {
  taskEnded(): void;
}

/** A range of write data that was asked for by an R2T and has not all come. */
export interface OutstandingR2t {
  readonly targetTransferTag: number;
  readonly start: number;
  readonly end: number;
}

class TaskIo extends BlockIo {
  constructor(private readonly task: Task) {
    super();
  }
  override get isWanted(): boolean {
    return this.task.isWanted;
  }
  protected override completed(error: IoError | null): void {
    this.task.owner.ioCompleted(this.task, error);
  }
}

export class Task<S = unknown> extends ScsiTask {
  readonly io = new TaskIo(this);
  readonly cdbBytes = Buffer.alloc(CDB_BYTES);
  session: S | null = null;
  phase: TaskPhase = 'free';
  fate: TaskFate = 'answer';
  /** Task management functions that wait for this task. */
  groups: TaskGroup[] = [];

  // ---- from the SCSI Command PDU
  initiatorTaskTag = 0;
  /** Among the tasks of its session, kept by its task table: who was begun later has more. */
  order = 0;
  cmdSN = 0;
  /** TaskAttribute, −1 in no task set; kept by its task set, as isDormant is. */
  attribute = -1;
  /** Its turn has not come: nothing of it is carried out. */
  isDormant = false;
  /** Immediate commands take no place in the window. */
  immediate = false;
  lunHigh = 0;
  lunLow = 0;
  /** Expected Data Transfer Length of a read; that of a write is expectedDataOutBytes. */
  expectedReadBytes = 0;

  plan: TaskPlan = 'finished';

  // ---- what the command turned out to move, for the residual count (RFC 7143 11.4.5)
  actualBytes = 0;

  // ---- data to the initiator
  readonly span = new Span();
  /** Holds a piece of read data that takes several Data-In PDUs; null when one does. */
  readBuffer: PooledBuffer | null = null;
  readBufferBytes = 0;
  readBytes = 0;
  sentBytes = 0;
  pieceBytes = 0;
  dataSN = 0;

  // ---- data from the initiator
  /** Data the task keeps; what the initiator sends beyond is dropped. */
  wantedBytes = 0;
  /** Where the next byte belongs. */
  receivedBytes = 0;
  /** Where the data stands: a view of what was received, or of writeBuffer. */
  writeData: Buffer = NO_BYTES;
  writeBuffer: PooledBuffer | null = null;
  /** Counted against the session's budget of write data. */
  budgetBytes = 0;
  /** Its memory is beyond the budget of all sessions (memory-budget.ts). */
  isOverdrawn = false;
  /** Unsolicited Data-Out PDUs are still to come (the command had F = 0). */
  unsolicited = false;
  /** How far unsolicited data may go. */
  unsolicitedEnd = 0;
  expectedDataSN = 0;
  readonly r2ts: OutstandingR2t[] = [];
  r2tSN = 0;
  /** How far R2Ts were sent. */
  solicitedEnd = 0;
  /** What had come at the last look for what is overdue, −1: it did not wait then; and the looks since that found no more. */
  seenBytes = -1;
  looksInVain = 0;
  /** The command has failed, but its data is still on the way and is waited for. */
  failed = false;
  failedStatus = 0;
  failure: Sense | null = null;

  constructor(readonly owner: TaskOwner<S>) {
    super();
    this.cdb = this.cdbBytes;
  }

  override get isWanted(): boolean {
    return this.fate === 'answer' && this.owner.answers(this);
  }

  override finish(status: number, sense: Sense | null): void {
    this.owner.finished(this, status, sense);
  }

  /** Makes it ready for another command; buffers were given back before. */
  reset(): void {
    this.session = null;
    this.phase = 'free';
    this.attribute = -1;
    this.fate = 'answer';
    if (this.groups.length > 0) this.groups = []; // endTask() goes through those there were
    this.letGo = this.whenEnding = null;
    this.isEnding = this.goesOnForHours = false;
    this.dataOut = NO_BYTES;
    this.dataIn = NO_BYTES;
    this.io.data = NO_BYTES;
    this.expectedReadBytes = this.expectedDataOutBytes = this.actualBytes = 0;
    this.readBytes = this.sentBytes = this.pieceBytes = this.dataSN = 0;
    this.isUnjudged = this.unsolicited = this.failed = this.isOverdrawn = false;
    this.wantedBytes = this.receivedBytes = this.budgetBytes = this.unsolicitedEnd = 0;
    this.writeData = NO_BYTES;
    this.expectedDataSN = this.r2tSN = this.solicitedEnd = this.looksInVain = 0;
    this.seenBytes = -1;
    if (this.r2ts.length > 0) this.r2ts.length = 0;
    this.failure = null;
  }
}
