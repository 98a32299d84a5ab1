/**
 * Loads the two native helpers and gives them types: koffi (system calls that Node lacks) and fs-native-extensions
 * (locks and holes). Both are prebuilt, and Blockferry works without either; it holds no policy.
 */
import { createRequire } from 'node:module';
import { loadLibc } from '../base/libc.js';
import type { Uncache } from './cache-release.js';
import { makeMapCalls, type MapCalls } from './map-calls.js';
import { makeNowaitRead, type NowaitRead } from './page-cache-read.js';
import { makeRangeSync, type RangeSync } from './range-sync.js';

/** System calls through koffi. Linux only. */
export interface NativeCalls {
  readonly readNowait: NowaitRead;
  /** What readNowait refuses is on its way from the disk then: the kernel has begun to read ahead (Linux 5.9 and newer). */
  readonly beginsReads: boolean;
  readonly maps: MapCalls;
  readonly uncache: Uncache;
  readonly syncRange: RangeSync;
  /**
   * The offset of the first data at or after `fromBytes`, `NO_DATA` if none follows, `UNKNOWN` if it cannot be said. Beyond
   * the end of the file it is NO_DATA, too.
   */
  seekData(fd: number, fromBytes: number): number;
  /** The offset of the first hole at or after `fromBytes` (the end of the file counts as one), or UNKNOWN. */
  seekHole(fd: number, fromBytes: number): number;
  /** How long the file is now, or less than 0 if it cannot be said. */
  lengthBytes(fd: number): number;
}

export const NO_DATA = -1;
export const UNKNOWN = -2;

/** What we use of fs-native-extensions. */
export interface NativeExtensions {
  /**
   * An open-file-description lock on a range of bytes (length 0: to infinity); false when somebody else holds one that
   * excludes it. Gone when fd is closed.
   */
  tryLock(fd: number, offset: number, length: number, options: { shared: boolean }): boolean;
  /** fallocate(PUNCH_HOLE | KEEP_SIZE) in the thread pool. */
  trim(fd: number, offsetBytes: number, lengthBytes: number): Promise<void>;
}

const require = createRequire(import.meta.url);

const SEEK_END = 2; // lseek(2), Linux
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const POSIX_FADV_DONTNEED = 4; // posix_fadvise(2), Linux

/** koffi's calls, or null where koffi or a call is missing. Never throws. */
export function loadNativeCalls(): NativeCalls | null {
  const libc = loadLibc();
  if (libc === null) return null;
  try {
    const { koffi, library } = libc;
    const lseek = library.func('int64_t lseek(int fd, int64_t offset, int whence)') as (
      fd: number,
      offset: number,
      whence: number,
    ) => number;
    const fadvise = library.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)');
    const { ENXIO } = koffi.os.errno;
    const seek = (fd: number, fromBytes: number, whence: number): number => {
      const at = lseek(fd, fromBytes, whence);
      if (at >= 0) return at;
      return koffi.errno() === ENXIO ? NO_DATA : UNKNOWN;
    };
    return {
      readNowait: makeNowaitRead(koffi, library),
      beginsReads: true,
      maps: makeMapCalls(koffi, library),
      syncRange: makeRangeSync(koffi, library),
      uncache(fd, offsetBytes, lengthBytes, done) {
        try {
          fadvise.async(fd, offsetBytes, lengthBytes, POSIX_FADV_DONTNEED, () => done());
        } catch {
          setImmediate(done); // more calls are under way than koffi takes: a hint may be lost
        }
      },
      seekData: (fd, fromBytes) => seek(fd, fromBytes, SEEK_DATA),
      seekHole: (fd, fromBytes) => seek(fd, fromBytes, SEEK_HOLE),
      lengthBytes: (fd) => lseek(fd, 0, SEEK_END),
    };
  } catch {
    return null;
  }
}

/** fs-native-extensions, or null where it does not load. Never throws. */
export function loadNativeExtensions(): NativeExtensions | null {
  try {
    return require('fs-native-extensions') as NativeExtensions;
  } catch {
    return null;
  }
}
