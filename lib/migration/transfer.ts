/**
 * The transfer of one extent until it is MIRRORED: attempts at the destination, the background copy, back-off and
 * restart after a failure (I6). It never commits: batch.ts does, for several at once.
 *
 *     COPYING ──(nothing dirty)──► MIRRORED
 *        ▲ └── the destination fails: back-off, then the dirty chunks, or all of it if the link was lost ──┐
 *        └──────────────────────────────────────────────────────────────────────────────────────────────────┘
 */
import { NO_BYTES } from '../base/bytes.js';
import { sleep, type Clock } from '../base/clock.js';
import { Bitmap } from '../base/bitmap.js';
import type { ByteRange } from '../base/byte-range.js';
import { BlockferryError } from '../base/errors.js';
import {
  MOVE_BACKOFF_MS_MAX,
  MOVE_BACKOFF_MS_MIN,
  MOVE_CHUNK_BYTES,
  MOVE_COPY_BYTES,
  MOVE_RESTARTS_MAX,
  MOVE_STEP_MS_MAX,
} from '../base/limits.js';
import type { Logger } from '../base/log.js';
import type { Waypoints } from '../base/waypoints.js';
import { submitAndWait } from '../block/device.js';
import { PeerStatus, PeerType } from '../peer/contract.js';
import { DestinationError, describeStatus } from './destination-link.js';
import type { HeldFile } from './held-file.js';
import type { Interceptor } from './interceptor.js';
import { BeginAnswer } from './messages.js';
import type { MoveStats } from './move-stats.js';
import type { Pacer } from './pacer.js';
import type { RangeHolder } from './range-locks.js';

/** What the transfers of one move share. */
export interface TransferContext {
  readonly clock: Clock;
  readonly log: Logger;
  readonly waypoints: Waypoints;
  readonly pacer: Pacer;
  readonly stats: MoveStats;
  /** Of MOVE_COPY_BYTES each, for whoever copies next: a fresh one costs 64 page faults. */
  readonly idleBuffers: Buffer[];
  readonly file: HeldFile;
  /** A write that the destination does not take fails (I6). */
  readonly strict: boolean;
  /** The source's current epoch for the volume. */
  epoch(): number;
  /** A token no attempt had before, at this or an earlier life of this member. */
  nextToken(): number;
  /** Throws when the move was cancelled or the member stops. */
  checkGoing(): void;
}

/** Failures after which the destination may have lost what it was sent: it starts from nothing. */
const LOSES_ATTEMPT = new Set<number>([
  PeerStatus.LINK_LOST,
  PeerStatus.DEADLINE,
  PeerStatus.STALE,
  PeerStatus.UNAVAILABLE,
]);

export class Transfer {
  private failuresInARow = 0;
  /** Failures after it was MIRRORED: reaching that again is no progress. */
  private lateFailures = 0;
  private failure: DestinationError | null = null;
  private buffer: Buffer = NO_BYTES;
  /** Chunks that the copy has sent, in this attempt or one before: what goes out again was copied in vain. */
  private readonly sent: Bitmap;

  constructor(
    readonly interceptor: Interceptor,
    private readonly context: TransferContext,
  ) {
    this.sent = new Bitmap(Math.ceil((interceptor.toBytes - interceptor.fromBytes) / MOVE_CHUNK_BYTES));
  }

  /** A mirrored write failed: the copy restarts, whatever stage it is in. */
  mirrorFailed(status: number, detail: string): void {
    const { member } = this.interceptor.destination;
    this.failure ??= new DestinationError(status, describeStatus(member, status, detail));
    // With a strict move the host sends the write again at once: the source takes it alone until the next attempt.
    if (LOSES_ATTEMPT.has(status) || this.context.strict) this.interceptor.attached = false;
  }

  get isMirrored(): boolean {
    return this.interceptor.attached && this.failure === null && this.interceptor.dirty.count === 0;
  }

  /** Resolves when destination and source are the same and writes go to both. Throws when the move must be given up. */
  async untilMirrored(): Promise<void> {
    while (!this.isMirrored) {
      this.context.checkGoing();
      try {
        this.throwFailure();
        if (!this.interceptor.attached) await this.begin();
        await this.copyDirty();
        this.throwFailure();
      } catch (error) {
        if (!(error instanceof DestinationError)) throw error;
        await this.backOff(error);
      }
    }
    this.failuresInARow = this.lateFailures;
  }

