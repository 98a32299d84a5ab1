/**
 * Where a full feature phase PDU goes: numbered requests in the order of their CmdSN (RFC 7143 4.2.2.1), the others at
 * once, each to its handler. What no handler takes is rejected.
 */
import { uint32 } from '../../../base/bytes.js';
import { bhsField, isImmediate, opcodeOf } from '../../wire/bhs.js';
import { Opcode, RejectReason } from '../../wire/opcodes.js';
import type { PortalContext } from '../context.js';
import { putReject } from '../reject.js';
import type { Session } from '../session.js';
import { afterActivity } from '../transfers.js';
import { dataOut, placeDataOut, takeData } from './data-out.js';
import { logout } from './logout.js';
import { nopOut } from './nop-out.js';
import { placeImmediateData, scsiCommand } from './scsi-command.js';
import { taskManagement } from './task-management.js';
import { text } from './text.js';

/** The header step: where the data goes, before a byte of it is buffered. Null: a view of it, or a new buffer. */
export function placeData(session: Session, bhs: Buffer, lengthBytes: number): Buffer | null {
  const opcode = opcodeOf(bhs);
  if (opcode === Opcode.SCSI_COMMAND) return placeImmediateData(session, lengthBytes);
  if (opcode === Opcode.DATA_OUT) return placeDataOut(session, bhs);
  return null;
}

/** The payload step: the PDU is complete. */
export function receivePdu(
  session: Session,
  bhs: Buffer,
  data: Buffer,
  digestOk: boolean,
  context: PortalContext,
): void {
  const opcode = opcodeOf(bhs);
  if (opcode === Opcode.DATA_OUT) dataOut(session, bhs, data, digestOk);
  else if (!digestOk)
    putReject(session, RejectReason.DATA_DIGEST_ERROR, bhs); // and its CmdSN stays due (7.8)
  else if (!isNumbered(opcode)) unnumbered(session, opcode, bhs);
  else if (isImmediate(bhs)) deliver(session, opcode, bhs, data, context);
  else inOrder(session, opcode, bhs, data, context);
  if (session.immediateBuffer !== null) {
    session.immediateBuffer.letGo();
    session.immediateBuffer = null;
  }
  afterActivity(session);
}

function isNumbered(opcode: number): boolean {
  return opcode <= Opcode.LOGOUT_REQUEST && opcode !== Opcode.DATA_OUT && opcode !== Opcode.LOGIN_REQUEST;
}

function unnumbered(session: Session, opcode: number, bhs: Buffer): void {
  // No SNACK at ErrorRecoveryLevel 0 (11.16), no login in full feature phase (6.3).
  if (opcode === Opcode.SNACK_REQUEST) putReject(session, RejectReason.SNACK_REJECT, bhs);
  else if (opcode === Opcode.LOGIN_REQUEST) putReject(session, RejectReason.PROTOCOL_ERROR, bhs);
  else putReject(session, RejectReason.COMMAND_NOT_SUPPORTED, bhs);
}

function inOrder(session: Session, opcode: number, bhs: Buffer, data: Buffer, context: PortalContext): void {
  const { window, early } = session;
  const cmdSN = uint32(bhs, bhsField.cmdSN);
  const verdict = window.verdict(cmdSN);
  // Outside the window: "MUST silently ignore" (4.2.2.1); so with duplicates of what is waiting.
  if (verdict === 'outside') return;
  if (verdict === 'ahead') {
    if (!early.has(cmdSN)) keepEarly(session, cmdSN, bhs, data);
    return;
  }
  window.accept();
  if (opcode !== Opcode.SCSI_COMMAND) window.ended();
  deliver(session, opcode, bhs, data, context);
  if (early.size > 0) deliverEarly(session, context);
}

/** Copies, since a view would keep a whole chunk alive for as long as the gap lasts. */
function keepEarly(session: Session, cmdSN: number, bhs: Buffer, data: Buffer): void {
  // On a session's one connection nothing overtakes anything: who leaves gaps is owed no memory.
  if (!session.memory.mayKeepUnasked(data.length))
    return session.link.destroy('no memory for early commands');
  const heldBytes = data.length;
  session.early.set(cmdSN, { bhs: Buffer.from(bhs), data: Buffer.from(data), dataOuts: [], heldBytes });
  session.memory.earlyBytes += data.length;
}

/** Those whose turn has come. */
function deliverEarly(session: Session, context: PortalContext): void {
  const { window, early } = session;
  for (;;) {
    const cmdSN = window.expCmdSN;
    const pdu = early.get(cmdSN);
    if (pdu === undefined) return;
    early.delete(cmdSN);
    session.memory.earlyBytes -= pdu?.heldBytes ?? 0;
    window.accept();
    const opcode = pdu === null ? -1 : opcodeOf(pdu.bhs);
    if (opcode !== Opcode.SCSI_COMMAND) window.ended();
    if (pdu === null) continue;
    deliver(session, opcode, pdu.bhs, pdu.data, context);
    for (const { bhs, data, digestOk } of pdu.dataOuts) takeData(session, bhs, data, digestOk, false);
  }
}

/**
 * In a discovery session each handler rejects what 4.3 does not allow there; but a ping is answered, and text may be more
 * than SendTargets: initiators do both, and nobody is the worse for it.
 */
function deliver(session: Session, opcode: number, bhs: Buffer, data: Buffer, context: PortalContext): void {
  if (!session.accepting && opcode !== Opcode.NOP_OUT) {
    // After a Logout nothing new is taken up, and nothing is refused either (I7).
    if (opcode === Opcode.SCSI_COMMAND && !isImmediate(bhs)) session.window.ended();
    return;
  }
  switch (opcode) {
    case Opcode.SCSI_COMMAND:
      return scsiCommand(session, bhs, data);
    case Opcode.NOP_OUT:
      return nopOut(session, bhs, data);
    case Opcode.TASK_MANAGEMENT_REQUEST:
      taskManagement(session, bhs, context);
      return deliverEarly(session, context);
    case Opcode.TEXT_REQUEST:
      return text(session, bhs, data, context);
    case Opcode.LOGOUT_REQUEST:
      return logout(session, bhs, context);
    default:
      return putReject(session, RejectReason.COMMAND_NOT_SUPPORTED, bhs);
  }
}
