/**
 * The pace of a move's background copy: a token bucket in bytes, under the rate that was asked for, and beside initiators
 * under one that a control loop finds between a floor and a ceiling. Nothing is measured per I/O for it:
 *
 *   - how busy the event loops of source and destination are, whichever is busier: what a command of an initiator has to
 *     wait for at its home, which may be either;
 *   - how long the destination takes to answer a copy: what a mirrored or forwarded write has to wait for there.
 *
 * The floor makes a move converge at any load, since mirrored writes, which are never paced, make nothing dirty. Where
 * more than half of the load writes, it is the higher the more that is.
 */
import { sleep, type Clock } from '../base/clock.js';
import {
  MOVE_BUSY_OPS_PER_SECOND,
  MOVE_BYTES_PER_SECOND_CEILING,
  MOVE_BYTES_PER_SECOND_FLOOR,
  MOVE_BYTES_PER_SECOND_FLOOR_WRITES,
  MOVE_LATENCY_MS_HIGH,
  MOVE_LATENCY_MS_LOW,
  MOVE_LOOP_BUSY_HIGH,
  MOVE_LOOP_BUSY_LOW,
} from '../base/limits.js';

/** What may be sent at once after a pause: enough to keep the flow even, little enough not to be felt. */
const BURST_SECONDS = 0.05;
/** How often the loop decides: long enough for some forty copies at the floor, so that one preemption is not a trend. */
const LOOK_MS = 100;
/** How long whoever waits may be no use any more without noticing: a stop has 15 s in all. */
const WAIT_MS = 1_000;
/** Down fast, up slowly, and not at all in between: so it comes to rest instead of hunting. */
const DOWN = 0.7;
const UP = 1.1;

/** What the pacer looks at now and then; counts since the start of the process. */
export interface PaceSignals {
  /** I/Os that initiators have begun on the volume here. */
  operations(): number;
  /** Those of them that read. */
  reads(): number;
  /** Milliseconds that the event loop had nothing to do. */
  idleMs(): number;
  /** Members that still give for the move, this one among them: the rate that was asked for is all of theirs together. */
  givers(): number;
}

/** What came of one interval at one rate. */
export interface PaceEffect {
  /** Share of the time, 0 to 1. */
  readonly loopBusy: number;
  /** The mean of the copies that were answered; 0 when none was. */
  readonly latencyMs: number;
}

/** @param writeShare of the I/Os of initiators, 0 to 1 */
export function floorFor(writeShare: number): number {
  const more = MOVE_BYTES_PER_SECOND_FLOOR_WRITES - MOVE_BYTES_PER_SECOND_FLOOR;
  return MOVE_BYTES_PER_SECOND_FLOOR + more * Math.max(0, 2 * writeShare - 1);
}

/** The rate for the next interval: the whole control loop. */
export function nextRate(
  bytesPerSecond: number,
  { loopBusy, latencyMs }: PaceEffect,
  floorBytesPerSecond: number,
): number {
  const isTooMuch = loopBusy > MOVE_LOOP_BUSY_HIGH || latencyMs > MOVE_LATENCY_MS_HIGH;
  const isLittle = loopBusy < MOVE_LOOP_BUSY_LOW && latencyMs < MOVE_LATENCY_MS_LOW;
  const wanted = bytesPerSecond * (isTooMuch ? DOWN : isLittle ? UP : 1);
  return Math.min(MOVE_BYTES_PER_SECOND_CEILING, Math.max(floorBytesPerSecond, wanted));
}

export class Pacer {
  private nextFreeMs = 0;
  private lookedAtMs: number;
  private operations: number;
  private reads: number;
  private idleMs: number;
  private answers = 0;
  private answersMs = 0;
  /** Until the first look, initiators are taken to be at work. */
  private isBusy = true;
  private bytesPerSecond = MOVE_BYTES_PER_SECOND_FLOOR;
  private givers: number;
  /** The destination's loop: its idle time when it last counted, and the share in use since the time before. */
  private there = { atMs: 0, idleMs: 0 };
  private busyThere = 0;

  /** @param askedBytesPerSecond of the whole move; null: as fast as initiators allow */
  constructor(
    private readonly clock: Clock,
    private readonly askedBytesPerSecond: number | null,
    private readonly signals: PaceSignals,
  ) {
    this.lookedAtMs = clock.nowMs();
    this.operations = signals.operations();
    this.reads = signals.reads();
    this.idleMs = signals.idleMs();
    this.givers = signals.givers();
  }

  /**
   * Resolves when `bytes` may be sent.
   * @param checkGoing throws when they need not be sent any more: at a small rate that is long before they may
   */
  async take(bytes: number, checkGoing: () => void): Promise<void> {
    const nowMs = this.clock.nowMs();
    this.look(nowMs);
    const dueMs = Math.max(this.nextFreeMs, nowMs - BURST_SECONDS * 1000);
    this.nextFreeMs = dueMs + (bytes / this.rate()) * 1000;
    for (let leftMs = dueMs - nowMs; leftMs > 0; leftMs -= WAIT_MS) {
      await sleep(this.clock, Math.min(leftMs, WAIT_MS));
      checkGoing();
    }
  }

  /** So much more (or less) than was taken is sent. */
  correct(bytes: number): void {
    this.nextFreeMs += (bytes / this.rate()) * 1000;
  }

  /** Initiators were at work when it looked last. */
  get isBesideInitiators(): boolean {
    return this.isBusy;
  }

  /** A copy was answered so long after it was sent. */
  answered(tookMs: number): void {
    this.answers += 1;
    this.answersMs += tookMs;
  }

  /** The destination says how long its event loop has had nothing to do, ever. */
  destinationIdle(idleMs: number): void {
    const { there } = this;
    const atMs = this.clock.nowMs();
    if (atMs - there.atMs < LOOK_MS) return;
    if (there.atMs !== 0) this.busyThere = 1 - (idleMs - there.idleMs) / (atMs - there.atMs);
    this.there = { atMs, idleMs };
  }

  private rate(): number {
    const asked = (this.askedBytesPerSecond ?? Infinity) / Math.max(1, this.givers);
    return this.isBusy ? Math.min(asked, this.bytesPerSecond) : asked;
  }

  private look(nowMs: number): void {
    const elapsedMs = nowMs - this.lookedAtMs;
    if (elapsedMs < LOOK_MS) return;
    const operations = this.signals.operations();
    const reads = this.signals.reads();
    const idleMs = this.signals.idleMs();
    const begun = operations - this.operations;
    this.isBusy = (begun / elapsedMs) * 1000 > MOVE_BUSY_OPS_PER_SECOND;
    // Beside nobody the copy fills the loop by itself, which says nothing: whoever comes next meets the floor.
    this.bytesPerSecond = this.isBusy
      ? nextRate(
          this.bytesPerSecond,
          {
            loopBusy: Math.max(1 - (idleMs - this.idleMs) / elapsedMs, this.busyThere),
            latencyMs: this.answers === 0 ? 0 : this.answersMs / this.answers,
          },
          floorFor(1 - (reads - this.reads) / begun),
        )
      : MOVE_BYTES_PER_SECOND_FLOOR;
    this.lookedAtMs = nowMs;
    this.operations = operations;
    this.reads = reads;
    this.idleMs = idleMs;
    this.givers = this.signals.givers();
    this.answers = this.answersMs = 0;
  }
}
