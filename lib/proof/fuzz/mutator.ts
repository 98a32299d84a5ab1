/**
 * What is done to valid PDUs. Most of it leaves the framing whole, so that the target gets to the rest of the
 * conversation; what breaks it comes last on a connection (breakFraming).
 */
import { BHS_BYTES, opcodeOf } from '../../iscsi/wire/bhs.js';
import { Opcode, RESERVED_TAG } from '../../iscsi/wire/opcodes.js';
import type { Chance } from '../../base/chance.js';
import { RECV_DATA_SEGMENT_BYTES } from '../../base/limits.js';
import { copyOf, settleLengths, type Draft } from './draft.js';
import { spoilText } from './spoil-text.js';

/** Header words that mean something in one PDU or another (RFC 7143 11): tags, numbers, offsets, lengths, LUN, CDB. */
const WORDS: readonly number[] = [8, 12, 16, 20, 20, 24, 24, 28, 32, 36, 40, 40, 44];
const TTT_AT = 20;
/** What a duplicate, a splice or a late PDU is taken from. */
const HISTORY_MAX = 64;
/** AHS: AHSLength, AHSType (RFC 7143 11.2.2): 1 is an extended CDB, 2 a bidirectional read length. */
const AHS_TYPES: readonly number[] = [1, 2, 0, 3, 0xff];

type Mutation = (pdu: Draft, chance: Chance) => void;

const MUTATIONS: readonly (readonly [number, Mutation])[] = [
  [20, flipHeaderBits],
  [25, editWord],
  [6, editFlags],
  [4, editOpcode],
  [15, editCdb],
  [5, addAhs],
  [8, resizeData],
  [5, scribbleData],
  [6, (pdu) => (pdu.spoilsDataDigest = true)],
  [2, (pdu, chance) => void pdu.header.writeUInt8(chance.below(256), chance.within(2, 3))],
];
const WEIGHTS = MUTATIONS.reduce((sum, [weight]) => sum + weight, 0);

export class Mutator {
  private readonly history: Draft[] = [];

  /** @param share of PDUs that are spoilt */
  constructor(
    private readonly chance: Chance,
    private readonly share: number,
  ) {}

  /** Spoils one exchange: some of its PDUs, now and then their order. @returns other drafts; those given stay as they are */
  spoil(exchange: readonly Draft[]): Draft[] {
    const { chance, history } = this;
    const spoilt = exchange.map((pdu) => (chance.happens(this.share) ? this.mutate(copyOf(pdu)) : pdu));
    if (chance.happens(0.12)) this.disorder(spoilt);
    history.push(...exchange.slice(0, 4));
    if (history.length > HISTORY_MAX) history.splice(0, history.length - HISTORY_MAX);
    return spoilt;
  }

  mutate(pdu: Draft): Draft {
    const { chance } = this;
    pdu.isMutated = true;
    const opcode = opcodeOf(pdu.header);
    const isText = opcode === Opcode.TEXT_REQUEST || opcode === Opcode.LOGIN_REQUEST;
    if (isText && chance.happens(0.7)) {
      pdu.data = spoilText(pdu.data, chance);
      settleLengths(pdu);
      if (chance.happens(0.7)) return pdu;
    }
    for (let n = chance.pick([1, 1, 1, 2, 4]); n > 0; n--) draw(chance)(pdu, chance);
    return pdu;
  }

  /** Doubles, drops, swaps, brings something old again, or gives one PDU the data of another. */
  private disorder(pdus: Draft[]): void {
    const { chance, history } = this;
    const at = chance.below(pdus.length);
    const pdu = pdus[at];
    const old = history[chance.below(Math.max(1, history.length))];
    if (pdu === undefined) return;
    switch (chance.below(5)) {
      case 0:
        pdus.splice(at, 0, marked(pdu));
        break;
      case 1:
        pdus.splice(at, 1);
        break;
      case 2:
        pdus.splice(chance.below(pdus.length), 0, marked(...(pdus.splice(at, 1) as [Draft])));
        break;
      case 3:
        if (old !== undefined) pdus.splice(at, 0, marked(old));
        break;
      default: {
        if (old === undefined) break;
        const spliced = marked(pdu);
        spliced.data = Buffer.from(old.data);
        settleLengths(spliced);
        pdus[at] = spliced;
      }
    }
  }
}

function marked(pdu: Draft): Draft {
  const copy = copyOf(pdu);
  copy.isMutated = true;
  return copy;
}

function draw(chance: Chance): Mutation {
  let drawn = chance.below(WEIGHTS);
  for (const [weight, mutation] of MUTATIONS) {
    if (drawn < weight) return mutation;
    drawn -= weight;
  }
  return flipHeaderBits;
}

