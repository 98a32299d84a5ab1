/** The koffi door to mmap, munmap, madvise and mincore. It decides nothing: mapped-file.ts does. */
import type Koffi from 'koffi';
import type { LibraryHandle } from 'koffi';

/** What a map needs of the system. */
export interface MapCalls {
  /** Maps a whole file for reading; 0 when that cannot be. */
  map(fd: number, sizeBytes: number): number;
  unmap(address: number, sizeBytes: number): void;
  /** The range stays mapped, but nothing of it is held for this map: the next look at a page asks the file for it. */
  forget(address: number, lengthBytes: number): void;
  /** Fills a byte a page, bit 0: it is in the page cache. False when the kernel does not say. */
  resident(address: number, lengthBytes: number, pages: Uint8Array): boolean;
}

// <sys/mman.h>, Linux
const PROT_READ = 1;
const MAP_SHARED = 1;
/** Of a shared map of a file this loses nothing: the pages are the file's. */
const MADV_DONTNEED = 4;
/** What mmap returns when it cannot: (void *) -1. */
const MAP_FAILED = 2 ** 64;

/** Throws where a call or 64-bit pointers are missing. */
export function makeMapCalls(koffi: typeof Koffi, library: LibraryHandle): MapCalls {
  if (koffi.sizeof('void *') !== 8) throw new Error('pointers are not 64 bits wide');
  const mmap = library.func(
    'uintptr_t mmap(uintptr_t at, size_t length, int protection, int flags, int fd, int64_t offset)',
  ) as (at: number, length: number, protection: number, flags: number, fd: number, offset: number) => number;
  const munmap = library.func('int munmap(uintptr_t at, size_t length)') as (
    at: number,
    length: number,
  ) => number;
  const madvise = library.func('int madvise(uintptr_t at, size_t length, int advice)') as (
    at: number,
    length: number,
    advice: number,
  ) => number;
  const mincore = library.func('int mincore(uintptr_t at, size_t length, void *pages)') as (
    at: number,
    length: number,
    pages: Uint8Array,
  ) => number;
  return {
    map(fd, sizeBytes) {
      const address = Number(mmap(0, sizeBytes, PROT_READ, MAP_SHARED, fd, 0));
      return address >= MAP_FAILED ? 0 : address;
    },
    unmap: (address, sizeBytes) => void munmap(address, sizeBytes),
    forget: (address, lengthBytes) => void madvise(address, lengthBytes, MADV_DONTNEED),
    resident: (address, lengthBytes, pages) => mincore(address, lengthBytes, pages) === 0,
  };
}
