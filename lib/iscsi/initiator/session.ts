/**
 * A normal session in full feature phase, over one connection: the command window, data both ways, answers. When it ends,
 * for whatever reason, it hands every unanswered command back in order; what becomes of them is the recovery's affair.
 *
 *   queue ──pump()── window open? ── send ──▶ outstanding (by task tag) ── Data-In / R2T / Response ──▶ completed
 */
import { NO_BYTES, uint16, uint32 } from '../../base/bytes.js';
import { serialAdd, serialLess, serialLessOrEqual } from '../../base/serial.js';
import { decodeAsyncMessage, type AsyncMessagePdu } from '../wire/async-message.js';
import { BHS_BYTES, bhsField, opcodeOf } from '../wire/bhs.js';
import { DATA_IN_STATUS_BIT, dataInField } from '../wire/data-in.js';
import { describePdu } from '../wire/describe.js';
import { decodeNopIn } from '../wire/nop.js';
import type { OperationalParameters } from '../wire/negotiation-rules.js';
import { Opcode, RESERVED_TAG } from '../wire/opcodes.js';
import { decodeR2t } from '../wire/r2t.js';
import { OVERFLOW_BIT, UNDERFLOW_BIT, scsiResponseField } from '../wire/scsi.js';
import type { InitiatorTask, TaskQueue } from './command.js';
import type { Connection, ConnectionSink } from './connection.js';
import { Controls, type ControlAnswer, type ControlEncoder } from './controls.js';
import type { LoggedIn } from './login.js';
import type { Outbox } from './outbox.js';
import { TaskTable } from './task-table.js';
import { Transmitter, lunHighOf } from './transmitter.js';

const ECHO = Buffer.from('blockferry');

/** Who owns a session. */
export interface SessionOwner {
  /** A command was answered: check nothing, only tell whoever waits. */
  taskAnswered(task: InitiatorTask): void;
  asyncMessage(message: AsyncMessagePdu): void;
  /** The target broke the protocol in a way that this session can live with. */
  violation(detail: string): void;
  /** Exactly once: the session is over. Unanswered commands, in the order in which they were submitted. */
  sessionLost(reason: string, unanswered: InitiatorTask[]): void;
}

export class Session implements ConnectionSink {
  private readonly connection: Connection;
  private readonly parameters: OperationalParameters;
  private readonly outbox: Outbox;
  private readonly transmitter: Transmitter;
  private readonly tasks = new TaskTable();
  private readonly controls: Controls;
  private cmdSN: number;
  private expStatSN: number;
  private maxCmdSN: number;
  private lost = false;
  /** No more commands are sent: a logout is under way. */
  private leaving = false;
  /** The task that the data under way belongs to. */
  private dataTask: InitiatorTask | null = null;
  /** Told when the session is over, before its owner is. */
  onLost: (() => void) | null = null;

  constructor(
    readonly login: LoggedIn,
    lun: number,
    private readonly queue: TaskQueue,
    private readonly owner: SessionOwner,
  ) {
    this.connection = login.connection;
    this.parameters = login.parameters;
    this.outbox = this.connection.outbox;
    this.controls = new Controls(this.outbox);
    this.transmitter = new Transmitter(this.outbox, this.parameters, lunHighOf(lun));
    this.cmdSN = login.cmdSN;
    this.expStatSN = login.expStatSN;
    this.maxCmdSN = login.maxCmdSN;
  }

  /** Takes the connection over and begins to send; separate from construction, since it may fail the session. */
  start(): void {
    this.connection.attach(this);
    this.pump();
  }

  get outstandingTasks(): number {
    return this.tasks.size;
  }

  /** In the order in which they were submitted. */
  get unanswered(): InitiatorTask[] {
    return this.tasks.inOrder();
  }

  /** When the target was last heard of. */
  get lastReceivedMs(): number {
    return this.connection.lastReceivedMs;
  }

  /** Sends what waits, as far as the window (RFC 7143 4.2.2.1) and our own limit allow. */
  pump(): void {
    while (!this.leaving && !this.lost && !this.tasks.isFull) {
      if (!serialLessOrEqual(this.cmdSN, this.maxCmdSN)) return;
      const task = this.queue.shift();
      if (task === null) return;
      this.send(task);
    }
  }

  /** Sends no further command; those that were sent go on. */
  hold(): void {
    this.leaving = true;
  }

  close(reason: string): void {
    this.connection.close(reason);
  }

  // --- out ---------------------------------------------------------------------------------------------------------

  private send(task: InitiatorTask): void {
    task.rewind();
    this.tasks.add(task);
    task.cmdSN = this.cmdSN;
    this.cmdSN = serialAdd(this.cmdSN, 1);
    this.transmitter.sendCommand(task, this.expStatSN);
  }

