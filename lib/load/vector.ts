/**
 * The load vector: what a member measured of itself over its last window, as it tells the others. A vector is data: it
 * says nothing about how it was measured (monitor.ts), who has it (board.ts), or what should follow (balance/).
 *
 * Rates are per second of the window, sizes in bytes, times in milliseconds, shares from 0 to 1.
 */
import { z } from 'zod';
import {
  EXTENTS_MAX,
  HOT_EXTENTS_MAX,
  LOADED_VOLUMES_MAX,
  MEMBERS_KNOWN_MAX,
  MEMBER_NAME_PATTERN,
  VOLUME_NAME_PATTERN,
} from '../base/limits.js';

const measure = z.number().min(0).max(Number.MAX_SAFE_INTEGER);
const share = z.number().min(0).max(1);
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const memberName = z.string().regex(MEMBER_NAME_PATTERN);

/** What initiators make of a volume, as far as its extents at one member see it. */
export const TrafficPattern = z.object({
  kind: z.enum(['idle', 'sequential-read', 'sequential-write', 'random-read', 'random-write', 'mixed']),
  readShare: share,
  /** The mean size of a request. */
  requestBytes: measure,
  /** Of requests that begin where an earlier one ended. */
  sequentialShare: share,
  /** Coefficient of variation of the requests over the slices of the last windows: 0 is steady, above 1 comes in bursts. */
  burstiness: measure,
  /** Initiators with a session here; 0 at a member that only holds extents. */
  initiators: count,
});
export type TrafficPattern = z.infer<typeof TrafficPattern>;

/** The requests for one volume that this member's extents served. */
export const VolumeLoad = z.object({
  volume: z.string().regex(VOLUME_NAME_PATTERN),
  readsPerSecond: measure,
  writesPerSecond: measure,
  readBytesPerSecond: measure,
  writeBytesPerSecond: measure,
  /** From submission to completion at this member's storage, the mean. */
  serviceMs: measure,
  pattern: TrafficPattern,
  /** [extent, requests per second] of the hottest, the hottest first; the rest of the requests went to the others. */
  hot: z
    .array(
      z.tuple([
        z
          .number()
          .int()
          .min(0)
          .max(EXTENTS_MAX - 1),
        measure,
      ]),
    )
    .max(HOT_EXTENTS_MAX),
});
export type VolumeLoad = z.infer<typeof VolumeLoad>;

export const LoadVector = z.object({
  member: memberName,
  /** Which process of the member: its numbers begin anew. */
  incarnation: z.string().min(1).max(64),
  /** Grows by one a window. */
  sequence: count,
  /** By the member's own wall clock, for people; who receives it dates it by its own (board.ts). */
  measuredAtMs: count,
  windowMs: measure,
  server: z.object({
    /** Processors in use by the process: 1 is one of them, whole. */
    processors: measure,
    /** Of the event loop's time that was not spent waiting for something to do. */
    loopBusy: share,
    loopDelayMsP99: measure,
    sessions: count,
    /** iSCSI, all sessions: what came from initiators, what went to them. */
    bytesIn: measure,
    bytesOut: measure,
    /** The last round trip to each peer that answered. */
    roundTripMs: z.record(memberName, measure).refine((all) => Object.keys(all).length <= MEMBERS_KNOWN_MAX),
  }),
  storage: z.object({
    readsPerSecond: measure,
    writesPerSecond: measure,
    readBytesPerSecond: measure,
    writeBytesPerSecond: measure,
    /** Requests in the storage at a time, the mean. */
    queueDepth: measure,
    serviceMs: z.object({ mean: measure, p50: measure, p99: measure }),
    /** Taken by volumes, and left on the disk under the data folder. */
    usedBytes: measure,
    freeBytes: measure,
  }),
  /** The volumes with the most requests, the busiest first; idle ones are left out. */
  volumes: z.array(VolumeLoad).max(LOADED_VOLUMES_MAX),
});
export type LoadVector = z.infer<typeof LoadVector>;

/** Requests that the member's storage served a second: what shares are made of. */
export function requestsPerSecond({ storage }: LoadVector): number {
  return storage.readsPerSecond + storage.writesPerSecond;
}

/** A vector as somebody else has it. */
export const DatedVector = z.object({
  vector: LoadVector,
  /** Since it was measured, as far as can be known: what it says is older than this. */
  ageMs: measure,
  /** Young enough to act on. */
  isFresh: z.boolean(),
});
export type DatedVector = Readonly<z.infer<typeof DatedVector>>;

/** A whole board, as a member answers QUERY {"what":"loads"}. */
export const DatedVectors = z.array(DatedVector).max(MEMBERS_KNOWN_MAX);
