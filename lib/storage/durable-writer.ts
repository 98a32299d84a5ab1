/**
 * Writes that are durable when they complete (FUA): through a second descriptor with O_DSYNC, in the thread pool. The
 * kernel then makes just this range durable; an fdatasync would wait for all that others have left in the page cache, and
 * under load that is seconds of it (51 such writes a second beside 88,000 plain ones, against thousands this way).
 */
import { assert } from '../base/assert.js';
import { DURABLE_WRITES_IN_POOL } from '../base/limits.js';
import type { BlockIo } from '../block/device.js';
import type { FileCalls } from './doors.js';
import type { Flusher } from './flusher.js';
import type { InFlight } from './in-flight.js';
import { errnoOf } from '../base/errors.js';
import { ioErrorOf } from './io-errors.js';
import type { PoolShare, PoolWork } from './pool-share.js';

/** One of the few writes that may be in the pool. Reused, so that a write costs no closure. */
class PoolWrite implements PoolWork {
  io: BlockIo | null = null;
  doneBytes = 0;

  constructor(private readonly writer: DurableWriter) {}

  start(): void {
    this.writer.issue(this);
  }

  readonly callback = (error: NodeJS.ErrnoException | null, bytes: number): void => {
    this.writer.poolAnswered(this, error, bytes);
  };
}

export class DurableWriter {
  private readonly waiting: BlockIo[] = [];
  private readonly idle: PoolWrite[] = [];

  constructor(
    private readonly durableFd: number,
    private readonly calls: Pick<FileCalls, 'write'>,
    private readonly share: PoolShare,
    private readonly flusher: Flusher,
    private readonly inFlight: InFlight,
  ) {
    for (let i = 0; i < DURABLE_WRITES_IN_POOL; i++) this.idle.push(new PoolWrite(this));
  }

  /** Nothing is in the pool, or waits for it. */
  get isIdle(): boolean {
    return this.idle.length === DURABLE_WRITES_IN_POOL;
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
    if (write === undefined) this.waiting.push(io);
    else this.begin(write, io);
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
    this.calls.write(this.durableFd, io.data, doneBytes, left, position, write.callback);
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
    // A page that could not be written back is called clean afterwards: see flusher.ts.
    if (errnoOf(error) === 'EIO') this.flusher.fail(error?.message ?? '');
    io.complete(error === null ? null : ioErrorOf(error, 'write'));
    this.inFlight.end();
  }
}
