/**
 * What a session is made of besides its own state: the link to its connection, PDUs that wait in it, and the header it
 * fills for every Data-In. Shapes only.
 */
import type { DataInPdu } from '../wire/data-in.js';
import { RESERVED_TAG } from '../wire/opcodes.js';
import type { TextAssembler } from '../wire/text-keys.js';
import type { PduWriter } from './pdu-writer.js';

/** What a session needs of its connection. */
export interface SessionLink {
  readonly writer: PduWriter;
  /** host:port of the initiator, for people. */
  readonly peer: string;
  /** Connection ID, the initiator's. */
  readonly cid: number;
  /** Where the connection arrived. */
  readonly localHost: string;
  readonly localPort: number;
  /** Stops and starts reading; what is unread waits in the kernel. */
  setPaused(paused: boolean): void;
  /** Reads nothing any more. */
  stopReading(): void;
  /** Sends what was committed, then closes, if the initiator does not: at once, or when the session would be so old. */
  finish(ageMs?: number): void;
  /** Closes at once. */
  destroy(reason: string): void;
  /** Something went wrong in what the session does: it costs this connection, and no other. */
  failed(error: unknown): void;
}

/** A negotiation in full feature phase, while it takes more than one PDU. */
export interface TextExchange {
  readonly assembler: TextAssembler;
  readonly targetTransferTag: number;
  /** What is left of the answer. */
  rest: Buffer;
}

/** Command PDUs that came before their turn (RFC 7143 4.2.2.1: delivered in order of CmdSN). */
export interface EarlyPdu {
  readonly bhs: Buffer;
  readonly data: Buffer;
  /** The unsolicited Data-Out that came behind it. */
  readonly dataOuts: EarlyDataOut[];
  /** What all of it counts in the session's memory. */
  heldBytes: number;
}

export interface EarlyDataOut {
  readonly bhs: Buffer;
  readonly data: Buffer;
  readonly digestOk: boolean;
}

/** A Data-In header with everything at rest. */
export function blankDataIn(): DataInPdu {
  return {
    final: false,
    acknowledge: false,
    overflow: false,
    underflow: false,
    hasStatus: false,
    status: 0,
    totalAHSLength: 0,
    dataSegmentLength: 0,
    lunHigh: 0,
    lunLow: 0,
    initiatorTaskTag: 0,
    targetTransferTag: RESERVED_TAG,
    statSN: 0,
    expCmdSN: 0,
    maxCmdSN: 0,
    dataSN: 0,
    bufferOffset: 0,
    residualCount: 0,
  };
}
