/**
 * Writes that are durable when they complete (FUA): through a second descriptor with O_DSYNC, in the thread pool. The
 * kernel then makes just this range durable; an fdatasync would wait for all that others have left in the page cache, and
 * under load that is seconds of it (51 such writes a second beside 88,000 plain ones, against thousands this way).
 *
 * Each write in the pool has an open file of its own. The kernel tells each open file once that something of the file was
 * not written (errseq_t), and a write with O_DSYNC learns it from nothing else: of two on one descriptor, the first to look
 * would take the answer of the other, which then counts as durable and is lost. With one write at a time none is missed: the
 * place from which a descriptor looks was taken before its write began, when it was opened or by the write before, so a
 * failure of these bytes is always behind it. (One that was opened later does not hear what others have heard before; that
 * was of other bytes. What nobody has heard yet, it does hear.)
 */
import { assert } from '../base/assert.js';
import { describeError, errnoOf } from '../base/errors.js';
import { DURABLE_WRITES_IN_POOL } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import type { BlockIo } from '../block/device.js';
import type { StorageDoors } from './doors.js';
import type { Flusher } from './flusher.js';
import type { InFlight } from './in-flight.js';
import { ioErrorOf } from './io-errors.js';
import type { PoolShare, PoolWork } from './pool-share.js';

/** After an open that failed (too many files, say), those that are there do for so long. */
const OPEN_PAUSE_MS = 1_000;

/** One of the few writes that may be in the pool, and its descriptor. Reused, so that a write costs no closure. */
class PoolWrite implements PoolWork {
  io: BlockIo | null = null;
  doneBytes = 0;

  constructor(
    private readonly writer: DurableWriter,
    readonly fd: number,
  ) {}

  start(): void {
    this.writer.issue(this);
  }

  readonly callback = (error: NodeJS.ErrnoException | null, bytes: number): void => {
    this.writer.poolAnswered(this, error, bytes);
  };
}

export class DurableWriter {
  private readonly waiting: BlockIo[] = [];
  private readonly writes: PoolWrite[] = [];
  private readonly idle: PoolWrite[] = [];
  /** One more descriptor is being opened. */
  private opening: Promise<void> | null = null;
  private opensAgainMs = -Infinity;

  /**
   * @param durableFd the first descriptor; −1: nothing is ever written
   * @param openAnother one more, of the same file
   */
  constructor(
    durableFd: number,
    private readonly openAnother: () => Promise<number>,
    private readonly doors: Pick<StorageDoors, 'calls' | 'folders' | 'nowMs'>,
    private readonly share: PoolShare,
    private readonly flusher: Flusher,
    private readonly inFlight: InFlight,
    private readonly log: Logger,
  ) {
    if (durableFd !== -1) this.idle.push(this.writeThrough(durableFd));
  }

  /** Nothing is in the pool, or waits for it. */
  get isIdle(): boolean {
    return this.idle.length === this.writes.length;
  }

  /** Stores io.data durably, and completes io. */
  write(io: BlockIo): void {
    const lost = this.flusher.lostError;
    if (lost !== null) {
      io.complete(lost);
      return;
    }
    this.inFlight.begin();
    const write = this.idle.pop();
    if (write !== undefined) {
      this.begin(write, io);
      return;
    }
    this.waiting.push(io);
    if (this.opening === null && this.writes.length < DURABLE_WRITES_IN_POOL) this.widen();
  }

  /** Nothing is in the pool any more: closes its descriptors, one that is still being opened, too. */
  async close(): Promise<void> {
    await this.opening;
    assert(this.isIdle, 'a descriptor is closed while something is written through it');
    await Promise.all(this.writes.map(({ fd }) => this.doors.folders.close(fd)));
  }

  private writeThrough(fd: number): PoolWrite {
    const write = new PoolWrite(this, fd);
    this.writes.push(write);
    return write;
  }

  /** Writes wait for one another that the disk could take together: opens one more descriptor for them. */
  private widen(): void {
    if (this.doors.nowMs() < this.opensAgainMs) return;
    this.opening = this.openAnother().then(
      (fd) => this.opened(fd),
      (error: unknown) => {
        this.opening = null;
        this.opensAgainMs = this.doors.nowMs() + OPEN_PAUSE_MS;
        this.log.debug({ error: describeError(error) }, 'durable writes wait for one another');
      },
    );
  }

  private opened(fd: number): void {
    this.opening = null;
    const write = this.writeThrough(fd);
    const next = this.waiting.shift();
    if (next === undefined) this.idle.push(write);
    else this.begin(write, next);
    if (this.waiting.length > 0 && this.writes.length < DURABLE_WRITES_IN_POOL) this.widen();
  }

  private begin(write: PoolWrite, io: BlockIo): void {
    write.io = io;
    write.doneBytes = 0;
    this.share.run(write);
  }

  issue(write: PoolWrite): void {
    const { io, doneBytes } = write;
    assert(io !== null, 'a durable write went to the pool without its request');
    const left = io.lengthBytes - doneBytes;
    const position = io.offsetBytes + doneBytes;
    this.doors.calls.write(write.fd, io.data, doneBytes, left, position, write.callback);
  }

  /** The pool's answer: goes on where a write came back short. */
  poolAnswered(write: PoolWrite, error: NodeJS.ErrnoException | null, bytes: number): void {
    const { io } = write;
    assert(io !== null, 'the pool answered a durable write twice');
    if (error !== null) return this.done(write, io, error);
    if (bytes === 0) return this.done(write, io, new Error('the file takes no bytes'));
    write.doneBytes += bytes;
    if (write.doneBytes < io.lengthBytes) this.issue(write);
    else this.done(write, io, null);
  }

  private done(write: PoolWrite, io: BlockIo, error: Error | null): void {
    write.io = null;
    this.share.ended();
    const next = this.waiting.shift();
    if (next !== undefined) this.begin(write, next);
    else this.idle.push(write);
    // A page that could not be written back is called clean afterwards: see flusher.ts. Disks say so in many ways (ENODATA,
    // ENOLINK, ETIMEDOUT; thin ones ENOSPC), file systems that are full in the same; EIO alone needs no second look.
    if (errnoOf(error) === 'EIO') this.flusher.fail(error?.message ?? '');
    else if (error !== null) this.flusher.look();
    io.complete(error === null ? null : ioErrorOf(error, 'write'));
    this.inFlight.end();
  }
}
