/**
 * How a session is made to end, as a hand-over does. Commands at the device are always finished and answered first
 * where the connection still stands; nothing is refused, and no answer is lost that could be given (I7).
 */
import { AsyncEvent } from '../wire/opcodes.js';
import { encodeAsyncMessage } from '../wire/async-message.js';
import type { Session } from './session.js';

/**
 * Begins of the names of initiators that take event 1 for the end: they log out, and their system loses the disk (FreeBSD's
 * iscsi_pdu_handle_async_message, NetBSD's receive_asynch_pdu). A connection that is closed they make anew.
 */
const LEAVES_FOR_GOOD = ['iqn.1994-09.org.freebsd:', 'iqn.1994-04.org.netbsd:'];

/** Whether the initiator would not come back if it were asked to log out, but does when it is dropped. */
export function leavesForGood(initiatorName: string): boolean {
  return LEAVES_FOR_GOOD.some((begin) => initiatorName.toLowerCase().startsWith(begin));
}

/** Event 1: asks the initiator to log out within `deadlineSeconds`. It goes on being served. */
export function askToLeave(session: Session, deadlineSeconds: number): void {
  if (!session.accepting) return;
  session.markTold();
  putAsyncMessage(session, AsyncEvent.LOGOUT_REQUEST, 0, 0, Math.ceil(deadlineSeconds));
}

/** Event 2: tells the initiator that its connection goes and that it may be back at once (Time2Wait 0), then closes. */
export function drop(session: Session): void {
  leave(session, () => putAsyncMessage(session, AsyncEvent.CONNECTION_DROP, session.link.cid, 0, 0));
}

/** The same without a word: its initiator is back already, in another session. */
export function retire(session: Session): void {
  leave(session, () => undefined);
}

/** Takes nothing up any more, finishes what is at the device, says its last word and closes. */
function leave(session: Session, lastWord: () => void): void {
  if (!session.answering) return;
  session.markLeaving();
  session.dropWaiting();
  session.whenIdle(() => {
    if (!session.answering) return;
    lastWord();
    session.link.finish();
    session.close();
  });
}

/** Consumes a StatSN (RFC 7143 11.9). */
function putAsyncMessage(
  session: Session,
  asyncEvent: number,
  parameter1: number,
  parameter2: number,
  parameter3: number,
): void {
  session.writer.put(encodeAsyncMessage, {
    totalAHSLength: 0,
    dataSegmentLength: 0,
    lunHigh: 0,
    lunLow: 0,
    statSN: session.takeStatSN(),
    expCmdSN: session.window.expCmdSN,
    maxCmdSN: session.window.maxCmdSN,
    asyncEvent,
    asyncVCode: 0,
    parameter1,
    parameter2,
    parameter3,
  });
}
