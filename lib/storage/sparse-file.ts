/**
 * A block device over one sparse file: holes read as zeros and take no space. It joins the parts (reader, writer, flusher)
 * and owns the descriptor; it knows neither extents nor volumes.
 */
import { assert } from '../base/assert.js';
import type { ByteRange } from '../base/byte-range.js';
import { BlockferryError, describeError } from '../base/errors.js';
import {
  type BlockDevice,
  type BlockIo,
  IoError,
  type Provisioning,
  submitAndWait,
  type Usage,
} from '../block/device.js';
import type { PageMap } from '../block/page-map.js';
import { BlockDigests } from './block-digests.js';
import { CacheRelease } from './cache-release.js';
import { type IoCounters, newCounters } from './counters.js';
import { type StorageDoors, systemDoors } from './doors.js';
import { DurableWriter } from './durable-writer.js';
import { Flusher } from './flusher.js';
import { HoleMap } from './hole-map.js';
import { dataRangesWithin, seekDataWithin } from './holes.js';
import { InFlight } from './in-flight.js';
import { MappedFile } from './mapped-file.js';
import { openDurable, type OpenedFile, openFile, type OpenOptions } from './open-file.js';
import type { PoolShare } from './pool-share.js';
import { FileReader } from './reader.js';
import { FileWriter } from './writer.js';

/** How far one look at the holes goes: bounds what a fragmented file costs. */
const PROVISIONING_BYTES = 16 * 1024 * 1024;

export class SparseFile implements BlockDevice {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  private readonly keepsSpace: boolean;
  /** The file is locked for us alone: what is remembered of its content holds. */
  private readonly isOurs: boolean;
  /** What I/O did to the event loop so far. */
  readonly counters: Readonly<IoCounters>;

  private readonly fd: number;
  private readonly syncFd: number;
  private readonly inFlight = new InFlight();
  private readonly flusher: Flusher;
  private readonly reader: FileReader;
  private readonly writer: FileWriter;
  private readonly durableWriter: DurableWriter;
  /** null: the system cannot be told. */
  private readonly cacheRelease: CacheRelease | null;
  private readonly holes: HoleMap | null;
  private readonly digests: BlockDigests | null;
  private closing: Promise<void> | null = null;

  private constructor(
    readonly path: string,
    opened: OpenedFile,
    options: OpenOptions,
    private readonly doors: StorageDoors,
  ) {
    const { fd, syncFd, durableFd } = opened;
    const log = options.log.child({ file: path });
    const counters = newCounters();
    this.fd = fd;
    this.syncFd = syncFd;
    this.sizeBytes = opened.sizeBytes;
    this.blockBytes = options.blockBytes;
    this.readOnly = options.readOnly;
    this.isOurs = opened.isLocked && !options.readOnly;
    this.keepsSpace = options.keepsSpace ?? false;
    this.counters = counters;
    const share = doors.pool.share();
    const map = (): MappedFile | null => this.reader.wholeMap();
    this.flusher = new Flusher(syncFd, doors, map, share, this.inFlight, log, options.spent);
    this.holes = opened.isOnServer ? null : this.makeHoleMap();
    this.digests = this.makeDigests();
    const openMap = (): MappedFile | null => this.openMap();
    this.reader = new FileReader(fd, openMap, doors, share, this.holes, this.inFlight, counters, log);
    this.writer = new FileWriter(fd, doors, share, this.flusher, this.inFlight, counters, log);
    const openAnother = (): Promise<number> => openDurable(path, fd, doors.folders);
    const { flusher, inFlight } = this;
    this.durableWriter = new DurableWriter(durableFd, openAnother, doors, share, flusher, inFlight, log);
    this.cacheRelease = this.makeCacheRelease(share);
  }

  /**
   * Opens an existing file, or with `create` makes a missing one, all hole; a new file is durable when this resolves.
   * Locks it: exclusively, or shared when read-only.
   * @throws BlockferryError NOT_FOUND, INVALID (a folder, a size that does not fit), BUSY, NO_SPACE, IO, USAGE
   */
  static async open(
    path: string,
    options: OpenOptions,
    doors: StorageDoors = systemDoors(),
  ): Promise<SparseFile> {
    return new SparseFile(path, await openFile(path, options, doors), options, doors);
  }

