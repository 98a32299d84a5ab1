/**
 * Opens or creates the file behind a SparseFile: checks, lock, size, and a creation that survives a crash. It does no I/O
 * of initiators.
 */
import fs from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { BlockferryError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { StorageDoors } from './doors.js';
import { openErrorOf } from './io-errors.js';
import { lockFile } from './lock.js';

const open = promisify(fs.open);
const fstat = promisify(fs.fstat);
const ftruncate = promisify(fs.ftruncate);
const fsync = promisify(fs.fsync);
export const closeFd = promisify(fs.close);

export interface OpenOptions {
  /** Required to create; for an existing file, what its size must be. */
  readonly sizeBytes?: number;
  /** 512 or 4096: the size must be a multiple. */
  readonly blockBytes: number;
  /** Make the file where it is missing. */
  readonly create: boolean;
  readonly readOnly: boolean;
  readonly log: Logger;
}

export interface OpenedFile {
  readonly fd: number;
  /** The same file, opened with O_DSYNC; −1 for a read-only one. */
  readonly durableFd: number;
  readonly sizeBytes: number;
}

/** Nobody but the owner reads a disk's bytes. */
const MODE = 0o600;

/** Opens, locks and, where asked, creates. Throws BlockferryError; nothing stays open then. */
export async function openFile(path: string, options: OpenOptions, doors: StorageDoors): Promise<OpenedFile> {
  let fd = -1;
  try {
    checkOptions(options);
    fd = await open(path, flagsOf(options), MODE);
    const sizeBytes = await prepare(fd, path, options, doors);
    const { O_RDWR, O_DSYNC } = fs.constants;
    const durableFd = options.readOnly ? -1 : await open(path, O_RDWR | O_DSYNC);
    return { fd, durableFd, sizeBytes };
  } catch (error) {
    if (fd !== -1) await closeFd(fd);
    throw openErrorOf(error, path);
  }
}

/** Makes the entries of a folder durable: a new file is not there after a crash before this. */
export async function syncFolder(path: string): Promise<void> {
  const fd = await open(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    await fsync(fd);
  } finally {
    await closeFd(fd);
  }
}

function flagsOf(options: OpenOptions): number {
  const { O_RDONLY, O_RDWR, O_CREAT } = fs.constants;
  return options.readOnly ? O_RDONLY : options.create ? O_RDWR | O_CREAT : O_RDWR;
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
    );
  }
}

/** Judges what was opened; returns its size. */
async function prepare(fd: number, path: string, options: OpenOptions, doors: StorageDoors): Promise<number> {
  const stat = await fstat(fd);
  if (stat.isDirectory()) throw new BlockferryError('INVALID', `${path} is a folder`, 'name a file');
  if (!stat.isFile()) throw new BlockferryError('INVALID', `${path} is not a regular file`, 'name a file');
  lockFile(fd, options.readOnly, path, doors.extensions, options.log);
  // An empty file is a creation that a crash cut between open and ftruncate: it is carried on with.
  if (options.create && stat.size === 0) return create(fd, path, options.sizeBytes ?? 0);
  checkSize(path, stat.size, options);
  return stat.size;
}

async function create(fd: number, path: string, sizeBytes: number): Promise<number> {
  await ftruncate(fd, sizeBytes);
  await fsync(fd);
  await syncFolder(dirname(path));
  return sizeBytes;
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
