/**
 * Opens or creates the file behind a SparseFile: checks, lock, size, and a creation that survives a crash. It does no I/O
 * of initiators.
 */
import { constants } from 'node:fs';
import { dirname } from 'node:path';
import { BlockferryError, errnoOf } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { FolderCalls, StorageDoors } from './doors.js';
import { openErrorOf } from './io-errors.js';
import { lockFile } from './lock.js';

export interface OpenOptions {
  /** Required to create; for an existing file, what its size must be. */
  readonly sizeBytes?: number;
  /** 512 or 4096: the size must be a multiple. */
  readonly blockBytes: number;
  /** Make the file where it is missing. */
  readonly create: boolean;
  readonly readOnly: boolean;
  /** What is cleared keeps its space: zeros are written, and only punch() makes holes. */
  readonly keepsSpace?: boolean;
  /** Called once when something that was written is known not to have reached the disk. */
  readonly spent?: (() => void) | undefined;
  readonly log: Logger;
}

export interface OpenedFile {
  readonly fd: number;
  /** The same file, for syncs alone (flusher.ts); −1 for a read-only one. */
  readonly syncFd: number;
  /** The same file, opened by openDurable(); −1 for a read-only one. */
  readonly durableFd: number;
  readonly sizeBytes: number;
  /** Nobody else writes to it. */
  readonly isLocked: boolean;
  /** Where it has data is asked of a server. */
  readonly isOnServer: boolean;
}

/** statfs(2). */
const NFS_MAGIC = 0x6969;

/** Nobody but the owner reads a disk's bytes. */
const MODE = 0o600;

/** Opens, locks and, where asked, creates. Throws BlockferryError; nothing stays open then. */
export async function openFile(path: string, options: OpenOptions, doors: StorageDoors): Promise<OpenedFile> {
  const { folders } = doors;
  try {
    checkOptions(options);
    const { fd, isMade } = await openOrMake(path, options, folders);
    let syncFd = -1;
    let durableFd = -1;
    try {
      const prepared = await prepare(fd, path, isMade, options, doors);
      const isOnServer = (await folders.fileSystem(path).catch(() => 0)) === NFS_MAGIC;
      if (!options.readOnly) {
        syncFd = await openAgain(path, fd, constants.O_RDWR, folders);
        durableFd = await openDurable(path, fd, folders);
      }
      return { fd, syncFd, durableFd, ...prepared, isOnServer };
    } catch (error) {
      await folders.close(fd);
      if (syncFd !== -1) await folders.close(syncFd);
      throw error;
    }
  } catch (error) {
    throw openErrorOf(error, path);
  }
}

/** One more descriptor of the file behind `fd`, with O_DSYNC. */
export function openDurable(path: string, fd: number, folders: FolderCalls): Promise<number> {
  return openAgain(path, fd, constants.O_RDWR | constants.O_DSYNC, folders);
}

/**
 * The file behind `fd` once more, as an open file of its own. By its path and not by /proc/self/fd, which not every system
 * has, nor the simulated one; so what was opened is compared. That is exact: a file that is open gives its inode to no other.
 */
async function openAgain(path: string, fd: number, flags: number, folders: FolderCalls): Promise<number> {
  const again = await folders.open(path, flags);
  try {
    const { identity } = await folders.status(fd);
    if ((await folders.status(again)).identity === identity) return again;
    throw new BlockferryError('IO', `${path} is another file by now`, 'leave files that are served alone');
  } catch (error) {
    await folders.close(again);
    throw error;
  }
}

/** Makes the entries of a folder durable: a new file is not there after a crash before this. */
export async function syncFolder(path: string, folders: FolderCalls): Promise<void> {
  const fd = await folders.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folders.sync(fd);
  } finally {
    await folders.close(fd);
  }
}

/** What is there or, where that is asked for, what was made because nothing was. */
async function openOrMake(
  path: string,
  { create, readOnly }: OpenOptions,
  folders: FolderCalls,
): Promise<{ fd: number; isMade: boolean }> {
  const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL } = constants;
  try {
    return { fd: await folders.open(path, readOnly ? O_RDONLY : O_RDWR), isMade: false };
  } catch (error) {
    if (!create || errnoOf(error) !== 'ENOENT') throw error;
  }
  try {
    return { fd: await folders.open(path, O_RDWR | O_CREAT | O_EXCL, MODE), isMade: true };
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
  // Somebody else has made it, or it is a link to what is not there: not ours to remove in either case.
  return { fd: await folders.open(path, O_RDWR | O_CREAT, MODE), isMade: false };
}

function checkOptions({ create, readOnly, sizeBytes, blockBytes }: OpenOptions): void {
  if (create && readOnly) throw new BlockferryError('USAGE', 'a read-only file cannot be created');
  if (create && sizeBytes === undefined) {
    throw new BlockferryError('USAGE', 'a new file needs a size', 'give one, like 10G');
  }
  if (sizeBytes !== undefined && (sizeBytes <= 0 || sizeBytes % blockBytes !== 0)) {
    throw new BlockferryError(
      'INVALID',
      `${sizeBytes} bytes are not a multiple of the block of ${blockBytes}`,
      `give a multiple of ${blockBytes}`,
    );
  }
}

/** Judges what was opened, and was made for it where `isMade`, and locks it. */
async function prepare(
  fd: number,
  path: string,
  isMade: boolean,
  options: OpenOptions,
  doors: StorageDoors,
): Promise<Pick<OpenedFile, 'sizeBytes' | 'isLocked'>> {
  const { folders } = doors;
  const status = await folders.status(fd);
  if (status.isFolder) throw new BlockferryError('INVALID', `${path} is a folder`, 'name a file');
  if (!status.isFile) throw new BlockferryError('INVALID', `${path} is not a regular file`, 'name a file');
  const isLocked = lockFile(fd, options.readOnly, path, doors.extensions, options.log);
  // An empty file is a creation that a crash cut between open and ftruncate: it is carried on with.
  if (options.create && status.sizeBytes === 0) {
    const { sizeBytes = 0 } = options;
    try {
      await create(fd, path, sizeBytes, folders);
    } catch (error) {
      // A size that cannot be, say. Nobody has got anything from it yet; why it failed says more.
      if (isMade) await folders.unlink(path).catch(() => undefined);
      throw error;
    }
    return { sizeBytes, isLocked };
  }
  checkSize(path, status.sizeBytes, options);
  return { sizeBytes: status.sizeBytes, isLocked };
}

async function create(fd: number, path: string, sizeBytes: number, folders: FolderCalls): Promise<void> {
  await folders.truncate(fd, sizeBytes);
  await folders.sync(fd);
  await syncFolder(dirname(path), folders);
}

function checkSize(path: string, sizeBytes: number, { sizeBytes: expected, blockBytes }: OpenOptions): void {
  if (sizeBytes === 0) throw new BlockferryError('INVALID', `${path} is empty`, 'give a size to create it');
  if (expected !== undefined && sizeBytes !== expected) {
    throw new BlockferryError(
      'INVALID',
      `${path} has ${sizeBytes} bytes, not ${expected}`,
      'leave the size out',
    );
  }
  if (sizeBytes % blockBytes !== 0) {
    const hint = `make it longer, to ${Math.ceil(sizeBytes / blockBytes) * blockBytes} bytes`;
    throw new BlockferryError(
      'INVALID',
      `${path} has ${sizeBytes} bytes, not a multiple of ${blockBytes}`,
      hint,
    );
  }
}
