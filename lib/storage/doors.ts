/**
 * The doors of storage to the operating system, handed in when a file is opened, so that a test can stand in for a slow,
 * full or failing disk, or for a machine without the native helpers.
 */
import fs from 'node:fs';
import { promisify } from 'node:util';
import { LoopTurns } from '../base/loop-turns.js';
import { makeFolders } from '../base/make-folder.js';
import { DigestSlots } from './block-digests.js';
import { loadNativeCalls, loadNativeExtensions, type NativeCalls, type NativeExtensions } from './native.js';
import { poolThreads, PoolShares } from './pool-share.js';

export type TransferCallback = (error: NodeJS.ErrnoException | null, bytes: number) => void;

/** The calls of node:fs that I/O uses. The ones with a callback run in the thread pool. */
export interface FileCalls {
  read(
    fd: number,
    data: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: TransferCallback,
  ): void;
  readSync(fd: number, data: Buffer, offset: number, length: number, position: number): number;
  write(
    fd: number,
    data: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: TransferCallback,
  ): void;
  writeSync(fd: number, data: Buffer, offset: number, length: number, position: number): number;
  fdatasync(fd: number, callback: (error: NodeJS.ErrnoException | null) => void): void;
}

export interface FileStatus {
  readonly isFile: boolean;
  readonly isFolder: boolean;
  readonly sizeBytes: number;
  /** Bytes of disk it takes. */
  readonly allocatedBytes: number;
  /** Which file it is, by whatever name; nobody else's as long as it is open. */
  readonly identity: string;
}

/** The calls that open, make and remove files, in the thread pool; none is on the path of an I/O. */
export interface FolderCalls {
  open(path: string, flags: number, mode?: number): Promise<number>;
  close(fd: number): Promise<void>;
  status(fd: number): Promise<FileStatus>;
  truncate(fd: number, sizeBytes: number): Promise<void>;
  /** fsync, of a file or of a folder's entries. */
  sync(fd: number): Promise<void>;
  /** mkdir -p; the first folder that had to be made, or undefined. */
  makeFolder(path: string, mode: number): Promise<string | undefined>;
  /** The names in a folder. */
  list(path: string): Promise<string[]>;
  unlink(path: string): Promise<void>;
  /** Bytes that are left for us on the file system of a folder. */
  freeBytes(path: string): Promise<number>;
  /** Of what kind the file system of a file or folder is (f_type, statfs(2)). */
  fileSystem(path: string): Promise<number>;
}

export interface StorageDoors {
  readonly calls: FileCalls;
  readonly folders: FolderCalls;
  /** null: koffi does not load here. */
  readonly native: NativeCalls | null;
  /** null: fs-native-extensions does not load here. */
  readonly extensions: NativeExtensions | null;
  /** The thread pool that the calls with a callback run in. */
  readonly pool: PoolShares;
  /** Turns the event loop while a read is about to be there. */
  readonly turns: LoopTurns;
  /** Where files remember digests of their blocks, all of a process together. */
  readonly digests: DigestSlots;
  /** Monotonic milliseconds with fractions, cheap enough to be asked twice per write. */
  nowMs(): number;
}

/** st_blocks counts these, whatever the file system's block (stat(2)). */
const STAT_BLOCK_BYTES = 512;

const fstat = promisify(fs.fstat) as (fd: number, options: { bigint: true }) => Promise<fs.BigIntStats>;

const systemFolders: FolderCalls = {
  open: promisify(fs.open),
  close: promisify(fs.close),
  status: async (fd) => {
    const stat = await fstat(fd, { bigint: true }); // an inode's number may have 64 bits
    return {
      isFile: stat.isFile(),
      isFolder: stat.isDirectory(),
      sizeBytes: Number(stat.size),
      allocatedBytes: Number(stat.blocks) * STAT_BLOCK_BYTES,
      identity: `${stat.dev}:${stat.ino}`,
    };
  },
  truncate: promisify(fs.ftruncate),
  sync: promisify(fs.fsync),
  makeFolder: makeFolders,
  list: (path) => fs.promises.readdir(path),
  unlink: (path) => fs.promises.unlink(path),
  freeBytes: async (path) => {
    const { bavail, bsize } = await fs.promises.statfs(path);
    return bavail * bsize;
  },
  fileSystem: async (path) => (await fs.promises.statfs(path)).type,
};

let loaded: StorageDoors | undefined;
const nowMs = (): number => performance.now();

/** The real ones; the native helpers are loaded at the first call. */
export function systemDoors(): StorageDoors {
  loaded ??= {
    calls: {
      read: fs.read,
      readSync: fs.readSync,
      write: fs.write,
      writeSync: fs.writeSync,
      fdatasync: fs.fdatasync,
    },
    folders: systemFolders,
    native: loadNativeCalls(),
    extensions: loadNativeExtensions(),
    pool: new PoolShares(poolThreads(process.env['UV_THREADPOOL_SIZE'])),
    turns: new LoopTurns(nowMs),
    digests: new DigestSlots(),
    nowMs,
  };
  return loaded;
}