  /** A later step (sync, commit) found that the destination does not have it: it starts from nothing. */
  async fail(error: DestinationError): Promise<void> {
    this.interceptor.attached = false;
    await this.backOff(error);
    this.lateFailures = this.failuresInARow;
  }

  private throwFailure(): void {
    const { failure } = this;
    this.failure = null;
    if (failure !== null) throw failure;
  }

  private async backOff(error: DestinationError): Promise<void> {
    const { stats, clock, log } = this.context;
    stats.restarts += 1;
    log.info({ extent: this.interceptor.extent, error: error.message }, 'an extent starts over');
    stats.lastError = error.message;
    this.failure = null;
    if (LOSES_ATTEMPT.has(error.status)) this.interceptor.attached = false;
    else this.failuresInARow += 1; // A destination that is away is waited for; one that says no is not, for ever.
    if (this.failuresInARow > MOVE_RESTARTS_MAX || error.status === PeerStatus.REFUSED) {
      throw new BlockferryError(
        'IO',
        error.message,
        'the extents given so far stay where they are; move again later',
        { cause: error },
      );
    }
    const doublings = Math.min(this.failuresInARow, 10);
    await sleep(clock, Math.min(MOVE_BACKOFF_MS_MIN * 2 ** doublings, MOVE_BACKOFF_MS_MAX));
  }

  /** A new attempt: the destination empties the extent, then everything the source has is dirty. */
  private async begin(): Promise<void> {
    const { interceptor, context } = this;
    await interceptor.detach();
    const token = context.nextToken();
    const begun = await interceptor.destination.step(PeerType.EXTENT_BEGIN, {
      extent: interceptor.extent,
      token,
      epoch: context.epoch(),
      deadlineMs: MOVE_STEP_MS_MAX,
    });
    context.pacer.destinationIdle(BeginAnswer.parse(JSON.parse(begun.toString('utf8'))).loopIdleMs);
    context.waypoints.reached('extent.begun');
    // From here to the end nothing waits: a write is either in the source already, and dirty, or will be mirrored.
    interceptor.token = token;
    interceptor.attached = true;
    const { fromBytes, toBytes } = interceptor;
    for (const range of context.file.dataRanges(fromBytes, toBytes - fromBytes)) {
      interceptor.dirty.mark(Math.max(range.fromBytes, fromBytes), Math.min(range.toBytes, toBytes));
    }
  }

  /** The background copy: dirty runs, around ranges in use, until none is left (rule 7). */
  private async copyDirty(): Promise<void> {
    const { dirty, locks } = this.interceptor;
    const { idleBuffers } = this.context;
    if (dirty.count > 0) this.buffer = idleBuffers.pop() ?? Buffer.allocUnsafeSlow(MOVE_COPY_BYTES);
    let cursor = this.interceptor.fromBytes;
    while (dirty.count > 0 && this.failure === null) {
      this.context.checkGoing();
      const ahead = dirty.nextRun(cursor, MOVE_COPY_BYTES);
      if (ahead === null) {
        cursor = this.interceptor.fromBytes;
        continue;
      }
      const run = await this.atItsPace(ahead);
      if (run === null) continue;
      const holder = { ...run, granted: () => undefined };
      if (!locks.tryAcquire(holder)) await waitFor(locks, holder);
      try {
        await this.copyRun(run);
      } finally {
        locks.release(holder);
      }
      cursor = run.toBytes;
    }
    // Not after a failure: what was given up may still wait to be sent from it.
    if (this.buffer !== NO_BYTES && this.failure === null) idleBuffers.push(this.buffer);
    this.buffer = NO_BYTES;
  }

  /**
   * Waits until so much may be copied, with nothing locked: a write would wait as long.
   * @returns what is to be copied there by then; null: nothing, or not now
   */
  private async atItsPace(ahead: ByteRange): Promise<ByteRange | null> {
    const { pacer } = this.context;
    const checkGoing = (): void => this.context.checkGoing();
    const taken = this.dataBytes(ahead);
    if (taken > 0) await pacer.take(taken, checkGoing);
    checkGoing();
    const run =
      this.failure === null ? this.interceptor.dirty.nextRun(ahead.fromBytes, MOVE_COPY_BYTES) : null;
    const isSame = run?.fromBytes === ahead.fromBytes && run.toBytes === ahead.toBytes;
    if (!isSame) pacer.correct((run === null ? 0 : this.dataBytes(run)) - taken);
    return run;
  }

