/**
 * CHAP as iSCSI has it (RFC 7143 12.1.3, RFC 1994): algorithms, the response to a challenge, and how both are written.
 * Whose secret it is, and who may be asked for it, is the two sides' own affair.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { putUint32 } from '../../base/bytes.js';
import { BINARY_VALUE_BYTES_MAX } from '../../base/limits.js';
import type { Random } from '../../base/random.js';
import { parseBinary, parseNumber } from './text-keys.js';

export interface ChapAlgorithm {
  /** CHAP_A (IANA, "iSCSI CHAP algorithms"). */
  readonly code: number;
  /** As Node's crypto calls it. */
  readonly hash: string;
  readonly responseBytes: number;
}

/** The strongest first: the order in which our initiator proposes them. */
export const CHAP_ALGORITHMS: readonly ChapAlgorithm[] = [
  { code: 8, hash: 'sha3-256', responseBytes: 32 },
  { code: 7, hash: 'sha256', responseBytes: 32 },
  { code: 6, hash: 'sha1', responseBytes: 20 },
  { code: 5, hash: 'md5', responseBytes: 16 },
];

/** The first algorithm of the proposal ("7,5") that we know (6.2.1): its order is the proposer's. */
export function chooseAlgorithm(proposal: string): ChapAlgorithm | undefined {
  for (const code of proposal.split(',').map(parseNumber)) {
    const known = CHAP_ALGORITHMS.find((algorithm) => algorithm.code === code);
    if (known !== undefined) return known;
  }
  return undefined;
}

/** RFC 1994 4.1: the hash of identifier, secret and challenge. */
export function chapResponse(
  algorithm: ChapAlgorithm,
  identifier: number,
  secret: string,
  challenge: Buffer,
): Buffer {
  return createHash(algorithm.hash)
    .update(Uint8Array.of(identifier))
    .update(secret, 'utf8')
    .update(challenge)
    .digest();
}

/** In a time that does not tell how much of it is right. */
export function isSameResponse(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** As long as the strongest response, so that nothing is gained by guessing it. */
export function makeChallenge(random: Random): Buffer {
  const challenge = Buffer.alloc(32);
  for (let at = 0; at < challenge.length; at += 4) putUint32(challenge, random.uint32(), at);
  return challenge;
}

/** CHAP_I: one byte. */
export function parseIdentifier(value: string): number | undefined {
  const number = parseNumber(value);
  return number >= 0 && number <= 255 ? number : undefined;
}

/** CHAP_C or CHAP_R, at most 1024 bytes (12.1.3). */
export function parseChapBinary(value: string): Buffer | undefined {
  const bytes = parseBinary(value);
  return bytes !== undefined && bytes.length > 0 && bytes.length <= BINARY_VALUE_BYTES_MAX
    ? bytes
    : undefined;
}

export function formatChapBinary(bytes: Buffer): string {
  return `0x${bytes.toString('hex')}`;
}
