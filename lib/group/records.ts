/**
 * The records of the group store: their keys, their shapes, and the only place where they are parsed. A record that
 * does not parse is refused with its key in the error; nothing inside guesses.
 *
 *   group                         GroupRecord
 *   members/NAME                  MemberRecord     under the member's lease
 *   volumes/NAME                  VolumeRecord
 *   creations/NAME                CreationRecord   a full volume that is being made, or why there is none
 *   routes/NAME/head              RouteHeadRecord
 *   routes/NAME/chunks/N          RouteChunkRecord (absent: every extent of the chunk is held by head.base)
 *   moves/ID                      MoveRecord
 *   moving/VOLUME                 the id of the move under way: one per volume
 *   progress/MOVE/MEMBER          ProgressRecord   each source's own figures
 *   reservations/NAME             ReservationsRecord
 *   units/NAME                    UnitRecord
 *   balance/settings              BalanceRecord
 *   planner                       the member that carries a plan out, under a lease of its own: one at a time
 *   placements/VOLUME             PlacementRecord  (absent: anywhere)
 *   decisions/ID                  Decision         (balance/decision.ts)
 *   target-ports                  TargetPortsRecord
 */
import { z } from 'zod';
import { BalanceSettings, DEFAULT_SETTINGS } from '../balance/settings.js';
import { BlockferryError } from '../base/errors.js';
import {
  EXTENTS_MAX,
  EXTENT_BYTES_MAX,
  EXTENT_BYTES_MIN,
  LABELS_MAX,
  LABEL_PATTERN,
  MEMBERS_KNOWN_MAX,
  MEMBER_WEIGHT_MAX,
  MEMBER_WEIGHT_MIN,
  MEMBER_NAME_PATTERN,
  PRODUCT_DEFAULT,
  PRODUCT_PATTERN,
  REGISTRATIONS_MAX,
  SERIAL_PATTERN,
  STORE_VALUE_BYTES_MAX,
  VENDOR_DEFAULT,
  VENDOR_PATTERN,
  VOLUME_NAME_PATTERN,
} from '../base/limits.js';
import type { StoreEntry } from './store.js';

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const memberName = z.string().regex(MEMBER_NAME_PATTERN);
const volumeName = z.string().regex(VOLUME_NAME_PATTERN);
const address = z.object({ host: z.string().min(1).max(255), port: z.number().int().min(1).max(65535) });

export const GroupRecord = z.object({
  name: z.string().min(1).max(64),
  createdAtMs: count,
  /** The next volumeId to give out: short enough for a peer header. */
  nextVolumeId: z.number().int().min(1).max(0xffffffff),
});
export type GroupRecord = z.infer<typeof GroupRecord>;

export const MemberRecord = z.object({
  name: memberName,
  portal: address,
  peer: address,
  pid: count,
  /** Differs at every start, so that peers can tell a member from its predecessor. */
  incarnation: z.string().min(1).max(64),
  startedAtMs: count,
  /** Its number among the target ports, where every member serves every volume; absent: it redirects to the home. */
  targetPort: z.number().int().min(1).max(0xffff).optional(),
});
export type MemberRecord = z.infer<typeof MemberRecord>;

export const VolumeRecord = z.object({
  id: z.number().int().min(1).max(0xffffffff),
  name: volumeName,
  iqn: z.string().min(1).max(223),
  sizeBytes: count.min(512),
  blockBytes: z.union([z.literal(512), z.literal(4096)]),
  extentBytes: z.number().int().min(EXTENT_BYTES_MIN).max(EXTENT_BYTES_MAX),
  /** VPD 80h: 16 hexadecimal digits unless it was chosen. */
  serial: z.string().regex(SERIAL_PATTERN),
  /** VPD 83h, NAA 3h (locally assigned): 16 hexadecimal digits that begin with 3. */
  naa: z.string().regex(/^3[0-9a-f]{15}$/),
  createdAtMs: count,
  // The kind of unit. Records from before there were kinds have none of these.
  /** The medium can be ejected (RMB). */
  removable: z.boolean().default(false),
  /** Initiators may not write; a move may, since it copies. */
  readOnly: z.boolean().default(false),
  /** All of it is allocated, at every member, whatever is unmapped or cleared: fully provisioned. */
  full: z.boolean().default(false),
  vendor: z.string().regex(VENDOR_PATTERN).default(VENDOR_DEFAULT),
  product: z.string().regex(PRODUCT_PATTERN).default(PRODUCT_DEFAULT),
});
export type VolumeRecord = z.infer<typeof VolumeRecord>;

/** How far the home of a full volume is with allocating it. */
export const CreationRecord = z.object({
  volumeId: z.number().int().min(1).max(0xffffffff),
  allocatedBytes: count,
  /** Null: it goes on. If not, there is no such volume any more. */
  failure: z.object({ code: z.enum(['NO_SPACE', 'IO']), reason: z.string().max(1024) }).nullable(),
});
export type CreationRecord = z.infer<typeof CreationRecord>;

