/**
 * Makes one range of a file durable and nothing else of it: msync over a map of the range that nobody reads. The kernel
 * takes it for an fsync of those bytes (vfs_fsync_range), with the metadata that they need, and tells of a failed
 * write-back there what it would have told fdatasync: the map belongs to the same open file.
 */
import type { LibraryHandle } from 'koffi';
import type { MapCalls } from './map-calls.js';

/**
 * In the thread pool.
 * @returns false: it cannot be done, and `done` is not called
 */
export type RangeSync = (
  fd: number,
  offsetBytes: number,
  lengthBytes: number,
  done: (error: NodeJS.ErrnoException | null) => void,
) => boolean;

const MS_SYNC = 4; // <sys/mman.h>, Linux
const PAGE_BYTES = 4096;

type Answer = (failure: unknown, result: number) => void;

/** Throws where the call is missing. */
export function makeRangeSync(library: LibraryHandle, maps: Pick<MapCalls, 'map' | 'unmap'>): RangeSync {
  const msync = library.func('int msync(uintptr_t at, size_t length, int flags)');
  return (fd, offsetBytes, lengthBytes, done) => {
    const fromBytes = Math.floor(offsetBytes / PAGE_BYTES) * PAGE_BYTES; // where a map may begin
    const mappedBytes = offsetBytes + lengthBytes - fromBytes;
    const address = maps.map(fd, mappedBytes, fromBytes);
    if (address === 0) return false;
    const answered: Answer = (failure, result) => {
      maps.unmap(address, mappedBytes);
      done(result === 0 && failure === null ? null : notDurable());
    };
    msync.async(address, mappedBytes, MS_SYNC, answered);
    return true;
  };
}

/** The thread's errno is gone by then; whatever it was, bytes of the range are not on the disk. */
function notDurable(): NodeJS.ErrnoException {
  return Object.assign(new Error('EIO: bytes of a range did not reach the disk, msync'), { code: 'EIO' });
}
