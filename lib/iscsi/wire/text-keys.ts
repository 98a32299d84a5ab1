/**
 * The text of Login and Text PDUs: key=value pairs, each ended by a NUL (RFC 7143 6.1, 6.2). It knows the form, not the
 * meaning of any key: that is negotiation.ts's.
 */
import { BlockferryError } from '../../base/errors.js';
import {
  DISCOVERY_BYTES_MAX,
  DISCOVERY_KEYS_MAX,
  TEXT_BYTES_MAX,
  TEXT_KEYS_MAX,
  TEXT_NAME_BYTES_MAX,
  TEXT_VALUE_BYTES_MAX,
} from '../../base/limits.js';

export interface TextPair {
  readonly key: string;
  readonly value: string;
}

/**
 * RFC 7143 6.1 asks for a capital first, and 13.24 breaks its own rule: iSCSIProtocolLevel. A "#" is in the names of
 * public extensions: X#NodeArchitecture (13.26).
 */
const KEY_PATTERN = /^[A-Za-z][A-Za-z0-9.\-+@_#]*$/;

function malformed(detail: string): BlockferryError {
  return new BlockferryError('PROTOCOL', `malformed text: ${detail}`);
}

/** What a text may cost: a negotiation is short, the answer to SendTargets is as long as the group is large. */
export interface TextLimits {
  readonly bytesMax: number;
  readonly keysMax: number;
}
const NEGOTIATION: TextLimits = { bytesMax: TEXT_BYTES_MAX, keysMax: TEXT_KEYS_MAX };
export const DISCOVERY: TextLimits = { bytesMax: DISCOVERY_BYTES_MAX, keysMax: DISCOVERY_KEYS_MAX };

/**
 * Parses a whole text (all C-bit continuations joined). Throws PROTOCOL when it is not one.
 * @param repeats whether a key may stand twice: never in a negotiation, always in the answer to SendTargets
 */
export function parseText(
  text: Buffer,
  repeats: 'refuse' | 'allow' = 'refuse',
  limits = NEGOTIATION,
): TextPair[] {
  if (text.length > limits.bytesMax)
    throw malformed(`${text.length} bytes, over the limit of ${limits.bytesMax}`);
  const pairs: TextPair[] = [];
  const seen = new Set<string>();
  for (let at = 0; at < text.length;) {
    const end = text.indexOf(0, at);
    if (end === -1) throw malformed('the last pair is not ended by a NUL');
    // Stray NULs are padding that a sender counted into the length: harmless.
    if (end > at) {
      const pair = parsePair(text.toString('utf8', at, end));
      if (repeats === 'refuse' && seen.has(pair.key)) throw malformed(`the key ${pair.key} stands twice`);
      if (pairs.length === limits.keysMax) throw malformed(`more than ${limits.keysMax} keys`);
      seen.add(pair.key);
      pairs.push(pair);
    }
    at = end + 1;
  }
  return pairs;
}

function parsePair(text: string): TextPair {
  const equals = text.indexOf('=');
  if (equals === -1) throw malformed(`'${text.slice(0, 40)}' has no '='`);
  const key = text.slice(0, equals);
  const value = text.slice(equals + 1);
  if (key.length > TEXT_NAME_BYTES_MAX) throw malformed(`a key of ${key.length} bytes`);
  if (!KEY_PATTERN.test(key)) throw malformed(`'${key}' is not a key`);
  if (Buffer.byteLength(value) > TEXT_VALUE_BYTES_MAX) throw malformed(`the value of ${key} is too long`);
  return { key, value };
}

/** The inverse of parseText. */
export function formatText(pairs: readonly TextPair[]): Buffer {
  let text = '';
  for (const { key, value } of pairs) text += `${key}=${value}\0`;
  return Buffer.from(text, 'utf8');
}

/** The value of `key`, or undefined. */
export function valueOf(pairs: readonly TextPair[], key: string): string | undefined {
  return pairs.find((pair) => pair.key === key)?.value;
}

/**
 * A numerical value (RFC 7143 6.1): decimal, or hexadecimal behind 0x. NaN when it is not one; a range check is the
 * caller's, and NaN fails every one.
 */
export function parseNumber(value: string): number {
  return /^(?:0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10})$/.test(value) ? Number(value) : NaN;
}

/** A binary value (RFC 7143 6.1): hexadecimal behind 0x, or base64 behind 0b; undefined when it is neither. */
export function parseBinary(value: string): Buffer | undefined {
  if (/^0[xX][0-9a-fA-F]+$/.test(value)) {
    const digits = value.slice(2);
    return Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex');
  }
  if (/^0[bB][A-Za-z0-9+/]+={0,2}$/.test(value)) return Buffer.from(value.slice(2), 'base64');
  return undefined;
}

/** Joins the text of PDUs that are continued by the C bit, within its limits. */
export class TextAssembler {
  private parts: Buffer[] = [];
  private bytes = 0;

  constructor(private readonly limits = NEGOTIATION) {}

  /** Keeps a copy of one PDU's data. Throws PROTOCOL when the whole grows too long. */
  add(data: Buffer): void {
    if (this.bytes + data.length > this.limits.bytesMax) {
      throw malformed(`continued over more than ${this.limits.bytesMax} bytes`);
    }
    this.bytes += data.length;
    if (data.length > 0) this.parts.push(Buffer.from(data));
  }

  get isEmpty(): boolean {
    return this.bytes === 0;
  }

  /** The text so far; the assembler is then empty. */
  take(): Buffer {
    const text = Buffer.concat(this.parts, this.bytes);
    this.parts = [];
    this.bytes = 0;
    return text;
  }
}
