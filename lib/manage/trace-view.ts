/** The requests that members have recorded since a reader last asked, as one list. The reader keeps where it is at each. */
import { z } from 'zod';
import { BlockferryError } from '../base/errors.js';
import { MEMBERS_MAX, MEMBER_NAME_PATTERN } from '../base/limits.js';
import { TraceAnswer, TraceCursor } from '../load/trace-cursor.js';
import type { PeerHub } from '../peer/contract.js';
import type { TraceView } from './api.js';
import { queryMember } from './query.js';

/** Member → where the reader is there. */
type Cursors = ReadonlyMap<string, TraceCursor>;

const CursorPairs = z.array(z.tuple([z.string().regex(MEMBER_NAME_PATTERN), TraceCursor])).max(MEMBERS_MAX);

/**
 * @param members that are up
 * @param after TraceView.next of the reader's last answer; undefined: it reads from now on
 * @throws INVALID (`after` is of nobody here)
 */
export async function traceOf(
  hub: PeerHub,
  members: readonly string[],
  after: string | undefined,
): Promise<TraceView> {
  const cursors = after === undefined ? new Map<string, TraceCursor>() : cursorsOf(after);
  const answers = await Promise.all(
    members.map((member) =>
      queryMember(hub, member, 'trace', TraceAnswer, { after: cursors.get(member) ?? null }),
    ),
  );
  const told = answers.flatMap((answer) => answer ?? []);
  const requests = told.flatMap((answer) =>
    answer.requests.map(([timeMs, volume, isRead, offset, length]): TraceView['requests'][number] => [
      timeMs,
      answer.volumes[volume] ?? `deleted-${volume}`,
      isRead,
      offset,
      length,
    ]),
  );
  return {
    requests: requests.sort(([a], [b]) => a - b),
    dropped: told.reduce((sum, { dropped }) => sum + dropped, 0),
    silent: members.filter((_, i) => answers[i] === undefined),
    next: nextOf(cursors, members, answers),
  };
}

/** At a member that is silent, or away for a moment, the reader keeps its place. As text that may stand in an address. */
function nextOf(
  before: Cursors,
  members: readonly string[],
  answers: readonly (TraceAnswer | undefined)[],
): string {
  const answered = members.flatMap((member, i) => (answers[i] ? [[member, answers[i].next] as const] : []));
  const names = new Set(answered.map(([member]) => member));
  const kept = [...before].filter(([member]) => !names.has(member));
  return Buffer.from(JSON.stringify([...answered, ...kept].slice(0, MEMBERS_MAX))).toString('base64url');
}

function cursorsOf(text: string): Cursors {
  try {
    return new Map(CursorPairs.parse(JSON.parse(Buffer.from(text, 'base64url').toString())));
  } catch {
    throw new BlockferryError('INVALID', "'after' is not what an earlier answer has as 'next'");
  }
}
