/**
 * The doors of storage for one simulated process, over the disk of its machine. A call in the thread pool takes its time,
 * does its work, and is answered if its process still lives then; one that is under way when the process is killed may be
 * done whole, in part or not at all.
 */
import { constants } from 'node:fs';
import type { FileCalls, FolderCalls, StorageDoors, TransferCallback } from '../storage/doors.js';
import { DigestSlots } from '../storage/block-digests.js';
import { NO_DATA, type NativeCalls, type NativeExtensions } from '../storage/native.js';
import { PoolShares } from '../storage/pool-share.js';
import { POOL_THREADS } from '../base/limits.js';
import { LoopTurns } from '../base/loop-turns.js';
import { MISS } from '../storage/page-cache-read.js';
import type { SimDisk } from './disk.js';
import { PAGE_BYTES, SECTOR_BYTES, type Inode } from './inode.js';
import type { SimProcess } from './process.js';
import { systemError } from './socket.js';

interface Descriptor {
  readonly inode: Inode;
  readonly isDurable: boolean;
}

/** What a disk has room for as long as it is not full: its size is not simulated. */
const ROOM_BYTES = 2 ** 40;
/** Files are smaller: a descriptor's map begins at as many times this. */
const MAP_BYTES = 2 ** 32;
/** A write on the loop that was throttled took this long by the clock that storage looks at. */
const THROTTLED_MS = 12;

export class DiskDoors implements StorageDoors {
  readonly calls: FileCalls;
  readonly folders: FolderCalls;
  readonly native: NativeCalls;
  readonly extensions: NativeExtensions;
  readonly pool = new PoolShares(POOL_THREADS);
  readonly turns = new LoopTurns(() => this.nowMs());
  readonly digests = new DigestSlots();
  private readonly open = new Map<number, Descriptor>();
  /** What a killed process leaves in the pool: done in part, or not. */
  private readonly underway = new Set<(share: number) => void>();
  private lostMs = 0;

  constructor(
    private readonly process: SimProcess,
    private readonly disk: SimDisk,
  ) {
    this.calls = {
      read: (fd, data, offset, length, position, done) => this.read(fd, data, offset, length, position, done),
      readSync: (fd, data, offset, length, position) => this.readNow(fd, data, offset, length, position),
      write: (fd, data, offset, length, position, done) =>
        this.write(fd, data, offset, length, position, done),
      writeSync: (fd, data, offset, length, position) => this.writeNow(fd, data, offset, length, position),
      fdatasync: (fd, done) => this.sync(fd, done),
    };
    this.folders = this.folderCalls();
    this.native = {
      readNowait: (fd, data, lengthBytes, positionBytes) =>
        this.disk.chance.happens(this.disk.cacheHits)
          ? this.readNow(fd, data, 0, lengthBytes, positionBytes)
          : MISS,
      beginsReads: false,
      // The kernel's memory is not simulated: reads are asked for.
      maps: {
        map: (fd) => fd * MAP_BYTES,
        unmap: () => undefined,
        forget: () => undefined,
        resident: () => false,
      },
      uncache: (fd, _offsetBytes, _lengthBytes, done) => this.uncache(fd, done),
      syncRange: (address, lengthBytes, done) => {
        const fromBytes = address % MAP_BYTES;
        this.sync(Math.floor(address / MAP_BYTES), done, fromBytes, fromBytes + lengthBytes);
        return true;
      },
      seekData: (fd, fromBytes) => this.seek(fd, fromBytes, 1),
      seekHole: (fd, fromBytes) => this.seek(fd, fromBytes, 0),
      lengthBytes: (fd) => this.inodeOf(fd).sizeBytes,
    };
    this.extensions = {
      tryLock: (fd, _offset, _length, { shared }) => this.tryLock(fd, shared),
      trim: (fd, offsetBytes, lengthBytes) => this.trim(fd, offsetBytes, lengthBytes),
    };
  }

  nowMs(): number {
    return this.disk.timeline.nowMs + this.lostMs;
  }

