/**
 * One SCSI command of the initiator: owned by whoever submits it, reusable after completion. Objects instead of promises,
 * since a test load goes this way; promises are made of them in initiator.ts.
 */
import { NO_BYTES } from '../../base/bytes.js';
import type { BlockferryError } from '../../base/errors.js';
import { BHS_BYTES } from '../wire/bhs.js';
import { scsiCommandField } from '../wire/scsi.js';

/** A time during which a session was lost; the commands it touched belong to it until they are answered. */
export interface RecoveryWatch {
  /** One of its commands was answered, `stallMs` after it was submitted. */
  answered(stallMs: number): void;
}

export abstract class InitiatorTask {
  /** The header of its SCSI Command PDU; the session fills in all but the CDB. */
  readonly bhs = Buffer.alloc(BHS_BYTES);
  /** A view of the header: write the command here, all sixteen bytes. */
  readonly cdb = this.bhs.subarray(scsiCommandField.cdb);
  /** Sent; must not change until completion. */
  dataOut: Buffer = NO_BYTES;
  /** Filled in place; its length is the Expected Data Transfer Length of a read. */
  dataIn: Buffer = NO_BYTES;

  // ---- set at completion
  status = 0;
  /** Sense data as it came, empty if none. */
  sense: Buffer = NO_BYTES;
  /** Positive: underflow, so many bytes of the expected were not moved. Negative: overflow. */
  residual = 0;

  // ---- the initiator's own, while the task is in flight
  submittedAtMs = 0;
  /** Rises with every submitted task: the order in which unanswered ones are sent again. */
  order = 0;
  initiatorTaskTag = 0;
  cmdSN = 0;
  receivedBytes = 0;
  expDataSN = 0;
  next: InitiatorTask | null = null;
  recovery: RecoveryWatch | null = null;

  /** Called once per submit, never inside it; `error` when the command was given up without an answer. */
  abstract completed(error: BlockferryError | null): void;

  /** Forgets what an earlier sending left. */
  rewind(): void {
    this.status = this.residual = this.receivedBytes = this.expDataSN = 0;
    this.sense = NO_BYTES;
  }
}

/** Tasks that wait to be sent, in order. */
export class TaskQueue {
  private head: InitiatorTask | null = null;
  private tail: InitiatorTask | null = null;

  get isEmpty(): boolean {
    return this.head === null;
  }

  push(task: InitiatorTask): void {
    task.next = null;
    if (this.tail === null) this.head = task;
    else this.tail.next = task;
    this.tail = task;
  }

  shift(): InitiatorTask | null {
    const task = this.head;
    if (task === null) return null;
    this.head = task.next;
    if (this.head === null) this.tail = null;
    task.next = null;
    return task;
  }

  /** Puts tasks, in their order, before those that wait. */
  unshiftAll(tasks: readonly InitiatorTask[]): void {
    for (let i = tasks.length - 1; i >= 0; i--) {
      const task = tasks[i] as InitiatorTask;
      task.next = this.head;
      this.head = task;
      this.tail ??= task;
    }
  }

  *[Symbol.iterator](): Generator<InitiatorTask> {
    for (let task = this.head; task !== null; task = task.next) yield task;
  }
}
