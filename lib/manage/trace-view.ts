/** The requests that members have recorded since they were last asked, as one list. */
import { z } from 'zod';
import { TRACE_ROWS_MAX } from '../base/limits.js';
import type { PeerHub } from '../peer/contract.js';
import type { TraceView } from './api.js';
import { queryMember } from './query.js';

/** What a member answers to QUERY {"what":"trace"} (member/trace-recorder.ts). */
const TraceAnswer = z.object({
  volumes: z.record(z.string(), z.string()),
  requests: z
    .array(z.tuple([z.number(), z.number(), z.boolean(), z.number(), z.number()]))
    .max(TRACE_ROWS_MAX),
  dropped: z.number(),
});

/** @param members that are up */
export async function traceOf(hub: PeerHub, members: readonly string[]): Promise<TraceView> {
  const answers = await Promise.all(members.map((member) => queryMember(hub, member, 'trace', TraceAnswer)));
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
  };
}
