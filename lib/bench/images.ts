/** Image files as the cases need them: full of random bytes, sparse, or out of the page cache. */
import { randomFillSync } from 'node:crypto';
import { writeSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { pinInCache } from './pin.js';
import { runToEnd } from './process.js';
import type { Scope } from './scope.js';

const PIECE_BYTES = 8 * 1024 * 1024;
/**
 * What is written at once decides how the page cache keeps it (folios of up to 2 MiB on Linux 6.16 and newer), and ext4
 * walks the whole folio at every later write: 18 µs for 4 KiB written into 2 MiB, 3 µs into 64 KiB. This is what a file
 * looks like that initiators have written; both sides are served one.
 */
const WRITE_BYTES = 64 * 1024;

/** Every block written with random bytes and durable: allocated, nothing left to write back. Kept if it is there. */
export async function makeRandomImage(path: string, sizeBytes: number): Promise<void> {
  const known = await stat(path).catch(() => undefined);
  if (known?.size === sizeBytes) return;
  const file = await open(path, 'w');
  try {
    const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, sizeBytes));
    for (let at = 0; at < sizeBytes; at += piece.length) {
      randomFillSync(piece);
      for (let from = 0; from < piece.length && at + from < sizeBytes; from += WRITE_BYTES) {
        writeSync(file.fd, piece, from, Math.min(WRITE_BYTES, sizeBytes - at - from), at + from);
      }
    }
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** The same, held in the page cache while `scope` lasts. */
export async function makeCachedImage(path: string, sizeBytes: number, scope: Scope): Promise<void> {
  await makeRandomImage(path, sizeBytes);
  await pinInCache(path, scope);
}

/** Nothing but holes. */
export async function makeSparseImage(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, 'w');
  await file.truncate(sizeBytes);
  await file.close();
}

/** Makes the file durable and drops it, and it alone, from the page cache: needs no root. */
export async function dropFromCache(path: string): Promise<void> {
  const file = await open(path, 'r+');
  await file.datasync();
  await file.close();
  await runToEnd('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none']);
}
