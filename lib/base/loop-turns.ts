/**
 * Turns of the event loop for whoever waits for what is there sooner than the loop could be woken: an initiator that is
 * about to come back (iscsi/target/busy-poll.ts), a page that the disk is about to deliver (storage/late-reads.ts). While
 * somebody does, the loop does not sleep in epoll. All that wait in a process turn it together.
 *
 * Time that it turned for nothing counts as idle (spareMs): a member that waits for one initiator at depth 1, or for its
 * disk, is not a busy one. Others who want the processor meanwhile get it from the kernel.
 */

/** What a turn was to one that waits. */
export type Turned = typeof DONE | typeof USED | typeof SPARE;
/** It waits no longer. */
export const DONE = 0;
/** What it waited for was there, or might well have been: the turn was work. */
export const USED = 1;
/** It waited in vain. */
export const SPARE = 2;

export interface Turner {
  /** Called once in each turn of the loop until it is DONE. */
  turn(nowMs: number): Turned;
}

/** What lies between two turns was empty for as much of it as this many times the shortest; beyond that it was work. */
const EMPTY_TURNS = 2;

export class LoopTurns {
  /** Ever, in milliseconds. */
  spareMs = 0;
  private readonly turners: Turner[] = [];
  private isTurning = false;
  /** When the last turn ended; −1 before the first one. */
  private endedMs = -1;
  private shortestMs = Infinity;
  private readonly next = (): void => this.turn();

  /**
   * @param nowMs monotonic, with fractions
   * @param soon calls back in the next turn of the loop
   */
  constructor(
    readonly nowMs: () => number,
    private readonly soon: (callback: () => void) => void = setImmediate,
  ) {}

  /** From the next turn on, and once only until it is done. */
  add(turner: Turner): void {
    this.turners.push(turner);
    if (this.isTurning) return;
    this.isTurning = true;
    this.endedMs = -1;
    this.soon(this.next);
  }

  private turn(): void {
    const { turners } = this;
    const nowMs = this.nowMs();
    const count = turners.length; // who is added by what comes of this turn has the next one
    let isSpare = true;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const turner = turners[i] as Turner;
      const turned = turner.turn(nowMs);
      if (turned !== SPARE) isSpare = false;
      if (turned !== DONE) turners[kept++] = turner;
    }
    for (let i = count; i < turners.length; i++) turners[kept++] = turners[i] as Turner;
    while (turners.length > kept) turners.pop(); // V8 does this in place, but calls its runtime to set the length
    this.account(nowMs, this.nowMs(), isSpare);
    this.isTurning = kept > 0;
    if (this.isTurning) this.soon(this.next);
  }

  /**
   * Of a turn in vain, all of it was spare, with what the kernel took of it for others, and as much of the time before it as
   * the loop needs to come round.
   */
  private account(begunMs: number, endedMs: number, isSpare: boolean): void {
    const betweenMs = this.endedMs < 0 ? 0 : begunMs - this.endedMs;
    this.endedMs = endedMs;
    if (betweenMs > 0 && betweenMs < this.shortestMs) this.shortestMs = betweenMs;
    if (isSpare) this.spareMs += endedMs - begunMs + Math.min(betweenMs, EMPTY_TURNS * this.shortestMs);
  }
}
