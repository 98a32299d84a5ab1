/**
 * The doors of storage to the operating system, handed in when a file is opened, so that a test can stand in for a slow,
 * full or failing disk, or for a machine without the native helpers.
 */
import fs from 'node:fs';
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

export interface StorageDoors {
  readonly calls: FileCalls;
  /** null: koffi does not load here. */
  readonly native: NativeCalls | null;
  /** null: fs-native-extensions does not load here. */
  readonly extensions: NativeExtensions | null;
  /** The thread pool that the calls with a callback run in. */
  readonly pool: PoolShares;
  /** Monotonic milliseconds with fractions, cheap enough to be asked twice per write. */
  nowMs(): number;
}

let loaded: StorageDoors | undefined;

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
    native: loadNativeCalls(),
    extensions: loadNativeExtensions(),
    pool: new PoolShares(poolThreads(process.env['UV_THREADPOOL_SIZE'])),
    nowMs: () => performance.now(),
  };
  return loaded;
}
