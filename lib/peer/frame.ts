/**
 * Peer frames: the fixed header and its codec, pure and synchronous. What the fields mean to each other (which answer
 * belongs to which request, budgets, deadlines) is link.ts's business.
 *
 * Every frame is one header of 52 bytes, little-endian, and then `payloadBytes` of payload:
 *
 *        0        1        2        3
 *    0 | payloadBytes                      |   at most PEER_PAYLOAD_BYTES_MAX
 *    4 | type   | flags  | status | 0      |   flags: 1 answer, 2 FUA; status only in answers
 *    8 | requestId                         |   chosen by the requester, repeated in the answer
 *   12 | volumeId                          |
 *   16 | extent                            |
 *   20 | token                             |
 *   24 | epoch, low half                   |
 *   28 | epoch, high half                  |   below 2^21: an epoch stays an exact number
 *   32 | offsetBytes, low half             |
 *   36 | offsetBytes, high half            |   below 2^21
 *   40 | lengthBytes                       |
 *   44 | CRC32C of the payload             |
 *   48 | CRC32C of the 48 bytes before it  |
 *
 * The digests are 0 where they are not agreed on (hello.ts). The header's own one stands apart, so that a header is known
 * to be right before anything in it is believed, its payloadBytes first of all.
 */
import { violated } from '../base/assert.js';
import { putUint32Le, uint32Le } from '../base/bytes.js';
import { dataCrc32c, headerCrc32c } from '../base/crc32c.js';
import { BlockferryError } from '../base/errors.js';
import { PEER_PAYLOAD_BYTES_MAX } from '../base/limits.js';

export const FRAME_HEADER_BYTES = 52;
const PAYLOAD_DIGEST_AT = 44;
const HEADER_DIGEST_AT = 48;

/** Frames of the link itself; the other types are PeerType's (contract.ts). */
export const ControlType = {
  HELLO: 240, // dialler → acceptor, first frame
  WELCOME: 241, // acceptor → dialler
  READY: 242, // dialler → acceptor: requests may flow
  REFUSAL: 243, // either way, before READY; the payload says why; the connection is closed
  PING: 244,
  PONG: 245,
} as const;
export const CONTROL_TYPE_MIN = 240;

const FLAG_ANSWER = 1;
const FLAG_FUA = 2;
const HALF = 0x100000000;
const HIGH_HALF_MAX = 0x1fffff;

/** The header's fields, apart from the payload's place. One object serves many frames. */
export class FrameHeader {
  payloadBytes = 0;
  type = 0;
  isAnswer = false;
  fua = false;
  status = 0;
  requestId = 0;
  volumeId = 0;
  extent = 0;
  token = 0;
  epoch = 0;
  offsetBytes = 0;
  lengthBytes = 0;
  payloadDigest = 0;

  /** Begins anew: everything else is 0. */
  blank(type: number, payloadBytes: number): this {
    this.payloadBytes = payloadBytes;
    this.type = type;
    this.isAnswer = this.fua = false;
    this.status = this.requestId = this.volumeId = this.extent = this.token = 0;
    this.epoch = this.offsetBytes = this.lengthBytes = 0;
    return this;
  }
}

/** Writes the header at `at`, without digests; the fields must be in range (a RangeError is our own defect). */
export function encodeHeader(header: FrameHeader, target: Buffer, at: number): void {
  if (!(header.payloadBytes <= PEER_PAYLOAD_BYTES_MAX))
    violated(`peer payload of ${header.payloadBytes} bytes`);
  putUint32Le(target, header.payloadBytes, at);
  target[at + 4] = header.type;
  target[at + 5] = (header.isAnswer ? FLAG_ANSWER : 0) | (header.fua ? FLAG_FUA : 0);
  target[at + 6] = header.status;
  target[at + 7] = 0;
  putUint32Le(target, header.requestId, at + 8);
  putUint32Le(target, header.volumeId, at + 12);
  putUint32Le(target, header.extent, at + 16);
  putUint32Le(target, header.token, at + 20);
  writeExact(header.epoch, target, at + 24);
  writeExact(header.offsetBytes, target, at + 32);
  putUint32Le(target, header.lengthBytes, at + 40);
  putUint32Le(target, 0, at + PAYLOAD_DIGEST_AT);
  putUint32Le(target, 0, at + HEADER_DIGEST_AT);
}

/** Puts the digests into a header that is written. */
export function addDigests(target: Buffer, at: number, payload: Buffer): void {
  if (payload.length > 0) putUint32Le(target, dataCrc32c(payload), at + PAYLOAD_DIGEST_AT);
  putUint32Le(target, headerCrc32c(target, at, at + HEADER_DIGEST_AT), at + HEADER_DIGEST_AT);
}

/** Throws PROTOCOL when the header at `at` is not what was sent. */
export function checkHeaderDigest(source: Buffer, at: number): void {
  const digest = uint32Le(source, at + HEADER_DIGEST_AT);
  if (headerCrc32c(source, at, at + HEADER_DIGEST_AT) !== digest) throw digestError('header');
}

/** Throws PROTOCOL when the payload is not what was sent. */
export function checkPayloadDigest(header: FrameHeader, payload: Buffer): void {
  if (dataCrc32c(payload) !== header.payloadDigest) throw digestError('payload');
}

function digestError(part: string): BlockferryError {
  return new BlockferryError(
    'PROTOCOL',
    `peer frame: the digest of its ${part} is wrong`,
    'bytes were changed on the way between the members: look at the network',
  );
}

/** Reads the header at `at` into `header`. Throws PROTOCOL for what no Blockferry sends. */
export function decodeHeader(source: Buffer, at: number, header: FrameHeader): void {
  header.payloadBytes = uint32Le(source, at);
  header.type = source[at + 4] ?? 0;
  const flags = source[at + 5] ?? 0;
  header.isAnswer = (flags & FLAG_ANSWER) !== 0;
  header.fua = (flags & FLAG_FUA) !== 0;
  header.status = source[at + 6] ?? 0;
  header.requestId = uint32Le(source, at + 8);
  header.volumeId = uint32Le(source, at + 12);
  header.extent = uint32Le(source, at + 16);
  header.token = uint32Le(source, at + 20);
  header.epoch = readExact(source, at + 24);
  header.offsetBytes = readExact(source, at + 32);
  header.lengthBytes = uint32Le(source, at + 40);
  header.payloadDigest = uint32Le(source, at + PAYLOAD_DIGEST_AT);
  if ((flags & ~(FLAG_ANSWER | FLAG_FUA)) !== 0) throw frameError(`unknown flags ${flags}`);
}

function writeExact(value: number, target: Buffer, at: number): void {
  const high = Math.floor(value / HALF);
  if (!(high <= HIGH_HALF_MAX)) violated(`peer header field ${value} is not below 2^53`);
  putUint32Le(target, value % HALF, at);
  putUint32Le(target, high, at + 4);
}

function readExact(source: Buffer, at: number): number {
  const high = uint32Le(source, at + 4);
  if (high > HIGH_HALF_MAX) throw frameError('a 64-bit field is not below 2^53');
  return high * HALF + uint32Le(source, at);
}

/** What a peer sent makes no sense: the link is closed with this. */
export function frameError(detail: string): BlockferryError {
  return new BlockferryError(
    'PROTOCOL',
    `peer frame: ${detail}`,
    'both members must run the same Blockferry',
  );
}
