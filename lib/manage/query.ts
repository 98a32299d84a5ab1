/** What the management process asks of one member, by QUERY. */
import type { z } from 'zod';
import { QUERY_DEADLINE_MS } from '../base/limits.js';
import { askJson } from '../peer/ask.js';
import { PeerType, type PeerHub } from '../peer/contract.js';

/**
 * Undefined when the member does not answer, or not in that shape: it is shown as silent.
 * @param more of the question
 */
export async function queryMember<T>(
  hub: PeerHub,
  member: string,
  what: 'sessions' | 'loads' | 'trace',
  shape: z.ZodType<T>,
  more: object = {},
): Promise<T | undefined> {
  try {
    const fields = { type: PeerType.QUERY, deadlineMs: QUERY_DEADLINE_MS };
    return shape.parse(await askJson(hub, member, fields, { what, ...more }));
  } catch {
    return undefined;
  }
}
