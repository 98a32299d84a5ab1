/** Load vectors for tests: of an idle member, with what a test changes. */
import { LoadVector } from '../../lib/load/vector.js';

export function vectorOf(member: string, changes: Partial<LoadVector> = {}): LoadVector {
  return LoadVector.parse({
    member,
    incarnation: `${member}-1`,
    sequence: 1,
    measuredAtMs: 0,
    windowMs: 1000,
    server: {
      processors: 0,
      loopBusy: 0,
      loopDelayMsP99: 0,
      sessions: 0,
      bytesIn: 0,
      bytesOut: 0,
      roundTripMs: {},
    },
    storage: {
      readsPerSecond: 0,
      writesPerSecond: 0,
      readBytesPerSecond: 0,
      writeBytesPerSecond: 0,
      queueDepth: 0,
      serviceMs: { mean: 0, p50: 0, p99: 0 },
      usedBytes: 0,
      freeBytes: 0,
    },
    volumes: [],
    ...changes,
  });
}
