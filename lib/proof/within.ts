/** A bound to waiting, since what a proof waits for may never come. */
import { BlockferryError } from '../base/errors.js';

/** @throws IO, with `otherwise`, when there is no result after so long */
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
