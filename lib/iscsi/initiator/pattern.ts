/**
 * Blocks that tell what they are: a seeded pattern that carries its block number and generation, so that any block read
 * back names itself, and a lost, stale, misplaced or torn one cannot pass for another. No cryptography: it finds mistakes,
 * not forgers. Written in the machine's byte order.
 *
 *   word 0  magic            word 4  generation
 *   word 1  seed             word 5  check over words 0–4
 *   word 2  block, low       word 6… body: every word follows from the check and its place
 *   word 3  block, high
 */
import { assert } from '../../base/assert.js';

const MAGIC = 0xb10cfe44;
const HEADER_WORDS = 6;
const TWO_32 = 0x100000000;

/** What a block that was read turned out to be. */
export type BlockContent =
  /** Whole, and says so itself. */
  | { readonly kind: 'pattern'; readonly seed: number; readonly block: number; readonly generation: number }
  /** Never written, or unmapped. */
  | { readonly kind: 'zeros' }
  /** Begins as a pattern, and from byte `tornAt` on is something else. */
  | { readonly kind: 'torn'; readonly block: number; readonly generation: number; readonly tornAt: number }
  | { readonly kind: 'foreign' };

/** A view of a buffer as words; the buffer must begin at a multiple of four bytes, as allocPatternBuffer()'s do. */
export function wordsOf(buffer: Buffer): Uint32Array {
  assert(buffer.byteOffset % 4 === 0 && buffer.length % 4 === 0, 'a pattern buffer is aligned to words');
  return new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.length / 4);
}

export function allocPatternBuffer(lengthBytes: number): Buffer {
  return Buffer.allocUnsafeSlow(lengthBytes);
}

/** Mixes one word into a hash (the finalizer of MurmurHash3). */
function mix(hash: number, word: number): number {
  let h = hash ^ word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

function checkOf(seed: number, low: number, high: number, generation: number): number {
  return mix(mix(mix(mix(MAGIC, seed), low), high), generation) >>> 0;
}

/** The body's step from word to word; odd, so that it runs through all values. */
const STEP = 0x9e3779b9;

/** Writes the pattern of one block into `words`, from `at`, `count` words long (128 for 512 bytes, 1024 for 4096). */
export function fillBlock(
  words: Uint32Array,
  at: number,
  count: number,
  seed: number,
  block: number,
  generation: number,
): void {
  const low = block % TWO_32;
  const high = Math.floor(block / TWO_32);
  const check = checkOf(seed >>> 0, low, high, generation);
  words[at] = MAGIC;
  words[at + 1] = seed;
  words[at + 2] = low;
  words[at + 3] = high;
  words[at + 4] = generation;
  words[at + 5] = check;
  let value = check;
  for (let i = at + HEADER_WORDS, end = at + count; i < end; i++) {
    value = (value + STEP) | 0;
    words[i] = value;
  }
}

/** Whether `words` at `at` is exactly the pattern of this block: the fast question, without an object. */
export function isBlock(
  words: Uint32Array,
  at: number,
  count: number,
  seed: number,
  block: number,
  generation: number,
): boolean {
  const low = block % TWO_32;
  const high = Math.floor(block / TWO_32);
  return (
    words[at] === MAGIC &&
    words[at + 1] === seed >>> 0 &&
    words[at + 2] === low &&
    words[at + 3] === high &&
    words[at + 4] === generation &&
    words[at + 5] === checkOf(seed >>> 0, low, high, generation) &&
    bodyBreaksAt(words, at, count) === -1
  );
}

/** The first word of the body that does not follow from the check, or −1. */
function bodyBreaksAt(words: Uint32Array, at: number, count: number): number {
  let value = words[at + 5] as number;
  for (let i = at + HEADER_WORDS, end = at + count; i < end; i++) {
    value = (value + STEP) | 0;
    if (((words[i] as number) | 0) !== value) return i;
  }
  return -1;
}

/** The generation that the header claims, if the header is whole and of this seed and block; −1 otherwise. */
export function claimedGeneration(words: Uint32Array, at: number, seed: number, block: number): number {
  const low = block % TWO_32;
  const high = Math.floor(block / TWO_32);
  const generation = words[at + 4] as number;
  const whole =
    words[at] === MAGIC &&
    words[at + 1] === seed >>> 0 &&
    words[at + 2] === low &&
    words[at + 3] === high &&
    words[at + 5] === checkOf(seed >>> 0, low, high, generation);
  return whole ? generation : -1;
}

/** Says what a block is, whatever it is. */
export function inspectBlock(words: Uint32Array, at: number, count: number): BlockContent {
  if (words.subarray(at, at + count).every((word) => word === 0)) return { kind: 'zeros' };
  const [magic, seed = 0, low = 0, high = 0, generation = 0, check] = words.subarray(at, at + HEADER_WORDS);
  if (magic !== MAGIC || check !== checkOf(seed, low, high, generation)) return { kind: 'foreign' };
  const block = high * TWO_32 + low;
  const broken = bodyBreaksAt(words, at, count);
  if (broken !== -1) return { kind: 'torn', block, generation, tornAt: (broken - at) * 4 };
  return { kind: 'pattern', seed, block, generation };
}

/** "block 7, generation 3", for a report. */
export function describeContent(content: BlockContent): string {
  switch (content.kind) {
    case 'pattern':
      return `block ${content.block}, generation ${content.generation}, seed ${content.seed}`;
    case 'torn':
      return `torn at byte ${content.tornAt}: begins as block ${content.block}, generation ${content.generation}`;
    case 'zeros':
      return 'zeros';
    case 'foreign':
      return 'not our pattern';
  }
}
