/** An end to what may have none. */
import { BlockferryError } from '../base/errors.js';

/** What `result` brings. Rejects with IO, saying `otherwise`, when that is not there in time; it goes on all the same. */
export async function within<T>(result: Promise<T>, ms: number, otherwise: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new BlockferryError('IO', otherwise)), ms);
  });
  try {
    return await Promise.race([result, late]);
  } finally {
    clearTimeout(timer);
  }
}
