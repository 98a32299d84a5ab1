/**
 * What a reader of the recorded requests asks of a member and is told. Where it is, it keeps itself: a member knows no readers.
 */
import { z } from 'zod';
import { TRACE_ROWS_MAX } from '../base/limits.js';

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** The first row that a reader has not had. */
export const TraceCursor = z.object({
  /** A member records for as long as somebody reads, and the rows of each recording are counted anew. */
  recording: z.string().min(1).max(64),
  row: count,
});
export type TraceCursor = z.infer<typeof TraceCursor>;

/** QUERY {"what":"trace"}: from there on; without it, from now on. */
export const TraceQuestion = z.object({ after: TraceCursor.nullable().default(null) });

export const TraceAnswer = z.object({
  /** Number of a volume in `requests` → its name. */
  volumes: z.record(z.string(), z.string()),
  /** [wall-clock ms, number of the volume, read, offset in bytes, length in bytes] */
  requests: z.array(z.tuple([z.number(), z.number(), z.boolean(), count, count])).max(TRACE_ROWS_MAX),
  /** Rows that this reader has missed: they came faster than it asked. */
  dropped: count,
  next: TraceCursor,
});
export type TraceAnswer = z.infer<typeof TraceAnswer>;
