/** Reject (RFC 7143 11.17): refuses a PDU and returns its header, so that the initiator knows which one. */
import { encodeReject } from '../wire/reject.js';
import type { Session } from './session.js';

/** @param reason RejectReason. Consumes a StatSN. */
export function putReject(session: Session, reason: number, bhs: Buffer): void {
  // With AHS it may be longer than what the initiator takes (13.12).
  const header = bhs.subarray(0, session.parameters.peerMaxRecvDataSegmentLength);
  session.writer.put(
    encodeReject,
    {
      reason,
      totalAHSLength: 0,
      dataSegmentLength: header.length,
      statSN: session.takeStatSN(),
      expCmdSN: session.window.expCmdSN,
      maxCmdSN: session.window.maxCmdSN,
      dataSN: 0,
    },
    header,
  );
}
