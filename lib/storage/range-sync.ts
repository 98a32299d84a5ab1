/**
 * Makes one range of a file durable and nothing else of it: msync over the file's map, which the kernel takes for an fsync of
 * those bytes (vfs_fsync_range) with the metadata that they need. It tells of a failed write-back there what it would have
 * told fdatasync: the map belongs to the open file that is synced.
 */
import type Koffi from 'koffi';
import type { LibraryHandle } from 'koffi';

/**
 * In the thread pool.
 * @param address of the range's first byte, in a map that stays until `done`
 * @returns false: it cannot be done now, and `done` is not called
 */
export type RangeSync = (
  address: number,
  lengthBytes: number,
  done: (error: NodeJS.ErrnoException | null) => void,
) => boolean;

const MS_SYNC = 4; // <sys/mman.h>, Linux
const PAGE_BYTES = 4096;

/** Throws where the call is missing. */
export function makeRangeSync(koffi: typeof Koffi, library: LibraryHandle): RangeSync {
  const msync = library.func('int msync(uintptr_t at, size_t length, int flags)');
  const nameOf = new Map(Object.entries(koffi.os.errno).map(([name, errno]) => [errno, name]));
  return (address, lengthBytes, done) => {
    const from = Math.floor(address / PAGE_BYTES) * PAGE_BYTES;
    const answered = (failure: unknown, result: number): void => {
      if (failure === null && result === 0) return done(null);
      const code = nameOf.get(koffi.errno()) ?? 'EIO'; // of this call's thread, which koffi keeps for its callback
      done(Object.assign(new Error(`${code}: a range did not reach the disk`), { code }));
    };
    try {
      msync.async(from, address + lengthBytes - from, MS_SYNC, answered);
      return true;
    } catch {
      return false; // more calls are under way than koffi takes
    }
  };
}
