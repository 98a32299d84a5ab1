/** NOP-Out (RFC 7143 11.18): a ping, or the answer to ours. */
import { decodeNopOut } from '../../wire/nop.js';
import { RESERVED_TAG } from '../../wire/opcodes.js';
import { putNopAnswer } from '../nop-in.js';
import type { Session } from '../session.js';

export function nopOut(session: Session, bhs: Buffer, data: Buffer): void {
  const pdu = decodeNopOut(bhs);
  session.sendsNops = true;
  // No tag, no answer: it acknowledges StatSN, or answers a NOP-In (11.18.1). Any PDU counts as a sign of life.
  if (pdu.initiatorTaskTag === RESERVED_TAG) return;
  // The echo is cut to what the initiator takes (11.18.3).
  const echo = data.subarray(0, session.parameters.peerMaxRecvDataSegmentLength);
  putNopAnswer(session, pdu.initiatorTaskTag, echo);
}