  /** Sends a request that is no SCSI command; `answer` is never called when the session ends first. */
  control(encode: ControlEncoder, data: Buffer | null, answer: ControlAnswer): void {
    this.controls.send(encode, data, this.cmdSN, this.expStatSN, answer);
  }

  /** A NOP-Out that wants an answer; losing the session is up to whoever counts the silence. */
  ping(): void {
    this.control(
      (into, at, initiatorTaskTag, cmdSN, expStatSN) =>
        this.transmitter.encodePing(into, at, initiatorTaskTag, cmdSN, expStatSN),
      ECHO,
      (_bhs, data) => {
        if (!data.equals(ECHO)) this.owner.violation('a NOP-In does not echo the data of its NOP-Out');
      },
    );
  }

  // --- in ----------------------------------------------------------------------------------------------------------

  header(bhs: Buffer, dataSegmentLength: number): Buffer | null {
    if (opcodeOf(bhs) !== Opcode.DATA_IN)
      return dataSegmentLength === 0 ? NO_BYTES : Buffer.allocUnsafe(dataSegmentLength);
    const task = this.taskOf(bhs);
    this.dataTask = task;
    if (task === null) return Buffer.allocUnsafe(dataSegmentLength);
    const offset = uint32(bhs, dataInField.bufferOffset);
    const { dataIn } = task;
    if (offset + dataSegmentLength > dataIn.length) {
      this.fail(`Data-In beyond the expected length: ${describePdu(bhs)}`);
      return null;
    }
    // Data in order (13.18, 13.19): the next byte is the only one it can bring.
    if (offset !== task.receivedBytes) this.owner.violation(`Data-In out of order: ${describePdu(bhs)}`);
    if (offset === 0 && dataSegmentLength === dataIn.length) return dataIn;
    return dataIn.subarray(offset, offset + dataSegmentLength);
  }

  payload(bhs: Buffer, data: Buffer, digestOk: boolean): void {
    // ErrorRecoveryLevel 0: a digest error ends the session (RFC 7143 7.8).
    if (!digestOk) return this.fail(`data digest error: ${describePdu(bhs)}`);
    const opcode = opcodeOf(bhs);
    this.takeWindow(bhs);
    if (opcode === Opcode.DATA_IN) this.takeDataIn(bhs, data);
    else if (opcode === Opcode.SCSI_RESPONSE) this.takeResponse(bhs, data);
    else if (opcode === Opcode.R2T) this.takeR2t(bhs);
    else this.takeOther(opcode, bhs, data);
    this.pump();
  }

  framingError(reason: string): void {
    this.fail(reason);
  }

  closed(reason: string): void {
    if (this.lost) return;
    this.lost = true;
    const unanswered = this.tasks.inOrder();
    this.controls.clear();
    this.onLost?.();
    this.owner.sessionLost(reason, unanswered);
  }

  /** RFC 7143 4.2.2.1: the window only grows, and one that makes no sense is ignored. */
  private takeWindow(bhs: Buffer): void {
    const expCmdSN = uint32(bhs, bhsField.expCmdSN);
    const maxCmdSN = uint32(bhs, bhsField.maxCmdSN);
    if (serialLess(maxCmdSN, serialAdd(expCmdSN, -1))) return;
    if (serialLess(this.maxCmdSN, maxCmdSN)) this.maxCmdSN = maxCmdSN;
  }

  /** One connection, so statuses come in order, each exactly once. */
  private takeStatSN(bhs: Buffer): void {
    const statSN = uint32(bhs, bhsField.statSN);
    if (statSN !== this.expStatSN)
      this.owner.violation(`StatSN ${this.expStatSN} expected: ${describePdu(bhs)}`);
    this.expStatSN = serialAdd(statSN, 1);
  }

  private taskOf(bhs: Buffer): InitiatorTask | null {
    return this.tasks.find(uint32(bhs, bhsField.initiatorTaskTag));
  }

  private takeDataIn(bhs: Buffer, data: Buffer): void {
    const task = this.dataTask;
    this.dataTask = null;
    if (task === null) return this.owner.violation(`data for an unknown task: ${describePdu(bhs)}`);
    task.receivedBytes += data.length;
    const dataSN = uint32(bhs, dataInField.dataSN);
    if (dataSN !== task.expDataSN)
      this.owner.violation(`DataSN ${task.expDataSN} expected: ${describePdu(bhs)}`);
    task.expDataSN = dataSN + 1;
    const flags = bhs[bhsField.flags] as number;
    if ((flags & DATA_IN_STATUS_BIT) === 0) return;
    this.takeStatSN(bhs);
    this.answer(task, bhs[dataInField.status] as number, flags, uint32(bhs, dataInField.residualCount));
  }