  submit(io: BlockIo): void {
    if (!this.admits(io)) return;
    switch (io.op) {
      case 'read':
        this.reader.read(io);
        return;
      case 'write':
        this.holes?.written(io.offsetBytes, io.lengthBytes);
        this.digests?.changed(io.offsetBytes, io.lengthBytes);
        if (io.fua) this.durableWriter.write(io);
        else this.writer.write(io);
        return;
      case 'discard':
      case 'zero':
        this.clear(io, this.keepsSpace);
        return;
      case 'flush':
        if (this.readOnly) io.complete(null);
        else this.flusher.add(io);
    }
  }

  /** False: there is nothing to do, and it has been answered. */
  private admits(io: BlockIo): boolean {
    const refusal = this.refusal(io);
    if (refusal === null && (io.lengthBytes !== 0 || io.op === 'flush')) return true;
    io.complete(refusal);
    return false;
  }

  private clear(io: BlockIo, keepsSpace: boolean): void {
    this.holes?.discarded(io.offsetBytes, io.lengthBytes);
    this.digests?.changed(io.offsetBytes, io.lengthBytes);
    if (keepsSpace) this.writer.fill(io);
    else this.writer.clear(io);
  }

  /** A file that is open for reading alone has none: see MappedFile.open. Ranges are synced by it, hence its descriptor. */
  private openMap(): MappedFile | null {
    const { calls, native } = this.doors;
    if (this.readOnly || native === null) return null;
    return MappedFile.open(this.syncFd, this.sizeBytes, native.maps, calls, this.digests);
  }

  mapped(offsetBytes: number, lengthBytes: number, withDigest: boolean): PageMap | null {
    if (this.closing !== null || offsetBytes + lengthBytes > this.sizeBytes) return null;
    return this.reader.mapped(offsetBytes, lengthBytes, withDigest);
  }

  /**
   * The stretches of the given range that hold data, ascending; the rest reads as zeros. Synchronous and about 1 µs for
   * 64 KiB of data; without koffi, one stretch that covers all.
   */
  dataRanges(offsetBytes: number, lengthBytes: number): ByteRange[] {
    assert(this.closing === null, 'dataRanges of a closed file');
    const toBytes = Math.min(offsetBytes + lengthBytes, this.sizeBytes);
    return dataRangesWithin(this.doors.native, this.fd, offsetBytes, toBytes);
  }

  /** From the map of holes; a block is mapped when any of it is, and all are once nobody can look any more. */
  provisioning(offsetBytes: number, lengthBytes: number): Provisioning {
    if (this.closing !== null) return { mapped: true, lengthBytes };
    const [first] = this.dataRanges(offsetBytes, Math.min(lengthBytes, PROVISIONING_BYTES));
    const block = this.blockBytes;
    if (first === undefined) return { mapped: false, lengthBytes: Math.min(lengthBytes, PROVISIONING_BYTES) };
    const holeBytes = Math.floor((first.fromBytes - offsetBytes) / block) * block;
    if (holeBytes > 0) return { mapped: false, lengthBytes: holeBytes };
    return { mapped: true, lengthBytes: Math.ceil((first.toBytes - offsetBytes) / block) * block };
  }

  /** A hint that nobody reads the range soon: its memory is given back, its bytes stay. */
  uncache(offsetBytes: number, lengthBytes: number): void {
    if (this.closing !== null) return;
    this.cacheRelease?.add(offsetBytes, Math.min(lengthBytes, this.sizeBytes - offsetBytes));
  }

  /** Gives the range's space back, in any file; it reads as zeros afterwards. Rejects with IoError. */
  punch(offsetBytes: number, lengthBytes: number): Promise<void> {
    const punching = {
      submit: (io: BlockIo): void => {
        if (this.admits(io)) this.clear(io, false);
      },
    };
    return submitAndWait(punching, 'discard', offsetBytes, lengthBytes);
  }