  /** The process was killed. Its power may be gone too; then the disk is told after this. */
  abandon(): void {
    const { chance } = this.disk;
    for (const finish of this.underway) finish(chance.pick([0, 0, 1, chance.between(0, 1)]));
    this.underway.clear();
    this.disk.dropLocks(this.open.keys());
    this.open.clear();
  }

  // ---- in the pool

  /** Does `work` after a while, with what share of it was done (1, or less when the process was killed). */
  private later(work: (share: number) => void, answer: () => void): void {
    let isDone = false;
    const once = (share: number): void => {
      if (isDone) return;
      isDone = true;
      work(share);
    };
    this.underway.add(once);
    const totalMs = this.disk.latencyMs();
    const workMs = totalMs * this.disk.chance.between(0.2, 1);
    this.disk.timeline.after(workMs, () => once(1));
    this.disk.timeline.after(totalMs, () => {
      this.underway.delete(once);
      this.process.enter(answer);
    });
  }

  /** Nobody sees what it does; a disk that hangs holds it, too. */
  private uncache(fd: number, done: () => void): void {
    this.inodeOf(fd);
    this.process.enterAfter(Math.max(0, this.disk.hangsUntilMs - this.disk.timeline.nowMs), done);
  }

  private inodeOf(fd: number): Inode {
    const descriptor = this.open.get(fd);
    if (descriptor === undefined) throw systemError('EBADF');
    return descriptor.inode;
  }

  private read(
    fd: number,
    data: Buffer,
    offset: number,
    length: number,
    position: number,
    done: TransferCallback,
  ): void {
    const fails = this.disk.fails(this.disk.readErrors);
    let bytes = 0;
    this.later(
      () => {
        if (!fails && !this.process.isDead) bytes = this.readNow(fd, data, offset, length, position);
      },
      () => (fails ? done(systemError('EIO'), 0) : done(null, bytes)),
    );
  }

  private readNow(fd: number, data: Buffer, offset: number, length: number, position: number): number {
    const { cache } = this.inodeOf(fd);
    return cache.copy(data, offset, position, Math.min(position + length, cache.length));
  }

  private write(
    fd: number,
    data: Buffer,
    offset: number,
    length: number,
    position: number,
    done: TransferCallback,
  ): void {
    const { inode, isDurable } = this.open.get(fd) as Descriptor;
    // Some calls write less than they were asked to, on a sector's edge.
    const isShort = length > SECTOR_BYTES && this.disk.chance.happens(0.02);
    const bytes = isShort
      ? SECTOR_BYTES * this.disk.chance.within(1, Math.ceil(length / SECTOR_BYTES) - 1)
      : length;
    const failure = this.failureOf(inode, position, bytes);
    const source = data.subarray(offset, offset + bytes);
    this.later(
      (share) => {
        // A write that fails, or whose process dies, may have gone part of the way.
        const part = failure === null ? share : this.disk.chance.pick([0, this.disk.chance.between(0, 1)]);
        const written = part === 1 ? bytes : SECTOR_BYTES * Math.floor((bytes * part) / SECTOR_BYTES);
        if (failure === 'ENOSPC' || written === 0) return;
        inode.write(position, source.subarray(0, written));
        if (isDurable && failure === null) inode.harden(position, written);
        this.disk.timeline.note(`disk ${this.disk.name} write`, position, written);
      },
      () => (failure === null ? done(null, bytes) : done(systemError(failure), 0)),
    );
  }

  private writeNow(fd: number, data: Buffer, offset: number, length: number, position: number): number {
    const inode = this.inodeOf(fd);
    const failure = this.failureOf(inode, position, length);
    if (failure !== null) throw systemError(failure);
    inode.write(position, data.subarray(offset, offset + length));
    if (this.disk.slowness > 1 && this.disk.chance.happens(0.3)) this.lostMs += THROTTLED_MS;
    this.disk.timeline.note(`disk ${this.disk.name} write now`, position, length);
    return length;
  }

