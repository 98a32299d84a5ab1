/** What members say to the home of a volume about commands of their sessions: JSON, checked at the door by schema. */
import { z } from 'zod';
import { CONNECTIONS_MAX } from '../base/limits.js';
import type { Refusal } from '../scsi/task.js';

/** One process of a member. */
export const Server = z.object({ name: z.string().max(64), incarnation: z.string().max(64) });
export type Server = z.infer<typeof Server>;

/** Who serves a nexus that nobody has served yet. */
export const NOBODY: Server = { name: '', incarnation: '' };

const number = z.number().int().min(1).max(0xffffffff);

/** NEXUS_BEGAN: a session whose commands follow under the number in the header's token. */
export const NexusBegan = z.object({
  initiatorName: z.string().min(1).max(223),
  initiatorPortName: z.string().min(1).max(245),
  /** Who has served it last: it is told when that was somebody else. */
  before: Server,
  /** Every session that there is of this unit at the sender: what the home knows of others has ended. */
  live: z.array(number).max(CONNECTIONS_MAX),
});
export type NexusBegan = z.infer<typeof NexusBegan>;

/** GUEST_BEGAN: a copy whose pieces follow under the number in the header's token; GUEST_ENDED: it has ended. */
export const CopyOf = z.object({ initiatorName: z.string().min(1).max(223) });
export type CopyOf = z.infer<typeof CopyOf>;

/** The answer of GUEST_ENDED. */
export const GuestEnded = z.object({
  /** The process that says so. */
  incarnation: z.string().max(64),
  /** The copy had been told to end there. */
  wasAborted: z.boolean(),
});
export type GuestEnded = z.infer<typeof GuestEnded>;

/** TASK_SET: see DeviceServer. */
export const TaskSet = z.object({ what: z.enum(['reset', 'clear']) });
export type TaskSet = z.infer<typeof TaskSet>;

const byte = z.number().int().min(0).max(0xff);
const word = z.number().int().min(0).max(0xffff);
const plainSense = {
  senseKey: z.number().int().min(0).max(15),
  asc: byte,
  ascq: byte,
  information: z.number().int().min(0).exactOptional(),
  field: z
    .object({
      inCdb: z.boolean(),
      inSegment: z.boolean().exactOptional(),
      byte: word,
      bit: byte.exactOptional(),
    })
    .exactOptional(),
  progress: word.exactOptional(),
};
/** What another unit said to a copy: of no copy of its own. */
const copyAnswer = z.object({
  by: z.enum(['source', 'destination']),
  status: byte,
  sense: z.object(plainSense).nullable(),
});
const sense = z.object({
  ...plainSense,
  copy: z.object({ segment: word, answer: copyAnswer.exactOptional() }).exactOptional(),
});

/** NOT_GOOD: how a command ended. */
const NotGood = z.object({
  status: byte,
  sense: sense.nullable(),
  /** How the unit is set to say it (D_SENSE). */
  descriptorSense: z.boolean(),
});
export type NotGood = z.infer<typeof NotGood>;

export function formatNotGood(refusal: Refusal, descriptorSense: boolean): Buffer {
  return Buffer.from(JSON.stringify({ ...refusal, descriptorSense }));
}

/** Null when it is not what a home says. */
export function parseNotGood(payload: Buffer): NotGood | null {
  return parseMessage(NotGood, payload);
}

/** Null when it is none. */
export function parseMessage<T>(schema: z.ZodType<T>, payload: Buffer): T | null {
  try {
    return schema.parse(JSON.parse(payload.toString('utf8')));
  } catch {
    return null;
  }
}
