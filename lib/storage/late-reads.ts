/**
 * Reads of one file that the kernel has begun and not ended. preadv2(RWF_NOWAIT) refuses what is not cached, but starts the
 * disk, and an SSD has the page before a thread of the pool had been woken for it and had woken us (40 µs of processor for a
 * read on a virtual machine, twice what the rest of it costs). So such a read is asked for again in the next turns of the
 * loop, oldest first, and goes to the pool when it is not there in time.
 *
 * Only small ones, and only while it pays: a slow disk's reads go to the pool at once, but for a trial now and then. Each
 * file has its own list, so that no disk is waited for behind another.
 */
import { DONE, type LoopTurns, SPARE, type Turned, type Turner, USED } from '../base/loop-turns.js';
import type { BlockIo } from '../block/device.js';

/** How long a read is waited for on the loop: longer than an SSD takes behind thirty others, shorter than other disks. */
const LATE_MS = 1;
/** Disks answer nearly in the order in which they were asked: behind so many that are not there, none is likely to be. */
const IN_VAIN_A_TURN = 2;
/** It pays from this many points on. A read that is there in time gives one; a pause of the disk, or of the machine, costs
 *  four, however many it makes late. */
const PAYS_FROM = 16;
const POINTS_AT_FIRST = 20;
const POINTS_MAX = 32;
const TOO_LATE_POINTS = 4;
/** How long nothing is waited for once it does not: the trial after it takes LATE_MS, or twice that, where all are late. */
const TRIAL_MS = 250;
/** Of one read: what is larger costs more to copy than a thread to wake, and is better copied there. */
const LATE_BYTES_MAX = 64 * 1024;

/** Whose reads they are. */
export interface LateReader {
  /** Asks the page cache once more for what is missing. @returns bytes that came, at the front of it; 0 or less for none */
  askAgain(io: BlockIo, doneBytes: number): number;
  /** All of it is there. */
  served(io: BlockIo): void;
  /** It has not come in time. */
  gaveUp(io: BlockIo, doneBytes: number): void;
}

/** Reused, so that a miss makes no object. */
class LateRead {
  io: BlockIo | null = null;
  doneBytes = 0;
  sinceMs = 0;
  next: LateRead | null = null;
}

export class LateReads implements Turner {
  private oldest: LateRead | null = null;
  private newest: LateRead | null = null;
  private readonly idle: LateRead[] = [];
  private points = POINTS_AT_FIRST;
  /** When a pause was counted last: what has waited since before is late by the same. */
  private countedAtMs = -Infinity;
  private trialAtMs = 0;
  private isTurning = false;

  constructor(
    private readonly reader: LateReader,
    private readonly loop: LoopTurns,
  ) {}

  /** Whether a read of so much is worth waiting for. */
  pays(lengthBytes: number): boolean {
    if (lengthBytes > LATE_BYTES_MAX) return false;
    if (this.points >= PAYS_FROM) return true;
    if (this.loop.nowMs() < this.trialAtMs) return false;
    this.points = POINTS_AT_FIRST;
    return true;
  }

  /** @param doneBytes of it are there */
  add(io: BlockIo, doneBytes: number): void {
    const { newest } = this;
    const read = this.idle.pop() ?? new LateRead();
    read.io = io;
    read.doneBytes = doneBytes;
    read.sinceMs = this.loop.nowMs();
    this.newest = read;
    if (newest === null) this.oldest = read;
    else newest.next = read;
    if (this.isTurning) return;
    this.isTurning = true;
    this.loop.add(this);
  }

  turn(nowMs: number): Turned {
    let inVain = 0;
    let served = 0;
    let gaveUp = 0;
    let lateSinceMs = -Infinity;
    let before: LateRead | null = null;
    for (let read = this.oldest; read !== null && inVain < IN_VAIN_A_TURN;) {
      const { next } = read;
      if (this.isServed(read, before)) served += 1;
      else if (nowMs - read.sinceMs > LATE_MS) {
        gaveUp += 1;
        lateSinceMs = read.sinceMs; // of the newest of them
        this.giveUp(read, before);
      } else {
        inVain += 1;
        before = read;
      }
      read = next;
    }
    this.judge(served, nowMs, gaveUp > 0 && lateSinceMs >= this.countedAtMs);
    this.isTurning = this.oldest !== null;
    return !this.isTurning ? DONE : served + gaveUp > 0 ? USED : SPARE;
  }

  /** Asks for it once more. @returns whether it was all there; others may have been added behind it then */
  private isServed(read: LateRead, before: LateRead | null): boolean {
    const { reader } = this;
    const io = read.io as BlockIo;
    read.doneBytes += Math.max(0, reader.askAgain(io, read.doneBytes));
    if (read.doneBytes < io.lengthBytes) return false;
    this.take(read, before);
    reader.served(io);
    return true;
  }

  private giveUp(read: LateRead, before: LateRead | null): void {
    const { doneBytes } = read;
    const io = read.io as BlockIo;
    this.take(read, before);
    this.reader.gaveUp(io, doneBytes);
  }

  private judge(served: number, nowMs: number, isPause: boolean): void {
    this.points = Math.min(this.points + served, POINTS_MAX);
    if (!isPause) return;
    this.countedAtMs = nowMs;
    this.points = Math.max(this.points - TOO_LATE_POINTS, 0);
    this.trialAtMs = nowMs + TRIAL_MS;
  }

  /** Out of the list. @param before the one in front of it */
  private take(read: LateRead, before: LateRead | null): void {
    if (before === null) this.oldest = read.next;
    else before.next = read.next;
    if (this.newest === read) this.newest = before;
    read.next = null;
    read.io = null;
    this.idle.push(read);
  }
}
