/**
 * What two processes say before requests flow, and how it is judged: pure, without sockets. HELLO and WELCOME carry a
 * magic number in the header's token, so that a stranger on the port is told so, and JSON as payload.
 *
 * Digests. The frames of the handshake always carry them: they are few, and a fence depends on their rounds. From READY on
 * frames carry them when either end wants it: the stricter wins, so that members can be given the option one after the
 * other, and a member that has it is safe from the first one on. Both ends know both hellos, so there is no more to say.
 * They are off unless asked for: a forwarded 4 KiB read takes about 2 µs more at each end, and its IOPS fall by a fifth
 * (`make bench ONLY=peer-digests`). TCP's own checksum lets one damaged segment in 65,536 through.
 */
import { z } from 'zod';
import { BlockferryError } from '../base/errors.js';
import { MEMBER_NAME_PATTERN } from '../base/limits.js';
import { frameError } from './frame.js';

/** "BFPR" */
export const HELLO_MAGIC = 0x52504642;
/** The versions of this protocol that we speak. */
export const PEER_VERSION_MIN = 1;
export const PEER_VERSION_MAX = 1;
/** A hello is a few short names; a refusal is a line. */
export const HELLO_BYTES_MAX = 1024;

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const Hello = z.object({
  versionMin: count,
  versionMax: count,
  group: z.string().min(1).max(64),
  /** '' for the management process. */
  member: z.union([z.literal(''), z.string().regex(MEMBER_NAME_PATTERN)]),
  incarnation: z.string().min(1).max(64),
  /** See PeerSelf; '' of those that do not know any. */
  verifier: z.string().max(64).default(''),
  /** How often this process has lost its links to the other: links from an earlier round are dead (association.ts). */
  round: count,
  /** Whether the sender wants digests in every frame. */
  digests: z.boolean(),
});
export type Hello = z.infer<typeof Hello>;

/** Who we are, for every hello. */
export interface PeerSelf {
  readonly group: string;
  /** '' for the management process. */
  readonly name: string;
  readonly incarnation: string;
  /** Another one when writes that we acknowledged and that nobody flushed may be gone (storage/write-verifier.ts). */
  readonly verifier: string;
  /** Wants digests in every frame. */
  readonly digests: boolean;
}

/** What two hellos come to. */
export interface LinkTerms {
  readonly version: number;
  readonly digests: boolean;
}

export function encodeHello(self: PeerSelf, round: number): Buffer {
  const hello: Hello = {
    versionMin: PEER_VERSION_MIN,
    versionMax: PEER_VERSION_MAX,
    group: self.group,
    member: self.name,
    incarnation: self.incarnation,
    verifier: self.verifier,
    round,
    digests: self.digests,
  };
  return Buffer.from(JSON.stringify(hello));
}

/** Throws PROTOCOL when these are not the words of a Blockferry. */
export function decodeHello(magic: number, payload: Buffer): Hello {
  if (magic !== HELLO_MAGIC) throw frameError('not a Blockferry peer (wrong magic number)');
  let json: unknown;
  try {
    json = JSON.parse(payload.toString());
  } catch {
    throw frameError('the hello is not JSON');
  }
  const parsed = Hello.safeParse(json);
  if (!parsed.success)
    throw frameError(`the hello's ${parsed.error.issues[0]?.path.join('.') ?? ''} is wrong`);
  return parsed.data;
}

/** Throws PROTOCOL when there is no version that both speak, or when the other is of another group. */
export function negotiate(self: PeerSelf, hello: Hello): LinkTerms {
  const version = Math.min(PEER_VERSION_MAX, hello.versionMax);
  if (version < Math.max(PEER_VERSION_MIN, hello.versionMin)) {
    throw new BlockferryError(
      'PROTOCOL',
      `peer protocol ${hello.versionMin} to ${hello.versionMax} is not spoken here (${PEER_VERSION_MIN} to ${PEER_VERSION_MAX})`,
      'run the same release of Blockferry on every member',
    );
  }
  if (hello.group !== self.group) {
    throw new BlockferryError(
      'PROTOCOL',
      `this is group '${self.group}', not '${hello.group}'`,
      'check the peer addresses',
    );
  }
  return { version, digests: self.digests || hello.digests };
}
