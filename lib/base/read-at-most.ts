/**
 * A whole file of bounded length, whatever it is: a device has no end although its size is 0, and a pipe, as a shell gives
 * secrets in `<(…)`, has no size either.
 */
import { open } from 'node:fs/promises';

/** Null: it is longer than `bytesMax`. Rejects with what the system says. */
export async function readAtMost(path: string, bytesMax: number): Promise<Buffer | null> {
  const file = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(bytesMax + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length);
      if (bytesRead === 0) return bytes.subarray(0, length);
      length += bytesRead;
      if (length > bytesMax) return null;
    }
  } finally {
    await file.close();
  }
}
