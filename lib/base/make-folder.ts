/**
 * mkdir -p. Node's own (`recursive`) goes round for ever where a folder cannot be made below one that is there, as in
 * /proc: it takes ENOENT for a missing parent, however often it has just made or seen that.
 */
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf } from './errors.js';

/**
 * @param path absolute
 * @returns the first folder that had to be made, or undefined. Rejects with what the system says.
 */
export async function makeFolders(path: string, mode?: number): Promise<string | undefined> {
  try {
    await mkdir(path, mode);
    return path;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'EEXIST' && (await stat(path)).isDirectory()) return undefined;
    if (errno !== 'ENOENT' || dirname(path) === path) throw error;
  }
  const first = await makeFolders(dirname(path), mode);
  await mkdir(path, mode).catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw error; // somebody else has made it meanwhile
  });
  return first ?? path;
}
