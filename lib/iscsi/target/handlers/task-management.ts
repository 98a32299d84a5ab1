/**
 * Task Management Function Request (RFC 7143 11.5, 4.2.3): which tasks end, and the answer once the I/O of the last of
 * them has left the device. Tasks of other initiators are answered TASK ABORTED (SAM-5 5.3.1), so that nobody waits.
 */
import { COMMAND_WINDOW } from '../../../base/limits.js';
import { serialAdd, serialLess } from '../../../base/serial.js';
import { decodeLun } from '../../../scsi/lun.js';
import { opcodeOf } from '../../wire/bhs.js';
import {
  Opcode,
  RejectReason,
  TaskManagementFunction as Function,
  TaskManagementResponseCode as Response,
} from '../../wire/opcodes.js';
import {
  decodeTaskManagementRequest,
  encodeTaskManagementResponse,
  taskManagementField,
  type TaskManagementRequestPdu,
} from '../../wire/task-management.js';
import { abortAll, abortTask } from '../abort.js';
import type { PortalContext } from '../context.js';
import { drop } from '../departure.js';
import { putReject } from '../reject.js';
import type { Session } from '../session.js';
import type { TaskFate, TaskGroup } from '../task.js';

const NOTHING_AFTER = (): void => undefined;

/** Of the functions, those that end more than one task. */
const ENDS_SETS = new Set<number>([
  Function.ABORT_TASK_SET,
  Function.CLEAR_TASK_SET,
  Function.LOGICAL_UNIT_RESET,
  Function.TARGET_WARM_RESET,
  Function.TARGET_COLD_RESET,
]);

/** The answer to one request: given when every task it ended is done at the device. */
class PendingFunction implements TaskGroup {
  private left = 1; // the tasks
  private isRejected = false;

  constructor(
    private readonly session: Session,
    private readonly pdu: TaskManagementRequestPdu,
    private readonly after: () => void,
  ) {
    session.functions += 1;
  }

  /** The device server has something to do with it, too. */
  countServer(): void {
    this.left += 1;
  }

  taskEnded(): void {
    this.left -= 1;
    if (this.left > 0) return;
    this.session.functions -= 1;
    if (!this.session.answering) return;
    const { REJECTED, COMPLETE } = Response;
    putTaskManagementResponse(this.session, this.pdu, this.isRejected ? REJECTED : COMPLETE);
    this.after();
  }

  readonly serverEnded = (isDone: boolean): void => {
    if (!isDone) this.isRejected = true;
    this.taskEnded();
  };
}

export function taskManagement(session: Session, bhs: Buffer, context: PortalContext): void {
  const pdu = decodeTaskManagementRequest(bhs);
  if (session.target === null) return putReject(session, RejectReason.PROTOCOL_ERROR, bhs);
  const { function: asked } = pdu;
  const hasLun = asked >= Function.ABORT_TASK && asked <= Function.LOGICAL_UNIT_RESET;
  if (hasLun && decodeLun(bhs, taskManagementField.lunHigh) !== 0) {
    return putTaskManagementResponse(session, pdu, Response.NO_LUN);
  }
  // No initiator waits for more than one a command; each is remembered by every task that it ends.
  if (session.functions >= COMMAND_WINDOW) {
    return putTaskManagementResponse(session, pdu, Response.REJECTED);
  }
  // Those that are closed, too: what of them is at the device would land after the answer (I8).
  const sessions = context.registry.everySessionOf(session.identity.iqn);
  if (ENDS_SETS.has(asked)) endEarly(session, pdu.cmdSN);
  switch (asked) {
    case Function.ABORT_TASK:
      return abortOne(session, pdu);
    case Function.ABORT_TASK_SET:
      return abortTheirs(new PendingFunction(session, pdu, NOTHING_AFTER), session, [session]);
    case Function.CLEAR_TASK_SET:
      return clearTaskSet(session, pdu, sessions);
    case Function.LOGICAL_UNIT_RESET:
    case Function.TARGET_WARM_RESET:
      return reset(session, pdu, sessions);
    case Function.TARGET_COLD_RESET:
      // Like power on: every session of the target ends, this one after its answer (11.5.1).
      return reset(session, pdu, sessions, () => sessions.forEach(drop));
    case Function.TASK_REASSIGN:
      // Allegiance is not reassigned at ErrorRecoveryLevel 0 (11.6.1).
      return putTaskManagementResponse(session, pdu, Response.NO_REASSIGN);
    default:
      return putTaskManagementResponse(session, pdu, Response.NOT_SUPPORTED);
  }
}

