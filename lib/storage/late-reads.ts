/**
 * Reads of one file that the kernel has begun and not ended. preadv2(RWF_NOWAIT) refuses what is not cached, but starts the
 * disk, and an SSD has the page before a thread of the pool had been woken for it and had woken us (40 µs of processor for a
 * read on a virtual machine, twice what the rest of it costs). So such a read is asked for again in the next turns of the
 * loop, oldest first, and goes to the pool when it is not there in time.
 *
 * Only while it pays: a slow disk's reads go to the pool at once. Each file has its own list, so that no disk is waited for
 * behind another.
 */
import { DONE, SPARE, type Turned, type Turner, USED } from '../base/loop-turns.js';
import type { BlockIo } from '../block/device.js';
import type { StorageDoors } from './doors.js';

/** How long a read is waited for on the loop: longer than an SSD takes behind thirty others, shorter than other disks. */
const LATE_MS = 1;
/** Disks answer nearly in the order in which they were asked: behind so many that are not there, none is likely to be. */
const IN_VAIN_A_TURN = 2;
/** It pays from this many points on. A read that is there in time gives one, here or in the pool; one that is not costs four. */
const PAYS_FROM = 16;
const POINTS_MAX = 32;
const TOO_LATE_POINTS = 4;

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
  private points = PAYS_FROM;
  private isTurning = false;

  constructor(
    private readonly reader: LateReader,
    private readonly doors: Pick<StorageDoors, 'turns'>,
  ) {}

  /** Whether a read of this file is worth waiting for. */
  get pays(): boolean {
    return this.points >= PAYS_FROM;
  }

  /** @param doneBytes of it are there */
  add(io: BlockIo, doneBytes: number): void {
    const { newest } = this;
    const read = this.idle.pop() ?? new LateRead();
    read.io = io;
    read.doneBytes = doneBytes;
    read.sinceMs = this.doors.turns.nowMs();
    this.newest = read;
    if (newest === null) this.oldest = read;
    else newest.next = read;
    if (this.isTurning) return;
    this.isTurning = true;
    this.doors.turns.add(this);
  }

  /** A read took so long by way of the thread pool. */
  tookInPool(durationMs: number): void {
    if (durationMs <= LATE_MS) this.points = Math.min(this.points + 1, POINTS_MAX);
  }

  turn(nowMs: number): Turned {
    let inVain = 0;
    let ended = 0;
    let before: LateRead | null = null;
    for (let read = this.oldest; read !== null && inVain < IN_VAIN_A_TURN;) {
      const { next } = read;
      if (this.ends(read, before, nowMs)) ended += 1;
      else {
        inVain += 1;
        before = read;
      }
      read = next;
    }
    this.isTurning = this.oldest !== null;
    return !this.isTurning ? DONE : ended > 0 ? USED : SPARE;
  }

  /** Asks for it once. @returns whether it is over here; others may have been added behind it then */
  private ends(read: LateRead, before: LateRead | null, nowMs: number): boolean {
    const { reader } = this;
    const io = read.io as BlockIo;
    read.doneBytes += Math.max(0, reader.askAgain(io, read.doneBytes));
    const { doneBytes } = read;
    if (doneBytes === io.lengthBytes) {
      this.take(read, before);
      this.points = Math.min(this.points + 1, POINTS_MAX);
      reader.served(io);
    } else if (nowMs - read.sinceMs > LATE_MS) {
      this.take(read, before);
      this.points = Math.max(this.points - TOO_LATE_POINTS, 0);
      reader.gaveUp(io, doneBytes);
    } else return false;
    return true;
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
