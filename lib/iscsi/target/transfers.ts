/**
 * The way of one command: prepared by the device server, its data gathered, its work done at the device or by the
 * device server, its answer sent. The steps are in data-in.ts, data-out.ts and response.ts; here is their order.
 *
 *   prepare ─┬─ finished ─────────────────────────────▶ response
 *            ├─ read ─────── device ─▶ Data-In … with status
 *            ├─ write ─── gather ─▶ device ───────────▶ response
 *            └─ control ─ gather ─▶ execute ─▶ Data-In or response
 *
 * A command whose turn has not come (task-set.ts), which only others than SIMPLE ones bring about, is prepared when it has:
 * its elders may change what becomes of it.
 */
import { assert, violated } from '../../base/assert.js';
import { TRANSFER_BYTES_MAX } from '../../base/limits.js';
import type { IoError } from '../../block/device.js';
import { refusalOf } from '../../scsi/refusal.js';
import { SENSE, SenseKey, type Sense } from '../../scsi/sense.js';
import { ScsiStatus } from '../../scsi/task.js';
import { grantedPiece, readPiece, pieceRead, sendControlData, startRead } from './data-in.js';
import { beginGather, failWith, type Gathered, resumeGather, unpark } from './data-out.js';
import { putWindow } from './nop-in.js';
import { endWithStatus } from './response.js';
import type { Session } from './session.js';
import type { Task, TaskOwner } from './task.js';

/** INVALID FIELD IN COMMAND INFORMATION UNIT: the Expected Data Transfer Length does not fit the CDB. */
const INVALID_EXPECTED_LENGTH: Sense = Object.freeze({
  senseKey: SenseKey.ILLEGAL_REQUEST,
  asc: 0x0e,
  ascq: 0x03,
});

/**
 * Takes up a command whose fields stand in `task`.
 * @param immediate its immediate data
 * @param final no unsolicited Data-Out follows
 */
export function startTask(session: Session, task: Task, immediate: Buffer, final: boolean): void {
  prepare(session, task);
  if (task.plan === 'read')
    return settleEarlyData(session, task, immediate, final) ? complete(session, task) : undefined;
  if (task.expectedDataOutBytes === 0 && task.wantedBytes === 0) return complete(session, task);
  gathered(session, task, beginGather(session, task, immediate, final));
}

/** The same for a command whose turn has not come: what comes of its data unasked is kept. */
export function keepForLater(session: Session, task: Task, immediate: Buffer, final: boolean): void {
  task.plan = 'finished';
  if (task.expectedDataOutBytes === 0) return session.setPhase(task, 'dormant');
  task.wantedBytes = task.expectedDataOutBytes;
  gathered(session, task, beginGather(session, task, immediate, final));
}

/** What the command is to do, and how much of the initiator's data it needs for that. */
function prepare(session: Session, task: Task): void {
  const { target } = session;
  assert(target !== null, 'a command in a discovery session');
  task.plan = 'finished';
  const plan = target.server.prepare(task);
  task.plan = plan;
  if (plan === 'write') wantData(session, task, task.transferBytes);
  else if (plan === 'control') wantData(session, task, task.dataOutBytes);
}

/** Data that comes with a command that reads is nobody's; it is waited for where more of it is announced. */
function settleEarlyData(session: Session, task: Task, immediate: Buffer, final: boolean): boolean {
  if (task.expectedDataOutBytes === 0 || final) return true;
  return beginGather(session, task, immediate, final) === 'complete';
}

/** How much of what the command needs the initiator will send (RFC 7143 11.4.5). */
function wantData(session: Session, task: Task, neededBytes: number): void {
  task.actualBytes = neededBytes;
  if (neededBytes > TRANSFER_BYTES_MAX) {
    task.actualBytes = 0;
    return failWith(task, ScsiStatus.CHECK_CONDITION, SENSE.INVALID_FIELD_IN_CDB);
  }
  const block = task.plan === 'write' ? (session.device?.blockBytes ?? 1) : 1;
  const coming = Math.min(task.expectedDataOutBytes, neededBytes);
  task.wantedBytes = coming - (coming % block);
  // A device writes whole blocks only. What half a parameter list means is the device server's to say.
  if (coming < neededBytes && coming % block !== 0) {
    failWith(task, ScsiStatus.CHECK_CONDITION, INVALID_EXPECTED_LENGTH);
  }
}

/** Another step of gathering is done. */
export function gathered(session: Session, task: Task, state: Gathered): void {
  if (state === 'complete') complete(session, task);
}

