/**
 * Writes and holes of one file. Small writes go into the page cache on the event loop (2.7 µs for 4 KiB); whatever may
 * hold the file for long goes through a lane: the thread pool, one piece at a time.
 *
 *     write ──► short, gate open, lane idle? ── yes ──► writeSync ──► complete
 *                          │ no                             ▲
 *                          ▼                                │ short, gate open again
 *     discard, zero ──► lane: one piece in the pool, then the next in turn ──► [FUA: flusher] ──► complete
 *
 * A write with FUA does not come here: durable-writer.ts.
 *
 * The kernel lets one writer at a time into a file (the inode lock), hence one piece in the pool and no more: a second one
 * would only occupy another of its threads. And while one is there, a write on the loop would wait for it with the whole
 * process, hence "lane idle". Writes on the loop can be throttled by dirty pages; pwritev2(RWF_NOWAIT) would refuse
 * instead of waiting, but ext4 has no such buffered writes (EOPNOTSUPP on 6.18), so a latency gate learns it.
 */
import { assert } from '../base/assert.js';
import { errnoOf } from '../base/errors.js';
import { LOOP_IO_BYTES_MAX, PUNCH_PIECE_BYTES, SLOW_WRITE_MS, WRITE_CALL_BYTES_MAX } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import type { BlockIo, IoError } from '../block/device.js';
import { type IoCounters, notePause } from './counters.js';
import type { StorageDoors } from './doors.js';
import type { Flusher } from './flusher.js';
import type { InFlight } from './in-flight.js';
import { ioErrorOf } from './io-errors.js';
import { LatencyGate } from './latency-gate.js';
import type { PoolShare, PoolWork } from './pool-share.js';

/** A request in the lane and how far it is. */
class LaneWork {
  doneBytes = 0;
  /** @param fills what it clears is filled with zeros, not punched */
  constructor(
    readonly io: BlockIo,
    readonly fills: boolean,
  ) {}
}

/** What is written where holes cannot be punched, or must not be. */
const ZEROS = Buffer.alloc(LOOP_IO_BYTES_MAX);

export class FileWriter implements PoolWork {
  private readonly lane: LaneWork[] = [];
  /** What is in the pool, or next to go there. */
  private current: LaneWork | null = null;
  /** A piece is in the pool, or the lane is being worked off. */
  private laneBusy = false;
  private startedMs = 0;
  private readonly gate = new LatencyGate(SLOW_WRITE_MS);
  private canPunch: boolean;

  constructor(
    private readonly fd: number,
    private readonly doors: StorageDoors,
    private readonly share: PoolShare,
    private readonly flusher: Flusher,
    private readonly inFlight: InFlight,
    private readonly counters: IoCounters,
    private readonly log: Logger,
  ) {
    this.canPunch = doors.extensions !== null;
    if (!this.canPunch) this.sayZeros('fs-native-extensions does not load');
  }

  /** Nothing is in the pool, or waits for it. */
  get isIdle(): boolean {
    return !this.laneBusy;
  }

  /** Stores io.data and completes io. The range has been checked. */
  write(io: BlockIo): void {
    if (!this.laneBusy && this.mayRunOnLoop(io)) this.writeOnLoop(io);
    else this.enqueue(io);
  }

  /**
   * Makes the range read as zeros and completes io; serves 'discard' and 'zero' alike. A hole serves 'zero' best: it costs
   * no space, and reads and copies skip it. The kernel zeroes what is not a whole block at the edges.
   */
  clear(io: BlockIo): void {
    this.enqueue(io);
  }

  /** The same, and afterwards the range takes its space, whether it did before or not. */
  fill(io: BlockIo): void {
    this.enqueue(io, true);
  }

  private writeOnLoop(io: BlockIo): void {
    const startedMs = this.doors.nowMs();
    let doneBytes = 0;
    try {
      while (doneBytes < io.lengthBytes) doneBytes += this.writePiece(io, doneBytes);
    } catch (error) {
      this.flusher.look();
      this.finish(io, ioErrorOf(error, 'write'));
      return;
    }
    const durationMs = this.doors.nowMs() - startedMs;
    if (this.gate.tookOnLoop(durationMs)) this.counters.slowWrites += 1;
    notePause(this.counters, durationMs);
    this.finish(io, null);
  }

