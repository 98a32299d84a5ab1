/** Who has sent a request to a home: a process of a member, and which session or copy of its own it speaks of. */
import type { IncomingRequest } from '../peer/contract.js';

/** The token is the number of the session, or of the copy. */
export type Sender = Pick<IncomingRequest, 'from' | 'incarnation' | 'token'>;

export function isSameSender(one: Sender, other: Sender): boolean {
  return one.incarnation === other.incarnation && one.from === other.from && one.token === other.token;
}