/**
 * All that has a lower CmdSN than the request counts as received and ends with the rest, unanswered (11.5.1): what came
 * before its turn, and what is still due. For what is due to its unit such a function should wait (4.2.3.3); but on a
 * session's one connection nothing overtakes anything: what is due was rejected, or never sent. An initiator that does not
 * send it again would wait for ever, and nobody knows its unit; one that still wants it sends it as a new command. A
 * function that is not immediate has its turn when nothing before it is due.
 */
function endEarly(session: Session, cmdSN: number): void {
  const { early, window } = session;
  const isBefore = (at: number): boolean => serialLess(at, cmdSN) && window.verdict(at) !== 'outside';
  for (let at = window.expCmdSN; isBefore(at); at = serialAdd(at, 1)) {
    const pdu = early.get(at);
    const isCommand = pdu === undefined || (pdu !== null && opcodeOf(pdu.bhs) === Opcode.SCSI_COMMAND);
    if (isCommand) endBeforeTurn(session, at);
  }
  passEnded(session);
}

function endBeforeTurn({ early, memory }: Session, cmdSN: number): void {
  memory.earlyBytes -= early.get(cmdSN)?.heldBytes ?? 0;
  early.set(cmdSN, null);
}

/** Before the answer, whose ExpCmdSN and MaxCmdSN tell of it: the window may be closed, and nothing else be on its way. */
function passEnded({ early, window }: Session): void {
  while (early.get(window.expCmdSN) === null) {
    early.delete(window.expCmdSN);
    window.accept();
    window.ended();
  }
}

function abortOne(session: Session, pdu: TaskManagementRequestPdu): void {
  const task = session.tasks.find(pdu.referencedTaskTag);
  if (task !== null) {
    return abortTask(session, task, 'silence', new PendingFunction(session, pdu, NOTHING_AFTER));
  }
  // A command that has not come, but is due before this request, counts as received and aborted (11.6.1).
  const due = session.window.verdict(pdu.refCmdSN) !== 'outside' && serialLess(pdu.refCmdSN, pdu.cmdSN);
  if (due) {
    endBeforeTurn(session, pdu.refCmdSN);
    passEnded(session);
  }
  putTaskManagementResponse(session, pdu, due ? Response.COMPLETE : Response.NO_TASK);
}

function abortTheirs(pending: PendingFunction, session: Session, sessions: readonly Session[]): void {
  const fateIn = (other: Session): TaskFate => (other === session ? 'silence' : 'task-aborted');
  abortAll(sessions, fateIn, () => pending.taskEnded());
}

/** The server ends the tasks of sessions that are not here; those that are here end with it. */
function clearTaskSet(session: Session, pdu: TaskManagementRequestPdu, sessions: readonly Session[]): void {
  const pending = new PendingFunction(session, pdu, NOTHING_AFTER);
  pending.countServer();
  session.target?.server.clearTaskSet(pending.serverEnded);
  abortTheirs(pending, session, sessions);
}

/**
 * The target has one unit, so that a reset of either is one of both (SAM-5 6.3.2, 6.3.3). What comes after the request is
 * served by the unit as it is after the reset; what its members share of it is so before the answer.
 */
function reset(
  session: Session,
  pdu: TaskManagementRequestPdu,
  sessions: readonly Session[],
  after = NOTHING_AFTER,
): void {
  const pending = new PendingFunction(session, pdu, after);
  pending.countServer();
  session.target?.server.reset(pending.serverEnded);
  abortTheirs(pending, session, sessions);
}

function putTaskManagementResponse(session: Session, pdu: TaskManagementRequestPdu, response: number): void {
  session.writer.put(encodeTaskManagementResponse, {
    totalAHSLength: 0,
    dataSegmentLength: 0,
    response,
    initiatorTaskTag: pdu.initiatorTaskTag,
    statSN: session.takeStatSN(),
    expCmdSN: session.window.expCmdSN,
    maxCmdSN: session.window.maxCmdSN,
  });
}
