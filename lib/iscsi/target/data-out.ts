/**
 * Data from the initiator: immediate, unsolicited up to FirstBurstLength, and solicited by R2Ts (RFC 7143 4.2.4.2,
 * 11.7, 11.8). It gathers what a command wants, in order, and says when all is there or what was wrong. A command that
 * fails meanwhile is answered only when the data already asked for has come (RFC 7143 7.8). For a command whose turn has not
 * come (task-set.ts) nothing is asked.
 *
 *      0 ── immediate ── unsolicited Data-Out … F ── R2T ─ Data-Out … F ── R2T …      wanted
 *      └────────────── receivedBytes grows ──────────────────────────────────────────▶│ the rest is dropped
 */
import { assert } from '../../base/assert.js';
import { SENSE, type Sense } from '../../scsi/sense.js';
import { ScsiStatus } from '../../scsi/task.js';
import type { DataOutPdu } from '../wire/data-out.js';
import { encodeR2t } from '../wire/r2t.js';
import { RESERVED_TAG } from '../wire/opcodes.js';
import type { Session } from './session.js';
import type { OutstandingR2t, Task } from './task.js';

/** What a step of gathering came to. */
export type Gathered = 'waiting' | 'complete';

/**
 * Begins to gather `wantedBytes` for a task, of which `immediate` came with the command.
 * @param final F of the command: no unsolicited Data-Out follows
 */
export function beginGather(session: Session, task: Task, immediate: Buffer, final: boolean): Gathered {
  const { parameters } = session;
  session.setPhase(task, 'gathering');
  task.receivedBytes = immediate.length;
  task.unsolicited = !final;
  task.unsolicitedEnd = Math.min(task.expectedDataOutBytes, parameters.firstBurstLength);
  if (immediate.length > 0 && !parameters.immediateData) fail(task, SENSE.UNEXPECTED_UNSOLICITED_DATA);
  else if (!final && parameters.initialR2T) fail(task, SENSE.UNEXPECTED_UNSOLICITED_DATA);
  else if (immediate.length > task.unsolicitedEnd) fail(task, SENSE.NOT_ENOUGH_UNSOLICITED_DATA);
  else if (!session.memory.mayKeepUnasked(unaskedBytes(task, immediate))) {
    failWith(task, ScsiStatus.TASK_SET_FULL, null);
  }
  if (!task.failed) keepImmediate(session, task, immediate);
  return goOn(session, task);
}

/** Goes on where a command that was dormant had come to: it is known by now how much of its data is wanted. */
export function resumeGather(session: Session, task: Task): Gathered {
  session.setPhase(task, 'gathering');
  if (task.writeData.length > task.wantedBytes) task.writeData = task.writeData.subarray(0, task.wantedBytes);
  return goOn(session, task);
}

/** What is kept of the data that comes before any R2T. */
function unaskedBytes(task: Task, immediate: Buffer): number {
  return Math.min(task.wantedBytes, task.unsolicited ? task.unsolicitedEnd : immediate.length);
}

/** The task fails with this outcome (the first one counts), once the data that is on its way has come. */
export function fail(task: Task, sense: Sense): void {
  failWith(task, ScsiStatus.CHECK_CONDITION, sense);
}

/** The same, with a status that the device server has already given. */
export function failWith(task: Task, status: number, sense: Sense | null): void {
  if (task.failed) return;
  task.failed = true;
  task.failedStatus = status;
  task.failure = sense;
}

function keepImmediate(session: Session, task: Task, immediate: Buffer): void {
  if (immediate.length >= task.wantedBytes) {
    // The usual case: all of it is here, and stays where it was received.
    spend(session, task, immediate.length);
    task.writeData =
      immediate.length === task.wantedBytes ? immediate : immediate.subarray(0, task.wantedBytes);
    task.writeBuffer = session.immediateBuffer;
    session.immediateBuffer = null;
    return;
  }
  const whole =
    !task.isDormant && session.memory.hasRoom(task.wantedBytes) && session.memory.mayTake(task.wantedBytes);
  const unasked = unaskedBytes(task, immediate);
  if (unasked === 0 && task.isDormant) return;
  takeBuffer(session, task, whole ? task.wantedBytes : Math.max(unasked, 1));
  immediate.copy(task.writeData);
}

function spend(session: Session, task: Task, lengthBytes: number): void {
  session.memory.writeBytes += lengthBytes - task.budgetBytes;
  task.budgetBytes = lengthBytes;
}

function takeBuffer(session: Session, task: Task, lengthBytes: number): void {
  const buffer = session.pool.take(lengthBytes);
  buffer.hold();
  spend(session, task, lengthBytes);
  task.writeBuffer = buffer;
  task.writeData = buffer.bytes.subarray(0, lengthBytes);
}

/** From a buffer for the unsolicited data to one for all of it. */
function growBuffer(session: Session, task: Task): void {
  const { writeBuffer, writeData, receivedBytes } = task;
  takeBuffer(session, task, task.wantedBytes);
  writeData.copy(task.writeData, 0, 0, receivedBytes);
  writeBuffer?.letGo();
}

/**
 * Asks for what is missing, or finds that nothing is.
 * @param overdraw memory is taken although the budget is spent: somebody has to go on
 */
function goOn(session: Session, task: Task, overdraw = false): Gathered {
  if (task.unsolicited) return 'waiting';
  if (!task.failed) {
    if (task.receivedBytes >= task.wantedBytes) return 'complete';
    if (task.isDormant) {
      session.setPhase(task, 'dormant');
      return 'waiting';
    }
    if (task.writeData.length < task.wantedBytes) {
      if (!overdraw && !mayTakeAll(session, task)) return park(session, task);
      growBuffer(session, task);
    }
    solicit(session, task);
  }
  return task.r2ts.length > 0 ? 'waiting' : 'complete';
}

