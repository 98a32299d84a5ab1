/**
 * A member's data folder: one sparse file per volume and a lock that keeps a second process out. It knows names and paths;
 * who holds which extent is the group store's business, not the folder's.
 *
 *     DIR/lock           locked as long as the folder is open; never removed, or two could hold it
 *     DIR/NAME.volume    the bytes of volume NAME
 *     DIR/GROUP.group    empty: every file here is that group's
 *     DIR/NAME.member    empty: they are that member's
 *     DIR/NAME.stranger  empty: but not the file of volume NAME, which was there before
 *
 * And what tells whether unflushed writes may be gone: write-verifier.ts.
 */
import { constants } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { assert } from '../base/assert.js';
import { BlockferryError, type ErrorCode, errnoOf } from '../base/errors.js';
import { VOLUME_NAME_PATTERN } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { type FolderCalls, type StorageDoors, systemDoors } from './doors.js';
import { openErrorOf } from './io-errors.js';
import { lockFile } from './lock.js';
import { type OpenOptions, syncFolder } from './open-file.js';
import { SparseFile } from './sparse-file.js';
import { WriteVerifier, type VerifierSource } from './write-verifier.js';

const LOCK_NAME = 'lock';
const SUFFIX = '.volume';
const GROUP_SUFFIX = '.group';
const MEMBER_SUFFIX = '.member';
const STRANGER_SUFFIX = '.stranger';

/** Of a file that is not what it was. */
const LOST = new Set<ErrorCode>(['NOT_FOUND', 'INVALID']);

const CLOSED = { isClosed: true, isSpent: false, allocatedBytes: () => Promise.resolve(0) };

export class DataFolder {
  private closed = false;
  private verifier: WriteVerifier | null = null;
  private spoiling: Promise<void> | undefined;
  /** Null until they are looked up. */
  private strangers_: Set<string> | null = null;
  /** By volume: what was last opened from here. */
  private readonly files = new Map<string, Pick<SparseFile, 'isClosed' | 'isSpent' | 'allocatedBytes'>>();

  private constructor(
    readonly path: string,
    private readonly lockFd: number,
    private readonly doors: StorageDoors,
  ) {}

  /**
   * Opens the folder, making it where it is missing.
   * @throws BlockferryError BUSY when another process has it, INVALID, NO_SPACE, IO
   */
  static async open(
    path: string,
    options: { log: Logger },
    doors: StorageDoors = systemDoors(),
  ): Promise<DataFolder> {
    const folder = resolve(path);
    let fd = -1;
    try {
      await makeFolder(folder, doors.folders);
      fd = await openLock(join(folder, LOCK_NAME), doors.folders);
      lockFile(fd, false, `data folder ${folder}`, doors.extensions, options.log);
      return new DataFolder(folder, fd, doors);
    } catch (error) {
      if (fd !== -1) await doors.folders.close(fd);
      throw openErrorOf(error, folder);
    }
  }

  /** Its write verifier. Once, before any volume is opened. */
  async openVerifier(source: VerifierSource): Promise<string> {
    this.verifier = await WriteVerifier.open(this.path, source, this.doors.folders);
    return this.verifier.value;
  }

  /** Where the bytes of a volume are, or would be. */
  volumePath(volumeName: string): string {
    // A name becomes a path here, so this is the last place that can keep '../' out.
    assert(VOLUME_NAME_PATTERN.test(volumeName), `volume name '${volumeName}'`);
    return join(this.path, volumeName + SUFFIX);
  }

  /** Opens the file of a volume; throws what SparseFile.open does, and INVALID for a stranger's. */
  async openVolume(volumeName: string, options: OpenOptions): Promise<SparseFile> {
    await this.refuseStranger(volumeName);
    const spent = (): void => void (this.spoiling = this.verifier?.spoil());
    const path = this.volumePath(volumeName);
    const opening = SparseFile.open(path, { ...options, spent }, this.doors);
    const file = await (options.create ? opening : opening.catch(refuseLost));
    this.files.set(volumeName, file);
    return file;
  }

  /** Bytes that open volumes take, and that are left on this file system. Rejects with what the system says. */
  async space(): Promise<{ usedBytes: number; freeBytes: number }> {
    let usedBytes = 0;
    for (const [name, file] of this.files) {
      if (!file.isClosed) usedBytes += await file.allocatedBytes();
      else if (!file.isSpent) this.files.set(name, CLOSED); // what it remembers of its bytes may go
    }
    return { usedBytes, freeBytes: await this.doors.folders.freeBytes(this.path) };
  }

  /** The names of the volumes that have a file here, sorted. */
  async volumes(): Promise<string[]> {
    const entries = await this.doors.folders.list(this.path);
    return entries
      .filter((entry) => entry.endsWith(SUFFIX))
      .map((entry) => entry.slice(0, -SUFFIX.length))
      .filter((name) => VOLUME_NAME_PATTERN.test(name))
      .sort();
  }

  /** Everything here is of this group: markOf() said so. */
  isOf(group: string): Promise<boolean> {
    return this.has(markName(group, GROUP_SUFFIX));
  }

  /** Durably. */
  markOf(group: string): Promise<void> {
    return this.mark(markName(group, GROUP_SUFFIX));
  }

