/** What an errno of a file means: for an I/O (IoError) and for opening (BlockferryError). */
import { BlockferryError, errnoOf } from '../base/errors.js';
import { IoError, type IoErrorCode } from '../block/device.js';

/** Turns the failure of a system call into what the layers above act on. */
export function ioErrorOf(error: unknown, direction: 'read' | 'write'): IoError {
  return new IoError(
    codeOf(errnoOf(error), direction),
    error instanceof Error ? error.message : String(error),
  );
}

function codeOf(errno: string, direction: 'read' | 'write'): IoErrorCode {
  switch (errno) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return 'no-space';
    case 'EROFS':
      return 'read-only';
    default:
      return direction === 'read' ? 'medium-read' : 'medium-write';
  }
}

/** Turns the failure of opening, sizing or syncing `path` into a message that says how to mend it. */
export function openErrorOf(error: unknown, path: string): BlockferryError {
  if (error instanceof BlockferryError) return error;
  const cause = { cause: error };
  switch (errnoOf(error)) {
    case 'ENOENT':
      return new BlockferryError('NOT_FOUND', `${path} does not exist`, 'create it, or give a size', cause);
    case 'ENOTDIR':
      return new BlockferryError('NOT_FOUND', `a part of the path ${path} is no folder`, undefined, cause);
    case 'EEXIST': // making a folder where something else is
      return new BlockferryError('INVALID', `${path} is no folder`, 'name another, or remove it', cause);
    case 'EISDIR':
      return new BlockferryError('INVALID', `${path} is a folder`, 'name a file', cause);
    case 'EACCES':
    case 'EPERM':
      return new BlockferryError('IO', `${path} may not be opened`, 'check its permissions', cause);
    case 'EROFS':
      return new BlockferryError('IO', `${path} is on a read-only file system`, 'serve it read-only', cause);
    case 'ENOSPC':
    case 'EDQUOT':
      return new BlockferryError('NO_SPACE', `no space left for ${path}`, 'free some space', cause);
    case 'EFBIG':
      return new BlockferryError(
        'INVALID',
        `the file system of ${path} has no files that large`,
        undefined,
        cause,
      );
    default:
      return new BlockferryError(
        'IO',
        `${path}: ${error instanceof Error ? error.message : String(error)}`,
        undefined,
        cause,
      );
  }
}
