/** Image files as the cases need them: full of random bytes, sparse, or out of the page cache. */
import { randomFillSync } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { runToEnd } from './process.js';

const PIECE_BYTES = 8 * 1024 * 1024;

/** Every block written with random bytes and durable: cached, allocated, nothing left to write back. Kept if it is there. */
export async function makeRandomImage(path: string, sizeBytes: number): Promise<void> {
  const known = await stat(path).catch(() => undefined);
  if (known?.size === sizeBytes) return;
  const file = await open(path, 'w');
  try {
    const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, sizeBytes));
    for (let at = 0; at < sizeBytes; at += piece.length) {
      randomFillSync(piece);
      await file.write(piece, 0, Math.min(piece.length, sizeBytes - at), at);
    }
    await file.datasync();
  } finally {
    await file.close();
  }
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