  /**
   * It is one member's for good: by its name the routes say which of the bytes here are the only ones.
   * @throws INVALID when it is another's
   */
  async refuseOther(member: string): Promise<void> {
    const own = markName(member, MEMBER_SUFFIX);
    const entries = await this.doors.folders.list(this.path);
    const other = entries.find((entry) => entry.endsWith(MEMBER_SUFFIX) && entry !== own);
    if (other === undefined) return;
    const name = decodeURIComponent(other.slice(0, -MEMBER_SUFFIX.length));
    throw new BlockferryError(
      'INVALID',
      `${this.path} is the data folder of member ${name}, not of ${member}`,
      `give --data the folder of ${member}`,
    );
  }

  /** Durably, once. Of who is in the group by that name: who only tried to be would lock the owner out. */
  async claimFor(member: string): Promise<void> {
    const own = markName(member, MEMBER_SUFFIX);
    if (!(await this.has(own))) await this.mark(own);
  }

  /** What leaveAlone() was said of, in this life or one before. Looked up once, for every file is opened by way of it. */
  async strangers(): Promise<Set<string>> {
    if (this.strangers_ === null) {
      const marked = await this.markedStrangers();
      this.strangers_ ??= marked; // or another has looked meanwhile
    }
    return this.strangers_;
  }

  private async markedStrangers(): Promise<Set<string>> {
    const entries = await this.doors.folders.list(this.path);
    const names = entries.filter((entry) => entry.endsWith(STRANGER_SUFFIX));
    return new Set(names.map((name) => name.slice(0, -STRANGER_SUFFIX.length)));
  }

  /**
   * The file of that volume is not known to be of this group: until it is moved away it is neither opened nor removed.
   * Durably.
   */
  async leaveAlone(volumeName: string): Promise<void> {
    await this.mark(volumeName + STRANGER_SUFFIX);
    (await this.strangers()).add(volumeName);
  }

  private async refuseStranger(volumeName: string): Promise<void> {
    const strangers = await this.strangers();
    if (!strangers.has(volumeName)) return;
    if (await this.has(volumeName + SUFFIX)) {
      const path = this.volumePath(volumeName);
      throw new BlockferryError(
        'INVALID',
        `${path} is not of this group`,
        'move it away, or restore the store',
      );
    }
    await this.doors.folders.unlink(join(this.path, volumeName + STRANGER_SUFFIX));
    strangers.delete(volumeName);
  }

  private async has(name: string): Promise<boolean> {
    return (await this.doors.folders.list(this.path)).includes(name);
  }

  private async mark(name: string): Promise<void> {
    const { folders } = this.doors;
    const path = join(this.path, name);
    try {
      await folders.close(await folders.open(path, constants.O_RDWR | constants.O_CREAT, 0o600));
      await syncFolder(this.path, folders);
    } catch (error) {
      throw openErrorOf(error, path);
    }
  }

  /** Removes a volume's file, durably; one that is not there is no error. Close it first. Throws INVALID for a stranger's. */
  async remove(volumeName: string): Promise<void> {
    await this.refuseStranger(volumeName);
    const path = this.volumePath(volumeName);
    this.files.delete(volumeName);
    try {
      await this.doors.folders.unlink(path);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw openErrorOf(error, path);
    }
    await syncFolder(this.path, this.doors.folders);
  }

  /** Every volume that this process, or one before it, may have left unflushed has been flushed. */
  private async isDurable(verifier: WriteVerifier): Promise<boolean> {
    const names = verifier.wasWhole ? [...this.files.keys()] : await this.volumes();
    try {
      for (const name of names) {
        const file = this.files.get(name);
        if (file === undefined) await this.flush(this.volumePath(name));
        else if (!file.isClosed || file.isSpent) return false;
      }
      return true;
    } catch {
      return false; // its verifier ends with this boot at the latest
    }
  }

  /** Of a file that nobody has opened here. */
  private async flush(path: string): Promise<void> {
    const { folders } = this.doors;
    const fd = await folders.open(path, constants.O_RDWR);
    try {
      await folders.sync(fd);
    } catch (error) {
      await this.verifier?.spoil(); // the kernel does not tell it again: whoever opens the file next hears nothing
      throw error;
    } finally {
      await folders.close(fd);
    }
  }

  /** Lets other processes in. Files that were opened from here are closed by whoever opened them. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    const { verifier } = this;
    try {
      await this.spoiling;
      if (verifier !== null && (await this.isDurable(verifier))) await verifier.closedInOrder();
    } finally {
      await this.doors.folders.close(this.lockFd);
    }
  }
}

/** What was there before is gone, or is something else: a hint to make or resize it would lose what it held. */
function refuseLost(error: unknown): never {
  if (!(error instanceof BlockferryError) || !LOST.has(error.code)) throw error;
  const hint = 'restore it from a backup: a new file would read as zeros';
  throw new BlockferryError(error.code, error.message, hint, { cause: error });
}

/** Whatever the store calls a group becomes one file name. */
function markName(of: string, suffix: string): string {
  return encodeURIComponent(of) + suffix;
}

async function openLock(path: string, folders: FolderCalls): Promise<number> {
  try {
    return await folders.open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (error) {
    if (errnoOf(error) !== 'EISDIR') throw openErrorOf(error, path);
    throw new BlockferryError('INVALID', `${path} is a folder`, 'move it away', { cause: error });
  }
}

/** mkdir -p, durable from the first folder that had to be made. */
async function makeFolder(folder: string, folders: FolderCalls): Promise<void> {
  const first = await folders.makeFolder(folder, 0o700);
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) {
    await syncFolder(dirname(made), folders);
  }
}
