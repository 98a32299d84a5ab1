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

export class DurableWriter {
  private readonly waiting: BlockIo[] = [];
  private inPool = 0;

  constructor(
    private readonly durableFd: number,
    private readonly calls: Pick<FileCalls, 'write'>,
    private readonly flusher: Flusher,
    private readonly inFlight: InFlight,
  ) {}

  /** Stores io.data durably, and completes io. */
  write(io: BlockIo): void {
    const lost = this.flusher.lostError;
    if (lost !== null) {
      io.complete(lost);
      return;
    }
    this.inFlight.begin();
    if (this.inPool < DURABLE_WRITES_IN_POOL) this.issue(io);
    else this.waiting.push(io);
  }

  private issue(io: BlockIo): void {
    this.inPool += 1;
    this.issueFrom(io, 0);
  }

  private issueFrom(io: BlockIo, doneBytes: number): void {
    const left = io.lengthBytes - doneBytes;
    const position = io.offsetBytes + doneBytes;
    this.calls.write(this.durableFd, io.data, doneBytes, left, position, (error, bytes) => {
      if (error !== null) this.done(io, error);
      else if (bytes === 0) this.done(io, new Error('the file takes no bytes'));
      else if (bytes < left) this.issueFrom(io, doneBytes + bytes);
      else this.done(io, null);
    });
  }

  private done(io: BlockIo, error: Error | null): void {
    this.inPool -= 1;
    assert(this.inPool >= 0, 'more durable writes ended than began');
    const next = this.waiting.shift();
    if (next !== undefined) this.issue(next);
    // A page that could not be written back is called clean afterwards: see flusher.ts.
    if (errnoOf(error) === 'EIO') this.flusher.fail(error?.message ?? '');
    io.complete(error === null ? null : ioErrorOf(error, 'write'));
    this.inFlight.end();
  }
}
