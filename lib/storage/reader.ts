/**
 * Reads of one file: what the page cache has is copied on the event loop, the rest is fetched by the thread pool.
 *
 * With koffi the kernel says which is which: preadv2(RWF_NOWAIT) reads what is cached and refuses the rest. It starts
 * read-ahead then, so the loop asks again a moment later (late-reads.ts), or the pool's read finds it under way. Without it,
 * we read on the loop as long as that is fast and through the pool once a read took as long as a disk does (latency-gate.ts).
 *
 * Who can take the bytes from the page cache itself gets a map of it instead (mapped-file.ts): no call, no copy.
 */
import { assert } from '../base/assert.js';
import { LOOP_IO_BYTES_MAX, SLOW_READ_MS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { type BlockIo, IoError } from '../block/device.js';
import type { StorageDoors } from './doors.js';
import type { HoleMap } from './hole-map.js';
import type { InFlight } from './in-flight.js';
import { ioErrorOf } from './io-errors.js';
import { LatencyGate } from './latency-gate.js';
import { type LateReader, LateReads } from './late-reads.js';
import type { MappedFile } from './mapped-file.js';
import { type NowaitRead, UNSUPPORTED } from './page-cache-read.js';
import { type IoCounters, notePause } from './counters.js';
import type { PoolShare, PoolWork } from './pool-share.js';

/** One read in the thread pool. Reused, so that a miss costs no closure. */
class PoolRead implements PoolWork {
  io: BlockIo | null = null;
  doneBytes = 0;
  startedMs = 0;
  isNews = false;

  constructor(private readonly reader: FileReader) {}

  start(): void {
    this.reader.startInPool(this);
  }

  readonly callback = (error: NodeJS.ErrnoException | null, bytes: number): void => {
    this.reader.poolAnswered(this, error, bytes);
  };
}

export class FileReader implements LateReader {
  private readonly idlePoolReads: PoolRead[] = [];
  private readonly gate = new LatencyGate(SLOW_READ_MS);
  private readNowait: NowaitRead | null;
  /** null: the kernel begins no read that it refuses. */
  private readonly late: LateReads | null;
  /** Made when first asked for; null: there is none. */
  private map: MappedFile | null | undefined;

  constructor(
    private readonly fd: number,
    private readonly openMap: () => MappedFile | null,
    private readonly doors: StorageDoors,
    private readonly share: PoolShare,
    private readonly holes: HoleMap | null,
    private readonly inFlight: InFlight,
    private readonly counters: IoCounters,
    private readonly log: Logger,
  ) {
    this.readNowait = doors.native?.readNowait ?? null;
    this.late = doors.native?.beginsReads === true ? new LateReads(this, doors.turns) : null;
    if (this.readNowait === null) this.sayDegraded('koffi does not load');
  }

  /** Fills io.data and completes io. The range has been checked. */
  read(io: BlockIo): void {
    if (io.lengthBytes > LOOP_IO_BYTES_MAX) this.readInPool(io, 0);
    else if (this.holes?.covers(io.offsetBytes, io.lengthBytes) === true) this.readHole(io);
    else if (this.readNowait !== null) this.readCached(io, this.readNowait);
    else if (this.gate.onLoop) this.readOnLoop(io);
    else this.readInPool(io, 0);
  }

  private readHole(io: BlockIo): void {
    this.counters.hits += 1;
    io.data.fill(0);
    io.complete(null);
  }

  /** The file's page cache, when it had all of the range a moment ago. The range has been checked. */
  mapped(offsetBytes: number, lengthBytes: number, withDigest: boolean): MappedFile | null {
    const map = this.wholeMap();
    if (map === null || !map.has(offsetBytes, lengthBytes, this.doors.nowMs())) return null;
    if (withDigest && map.digestOf(offsetBytes, lengthBytes) < 0) return null;
    this.counters.hits += 1;
    return map;
  }

  /** Of all the file, cached or not: not to be read by. Null where it cannot be mapped. */
  wholeMap(): MappedFile | null {
    if (this.map === undefined) this.map = this.openMap();
    return this.map;
  }

  /** The range is about to leave the page cache: the map holds nothing of it. */
  forget(offsetBytes: number, lengthBytes: number): void {
    this.map?.forget(offsetBytes, lengthBytes);
  }

  /** Nobody reads any more. */
  close(): void {
    this.map?.close();
    this.map = null;
  }

  private readCached(io: BlockIo, readNowait: NowaitRead): void {
    const bytes = readNowait(this.fd, io.data, io.lengthBytes, io.offsetBytes);
    if (bytes === io.lengthBytes) {
      this.counters.hits += 1;
      if (io.data[0] === 0) this.holes?.zerosRead(io.offsetBytes);
      io.complete(null);
      return;
    }
    if (bytes === UNSUPPORTED) {
      this.readNowait = null;
      this.sayDegraded('the file system does not know RWF_NOWAIT');
    }
    if (bytes !== UNSUPPORTED && this.late?.pays(io.lengthBytes) === true)
      this.readLate(io, Math.max(bytes, 0), this.late);
    else this.readInPool(io, Math.max(bytes, 0));
  }

  private readLate(io: BlockIo, doneBytes: number, late: LateReads): void {
    this.counters.misses += 1;
    this.inFlight.begin();
    this.map?.missed(io.offsetBytes, this.doors.nowMs());
    late.add(io, doneBytes);
  }

  askAgain(io: BlockIo, doneBytes: number): number {
    const data = doneBytes === 0 ? io.data : io.data.subarray(doneBytes);
    const { readNowait } = this;
    if (readNowait === null) return 0;
    return readNowait(this.fd, data, io.lengthBytes - doneBytes, io.offsetBytes + doneBytes);
  }

  served(io: BlockIo): void {
    if (io.data[0] === 0) this.holes?.zerosRead(io.offsetBytes);
    this.inFlight.end();
    io.complete(null);
  }

  gaveUp(io: BlockIo, doneBytes: number): void {
    this.toPool(io, doneBytes, false); // the map has been told
    this.inFlight.end();
  }

  private readOnLoop(io: BlockIo): void {
    const startedMs = this.doors.nowMs();
    let bytes: number;
    try {
      bytes = this.doors.calls.readSync(this.fd, io.data, 0, io.lengthBytes, io.offsetBytes);
    } catch (error) {
      io.complete(ioErrorOf(error, 'read'));
      return;
    }
    const durationMs = this.doors.nowMs() - startedMs;
    notePause(this.counters, durationMs);
    this.gate.tookOnLoop(durationMs);
    if (bytes < io.lengthBytes) {
      this.readInPool(io, bytes);
      return;
    }
    this.counters.hits += 1;
    io.complete(null);
  }

  private readInPool(io: BlockIo, doneBytes: number): void {
    this.counters.misses += 1;
    this.toPool(io, doneBytes, true);
  }

  /** @param isNews the map has not been told that something there is not cached */
  private toPool(io: BlockIo, doneBytes: number, isNews: boolean): void {
    this.inFlight.begin();
    const read = this.idlePoolReads.pop() ?? new PoolRead(this);
    read.io = io;
    read.doneBytes = doneBytes;
    read.isNews = isNews;
    this.share.run(read);
  }

  /** There is room in the pool for this one. */
  startInPool(read: PoolRead): void {
    assert(read.io !== null, 'a read went to the pool without its request');
    read.startedMs = this.doors.nowMs();
    if (read.isNews) this.map?.missed(read.io.offsetBytes, read.startedMs);
    this.issue(read, read.io);
  }

  private issue(read: PoolRead, io: BlockIo): void {
    const { doneBytes } = read;
    const left = io.lengthBytes - doneBytes;
    this.doors.calls.read(this.fd, io.data, doneBytes, left, io.offsetBytes + doneBytes, read.callback);
  }

  /** The pool's answer: goes on where a read came back short. */
  poolAnswered(read: PoolRead, error: NodeJS.ErrnoException | null, bytes: number): void {
    const { io } = read;
    assert(io !== null, 'the pool answered a read twice');
    read.doneBytes += error === null ? bytes : 0;
    if (error === null && bytes > 0 && read.doneBytes < io.lengthBytes) {
      this.issue(read, io);
      return;
    }
    this.gate.tookInPool(this.doors.nowMs() - read.startedMs);
    const complete = read.doneBytes === io.lengthBytes;
    if (complete && io.data[0] === 0) this.holes?.zerosRead(io.offsetBytes);
    read.io = null;
    this.idlePoolReads.push(read);
    this.share.ended();
    this.inFlight.end();
    if (error !== null) io.complete(ioErrorOf(error, 'read'));
    else
      io.complete(
        complete ? null : new IoError('medium-read', 'the file has become shorter than its volume'),
      );
  }

  private sayDegraded(reason: string): void {
    this.log.info(
      { reason },
      'cannot ask the kernel not to wait: reads choose loop or thread pool by latency',
    );
  }
}
