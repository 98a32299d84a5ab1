/**
 * A whole file of bounded length, whatever it is: a device has no end although its size is 0, and a pipe, as a shell gives
 * secrets in `<(…)`, has no size either.
 */
import { read } from 'node:fs';
import { open } from 'node:fs/promises';
import { promisify } from 'node:util';

const readDescriptor = promisify(read);
const STDIN = 0;

/** Null: it is longer than `bytesMax`. Rejects with what the system says. */
export async function readAtMost(path: string, bytesMax: number): Promise<Buffer | null> {
  const file = await open(path, 'r');
  try {
    return await readToEnd((into, at) => file.read(into, at, into.length - at), bytesMax);
  } finally {
    await file.close();
  }
}

/** The same of standard input, which cannot be opened by a name where it is a socket, as Node gives its children. */
export function readStdinAtMost(bytesMax: number): Promise<Buffer | null> {
  return readToEnd((into, at) => readDescriptor(STDIN, into, at, into.length - at, null), bytesMax);
}

async function readToEnd(
  readMore: (into: Buffer, at: number) => Promise<{ bytesRead: number }>,
  bytesMax: number,
): Promise<Buffer | null> {
  const bytes = Buffer.alloc(bytesMax + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await readMore(bytes, length);
    if (bytesRead === 0) return bytes.subarray(0, length);
    length += bytesRead;
    if (length > bytesMax) return null;
  }
}