  private takeResponse(bhs: Buffer, data: Buffer): void {
    this.takeStatSN(bhs);
    const task = this.taskOf(bhs);
    if (task === null) return this.owner.violation(`an answer for an unknown task: ${describePdu(bhs)}`);
    const response = bhs[scsiResponseField.response] as number;
    if (response !== 0) this.owner.violation(`a failed delivery: ${describePdu(bhs)}`);
    if (data.length >= 2) task.sense = data.subarray(2, 2 + uint16(data, 0));
    const flags = bhs[bhsField.flags] as number;
    const status = response === 0 ? (bhs[scsiResponseField.status] as number) : 0x02;
    this.answer(task, status, flags, uint32(bhs, scsiResponseField.residualCount));
  }

  private answer(task: InitiatorTask, status: number, flags: number, residualCount: number): void {
    task.status = status;
    task.residual =
      (flags & UNDERFLOW_BIT) !== 0 ? residualCount : (flags & OVERFLOW_BIT) !== 0 ? -residualCount : 0;
    const moved = task.dataIn.length - Math.max(0, task.residual);
    if (status === 0 && task.dataIn.length > 0 && task.receivedBytes !== moved) {
      this.owner.violation(
        `task ${task.initiatorTaskTag}: ${task.receivedBytes} bytes came, ${moved} were claimed`,
      );
    }
    this.release(task);
  }

  /** Ends a task whose status is set. */
  private release(task: InitiatorTask): void {
    this.tasks.remove(task);
    this.owner.taskAnswered(task);
  }

  /** Completes tasks that a task management function ended without an answer, as TASK ABORTED would. */
  abortTasks(chosen: (task: InitiatorTask) => boolean): void {
    for (const task of this.tasks.inOrder()) {
      if (!chosen(task)) continue;
      task.status = 0x40;
      this.release(task);
    }
  }

  private takeR2t(bhs: Buffer): void {
    const pdu = decodeR2t(bhs);
    const task = this.taskOf(bhs);
    if (task === null) return this.owner.violation(`R2T for an unknown task: ${describePdu(bhs)}`);
    const { bufferOffset, desiredDataTransferLength: length } = pdu;
    if (
      length === 0 ||
      length > this.parameters.maxBurstLength ||
      bufferOffset + length > task.dataOut.length
    ) {
      return this.fail(`an R2T that cannot be: ${describePdu(bhs)}`);
    }
    if (pdu.r2tSN !== task.expDataSN)
      this.owner.violation(`R2TSN ${task.expDataSN} expected: ${describePdu(bhs)}`);
    task.expDataSN = pdu.r2tSN + 1;
    this.transmitter.sendData(task, pdu.targetTransferTag, bufferOffset, length, this.expStatSN);
  }

  private takeOther(opcode: number, bhs: Buffer, data: Buffer): void {
    switch (opcode) {
      case Opcode.NOP_IN:
        return this.takeNopIn(bhs, data);
      case Opcode.ASYNC_MESSAGE:
        this.takeStatSN(bhs);
        return this.owner.asyncMessage(decodeAsyncMessage(bhs));
      case Opcode.TEXT_RESPONSE:
      case Opcode.LOGOUT_RESPONSE:
      case Opcode.TASK_MANAGEMENT_RESPONSE:
        this.takeStatSN(bhs);
        return this.takeControlAnswer(bhs, data);
      case Opcode.REJECT:
        return this.fail(
          `the target rejected ${data.length >= BHS_BYTES ? describePdu(data) : 'something'}: ${describePdu(bhs)}`,
        );
      default:
        return this.fail(`a PDU that no target may send: ${describePdu(bhs)}`);
    }
  }

  private takeNopIn(bhs: Buffer, data: Buffer): void {
    const pdu = decodeNopIn(bhs);
    if (pdu.initiatorTaskTag !== RESERVED_TAG) {
      this.takeStatSN(bhs);
      this.takeControlAnswer(bhs, data);
    } else if (pdu.targetTransferTag !== RESERVED_TAG) {
      const at = this.outbox.headerAt();
      this.transmitter.encodePong(this.outbox.buffer, at, pdu, this.cmdSN, this.expStatSN);
      this.outbox.addPdu(null);
    }
  }

  private takeControlAnswer(bhs: Buffer, data: Buffer): void {
    const tag = uint32(bhs, bhsField.initiatorTaskTag);
    if (!this.controls.answered(tag, bhs, data))
      this.owner.violation(`an answer to nothing: ${describePdu(bhs)}`);
  }

  private fail(reason: string): void {
    this.connection.close(reason);
  }
}
