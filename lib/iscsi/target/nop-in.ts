/** NOP-In (RFC 7143 11.19): the answer to a ping, a ping of ours, or just the news that the window has opened. */
import { NO_BYTES } from '../../base/bytes.js';
import { RESERVED_TAG } from '../wire/opcodes.js';
import { encodeNopIn } from '../wire/nop.js';
import type { RawLun } from '../wire/bhs.js';
import type { Session } from './session.js';

const NO_LUN: RawLun = { lunHigh: 0, lunLow: 0 };

/** Answers a NOP-Out with its own data; consumes a StatSN. */
export function putNopAnswer(session: Session, initiatorTaskTag: number, lun: RawLun, echo: Buffer): void {
  put(session, initiatorTaskTag, RESERVED_TAG, lun, session.takeStatSN(), echo);
}

/** Asks the initiator for a sign of life. The LUN goes with the tag and comes back with it. */
export function putPing(session: Session): void {
  put(session, RESERVED_TAG, session.takeTransferTag(), NO_LUN, session.nextStatSN, NO_BYTES);
}

/** Tells ExpCmdSN and MaxCmdSN, and wants no answer. */
export function putWindow(session: Session): void {
  put(session, RESERVED_TAG, RESERVED_TAG, NO_LUN, session.nextStatSN, NO_BYTES);
}

function put(
  session: Session,
  initiatorTaskTag: number,
  targetTransferTag: number,
  lun: RawLun,
  statSN: number,
  data: Buffer,
): void {
  session.writer.put(
    encodeNopIn,
    {
      ...lun,
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
