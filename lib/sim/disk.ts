/**
 * The disk of one simulated machine: files by path, the entries of folders (durable only when their folder was synced),
 * and its moods: slow, hanging, full, failing. It outlives the processes that use it; their doors are disk-doors.ts's.
 */
import { dirname } from 'node:path';
import type { Chance } from '../base/chance.js';
import { Inode, type Loss } from './inode.js';
import { systemError } from './socket.js';
import type { Timeline } from './timeline.js';

/** Reads that find their page in the cache, usually. */
export const CACHE_HITS = 0.8;

export class SimDisk {
  /** A call takes so many times as long. */
  slowness = 1;
  isFull = false;
  /** Chances of EIO. */
  readErrors = 0;
  writeErrors = 0;
  syncErrors = 0;
  punchErrors = 0;
  /** Until when nothing answers. */
  hangsUntilMs = 0;
  /** A read finds its page in the cache so often. */
  cacheHits = CACHE_HITS;
  /** A sync has failed: what it was to make durable is called clean, and is not. */
  hasLostPages = false;
  /** Some call has failed since the last look. */
  failedCalls = 0;
  private entries = new Map<string, Inode>();
  private durableEntries = new Map<string, Inode>();
  private inodes = 0;
  private fds = 2;

  constructor(
    readonly name: string,
    readonly timeline: Timeline,
    readonly chance: Chance,
  ) {
    for (const map of [this.entries, this.durableEntries]) map.set('/', new Inode(0, true));
  }

  /** How long a call takes now. */
  latencyMs(): number {
    // A slow disk is not slow evenly: what came first may end last.
    const usual = this.chance.happens(this.slowness > 1 ? 0.12 : 0.02)
      ? this.chance.between(2, 12)
      : this.chance.between(0.02, 0.4);
    return Math.max(usual * this.slowness, this.hangsUntilMs - this.timeline.nowMs);
  }

  /** Whether a call with this chance of failing fails. */
  fails(chance: number): boolean {
    if (chance === 0 || !this.chance.happens(chance)) return false;
    this.failedCalls += 1;
    return true;
  }

  nextFd(): number {
    return ++this.fds;
  }

  // ---- paths

  find(path: string): Inode | undefined {
    return this.entries.get(path);
  }

  files(): [string, Inode][] {
    return [...this.entries].filter(([, inode]) => !inode.isFolder);
  }

  open(path: string, creates: boolean): Inode {
    const inode = this.entries.get(path);
    if (inode !== undefined) return inode;
    if (!creates || this.entries.get(dirname(path)) === undefined) throw systemError('ENOENT');
    return this.make(path, false);
  }

  private make(path: string, isFolder: boolean): Inode {
    const inode = new Inode(++this.inodes, isFolder);
    this.entries.set(path, inode);
    return inode;
  }

  makeFolder(path: string): string | undefined {
    if (this.entries.get(path)?.isFolder === true) return undefined;
    const first = this.makeFolder(dirname(path));
    this.make(path, true);
    return first ?? path;
  }

  list(path: string): string[] {
    const prefix = path === '/' ? '/' : `${path}/`;
    const inside = [...this.entries.keys()].filter((name) => name !== '/' && name.startsWith(prefix));
    return inside.map((name) => name.slice(prefix.length)).filter((name) => !name.includes('/'));
  }

  unlink(path: string): void {
    if (!this.entries.delete(path)) throw systemError('ENOENT');
  }

  /** fsync of a folder: its entries are durable. */
  syncFolder(folder: Inode): void {
    const [path] = [...this.entries].find(([, inode]) => inode === folder) ?? [];
    if (path === undefined) return;
    const isInside = (name: string): boolean => name !== '/' && dirname(name) === path;
    for (const name of [...this.durableEntries.keys()]) {
      if (isInside(name) && !this.entries.has(name)) this.durableEntries.delete(name);
    }
    for (const [name, inode] of this.entries) if (isInside(name)) this.durableEntries.set(name, inode);
  }

  // ---- ends

  /** The process that had these descriptors is gone, with its locks. */
  dropLocks(fds: Iterable<number>): void {
    for (const fd of fds) for (const inode of this.entries.values()) inode.locks.delete(fd);
  }

  losePower(loss: Loss): void {
    this.hangsUntilMs = 0;
    for (const inode of new Set(this.entries.values())) inode.losePower(loss, this.chance);
    if (loss === 'none') this.durableEntries = new Map(this.entries);
    else if (loss === 'all' || this.chance.happens(0.5)) this.entries = new Map(this.durableEntries);
    else this.durableEntries = new Map(this.entries);
  }
}
