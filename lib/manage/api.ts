/**
 * The shapes of the management API, version 1: what goes in and what comes out, shared by the server and its client.
 * Sizes in bytes, dates in milliseconds since 1970, addresses as HOST:PORT.
 *
 *   GET    /v1/status                 StatusView
 *   GET    /v1/members                MemberView[]
 *   GET    /v1/volumes                VolumeView[]
 *   POST   /v1/volumes                CreateVolume → VolumeView: a full one is there when that says `allocating: null`
 *   GET    /v1/volumes/NAME           VolumeView
 *   DELETE /v1/volumes/NAME           {}
 *   PATCH  /v1/volumes/NAME           SetVolume → VolumeView: where the balancer may put it
 *   GET    /v1/volumes/NAME/route     RouteView
 *   GET    /v1/sessions               SessionsView
 *   GET    /v1/trace?after=NEXT       TraceView: the requests since the answer with that `next`; without it from now on
 *   GET    /v1/loads                  LoadsView
 *   GET    /v1/moves                  MoveView[], the newest first
 *   POST   /v1/moves                  CreateMove → MoveView
 *   GET    /v1/moves/ID               MoveView
 *   DELETE /v1/moves/ID               MoveView: asks the move to stop and undo what is not committed
 *   GET    /v1/balance                BalanceView
 *   PATCH  /v1/balance                SetBalance → BalanceView
 *   GET    /v1/decisions              DecisionView[], the newest first
 *
 * A failure is {error: {code, message, hint?}} with a fitting HTTP status.
 */
import { z } from 'zod';
import { Decision } from '../balance/decision.js';
import { BalanceSettings, BalanceSettingsChange } from '../balance/settings.js';
import {
  EXTENT_BYTES_MAX,
  EXTENT_BYTES_MIN,
  LABEL_PATTERN,
  MEMBER_NAME_PATTERN,
  MEMBER_WEIGHT_MAX,
  MEMBER_WEIGHT_MIN,
  PRODUCT_PATTERN,
  SERIAL_PATTERN,
  VENDOR_PATTERN,
  VOLUME_NAME_PATTERN,
} from '../base/limits.js';
import { LoadVector } from '../load/vector.js';

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const memberName = z.string().regex(MEMBER_NAME_PATTERN, 'is no member name');
const volumeName = z.string().regex(VOLUME_NAME_PATTERN, 'is no volume name');
const extentRange = z.strictObject({ first: count, last: count });

export const CreateVolume = z.strictObject({
  name: volumeName,
  size: count.min(1),
  /** Absent: the member with the least to serve. */
  home: memberName.optional(),
  extentSize: z.number().int().min(EXTENT_BYTES_MIN).max(EXTENT_BYTES_MAX).optional(),
  blockSize: z.union([z.literal(512), z.literal(4096)]).optional(),
  /** The medium can be ejected. */
  removable: z.boolean().optional(),
  /** Initiators may not write. */
  readOnly: z.boolean().optional(),
  /** Takes all of its space, always; it is there when its view says `allocating: null`. Thin otherwise. */
  full: z.boolean().optional(),
  /** What hosts know it by (VPD 80h); absent: one of its own. */
  serial: z.string().regex(SERIAL_PATTERN, 'is no serial').optional(),
  vendor: z.string().regex(VENDOR_PATTERN, 'is no vendor').optional(),
  product: z.string().regex(PRODUCT_PATTERN, 'is no product').optional(),
});
export type CreateVolume = z.infer<typeof CreateVolume>;

export const CreateMove = z.strictObject({
  volume: volumeName,
  to: memberName,
  /** Both included; absent or null: the whole volume and its home. */
  extents: extentRange.nullish(),
  /** Bytes per second at most. */
  rate: count.min(1).nullish(),
  handover: z.enum(['ask', 'drop']).optional(),
  /** A write that the destination does not take fails (CHECK CONDITION) instead of standing at the source alone. */
  strict: z.boolean().optional(),
});
export type CreateMove = z.infer<typeof CreateMove>;

/** How much a member takes beside the others. */
export const MemberWeight = z
  .number()
  .refine(
    (weight) => weight === 0 || (weight >= MEMBER_WEIGHT_MIN && weight <= MEMBER_WEIGHT_MAX),
    `is neither 0 nor between ${MEMBER_WEIGHT_MIN} and ${MEMBER_WEIGHT_MAX}`,
  );
const label = z.string().regex(LABEL_PATTERN, 'is no label');
/** Null takes the label away. */
const labelChanges = z.record(label, label.nullable());
const labels = z.record(z.string(), z.string());

export const SetVolume = z.strictObject({ pinned: z.boolean().optional(), labels: labelChanges.optional() });
export type SetVolume = z.infer<typeof SetVolume>;

export const SetBalance = z.strictObject({
  /** What is absent stays. */
  settings: BalanceSettingsChange.optional(),
  members: z
    .record(
      memberName,
      z.strictObject({
        weight: MemberWeight.optional(),
        labels: labelChanges.optional(),
      }),
    )
    .optional(),
});
export type SetBalance = z.infer<typeof SetBalance>;

export const BalanceView = z.object({
  settings: BalanceSettings,
  /** Members of which anything was said; all others have the weight 1 and no labels. */
  members: z.record(z.string(), z.object({ weight: z.number(), labels })),
  /** Volumes that are left where they are since what was said of them cannot be read, and why not. */
  unreadable: z.record(z.string(), z.string()),
});
export type BalanceView = z.infer<typeof BalanceView>;

export const DecisionView = Decision;
export type DecisionView = z.infer<typeof DecisionView>;
/** Who serves a volume: its home, to which the others redirect, or every member, which passes commands to it (ALUA). */
export const Access = z.enum(['redirect', 'alua']);
export type Access = z.infer<typeof Access>;

