/** NOP-In (RFC 7143 11.19): the answer to a ping, a ping of ours, or just the news that the window has opened. */
import { NO_BYTES } from '../../base/bytes.js';
import { RESERVED_TAG } from '../wire/opcodes.js';
import { encodeNopIn } from '../wire/nop.js';
import type { RawLun } from '../wire/bhs.js';
import type { Session } from './session.js';

/** It goes with a Target Transfer Tag (11.19); ours ask after the session, which has one unit. */
const NO_LUN: RawLun = { lunHigh: 0, lunLow: 0 };

/** Answers a NOP-Out with its own data; consumes a StatSN. */
export function putNopAnswer(session: Session, initiatorTaskTag: number, echo: Buffer): void {
  put(session, initiatorTaskTag, RESERVED_TAG, session.takeStatSN(), echo);
}

/** Asks the initiator for a sign of life. */
export function putPing(session: Session): void {
  put(session, RESERVED_TAG, session.takeTransferTag(), session.nextStatSN, NO_BYTES);
}

/** Tells ExpCmdSN and MaxCmdSN, and wants no answer. */
export function putWindow(session: Session): void {
  put(session, RESERVED_TAG, RESERVED_TAG, session.nextStatSN, NO_BYTES);
}

function put(
  session: Session,
  initiatorTaskTag: number,
  targetTransferTag: number,
  statSN: number,
  data: Buffer,
): void {
  session.writer.put(
    encodeNopIn,
    {
      ...NO_LUN,
      totalAHSLength: 0,
      dataSegmentLength: data.length,
      initiatorTaskTag,
      targetTransferTag,
      statSN,
      expCmdSN: session.window.expCmdSN,
      maxCmdSN: session.window.maxCmdSN,
    },
    data,
  );
}