/** Extents per chunk of a route: a commit rewrites one chunk, so this bounds what it writes. */
export const ROUTE_CHUNK_EXTENTS = 4096;

export const VERIFIER_CHARS_MAX = 64;
const verifier = z.string().min(1).max(VERIFIER_CHARS_MAX);

export const RouteHeadRecord = z.object({
  epoch: count.min(1),
  home: memberName,
  /** Holds every extent that no chunk speaks of. */
  base: memberName,
  extents: z.number().int().min(1).max(EXTENTS_MAX),
  /**
   * By holder: the write verifier under which the oldest write was acknowledged that the home before may have left
   * unflushed there (storage/write-verifier.ts).
   */
  unflushed: z.record(memberName, verifier).optional(),
  /**
   * The write verifier of each that has given extents and has received none since, when it last gave; one that nobody knows
   * where its disk had lost something by then.
   */
  gave: z.record(memberName, verifier).optional(),
  /**
   * The epoch at which a member gave its last extents, and its disk had lost something by then; the last such one of each.
   * It stays, whoever holds what since: who has not read that epoch reads it here. One number a member, so it may.
   */
  lostAt: z.record(memberName, count).optional(),
  /** The epoch at which the home came: the home before knew what had been lost by then. Absent: the first, or not known. */
  homeSince: count.optional(),
});
export type RouteHeadRecord = z.infer<typeof RouteHeadRecord>;

/** Runs of (how many extents, their holder), in order, that fill the chunk. */
export const RouteChunkRecord = z.object({
  runs: z
    .array(z.tuple([z.number().int().min(1).max(ROUTE_CHUNK_EXTENTS), memberName]))
    .min(1)
    .max(ROUTE_CHUNK_EXTENTS),
});
export type RouteChunkRecord = z.infer<typeof RouteChunkRecord>;

export const MoveRecord = z.object({
  id: z.string().min(1).max(64),
  volume: volumeName,
  /** Home of the volume when the move was asked for. */
  from: memberName,
  /** Who held extents of the range then, without the destination; null where the whole volume moves. */
  sources: z.array(memberName).nullable().default(null),
  to: memberName,
  /** First and last extent, or null: the whole volume, its home included. */
  range: z.object({ first: count, last: count }).nullable(),
  /** Bytes per second at most, or null: as fast as the foreground allows. */
  rateBytesPerSecond: count.min(1).nullable(),
  /** Initiators at the home are asked to log out first, or dropped at once. */
  handover: z.enum(['ask', 'drop']),
  /** A write that the destination does not take fails, so that the host sends it again (I6); false: it stands. */
  strict: z.boolean().default(false),
  /** The balancer's: its decision, and who gives away by it. Null where somebody asked for the move. */
  balancing: z
    .object({ decision: z.string().max(64), from: memberName })
    .nullable()
    .default(null),
  state: z.enum(['active', 'done', 'failed', 'cancelled']),
  /** One line, '' unless failed. */
  error: z.string().max(1024),
  /** It failed by something else than its destination. */
  sparesDestination: z.boolean().default(false),
  createdAtMs: count,
  finishedAtMs: count.nullable(),
});
export type MoveRecord = z.infer<typeof MoveRecord>;

export const ProgressRecord = z.object({
  /** Extents this member had to give when it began, and has given. */
  extents: count,
  extentsDone: count,
  bytesCopied: count,
  bytesRecopied: count,
  restarts: count,
  /** Sessions this member handed over. */
  sessions: count,
  stallMsMax: z.number().min(0),
  /** The last failure of a destination, '' if none: what a slow move waits for. */
  lastError: z.string().max(1024),
});
export type ProgressRecord = z.infer<typeof ProgressRecord>;

/** Who has reserved a volume (SPC-4 5.13): absent until somebody first does. */
export const ReservationsRecord = z.object({
  /** A volume made anew under the same name has none of this. */
  volumeId: z.number().int().min(1).max(0xffffffff),
  generation: z.number().int().min(0).max(0xffffffff),
  aptpl: z.boolean(),
  registrations: z
    .array(z.object({ initiatorPort: z.string().min(1).max(245), key: z.string().regex(/^[0-9a-f]{16}$/) }))
    .max(REGISTRATIONS_MAX),
  persistent: z
    .object({ type: z.number().int().min(1).max(8), holder: z.string().max(245).nullable() })
    .nullable(),
  reservedBy: z.string().max(245).nullable(),
  /** The process that has the session of `reservedBy`: its reservation ends with it. '' for none. */
  reservedAt: z.string().max(64),
});
export type ReservationsRecord = z.infer<typeof ReservationsRecord>;

const sanitizeFailure = z.enum(['restricted', 'unrestricted']);

