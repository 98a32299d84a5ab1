/** Reject (RFC 7143 11.17): refuses a PDU and returns its header, so that the initiator knows which one. */
import { encodeReject } from '../wire/reject.js';
import { Span } from './buffer-pool.js';
import { bytesOf } from './pdu-writer.js';
import type { Session } from './session.js';

/** @param reason RejectReason. Consumes a StatSN. */
export function putReject(session: Session, reason: number, bhs: Buffer): void {
  const span = new Span();
  session.writer.reserve(span, bhs.length);
  const bytes = bytesOf(span);
  encodeReject(
    {
      reason,
      totalAHSLength: 0,
      dataSegmentLength: bhs.length,
      statSN: session.takeStatSN(),
      expCmdSN: session.window.expCmdSN,
      maxCmdSN: session.window.maxCmdSN,
      dataSN: 0,
    },
    bytes,
    span.start,
  );
  bhs.copy(bytes, session.writer.dataStart(span));
  session.writer.send(span, bhs.length);
}
