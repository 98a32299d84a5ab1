/** What files take on the disk. */
import { stat } from 'node:fs/promises';

/** Bytes of disk behind a file (stat's blocks), 0 for one that is not there. */
export async function allocatedBytes(path: string): Promise<number> {
  try {
    return (await stat(path)).blocks * 512;
  } catch {
    return 0;
  }
}
