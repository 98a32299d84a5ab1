/**
 * The koffi door to preadv2(RWF_NOWAIT): a read that is served from the page cache or not at all. It neither waits nor
 * retries; reader.ts decides what to do with a miss.
 */
import type Koffi from 'koffi';
import type { LibraryHandle } from 'koffi';

/**
 * Reads up to `lengthBytes` into the front of `data` from `positionBytes`, without waiting for a disk.
 * @returns bytes read (fewer than asked where the cache ends), MISS, or UNSUPPORTED (not on this file system)
 */
export type NowaitRead = (fd: number, data: Buffer, lengthBytes: number, positionBytes: number) => number;

export const MISS = -1;
export const UNSUPPORTED = -2;

const RWF_NOWAIT = 0x8; // <linux/fs.h>

/** Throws where the call or 64-bit pointers are missing. */
export function makeNowaitRead(koffi: typeof Koffi, libc: LibraryHandle): NowaitRead {
  if (koffi.sizeof('void *') !== 8) throw new Error('pointers are not 64 bits wide');
  const preadv2 = libc.func(
    'int64_t preadv2(int fd, const void *iov, int count, int64_t offset, int flags)',
  ) as (fd: number, iov: BigUint64Array, count: number, offset: number, flags: number) => number;
  const { EOPNOTSUPP, EINVAL, ENOSYS } = koffi.os.errno;

  // One iovec for all calls: { void *base; size_t length; }. The call is synchronous, so nobody else can be using it.
  // The address is asked for each time although it costs a BigInt (20 to 60 ns of about 950): remembering the address of
  // an ArrayBuffer measured no faster, and would write through a stale pointer if one were ever transferred or resized.
  const iov = new BigUint64Array(2);
  return (fd, data, lengthBytes, positionBytes) => {
    iov[0] = koffi.address(data);
    iov[1] = BigInt(lengthBytes);
    const count = preadv2(fd, iov, 1, positionBytes, RWF_NOWAIT);
    if (count >= 0) return count;
    const errno = koffi.errno();
    // Anything but these is a miss, EIO too: the read that follows in the pool meets the same error and reports it.
    return errno === EOPNOTSUPP || errno === EINVAL || errno === ENOSYS ? UNSUPPORTED : MISS;
  };
}