function park(session: Session, task: Task): Gathered {
  session.setPhase(task, 'parked');
  session.parked.push(task);
  return 'waiting';
}

function mayTakeAll({ memory }: Session, task: Task): boolean {
  const neededBytes = task.wantedBytes - task.budgetBytes;
  return memory.hasRoom(neededBytes) && memory.mayTake(neededBytes);
}

/** Lets parked tasks go on as far as the budgets allow. */
export function unpark(session: Session): void {
  for (let task = session.parked[0]; task !== undefined; task = session.parked[0]) {
    if (!mayGoOn(session, task)) return;
    session.parked.shift();
    session.setPhase(task, 'gathering');
    const gathered = goOn(session, task, true);
    assert(gathered === 'waiting', 'a parked task had all of its data');
  }
}

/** Within the session one goes on at least, when no other could free any memory; among all sessions likewise. */
function mayGoOn(session: Session, task: Task): boolean {
  const { memory } = session;
  const neededBytes = task.wantedBytes - task.budgetBytes;
  const isStuck = session.gathering === 0 && session.busy === 0;
  if (!isStuck && !memory.hasRoom(neededBytes)) return false;
  if (memory.mayTake(neededBytes)) return true;
  task.isOverdrawn = memory.overdraw();
  return task.isOverdrawn;
}

/** Sends R2Ts up to MaxOutstandingR2T, each for at most MaxBurstLength (RFC 7143 13.17, 13.13). */
function solicit(session: Session, task: Task): void {
  const { maxOutstandingR2T, maxBurstLength } = session.parameters;
  if (task.solicitedEnd < task.receivedBytes) task.solicitedEnd = task.receivedBytes;
  while (task.r2ts.length < maxOutstandingR2T && task.solicitedEnd < task.wantedBytes) {
    const start = task.solicitedEnd;
    const end = Math.min(start + maxBurstLength, task.wantedBytes);
    const r2t = { targetTransferTag: session.takeTransferTag(), start, end };
    task.r2ts.push(r2t);
    task.solicitedEnd = end;
    putR2t(session, task, r2t);
  }
}

function putR2t(session: Session, task: Task, r2t: OutstandingR2t): void {
  session.writer.put(encodeR2t, {
    totalAHSLength: 0,
    dataSegmentLength: 0,
    lunHigh: task.lunHigh,
    lunLow: task.lunLow,
    initiatorTaskTag: task.initiatorTaskTag,
    targetTransferTag: r2t.targetTransferTag,
    statSN: session.nextStatSN,
    expCmdSN: session.window.expCmdSN,
    maxCmdSN: session.window.maxCmdSN,
    r2tSN: task.r2tSN,
    bufferOffset: r2t.start,
    desiredDataTransferLength: r2t.end - r2t.start,
  });
  task.r2tSN += 1;
}

/** Is this PDU of the sequence that the task waits for? A late answer to something given up is not. */
export function belongs(task: Task, targetTransferTag: number): boolean {
  if (task.phase !== 'gathering') return false;
  if (task.unsolicited) return targetTransferTag === RESERVED_TAG;
  return task.r2ts[0]?.targetTransferTag === targetTransferTag;
}

/** Where the framer may put a Data-Out's data directly, or null: it has no such place, or is not as it should be. */
export function destinationOf(task: Task, bufferOffset: number, lengthBytes: number): Buffer | null {
  const end = bufferOffset + lengthBytes;
  if (task.failed || bufferOffset !== task.receivedBytes || end > task.writeData.length) return null;
  return task.writeData.subarray(bufferOffset, end);
}

/**
 * Takes one Data-Out of the sequence that is due.
 * @param placed the data already stands where destinationOf() said
 */
export function takeDataOut(
  session: Session,
  task: Task,
  pdu: DataOutPdu,
  data: Buffer,
  placed: boolean,
): Gathered {
  const wrong = faultOf(task, pdu);
  if (wrong !== null) fail(task, wrong);
  if (!task.failed) {
    if (!placed) data.copy(task.writeData, pdu.bufferOffset);
    task.receivedBytes += data.length;
    task.expectedDataSN += 1;
  }
  if (!pdu.final) return 'waiting';
  endSequence(task);
  return goOn(session, task);
}

/** What is wrong with a Data-Out, in the terms of RFC 7143 11.4.7.2, or null. */
function faultOf(task: Task, pdu: DataOutPdu): Sense | null {
  const end = pdu.bufferOffset + pdu.dataSegmentLength;
  const limit = task.unsolicited ? task.unsolicitedEnd : (task.r2ts[0]?.end ?? 0);
  // DataSN counts from 0 in each sequence; a gap is data that never came (RFC 7143 7.9).
  if (pdu.dataSN !== task.expectedDataSN) return SENSE.PROTOCOL_SERVICE_CRC_ERROR;
  if (pdu.bufferOffset !== task.receivedBytes) return SENSE.PROTOCOL_SERVICE_CRC_ERROR;
  // More than was asked for, or may come unasked, is an incorrect amount of data as less is (11.4.7.2).
  if (end > limit) return SENSE.NOT_ENOUGH_UNSOLICITED_DATA;
  // A solicited sequence has to bring all that was asked for (11.8.4), an unsolicited one FirstBurstLength where there is more.
  const mustBeWhole = !task.unsolicited || limit < task.expectedDataOutBytes;
  return pdu.final && mustBeWhole && end !== limit ? SENSE.NOT_ENOUGH_UNSOLICITED_DATA : null;
}

function endSequence(task: Task): void {
  task.expectedDataSN = 0;
  if (task.unsolicited) task.unsolicited = false;
  else task.r2ts.shift();
}