  private dataBytes({ fromBytes, toBytes }: ByteRange): number {
    let bytes = 0;
    for (const data of this.context.file.dataRanges(fromBytes, toBytes - fromBytes))
      bytes += Math.min(data.toBytes, toBytes) - Math.max(data.fromBytes, fromBytes);
    return bytes;
  }

  /** One run, locked by the caller. Clean before it is sent, dirty again when that failed (rules 5, 6). */
  private async copyRun(run: ByteRange): Promise<void> {
    const { dirty } = this.interceptor;
    dirty.clearCovered(run.fromBytes, run.toBytes);
    try {
      let at = run.fromBytes;
      for (const data of this.context.file.dataRanges(run.fromBytes, run.toBytes - run.fromBytes)) {
        const fromBytes = Math.max(data.fromBytes, run.fromBytes);
        const toBytes = Math.min(data.toBytes, run.toBytes);
        if (fromBytes > at) await this.copyHole(at, fromBytes);
        await this.copyData(fromBytes, toBytes);
        at = toBytes;
      }
      if (at < run.toBytes) await this.copyHole(at, run.toBytes);
      const { fromBytes } = this.interceptor;
      const end = Math.ceil((run.toBytes - fromBytes) / MOVE_CHUNK_BYTES);
      this.sent.setRange(Math.floor((run.fromBytes - fromBytes) / MOVE_CHUNK_BYTES), end);
    } catch (error) {
      dirty.mark(run.fromBytes, run.toBytes);
      throw error;
    }
  }

  private async copyData(fromBytes: number, toBytes: number): Promise<void> {
    const { context } = this;
    const { destination } = this.interceptor;
    const lengthBytes = toBytes - fromBytes;
    const takesMapped = destination.takesMapped(PeerType.COPY, lengthBytes);
    const map = takesMapped ? context.file.mapped?.(fromBytes, lengthBytes, false) : null;
    // A map is good until the running turn of the loop ends: from here to the step nothing waits but for a read.
    const data = map ? { map } : { payload: await this.read(fromBytes, lengthBytes) };
    const sentAtMs = context.clock.nowMs();
    await destination.step(PeerType.COPY, { ...this.stepFields(fromBytes, lengthBytes), ...data });
    context.pacer.answered(context.clock.nowMs() - sentAtMs);
    context.waypoints.reached('extent.copied');
    context.stats.bytesCopied += lengthBytes;
    context.stats.bytesRecopied += this.sentBefore(fromBytes, toBytes);
  }

  private async read(fromBytes: number, lengthBytes: number): Promise<Buffer> {
    const payload = this.buffer.subarray(0, lengthBytes);
    await submitAndWait(this.context.file, 'read', fromBytes, lengthBytes, payload);
    return payload;
  }

  private sentBefore(fromBytes: number, toBytes: number): number {
    const base = this.interceptor.fromBytes;
    let bytes = 0;
    for (let at = fromBytes; at < toBytes;) {
      const chunk = Math.floor((at - base) / MOVE_CHUNK_BYTES);
      const end = Math.min(toBytes, base + (chunk + 1) * MOVE_CHUNK_BYTES);
      if (this.sent.has(chunk)) bytes += end - at;
      at = end;
    }
    return bytes;
  }

  private async copyHole(fromBytes: number, toBytes: number): Promise<void> {
    const fields = this.stepFields(fromBytes, toBytes - fromBytes);
    await this.interceptor.destination.step(PeerType.MIRROR_DISCARD, fields);
  }

  private stepFields(offsetBytes: number, lengthBytes: number) {
    const { extent, token } = this.interceptor;
    return { extent, token, offsetBytes, lengthBytes, epoch: this.context.epoch() };
  }
}

/** Rule 7 lets the copy wait its turn when all that is left to copy is in use: it is next in line then. */
function waitFor(locks: Interceptor['locks'], holder: RangeHolder): Promise<void> {
  return new Promise((resolve) => {
    holder.granted = () => resolve();
    locks.acquire(holder);
  });
}