/** Any bit but those of the lengths, which would break the framing. */
function flipHeaderBits(pdu: Draft, chance: Chance): void {
  for (let n = chance.pick([1, 1, 2, 8]); n > 0; n--) {
    const drawn = chance.below(BHS_BYTES - 4);
    const at = drawn < 4 ? drawn : drawn + 4;
    pdu.header[at] = (pdu.header[at] as number) ^ (1 << chance.below(8));
    if (at >= TTT_AT && at < TTT_AT + 4) pdu.r2t = null;
  }
}

function editWord(pdu: Draft, chance: Chance): void {
  const at = chance.pick(WORDS);
  const old = pdu.header.readUInt32BE(at);
  const value = chance.pick([
    ...[0, 1, old + 1, old - 1, old + 2, old + 255, old + 256, old + 257, old * 2, old >>> 1],
    ...[
      RESERVED_TAG,
      RESERVED_TAG - 1,
      0x80000000,
      0x7fffffff,
      0x01000000,
      512,
      chance.uint32(),
      chance.below(300),
    ],
  ]);
  pdu.header.writeUInt32BE(value >>> 0, at);
  if (at === TTT_AT) pdu.r2t = null;
}

function editFlags(pdu: Draft, chance: Chance): void {
  pdu.header[1] = chance.pick([0, 0x80, 0xff, 0x7f, (pdu.header[1] as number) ^ 0x80, chance.below(256)]);
}

function editOpcode(pdu: Draft, chance: Chance): void {
  const known = [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x20, 0x21, 0x25, 0x31, 0x3f, 0x1c];
  const opcode = chance.happens(0.7) ? chance.pick(known) : chance.below(64);
  // A Logout ends all that would follow: it comes by chance, but seldom.
  if (opcode === Opcode.LOGOUT_REQUEST && chance.happens(0.8)) return;
  pdu.header[0] = opcode | (chance.happens(0.3) ? 0x40 : 0) | (chance.happens(0.05) ? 0x80 : 0);
}

function editCdb(pdu: Draft, chance: Chance): void {
  for (let n = chance.pick([1, 1, 2, 4]); n > 0; n--) {
    const at = 32 + chance.below(16);
    pdu.header[at] =
      chance.pick([0, 1, 0x7f, 0x80, 0xff, chance.below(256), (pdu.header[at] as number) + 1]) & 0xff;
  }
}

function addAhs(pdu: Draft, chance: Chance): void {
  const words = chance.pick([1, 1, 2, 5, 64, 255]);
  const ahs = Buffer.alloc(4 * words);
  ahs.writeUInt16BE(chance.pick([0, 1, 5, 4 * words - 3, 0xffff]) & 0xffff, 0);
  ahs.writeUInt8(chance.pick(AHS_TYPES), 2);
  for (let at = 4; at < ahs.length; at += 4) ahs.writeUInt32BE(chance.uint32(), at);
  pdu.header = Buffer.concat([pdu.header.subarray(0, BHS_BYTES), ahs]);
  settleLengths(pdu);
}

function resizeData(pdu: Draft, chance: Chance): void {
  const { length } = pdu.data;
  const wanted = chance.pick([
    0,
    1,
    length + 1,
    length - 1,
    length >>> 1,
    length + 512,
    chance.below(2048),
    16384,
  ]);
  const data = Buffer.alloc(Math.max(0, wanted), 0xa5);
  pdu.data.copy(data);
  pdu.data = data;
  settleLengths(pdu);
}

function scribbleData(pdu: Draft, chance: Chance): void {
  for (let n = chance.pick([1, 4, 16]); n > 0 && pdu.data.length > 0; n--)
    pdu.data[chance.below(Math.min(pdu.data.length, 64))] = chance.below(256);
}

/** Bytes of a PDU, no longer to be followed: lengths that lie, a cut, a gap, a header digest that is wrong. */
export function breakFraming(bytes: Buffer, chance: Chance, hasHeaderDigest: boolean): Buffer {
  const broken = Buffer.from(bytes);
  switch (chance.below(6)) {
    case 0:
      broken.writeUIntBE(
        chance.pick([1, 512, RECV_DATA_SEGMENT_BYTES, 0x40001, 0xffffff, chance.below(0x1000000)]),
        5,
        3,
      );
      return broken;
    case 1:
      broken.writeUInt8(chance.below(256), 4);
      return broken;
    case 2:
      return broken.subarray(0, chance.below(broken.length));
    case 3: {
      const at = chance.below(broken.length);
      const junk = Buffer.alloc(chance.within(1, 64), chance.below(256));
      return Buffer.concat([broken.subarray(0, at), junk, broken.subarray(at)]);
    }
    case 4:
      if (hasHeaderDigest) broken.writeUInt32LE(chance.uint32(), BHS_BYTES);
      else broken.writeUInt8(chance.below(256), chance.below(BHS_BYTES));
      return broken;
    default:
      for (let at = 0; at + 4 <= broken.length; at += 4) broken.writeUInt32LE(chance.uint32(), at);
      return broken;
  }
}
