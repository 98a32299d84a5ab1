/**
 * CRC32C of a file's blocks of 4 KiB, computed when first asked for and kept while they hold: what is read again and again
 * leaves with its digest straight from the page cache, and nobody here looks at it any more (mapped-file.ts).
 *
 *     slots    a fixed number for all files of a process; each has the blocks of 2 MiB of one file, or of none yet
 *     known    a bit a block: its digest stands in the slot
 *
 * Why a known digest is right: everything happens on the event loop, and changed() comes before a write is queued or
 * issued. One is computed only while no write is queued or in the thread pool. Only for files that we have for ourselves.
 * What changes behind our back (somebody writes in spite of the lock, a page whose write-back failed is read anew) is refused
 * by initiators as broken until what is remembered is old: KEPT_MS, and up to RESIDENT_MS more.
 */
import { crc32cJoiner, dataCrc32c } from '../base/crc32c.js';
import { MAP_DIGEST_BYTES } from '../block/page-map.js';
import { type NowaitRead, UNSUPPORTED } from './page-cache-read.js';

export const KEPT_MS = 60_000;
const SLOT_BLOCKS = 512;
export const SLOT_BYTES = SLOT_BLOCKS * MAP_DIGEST_BYTES;
/** 16 GiB that are read again and again, for 16 MiB of memory. A power of two. */
const SLOTS = 8192;
const WORDS_A_SLOT = SLOT_BLOCKS / 32;
/** Spreads the beginnings of files, which are what many of them have in use, over the slots. Prime. */
const STEP_A_FILE = 5087;
/** Read at once where digests are missing. */
const READ_BYTES_MAX = 64 * 1024;

/** The digests of all files of a process. Takes memory once it is used, page by page. */
export class DigestSlots {
  digests = new Int32Array(0);
  /** Of two stretches in a row, the second of them a block. */
  joined: (first: number, second: number) => number = () => 0;
  scratch = Buffer.alloc(0);
  sinceMs = new Float64Array(0);
  private known = new Uint32Array(0);
  /** 0: nobody's, as numbers begin at 1. */
  private files = new Int32Array(0);
  private parts = new Int32Array(0);
  private filesSoFar = 0;

  /** Takes the memory; before the first digest is noted. */
  unfold(): void {
    if (this.files.length > 0) return;
    this.joined = crc32cJoiner(MAP_DIGEST_BYTES);
    this.digests = new Int32Array(SLOTS * SLOT_BLOCKS);
    this.scratch = Buffer.alloc(READ_BYTES_MAX);
    this.sinceMs = new Float64Array(SLOTS);
    this.known = new Uint32Array(SLOTS * WORDS_A_SLOT);
    this.files = new Int32Array(SLOTS);
    this.parts = new Int32Array(SLOTS);
  }

  /** One that no other file of this process has had. */
  nextFileNumber(): number {
    this.filesSoFar += 1;
    return this.filesSoFar;
  }

  /** The only slot that a part of a file may have; isOf says whether it has it now. */
  slotOf(file: number, part: number): number {
    return (file * STEP_A_FILE + part) & (SLOTS - 1);
  }

  isOf(slot: number, file: number, part: number): boolean {
    return this.files[slot] === file && this.parts[slot] === part;
  }

  /** Gives the slot to a part, none of whose digests is known. */
  give(slot: number, file: number, part: number, nowMs: number): void {
    this.files[slot] = file;
    this.parts[slot] = part;
    this.sinceMs[slot] = nowMs;
    this.known.fill(0, slot * WORDS_A_SLOT, (slot + 1) * WORDS_A_SLOT);
  }

  takeBack(slot: number): void {
    this.files[slot] = 0;
  }

  isKnown(slot: number, block: number): boolean {
    return ((this.known[slot * WORDS_A_SLOT + (block >>> 5)] as number) & (1 << (block & 31))) !== 0;
  }

  note(slot: number, block: number, digest: number): void {
    this.digests[slot * SLOT_BLOCKS + block] = digest;
    const word = slot * WORDS_A_SLOT + (block >>> 5);
    this.known[word] = (this.known[word] as number) | (1 << (block & 31));
  }

  forget(slot: number, block: number): void {
    const word = slot * WORDS_A_SLOT + (block >>> 5);
    this.known[word] = (this.known[word] as number) & ~(1 << (block & 31));
  }
}