  /** Resolves when everything completed before is durable. Rejects with IoError. */
  sync(): Promise<void> {
    return submitAndWait(this, 'flush', 0, 0);
  }

  /** The same of what a range holds: what else is dirty in the file may stay so. Rejects with IoError. */
  syncRange(offsetBytes: number, lengthBytes: number): Promise<void> {
    return submitAndWait(this, 'flush', offsetBytes, lengthBytes);
  }

  /** A write did not reach the disk: nothing more is called durable until somebody opens the file again (flusher.ts). */
  get isSpent(): boolean {
    return this.flusher.lostError !== null;
  }

  get isClosed(): boolean {
    return this.closing !== null;
  }

  /** Bytes of disk that the file takes. */
  async allocatedBytes(): Promise<number> {
    return (await this.doors.folders.status(this.fd)).allocatedBytes;
  }

  async usage(): Promise<Usage> {
    if (this.closing !== null) throw new IoError('aborted', 'the file is closed');
    try {
      const availableBytes = await this.doors.folders.freeBytes(this.path);
      return { usedBytes: await this.allocatedBytes(), availableBytes };
    } catch (error) {
      throw new IoError('medium-read', describeError(error));
    }
  }

  /**
   * Waits for what is in flight, makes everything durable, gives the lock back. What is submitted from now on is aborted.
   * The file is closed even when this rejects (IO: the last flush failed).
   */
  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async shutDown(): Promise<void> {
    try {
      await this.inFlight.idle();
      if (!this.readOnly) await submitAndWait({ submit: (io) => this.flusher.add(io) }, 'flush', 0, 0);
    } catch (error) {
      throw new BlockferryError(
        'IO',
        `${this.path} did not reach the disk: ${describeError(error)}`,
        'check the disk: what was written since the last flush may be lost',
      );
    } finally {
      this.reader.close();
      await this.closeDescriptors();
    }
  }

  /** The one with the lock at last. */
  private async closeDescriptors(): Promise<void> {
    const { folders } = this.doors;
    const work = [this.durableWriter.close()];
    if (this.syncFd !== -1) work.push(folders.close(this.syncFd));
    const outcomes = await Promise.allSettled(work);
    await folders.close(this.fd);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }

  /** No write is queued or in the thread pool. */
  private get isQuiet(): boolean {
    return this.writer.isIdle && this.durableWriter.isIdle;
  }

  private makeHoleMap(): HoleMap | null {
    const { native } = this.doors;
    if (native === null || !this.isOurs) return null;
    const seekData = (fromBytes: number): number =>
      seekDataWithin(native, this.fd, fromBytes, this.sizeBytes);
    return new HoleMap(this.sizeBytes, seekData, () => this.isQuiet);
  }

  private makeCacheRelease(share: PoolShare): CacheRelease | null {
    const uncache = this.doors.native?.uncache;
    if (uncache === undefined) return null;
    const forget = (offsetBytes: number, lengthBytes: number): void =>
      this.reader.forget(offsetBytes, lengthBytes);
    return new CacheRelease(this.fd, uncache, forget, share, this.inFlight);
  }

  private makeDigests(): BlockDigests | null {
    const { native, digests, nowMs } = this.doors;
    if (native === null || !this.isOurs) return null;
    const { readNowait } = native;
    return new BlockDigests(digests, { fd: this.fd, readNowait, nowMs, isQuiet: () => this.isQuiet });
  }

  /** Why this request cannot be served at all, or null. */
  private refusal(io: BlockIo): IoError | null {
    if (this.closing !== null) return new IoError('aborted', 'the file is closed');
    if (io.offsetBytes < 0 || io.offsetBytes + io.lengthBytes > this.sizeBytes) {
      return new IoError('out-of-range', `${io.offsetBytes}+${io.lengthBytes} of ${this.sizeBytes}`);
    }
    if (io.op === 'flush') return null;
    if (io.op !== 'read' && this.readOnly) return new IoError('read-only', this.path);
    if (io.op === 'read' || io.op === 'write') {
      // A constant text: this stands in the way of every I/O.
      assert(io.data.length === io.lengthBytes, 'an I/O whose buffer is not as long as its range');
    }
    return null;
  }
}
