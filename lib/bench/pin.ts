/**
 * Holds files in the page cache while they are measured. Kernels that reclaim memory ahead of need (DAMON, a cgroup's
 * memory.reclaim) take pages of a file within seconds, and then a comparison of targets would be one of the disk.
 */
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { loadLibc } from '../base/libc.js';
import { runToEnd } from './process.js';
import type { Scope } from './scope.js';

// <sys/mman.h>, Linux
const PROT_READ = 1;
const MAP_SHARED = 1;
/** Below this it is not a volume's. */
const SMALL_BYTES = 1024 * 1024;

type Mmap = (
  at: number,
  length: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => number;
type OnRange = (at: number, length: number) => number;

/**
 * Reads all of the file in and locks it there until `scope` ends. Who may not lock so much (RLIMIT_MEMLOCK) has it read in
 * only. Holes become pages of zeros: not for sparse files.
 */
export async function pinInCache(path: string, scope: Scope): Promise<void> {
  await runToEnd('dd', [`if=${path}`, 'of=/dev/null', 'bs=1M', 'status=none']);
  const libc = loadLibc();
  if (libc === null) return;
  const { library } = libc;
  const mmap = library.func('uintptr_t mmap(uintptr_t, size_t, int, int, int, int64_t)') as Mmap;
  const mlock = library.func('int mlock(uintptr_t, size_t)') as OnRange;
  const munmap = library.func('int munmap(uintptr_t, size_t)') as OnRange;
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const address = mmap(0, size, PROT_READ, MAP_SHARED, file.fd, 0);
    if (address >= 2 ** 63) return; // (void *) -1: it cannot be mapped
    scope.defer(() => void munmap(address, size));
    mlock(address, size);
  } finally {
    await file.close();
  }
}

/** The same for every file below `folder` that has no holes to speak of. */
export async function pinFolderInCache(folder: string, scope: Scope): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const { size, blocks } = await stat(path);
    if (size >= SMALL_BYTES && blocks * 512 >= size) await pinInCache(path, scope);
  }
}