  private failureOf(inode: Inode, position: number, length: number): 'ENOSPC' | 'EIO' | null {
    if (this.disk.isFull && inode.needsSpace(position, length)) {
      this.disk.failedCalls += 1;
      return 'ENOSPC';
    }
    return this.disk.fails(this.disk.writeErrors) ? 'EIO' : null;
  }

  private sync(
    fd: number,
    done: (error: NodeJS.ErrnoException | null) => void,
    fromBytes?: number,
    toBytes?: number,
  ): void {
    const inode = this.inodeOf(fd);
    const covered = inode.beginSync(fromBytes, toBytes);
    const fails = this.disk.fails(this.disk.syncErrors);
    if (fails) this.disk.hasLostPages = true;
    this.later(
      (share) => {
        if (share < 1) inode.dropSync(covered);
        else if (!fails) inode.endSync(covered);
        this.disk.timeline.note(`disk ${this.disk.name} sync`, covered.size);
      },
      () => done(fails ? systemError('EIO') : null),
    );
  }

  private trim(fd: number, offsetBytes: number, lengthBytes: number): Promise<void> {
    const inode = this.inodeOf(fd);
    const { writeErrors, punchErrors } = this.disk;
    const fails = this.disk.fails(Math.max(writeErrors, punchErrors));
    return new Promise((resolve, reject) => {
      this.later(
        (share) => {
          if (share !== 1 || fails) return;
          inode.punch(offsetBytes, lengthBytes);
          this.disk.timeline.note(`disk ${this.disk.name} punch`, offsetBytes, lengthBytes);
        },
        () => (fails ? reject(systemError('EIO')) : resolve()),
      );
    });
  }

  // ---- at once

  private seek(fd: number, fromBytes: number, wanted: 0 | 1): number {
    const { mapped, sizeBytes } = this.inodeOf(fd);
    if (fromBytes >= sizeBytes) return NO_DATA;
    for (let page = Math.floor(fromBytes / PAGE_BYTES); page < mapped.length; page++) {
      if (mapped[page] === wanted) return Math.max(fromBytes, page * PAGE_BYTES);
    }
    return wanted === 1 ? NO_DATA : sizeBytes;
  }

  private tryLock(fd: number, shared: boolean): boolean {
    const { locks } = this.inodeOf(fd);
    for (const [other, isShared] of locks) if (other !== fd && !(shared && isShared)) return false;
    locks.set(fd, shared);
    return true;
  }

  // ---- files and folders

  /** A call that may throw, answered later. */
  private control<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.process.enterAfter(this.disk.latencyMs(), () => {
        try {
          resolve(work());
        } catch (error) {
          reject(error as Error);
        }
      });
    });
  }

  private folderCalls(): FolderCalls {
    const { disk } = this;
    return {
      open: (path, flags) =>
        this.control(() => {
          const inode = disk.open(path, (flags & constants.O_CREAT) !== 0);
          const fd = disk.nextFd();
          this.open.set(fd, { inode, isDurable: (flags & constants.O_DSYNC) !== 0 });
          return fd;
        }),
      close: (fd) =>
        this.control(() => {
          this.inodeOf(fd).locks.delete(fd);
          this.open.delete(fd);
        }),
      status: (fd) =>
        this.control(() => {
          const { id, isFolder, sizeBytes, mappedPages } = this.inodeOf(fd);
          const allocatedBytes = mappedPages * PAGE_BYTES;
          return { isFile: !isFolder, isFolder, sizeBytes, allocatedBytes, identity: String(id) };
        }),
      truncate: (fd, sizeBytes) => this.control(() => this.inodeOf(fd).resize(sizeBytes)),
      sync: (fd) =>
        this.control(() => {
          const inode = this.inodeOf(fd);
          if (inode.isFolder) disk.syncFolder(inode);
          else inode.endSync(inode.beginSync());
        }),
      makeFolder: (path) => this.control(() => disk.makeFolder(path)),
      list: (path) => this.control(() => disk.list(path)),
      unlink: (path) => this.control(() => disk.unlink(path)),
      fileSystem: () => Promise.resolve(0),
      freeBytes: () => this.control(() => (disk.isFull ? 0 : ROOM_BYTES)),
    };
  }
}