/** All data is here. */
function complete(session: Session, task: Task): void {
  if (task.failed) endWithStatus(session, task, task.failedStatus, task.failure);
  else if (task.isDormant) session.setPhase(task, 'dormant');
  else if (task.plan === 'read') startRead(session, task);
  else work(session, task);
}

function work(session: Session, task: Task): void {
  const { target, device } = session;
  assert(target !== null && device !== null, 'a command in a discovery session');
  if (task.plan === 'control') {
    session.setPhase(task, 'executing');
    task.dataOut = task.writeData;
    target.server.execute(task);
  } else if (task.wantedBytes === 0) endWithStatus(session, task, ScsiStatus.GOOD, null);
  else {
    const refusal = target.server.refusalOf(task, 'write');
    if (refusal !== null) {
      task.actualBytes = 0;
      return endWithStatus(session, task, refusal.status, refusal.sense);
    }
    session.setPhase(task, 'device');
    const { io, offsetBytes, wantedBytes, writeData, fua } = task;
    device.submit(io.prepare('write', offsetBytes, wantedBytes, writeData, fua));
  }
}

/** What the device server and the devices report. */
export const taskOwner: TaskOwner<Session> = {
  finished(task: Task<Session>, status: number, sense: Sense | null): void {
    const session = sessionOf(task);
    // Data that the initiator announced still has to come before it is answered.
    if (task.phase === 'preparing') return failWith(task, status, sense);
    if (task.phase !== 'executing') violated(`a task finished in phase ${task.phase}`);
    const hasData = status === ScsiStatus.GOOD && task.dataIn.length > 0;
    task.actualBytes = hasData ? task.dataIn.length : movedBytes(task, status);
    if (hasData && task.expectedReadBytes > 0 && task.fate === 'answer' && session.answering) {
      sendControlData(session, task);
    } else endWithStatus(session, task, status, sense);
    afterActivity(session);
  },

  ioCompleted(task: Task<Session>, error: IoError | null): void {
    const session = sessionOf(task);
    if (task.phase !== 'device') violated(`an I/O completed in phase ${task.phase}`);
    if (error !== null) {
      task.actualBytes = task.sentBytes;
      const { status, sense } = refusalOf(error);
      endWithStatus(session, task, status, sense);
    } else if (task.plan === 'read' && task.fate === 'answer' && session.answering) {
      pieceRead(session, task);
    } else {
      if (task.plan === 'write') session.bytesWritten += task.wantedBytes;
      endWithStatus(session, task, ScsiStatus.GOOD, null);
    }
    afterActivity(session);
  },

  turnCame(task: Task<Session>): void {
    const session = sessionOf(task);
    if (task.failed) return; // it ends with the last of what comes unasked
    try {
      session.settleReads();
      session.setPhase(task, 'preparing');
      task.wantedBytes = 0;
      prepare(session, task);
      gathered(session, task, resumeGather(session, task));
      afterActivity(session);
    } catch (error) {
      session.link.failed(error); // what let it come may be the doing of another session, or of a device
    }
  },

  answers: (task: Task<Session>): boolean => sessionOf(task).answering,
};

/** What a 'control' command without data for the initiator took: all it needs, unless it failed having had that. */
function movedBytes(task: Task, status: number): number {
  const isShort = task.dataOut.length < task.dataOutBytes;
  return status === ScsiStatus.GOOD || isShort ? task.dataOutBytes : 0;
}

function sessionOf(task: Task<Session>): Session {
  const { session } = task;
  assert(session !== null, 'a report about a task that is free');
  return session;
}

/** Lets those that waited read, in their order, as far as memory goes. */
function goOnReading(session: Session): void {
  if (session.isGoingOn) return; // or each that is read at once would be a level of the stack
  session.isGoingOn = true;
  try {
    for (let task = session.stalled[0]; task !== undefined; task = session.stalled[0]) {
      if (grantedPiece(session, task) === 0) return;
      session.stalled.shift();
      readPiece(session, task);
    }
  } finally {
    session.isGoingOn = false;
  }
}

/** The upkeep after anything has happened: budgets, waiting tasks, the window. Cheap when nothing waits. */
export function afterActivity(session: Session): void {
  session.memory.settle();
  if (!session.answering) return;
  if (session.parked.length > 0) unpark(session);
  if (session.stalled.length > 0) goOnReading(session);
  if (session.balance()) putWindow(session);
}