export const MemberView = z.object({
  name: z.string(),
  portal: z.string(),
  peer: z.string(),
  pid: count,
  startedAtMs: count,
  /** Holds a lease now. A member that does not is being started again, or gone. */
  alive: z.boolean(),
  access: Access.default('redirect'),
});
export type MemberView = z.infer<typeof MemberView>;

export const VolumeView = z.object({
  name: z.string(),
  iqn: z.string(),
  size: count,
  blockSize: count,
  extentSize: count,
  extents: count,
  home: z.string(),
  epoch: count,
  /** How many extents each member holds. */
  holders: z.record(z.string(), count),
  removable: z.boolean(),
  readOnly: z.boolean(),
  full: z.boolean(),
  /** Bytes that a full volume has got of its space so far; null: the volume is there. */
  allocating: count.nullable(),
  serial: z.string(),
  vendor: z.string(),
  product: z.string(),
  naa: z.string(),
  url: z.string(),
  /** The balancer leaves it where it is. */
  pinned: z.boolean(),
  labels,
  /** Why it is pinned although nobody may have asked for that: what was said of it cannot be read. '' where it can. */
  unreadable: z.string(),
  /** The id of the move under way, or null. */
  moving: z.string().nullable(),
});
export type VolumeView = z.infer<typeof VolumeView>;

export const RouteView = z.object({
  volume: z.string(),
  epoch: count,
  home: z.string(),
  extents: count,
  /** In order, covering every extent once. */
  runs: z.array(z.object({ first: count, last: count, holder: z.string() })),
});
export type RouteView = z.infer<typeof RouteView>;

export const MoveView = z.object({
  id: z.string(),
  volume: z.string(),
  /** The home that it leaves; of extents those that held them, 'm1, m3', or `to` where all of them were there already. */
  from: z.string(),
  to: z.string(),
  range: z.object({ first: count, last: count }).nullable(),
  /** The balancer's decision behind it, '' where somebody asked for it. */
  decision: z.string(),
  state: z.enum(['active', 'done', 'failed', 'cancelled']),
  error: z.string(),
  createdAtMs: count,
  finishedAtMs: count.nullable(),
  /** The figures of all sources together. */
  extents: count,
  extentsDone: count,
  bytesCopied: count,
  bytesRecopied: count,
  restarts: count,
  sessions: count,
  stallMsMax: z.number(),
  /** What it waits for, '' when nothing is wrong. */
  lastError: z.string(),
});
export type MoveView = z.infer<typeof MoveView>;

export const SessionView = z.object({
  member: z.string(),
  volume: z.string(),
  initiator: z.string(),
  isid: z.string(),
  /** HOST:PORT of the initiator. */
  remote: z.string(),
  sinceMs: count,
  commands: count,
  bytesRead: count,
  bytesWritten: count,
  inFlight: count,
});
export type SessionView = z.infer<typeof SessionView>;

export const SessionsView = z.object({
  sessions: z.array(SessionView),
  /** Members that did not answer: their sessions are missing above. */
  silent: z.array(z.string()),
});
export type SessionsView = z.infer<typeof SessionsView>;

export const TraceView = z.object({
  /** [ms since 1970, volume, read, offset, length], by time. */
  requests: z.array(z.tuple([z.number(), z.string(), z.boolean(), count, count])),
  /** Requests that are missing: they came faster than this reader asked for them. */
  dropped: count,
  /** Members that did not answer: what they have comes later, as far as they still have it then. */
  silent: z.array(z.string()),
  /** To be given back as `after`, as it is. Each reader has one of its own, and all of them all requests. */
  next: z.string(),
});
export type TraceView = z.infer<typeof TraceView>;

/** The query of GET /v1/trace. */
export const TraceAfter = z.strictObject({ after: z.string().optional() });

export const MemberLoadView = z.object({
  name: z.string(),
  /** Null: nothing is known of it yet. */
  vector: LoadVector.nullable(),
  /** Since it was measured; null without a vector. */
  ageMs: z.number().nullable(),
  /** Too old to act on, or not known at all. */
  stale: z.boolean(),
  /** Of the requests a second that the members with a fresh vector serve, 0 to 1; null without one. */
  share: z.number().nullable(),
  /** The same over the fair share: 1 is as much as everybody else. */
  overFair: z.number().nullable(),
});
export type MemberLoadView = z.infer<typeof MemberLoadView>;

export const LoadsView = z.object({
  /** The member whose board this is; null: none answered. */
  from: z.string().nullable(),
  members: z.array(MemberLoadView),
});
export type LoadsView = z.infer<typeof LoadsView>;

export const StatusView = z.object({
  group: z.string(),
  portal: z.string(),
  manage: z.string(),
  members: z.array(MemberView),
  volumes: z.array(VolumeView),
  /** Under way only. */
  moves: z.array(MoveView),
});
export type StatusView = z.infer<typeof StatusView>;

/** The one line of JSON by which `blockferry up` says that the group is ready: scripts depend on it. */
export const GroupReady = z.strictObject({
  group: z.string(),
  portal: z.string(),
  manage: z.string(),
  members: z.array(MemberView.pick({ name: true, portal: true, pid: true }).strict()),
  volumes: z.array(VolumeView.pick({ name: true, iqn: true, size: true, home: true, url: true }).strict()),
});
export type GroupReady = z.infer<typeof GroupReady>;

export const ErrorAnswer = z.object({
  error: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }),
});

/** What initiators (libiscsi's tools, QEMU) take as the name of a disk. */
export function volumeUrl(portal: string, iqn: string): string {
  return `iscsi://${portal}/${iqn}/0`;
}
