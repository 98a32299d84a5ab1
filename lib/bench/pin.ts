/**
 * Holds files in the page cache while they are measured. Kernels that reclaim memory ahead of need (DAMON, a cgroup's
 * memory.reclaim) take pages of a file within seconds, and then a comparison of targets would be one of the disk.
 */
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { loadLibc } from '../base/libc.js';
import { makeMapCalls } from '../storage/map-calls.js';
import { runToEnd } from './process.js';
import type { Scope } from './scope.js';

/** Below this it is not a volume's. */
const SMALL_BYTES = 1024 * 1024;

/**
 * Reads all of the file in and locks it there until `scope` ends. Who may not lock so much (RLIMIT_MEMLOCK) has it read in
 * only. Holes become pages of zeros: not for sparse files.
 */
export async function pinInCache(path: string, scope: Scope): Promise<void> {
  await runToEnd('dd', [`if=${path}`, 'of=/dev/null', 'bs=1M', 'status=none']);
  const libc = loadLibc();
  if (libc === null) return;
  const { koffi, library } = libc;
  const { map, unmap } = makeMapCalls(koffi, library);
  const mlock = library.func('int mlock(uintptr_t, size_t)') as (at: number, length: number) => number;
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const address = map(file.fd, size);
    if (address === 0) return; // it cannot be mapped
    scope.defer(() => unmap(address, size));
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
