/** The JSON payloads of a move's control messages, checked at the door by schema. */
import { z } from 'zod';
import { MEMBERS_MAX, MOVE_BATCH_EXTENTS } from '../base/limits.js';

const attempt = z.object({
  extent: z.number().int().min(0),
  token: z.number().int().min(1).max(0xffffffff),
});

/** MOVE_SYNC: the attempts that must be known, and whether what was done to their holes must be made durable first. */
export const Seal = z.object({ attempts: z.array(attempt).max(MOVE_BATCH_EXTENTS), sync: z.boolean() });
export type Seal = z.infer<typeof Seal>;

export const SealAnswer = z.object({ incarnation: z.string().min(1).max(64) });
export type SealAnswer = z.infer<typeof SealAnswer>;

/** FENCE: whose sessions must be gone, and which processes are all that there are: I/O of any other must be gone, too (I8). */
export const Fence = z.object({
  volume: z.string().max(64),
  initiatorName: z.string().max(223),
  /** Of sessions that are to be gone whatever they are doing; null: those alone that were told to leave, or drain. */
  isid: z
    .string()
    .regex(/^[0-9a-f]{12}$/)
    .nullable(),
  present: z.array(z.object({ name: z.string().max(64), incarnation: z.string().max(64) })).max(MEMBERS_MAX),
});
export type Fence = z.infer<typeof Fence>;

/** VACATE: the home asks whether sessions of its volume are left; I/O of processes that are not present must be gone, too. */
export const Vacate = Fence.pick({ volume: true, present: true });
export type Vacate = z.infer<typeof Vacate>;

export const FenceAnswer = z.object({ fenced: z.number().int().min(0), stallMs: z.number().min(0) });
export type FenceAnswer = z.infer<typeof FenceAnswer>;

export function formatSeal(seal: Seal): Buffer {
  return Buffer.from(JSON.stringify(seal));
}

/** The destination has begun an attempt. */
export const BeginAnswer = z.object({
  /** How long its event loop has had nothing to do, ever: the pace of the copy depends on it. */
  loopIdleMs: z.number(),
});
export type BeginAnswer = z.infer<typeof BeginAnswer>;
