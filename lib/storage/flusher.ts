/**
 * Makes a file's bytes durable: one sync in flight, the next one covers everybody who asked meanwhile. It completes the
 * requests that are handed to it (flushes, and discards and zeros with FUA, once they are done).
 *
 * Its descriptor is for syncs alone: the kernel tells an open file once that something was not written, and NFS says so by
 * write(2) as well, of earlier bytes, with ENOSPC or EDQUOT (Linux 5.19 and newer). Nothing but a sync moves this one on,
 * and one that fails is final.
 *
 * Where all who ask mean a range, the sync is of what lies between the first and the last of these bytes; else an fdatasync.
 * A range is never synced beside an fdatasync: the kernel tells of a failed write-back once, to whichever looks first.
 */
import { type ByteRange, hullOf } from '../base/byte-range.js';
import type { Logger } from '../base/log.js';
import { type BlockIo, IoError } from '../block/device.js';
import type { StorageDoors } from './doors.js';
import type { InFlight } from './in-flight.js';
import { ioErrorOf } from './io-errors.js';
import type { PoolShare, PoolWork } from './pool-share.js';

export class Flusher implements PoolWork {
  /** Arrived since the running sync started: it may have passed their pages already, so the next one covers them. */
  private waiting: BlockIo[] = [];
  /** Covered by the running sync. */
  private covered: BlockIo[] = [];
  private running = false;
  /** The next sync is worth doing though nobody waits for it. */
  private mustLook = false;
  /**
   * Linux reports a failed write-back once per open file and then calls the pages clean, though their bytes never reached
   * the disk; the next fdatasync would succeed and promise what is lost. So one failure is final for this open file: every
   * later flush fails too, until somebody who can judge the damage opens the file again.
   */
  private failure: string | null = null;

  constructor(
    private readonly fd: number,
    private readonly doors: Pick<StorageDoors, 'calls' | 'native'>,
    private readonly map: () => { readonly address: number } | null,
    private readonly share: PoolShare,
    private readonly inFlight: InFlight,
    private readonly log: Logger,
    private readonly spent: () => void = () => undefined,
  ) {}

  /** Completes `io` when everything written before this call, to a flush's range if it has one, is durable, or cannot be. */
  add(io: BlockIo): void {
    if (this.failure !== null) {
      io.complete(this.lost());
      return;
    }
    this.inFlight.begin();
    this.waiting.push(io);
    if (!this.running) this.enter();
  }

  /** Why nothing can be called durable any more, or null. */
  get lostError(): IoError | null {
    return this.failure === null ? null : this.lost();
  }

  /** Some bytes are known not to have reached the disk. */
  fail(reason: string): void {
    if (this.failure !== null) return;
    this.failure = reason;
    this.log.error(
      { reason },
      'bytes did not reach the disk: nothing more is reported durable until reopened',
    );
    this.spent();
  }

  /**
   * A write has failed, which may be how the kernel told that bytes of others are lost: it tells an open file once, and one
   * that is opened later not at all. So the disk is asked now, while this process still can.
   */
  look(): void {
    if (this.failure !== null) return;
    this.mustLook = true;
    if (!this.running) this.enter();
  }

  private enter(): void {
    this.running = true;
    this.inFlight.begin();
    this.share.run(this);
  }

  /** There is room in the pool: whoever has asked by now is covered. */
  start(): void {
    this.mustLook = false;
    this.covered = this.waiting;
    this.waiting = [];
    if (!this.syncsRange()) this.doors.calls.fdatasync(this.fd, this.onSynced);
  }

  /** False: somebody means the whole file, or it cannot be less. */
  private syncsRange(): boolean {
    const range = rangeOf(this.covered);
    const map = range === null ? null : this.map();
    if (range === null || map === null) return false;
    const lengthBytes = range.toBytes - range.fromBytes;
    return this.doors.native?.syncRange(map.address + range.fromBytes, lengthBytes, this.onSynced) === true;
  }

  private readonly onSynced = (cause: NodeJS.ErrnoException | null): void => {
    this.running = false;
    this.share.ended();
    let done = this.covered;
    this.covered = [];
    let error: IoError | null = null;
    if (cause !== null) {
      error = ioErrorOf(cause, 'write');
      this.fail(cause.message);
      // The bytes of those who wait may be among the lost ones, and no further fdatasync would say so.
      done = done.concat(this.waiting);
      this.waiting = [];
    } else if (this.waiting.length > 0 || this.mustLook) {
      this.enter();
    }
    this.inFlight.end();
    for (const io of done) {
      this.inFlight.end();
      io.complete(error);
    }
  };

  private lost(): IoError {
    return new IoError('medium-write', `an earlier flush failed (${this.failure ?? ''})`);
  }
}

/** From the first to the last byte that any of them means; null: one means the whole file. */
function rangeOf(flushes: readonly BlockIo[]): ByteRange | null {
  let range: ByteRange | undefined;
  for (const { op, offsetBytes, lengthBytes } of flushes) {
    if (op !== 'flush' || lengthBytes === 0) return null;
    range = hullOf({ fromBytes: offsetBytes, toBytes: offsetBytes + lengthBytes }, range);
  }
  return range ?? null;
}
