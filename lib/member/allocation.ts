/**
 * A full volume gets its space before anybody is served: zeros all over its file, durable piece by piece. Written, since
 * Node has no fallocate, and blocks that were only reserved would count as holes (storage/holes.ts), which a move skips.
 * A crash in the midst leaves a file that its route does not know of: the next start begins with a new one.
 */
import type { Clock } from '../base/clock.js';
import { BlockferryError, describeError } from '../base/errors.js';
import { CLEAR_PIECE_BYTES_MAX, PROGRESS_INTERVAL_MS } from '../base/limits.js';
import { formatSize } from '../base/units.js';
import { IoError, submitAndWait } from '../block/device.js';
import type { CreationFailure } from '../group/creations.js';
import type { SparseFile } from '../storage/sparse-file.js';

export interface AllocationContext {
  readonly clock: Clock;
  /** False: the volume was deleted, or the member stops. */
  isWanted(): boolean;
  /** So many bytes are durably allocated. What becomes of that is nobody's concern. */
  tell(allocatedBytes: number): void;
}

/**
 * @param file opened with keepsSpace
 * @param freeBytes on its file system: what is known not to fit is not begun, or it would take from all others first
 * @throws NO_SPACE, CANCELLED; IoError
 */
export async function allocate(
  file: SparseFile,
  freeBytes: number,
  { clock, isWanted, tell }: AllocationContext,
): Promise<void> {
  const { sizeBytes } = file;
  if (freeBytes < sizeBytes) {
    throw new BlockferryError(
      'NO_SPACE',
      `it takes ${formatSize(sizeBytes)}, and ${formatSize(freeBytes)} are left`,
    );
  }
  let toldAtMs = clock.nowMs();
  for (let at = 0; at < sizeBytes; at += CLEAR_PIECE_BYTES_MAX) {
    if (!isWanted()) throw new BlockferryError('CANCELLED', 'nobody wants the volume any more');
    const lengthBytes = Math.min(CLEAR_PIECE_BYTES_MAX, sizeBytes - at);
    await submitAndWait(file, 'zero', at, lengthBytes);
    // Not once at the end: so much more in the page cache would throttle every writer of the machine.
    await file.sync();
    if (clock.nowMs() - toldAtMs < PROGRESS_INTERVAL_MS) continue;
    toldAtMs = clock.nowMs();
    tell(at + lengthBytes);
  }
}

/** No file of that size or name can be there, however often it is tried. */
export function isImpossible(error: unknown): boolean {
  return error instanceof BlockferryError && error.code === 'INVALID';
}

/** What a failure of it is to whoever asked for the volume. */
export function creationFailure(error: unknown, member: string): CreationFailure {
  const isFull =
    (error instanceof BlockferryError && error.code === 'NO_SPACE') ||
    (error instanceof IoError && error.code === 'no-space');
  const what = isFull ? 'no space' : isImpossible(error) ? 'not possible' : 'the disk failed';
  const reason = `${what} at ${member}: ${describeError(error)}`;
  return { code: isFull ? 'NO_SPACE' : 'IO', reason: reason.slice(0, 1024) };
}
