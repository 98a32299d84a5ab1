/**
 * Logout Request (RFC 7143 11.14): commands in flight are finished and answered, but for SANITIZE, then the Logout Response
 * goes out, and behind it the FIN (I7): an initiator that has to wait for either stalls, but for one that was asked to leave
 * a young session, which would be lost by it (LOGOUT_FIN_AGE_MS).
 */
import type { Timer } from '../../../base/clock.js';
import { LOGOUT_FIN_AGE_MS } from '../../../base/limits.js';
import { decodeLogoutRequest, encodeLogoutResponse, type LogoutRequestPdu } from '../../wire/logout.js';
import { LogoutReason, LogoutResponseCode, RejectReason } from '../../wire/opcodes.js';
import type { PortalContext } from '../context.js';
import { putReject } from '../reject.js';
import type { Session } from '../session.js';

/** SANITIZE may take hours, and is let go of: open-iscsi waits 15 s for its Logout Response. */
const LONG_GRACE_MS = 5_000;
/** libiscsi may send Logout ahead of queued Data-Out, or never send that: it gets this long. */
const DATA_GRACE_MS = 200;

export function logout(session: Session, bhs: Buffer, context: PortalContext): void {
  const pdu = decodeLogoutRequest(bhs);
  // "with the reason 'close the session'", and no other (4.3).
  if (session.target === null && pdu.reason !== LogoutReason.CLOSE_SESSION)
    return putReject(session, RejectReason.PROTOCOL_ERROR, bhs);
  switch (pdu.reason) {
    case LogoutReason.CLOSE_SESSION:
      return leave(session, pdu, context);
    case LogoutReason.CLOSE_CONNECTION:
      if (pdu.cid === session.link.cid) return leave(session, pdu, context);
      return putLogoutResponse(session, pdu, LogoutResponseCode.CID_NOT_FOUND);
    case LogoutReason.REMOVE_FOR_RECOVERY:
      // ErrorRecoveryLevel 0 knows no connection recovery (RFC 7143 11.14.1).
      return putLogoutResponse(session, pdu, LogoutResponseCode.RECOVERY_NOT_SUPPORTED);
    default:
      return putReject(session, RejectReason.INVALID_PDU_FIELD, bhs);
  }
}

function leave(session: Session, pdu: LogoutRequestPdu, context: PortalContext): void {
  session.markLeaving();
  let grace: Timer;
  const allow = (hadDormant: boolean, tasks: number): void => {
    grace = context.clock.after(DATA_GRACE_MS, () => {
      if (!session.answering) return;
      // Commands that wait for their turn go on waiting, unless it is for data that does not come.
      const isStuck = session.waitsForData && session.tasks.size === tasks;
      if (hadDormant && !isStuck) return allow(session.taskSet.hasDormant, session.tasks.size);
      session.dropWaiting();
    });
  };
  allow(session.taskSet.hasDormant, session.tasks.size);
  let longGrace: Timer;
  const letGo = (): void => {
    longGrace = context.clock.after(LONG_GRACE_MS, () => {
      session.letGoOfHours();
      if (session.tasks.size > 0 && session.answering) letGo(); // one may have waited for its turn
    });
  };
  letGo();
  session.whenIdle(() => {
    grace.cancel();
    longGrace.cancel();
    if (!session.answering) return;
    putLogoutResponse(session, pdu, LogoutResponseCode.CLOSED);
    // 11.14: "the target then issues the Logout Response and half-closes the TCP connection".
    session.link.finish(session.wasTold ? LOGOUT_FIN_AGE_MS : 0);
    session.close();
  });
}

/** DefaultTime2Wait and DefaultTime2Retain are for what is lost; here nothing is, so 0 and 0 (11.15.3). */
function putLogoutResponse(session: Session, pdu: LogoutRequestPdu, response: number): void {
  session.writer.put(encodeLogoutResponse, {
    totalAHSLength: 0,
    dataSegmentLength: 0,
    response,
    initiatorTaskTag: pdu.initiatorTaskTag,
    statSN: session.takeStatSN(),
    expCmdSN: session.window.expCmdSN,
    maxCmdSN: session.window.maxCmdSN,
    time2Wait: 0,
    time2Retain: 0,
  });
}
