/** What a file's I/O did to the event loop; read by the metrics, written by the reader and the writer. */
export interface IoCounters {
  /** Reads answered at once on the event loop. */
  hits: number;
  /** Reads that the disk had to answer. */
  misses: number;
  /** Writes on the event loop that took longer than SLOW_WRITE_MS. */
  slowWrites: number;
  /** The longest that one call held the event loop. Reads that cannot wait are not timed. */
  longestPauseMs: number;
}

export function newCounters(): IoCounters {
  return { hits: 0, misses: 0, slowWrites: 0, longestPauseMs: 0 };
}

export function notePause(counters: IoCounters, durationMs: number): void {
  if (durationMs > counters.longestPauseMs) counters.longestPauseMs = durationMs;
}