export interface DigestSource {
  readonly fd: number;
  readonly readNowait: NowaitRead;
  /** No write is queued or in the thread pool. */
  isQuiet(): boolean;
  nowMs(): number;
}

/** Of one file. */
export class BlockDigests {
  private readonly file: number;
  private isUsed = false;
  private isUnable = false;

  constructor(
    private readonly slots: DigestSlots,
    private readonly source: DigestSource,
  ) {
    this.file = slots.nextFileNumber();
  }

  /** CRC32C of a range as it stands now; −1 where that cannot be said without waiting, or for parts of blocks. */
  of(offsetBytes: number, lengthBytes: number): number {
    // 4096 divides what the low 32 bits leave out; % of numbers beyond 2^31 is a call.
    if (((offsetBytes | lengthBytes) & (MAP_DIGEST_BYTES - 1)) !== 0) return -1;
    const { slots, file } = this;
    const end = offsetBytes + lengthBytes;
    let digest = 0;
    for (let at = offsetBytes; at < end; at += MAP_DIGEST_BYTES) {
      const part = Math.floor(at / SLOT_BYTES);
      const slot = slots.slotOf(file, part);
      const block = (at - part * SLOT_BYTES) / MAP_DIGEST_BYTES;
      const isKnown = slots.isOf(slot, file, part) && slots.isKnown(slot, block);
      if (!isKnown && !this.learn(at, end)) return -1;
      const ofBlock = slots.digests[slot * SLOT_BLOCKS + block] as number;
      digest = at === offsetBytes ? ofBlock : slots.joined(digest, ofBlock);
    }
    return digest >>> 0;
  }

  /** Reads from a block on, not over `end` or the end of its slot, and notes the digests. */
  private learn(at: number, end: number): boolean {
    const { slots, file, source } = this;
    if (this.isUnable || !source.isQuiet()) return false;
    this.isUsed = true;
    slots.unfold();
    const part = Math.floor(at / SLOT_BYTES);
    const lengthBytes = Math.min(end, (part + 1) * SLOT_BYTES, at + READ_BYTES_MAX) - at;
    const { scratch } = slots;
    const bytes = source.readNowait(source.fd, scratch, lengthBytes, at);
    if (bytes === UNSUPPORTED) this.isUnable = true;
    if (bytes !== lengthBytes) return false;
    const slot = slots.slotOf(file, part);
    if (!slots.isOf(slot, file, part)) slots.give(slot, file, part, source.nowMs());
    const first = (at - part * SLOT_BYTES) / MAP_DIGEST_BYTES;
    for (let done = 0; done < lengthBytes; done += MAP_DIGEST_BYTES) {
      const digest = dataCrc32c(scratch.subarray(done, done + MAP_DIGEST_BYTES));
      slots.note(slot, first + done / MAP_DIGEST_BYTES, digest);
    }
    return true;
  }

  /** Something is about to be written or cleared there. */
  changed(offsetBytes: number, lengthBytes: number): void {
    if (!this.isUsed) return;
    const end = offsetBytes + lengthBytes;
    const first = Math.floor(offsetBytes / SLOT_BYTES);
    const last = Math.floor((end - 1) / SLOT_BYTES);
    for (let part = first; part <= last; part++) this.forgetIn(part, offsetBytes, end);
  }

  private forgetIn(part: number, offsetBytes: number, end: number): void {
    const { slots, file } = this;
    const slot = slots.slotOf(file, part);
    if (!slots.isOf(slot, file, part)) return;
    const partBytes = part * SLOT_BYTES;
    const from = Math.max(0, Math.floor((offsetBytes - partBytes) / MAP_DIGEST_BYTES));
    const to = Math.min(SLOT_BLOCKS, Math.ceil((end - partBytes) / MAP_DIGEST_BYTES));
    if (to - from === SLOT_BLOCKS) slots.takeBack(slot);
    else for (let block = from; block < to; block++) slots.forget(slot, block);
  }

  /** Forgets what is old around a byte. */
  age(offsetBytes: number, nowMs: number): void {
    if (!this.isUsed) return;
    const { slots, file } = this;
    const part = Math.floor(offsetBytes / SLOT_BYTES);
    const slot = slots.slotOf(file, part);
    if (!slots.isOf(slot, file, part)) return;
    if (nowMs - (slots.sinceMs[slot] as number) > KEPT_MS) slots.give(slot, file, part, nowMs);
  }
}
