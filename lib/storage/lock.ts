/**
 * Keeps two processes (or two opens in one process) off the same file. The lock is advisory and belongs to the open file,
 * so closing the descriptor gives it back; there is no unlock.
 */
import { BlockferryError, describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { NativeExtensions } from './native.js';

/**
 * What a shared lock holds: the bytes by which QEMU says "I read this consistently" (100), "nobody may write" (201) and
 * "nobody may resize" (203), so that QEMU's tools read beside us and refuse to write. An exclusive lock, ours on the whole
 * file or QEMU's, excludes them.
 */
const SHARED_BYTES = [100, 201, 203];

/**
 * Locks the file behind `fd`, shared or exclusive (exclusive needs a writable descriptor).
 * @param what the file as people know it, for messages
 * @returns whether it is locked; what does not lock is served all the same
 * @throws BlockferryError BUSY when somebody else holds it
 */
export function lockFile(
  fd: number,
  shared: boolean,
  what: string,
  extensions: NativeExtensions | null,
  log: Logger,
): boolean {
  if (extensions === null) {
    log.warn(
      { file: what },
      'fs-native-extensions does not load: no lock keeps other processes off this file',
    );
    return false;
  }
  let granted: boolean;
  try {
    granted = shared
      ? SHARED_BYTES.every((byte) => extensions.tryLock(fd, byte, 1, { shared }))
      : extensions.tryLock(fd, 0, 0, { shared });
  } catch (error) {
    // Some network file systems have no locks (ENOLCK, EOPNOTSUPP). Serving without one beats not serving.
    log.warn(
      { file: what, reason: describeError(error) },
      'the file system does not lock: nothing keeps others off',
    );
    return false;
  }
  if (!granted) {
    throw new BlockferryError('BUSY', `${what} is in use by another process`, 'stop the other one first');
  }
  return true;
}