  private writePiece(io: BlockIo, doneBytes: number): number {
    const most = Math.min(io.lengthBytes - doneBytes, WRITE_CALL_BYTES_MAX);
    const bytes = this.doors.calls.writeSync(this.fd, io.data, doneBytes, most, io.offsetBytes + doneBytes);
    if (bytes === 0) throw new Error('the file takes no bytes');
    return bytes;
  }

  private mayRunOnLoop(io: BlockIo): boolean {
    return io.op === 'write' && io.lengthBytes <= LOOP_IO_BYTES_MAX && this.gate.onLoop;
  }

  private enqueue(io: BlockIo, fills = false): void {
    this.inFlight.begin();
    this.lane.push(new LaneWork(io, fills));
    if (!this.laneBusy) this.advance();
  }

  /**
   * Takes work from the lane until a piece is in the pool. What may run on the loop by now does so here: if it went on
   * through the pool, a steady queue would keep the lane busy, and no write would ever be on the loop again.
   */
  private advance(): void {
    this.laneBusy = true;
    for (let work = this.lane.shift(); work !== undefined; work = this.lane.shift()) {
      if (!this.mayRunOnLoop(work.io) || work.doneBytes > 0) {
        this.issue(work);
        return;
      }
      this.writeOnLoop(work.io);
      this.inFlight.end();
    }
    this.laneBusy = false;
  }

  private issue(work: LaneWork): void {
    this.current = work;
    this.share.run(this);
  }

  /** There is room in the pool for the current piece. */
  start(): void {
    const work = this.current;
    assert(work !== null, 'the lane went to the pool without work');
    const { io, doneBytes } = work;
    this.startedMs = this.doors.nowMs();
    if (io.op === 'write') this.issueWrite(work, io.data, doneBytes, io.lengthBytes);
    else if (this.canPunch && !work.fills) this.issuePunch(work);
    else this.issueWrite(work, ZEROS, 0, Math.min(ZEROS.length, io.lengthBytes - doneBytes));
  }

  /** Writes source[from, to) to where the work stands. */
  private issueWrite(work: LaneWork, source: Buffer, from: number, to: number): void {
    const position = work.io.offsetBytes + work.doneBytes;
    this.doors.calls.write(this.fd, source, from, to - from, position, this.onWritten);
  }

  private readonly onWritten = (error: NodeJS.ErrnoException | null, bytes: number): void => {
    this.gate.tookInPool(this.doors.nowMs() - this.startedMs);
    if (error === null && bytes === 0) this.pieceDone(0, new Error('the file takes no bytes'));
    else this.pieceDone(error === null ? bytes : 0, error);
  };

  private issuePunch(work: LaneWork): void {
    const { extensions } = this.doors;
    assert(extensions !== null, 'a hole is punched by an extension that did not load');
    const lengthBytes = Math.min(PUNCH_PIECE_BYTES, work.io.lengthBytes - work.doneBytes);
    extensions.trim(this.fd, work.io.offsetBytes + work.doneBytes, lengthBytes).then(
      () => this.pieceDone(lengthBytes, null),
      (error: unknown) => this.punchFailed(error),
    );
  }

  private punchFailed(error: unknown): void {
    const errno = errnoOf(error);
    if (errno !== 'EOPNOTSUPP' && errno !== 'ENOTSUP' && errno !== 'ENOSYS') {
      this.pieceDone(0, error);
      return;
    }
    this.canPunch = false;
    this.sayZeros('the file system does not punch holes');
    this.pieceDone(0, null);
  }

  /** A piece of the current work is done or failed: the lane goes on first, so that the pool has work, then it completes. */
  private pieceDone(bytes: number, error: unknown): void {
    const work = this.current;
    assert(work !== null, 'the lane was answered without having asked');
    work.doneBytes += bytes;
    this.current = null;
    this.share.ended();
    const unfinished = error === null && work.doneBytes < work.io.lengthBytes;
    if (unfinished) {
      // A cut write goes on at once; a clear lets the others have their turn between two pieces.
      if (work.io.op === 'write') this.lane.unshift(work);
      else this.lane.push(work);
    }
    this.advance();
    if (unfinished) return;
    if (error !== null) this.flusher.look();
    this.finish(work.io, error === null ? null : ioErrorOf(error, 'write'));
    this.inFlight.end();
  }

  private finish(io: BlockIo, error: IoError | null): void {
    if (error === null && io.fua) this.flusher.add(io);
    else io.complete(error);
  }

  private sayZeros(reason: string): void {
    this.log.warn({ reason }, 'discarded space is filled with zeros instead of being given back');
  }
}
