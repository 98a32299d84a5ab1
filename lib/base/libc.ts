/** koffi and the C library: the door to system calls that Node has not. Prebuilt for Linux; Blockferry works without. */
import { createRequire } from 'node:module';
import type Koffi from 'koffi';
import type { LibraryHandle } from 'koffi';

export interface Libc {
  readonly koffi: typeof Koffi;
  readonly library: LibraryHandle;
}

let loaded: Libc | null | undefined;

/** Null where koffi does not load, and off Linux. Never throws. */
export function loadLibc(): Libc | null {
  if (loaded === undefined) loaded = tryToLoad();
  return loaded;
}

function tryToLoad(): Libc | null {
  if (process.platform !== 'linux') return null;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
    return { koffi, library: koffi.load(null) };
  } catch {
    return null;
  }
}

/** Where a buffer's first byte stands, as long as the buffer is neither transferred nor collected; 0 without koffi. */
export function addressOf(buffer: Buffer): number {
  const libc = loadLibc();
  return libc === null ? 0 : Number(libc.koffi.address(buffer));
}
