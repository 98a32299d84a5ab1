/**
 * Keeps two processes (or two opens in one process) off the same file. The lock is advisory and belongs to the open file,
 * so closing the descriptor gives it back; there is no unlock.
 */
import { BlockferryError, describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { NativeExtensions } from './native.js';

/**
 * Locks the whole file behind `fd`, shared or exclusive (exclusive needs a writable descriptor).
 * @param what the file as people know it, for messages
 * @throws BlockferryError BUSY when somebody else holds it
 */
export function lockFile(
  fd: number,
  shared: boolean,
  what: string,
  extensions: NativeExtensions | null,
  log: Logger,
): void {
  if (extensions === null) {
    log.warn(
      { file: what },
      'fs-native-extensions does not load: no lock keeps other processes off this file',
    );
    return;
  }
  let granted: boolean;
  try {
    granted = extensions.tryLock(fd, { shared });
  } catch (error) {
    // Some network file systems have no locks (ENOLCK, EOPNOTSUPP). Serving without one beats not serving.
    log.warn(
      { file: what, reason: describeError(error) },
      'the file system does not lock: nothing keeps others off',
    );
    return;
  }
  if (!granted) {
    throw new BlockferryError('BUSY', `${what} is in use by another process`, 'stop the other one first');
  }
}