/** What of a unit its initiators have changed (SPC-4 7.5, SBC-3 5.25, SBC-4 4.11): absent until somebody first does. */
export const UnitRecord = z.object({
  /** A volume made anew under the same name has none of this. */
  volumeId: z.number().int().min(1).max(0xffffffff),
  modes: z.object({ writeCache: z.boolean(), descriptorSense: z.boolean(), writeProtected: z.boolean() }),
  hasMedium: z.boolean(),
  /** A sanitize operation under way, or how the last one failed. */
  sanitize: z.union([
    sanitizeFailure,
    z.object({
      overwrite: z
        .object({
          pattern: z.string().regex(/^([0-9a-f]{2}){1,4096}$/),
          passes: z.number().int().min(1).max(31),
          inverts: z.boolean(),
        })
        .nullable(),
      failure: sanitizeFailure,
    }),
    z.null(),
  ]),
});
export type UnitRecord = z.infer<typeof UnitRecord>;

export const Labels = z
  .record(z.string().regex(LABEL_PATTERN), z.string().regex(LABEL_PATTERN))
  .refine((labels) => Object.keys(labels).length <= LABELS_MAX, `more than ${LABELS_MAX} labels`);
export type Labels = z.infer<typeof Labels>;

/** How much a member takes beside the others, and what goes there. Outlives the member's lease. */
export const MemberShare = z.object({
  weight: z.union([z.literal(0), z.number().min(MEMBER_WEIGHT_MIN).max(MEMBER_WEIGHT_MAX)]).default(1),
  labels: Labels.default({}),
});
export type MemberShare = z.infer<typeof MemberShare>;

/** How the group balances itself. */
export const BalanceRecord = z.object({
  settings: BalanceSettings.default(DEFAULT_SETTINGS),
  members: z
    .record(memberName, MemberShare)
    .default({})
    .refine(
      (members) => Object.keys(members).length <= MEMBERS_KNOWN_MAX,
      `more than ${MEMBERS_KNOWN_MAX} members`,
    ),
});
export type BalanceRecord = z.infer<typeof BalanceRecord>;

/** Where a volume may be. */
export const PlacementRecord = z.object({
  /** A volume made anew under the same name has none of this. */
  volumeId: z.number().int().min(1).max(0xffffffff),
  isPinned: z.boolean(),
  labels: Labels,
});
export type PlacementRecord = z.infer<typeof PlacementRecord>;
/** Member → its number, whether it is in the group now or not. */
export const TargetPortsRecord = z.record(memberName, z.number().int().min(1).max(0xffff));

export const keys = {
  group: 'group',
  members: 'members/',
  member: (name: string) => `members/${name}`,
  volumes: 'volumes/',
  volume: (name: string) => `volumes/${name}`,
  routes: 'routes/',
  route: (volume: string) => `routes/${volume}/`,
  routeHead: (volume: string) => `routes/${volume}/head`,
  routeChunks: (volume: string) => `routes/${volume}/chunks/`,
  routeChunk: (volume: string, chunk: number) => `routes/${volume}/chunks/${String(chunk).padStart(5, '0')}`,
  moves: 'moves/',
  move: (id: string) => `moves/${id}`,
  movings: 'moving/',
  moving: (volume: string) => `moving/${volume}`,
  progress: (move: string) => `progress/${move}/`,
  progressOf: (move: string, member: string) => `progress/${move}/${member}`,
  creations: 'creations/',
  creation: (volume: string) => `creations/${volume}`,
  targetPorts: 'target-ports',
  reservations: 'reservations/',
  reservation: (volume: string) => `reservations/${volume}`,
  units: 'units/',
  unit: (volume: string) => `units/${volume}`,
  balances: 'balance/',
  balance: 'balance/settings',
  planner: 'planner',
  placements: 'placements/',
  placement: (volume: string) => `placements/${volume}`,
  decisions: 'decisions/',
  decision: (id: string) => `decisions/${id}`,
};

/** Null where the entry is no such record: for lists, of which one bad entry must not be in the way of the others. */
export function readRecord<T>(schema: z.ZodType<T>, entry: StoreEntry): T | null {
  try {
    return parseRecord(schema, entry);
  } catch {
    return null;
  }
}

/** Parses a store entry by its schema. Throws INVALID with the key and the first thing that is wrong with it. */
export function parseRecord<T>(schema: z.ZodType<T>, entry: StoreEntry): T {
  if (entry.value.length > STORE_VALUE_BYTES_MAX) {
    throw new BlockferryError(
      'INVALID',
      `store record ${entry.key} is larger than ${STORE_VALUE_BYTES_MAX} bytes`,
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(entry.value);
  } catch (cause) {
    throw new BlockferryError('INVALID', `store record ${entry.key} is not JSON`, undefined, { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new BlockferryError(
    'INVALID',
    `store record ${entry.key}: ${issue?.path.join('.')} ${issue?.message}`,
  );
}

/** The inverse of parseRecord. */
export function formatRecord(record: object): string {
  return JSON.stringify(record);
}
