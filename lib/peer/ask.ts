/** Control requests with a promise: QUERY, FENCE, MOVE_OPEN and their kin. Not for I/O. */
import { BlockferryError, type ErrorCode } from '../base/errors.js';
import { PeerRequest, PeerStatus, type PeerHub } from './contract.js';

export interface PeerAnswer {
  readonly status: number;
  /** Its own copy. */
  readonly payload: Buffer;
  readonly epoch: number;
}

/** The header's fields that matter for this request; the rest is 0. */
export type AskFields = Pick<PeerRequest, 'type'> &
  Partial<
    Pick<
      PeerRequest,
      'volumeId' | 'extent' | 'epoch' | 'token' | 'offsetBytes' | 'lengthBytes' | 'fua' | 'deadlineMs'
    >
  >;

class AskRequest extends PeerRequest {
  constructor(private readonly resolve: (answer: PeerAnswer) => void) {
    super();
  }
  override answered(status: number, payload: Buffer, epoch: number): void {
    this.resolve({ status, payload: Buffer.from(payload), epoch });
  }
}

/** Sends one request and resolves with its answer, whatever its status; never rejects. */
export function ask(
  hub: Pick<PeerHub, 'send'>,
  member: string,
  fields: AskFields,
  payload?: object | Buffer,
): Promise<PeerAnswer> {
  return new Promise((resolve) => {
    const request = Object.assign(new AskRequest(resolve), fields);
    if (payload !== undefined) {
      request.payload = Buffer.isBuffer(payload) ? payload : Buffer.from(JSON.stringify(payload));
    }
    hub.send(member, request);
  });
}

/** Sends JSON and resolves with the answer's JSON, unchecked. Throws a BlockferryError for any status but OK. */
export async function askJson(
  hub: Pick<PeerHub, 'send'>,
  member: string,
  fields: AskFields,
  payload?: object,
): Promise<unknown> {
  const answer = await ask(hub, member, fields, payload);
  if (answer.status !== PeerStatus.OK) throw answerError(member, answer);
  if (answer.payload.length === 0) return undefined;
  try {
    return JSON.parse(answer.payload.toString()) as unknown;
  } catch (cause) {
    throw new BlockferryError('PROTOCOL', `${member} answered something that is not JSON`, undefined, {
      cause,
    });
  }
}

const ERRORS: Record<number, readonly [ErrorCode, string]> = {
  [PeerStatus.STALE]: ['STALE', 'the epoch is not the current one'],
  [PeerStatus.NO_SPACE]: ['NO_SPACE', 'its disk is full'],
  [PeerStatus.IO_ERROR]: ['IO', 'its storage failed'],
  [PeerStatus.UNAVAILABLE]: ['UNAVAILABLE', 'it is not ready'],
  [PeerStatus.REFUSED]: ['PROTOCOL', 'it refuses the request'],
  [PeerStatus.NOT_FOUND]: ['NOT_FOUND', 'it does not know that'],
  [PeerStatus.LINK_LOST]: ['UNAVAILABLE', 'it cannot be reached'],
  [PeerStatus.DEADLINE]: ['UNAVAILABLE', 'it did not answer in time'],
};

/** An answer that is not OK, as an error. */
export function answerError(member: string, answer: PeerAnswer): BlockferryError {
  const [code, text] = ERRORS[answer.status] ?? ['PROTOCOL', `status ${answer.status}`];
  return new BlockferryError(code, `member ${member}: ${answer.payload.toString() || text}`);
}
