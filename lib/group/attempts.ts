/** Optimistic changes of the group store: read, decide, compare-and-swap, and again when somebody else was first. */
import { BlockferryError } from '../base/errors.js';
import type { Clock } from '../base/clock.js';
import type { Random } from '../base/random.js';
import type { GroupStore, StoreCompare, StoreOperation } from './store.js';

/** Each failed attempt means that somebody else succeeded: so many in a row do not happen. */
export const ATTEMPTS_MAX = 32;

/** The doors that a change needs. */
export interface AdminDoors {
  readonly clock: Clock;
  readonly random: Random;
}

/** One attempt: what must still hold, what to write, and what the caller gets if it does. */
export interface Attempt<T> {
  readonly compares: readonly StoreCompare[];
  readonly operations: readonly StoreOperation[];
  readonly result: T;
}

/**
 * Applies `attempt` to what the store holds now, as often as it takes.
 * @throws CONFLICT when others change the same records without end; whatever `attempt` throws
 */
export async function change<T>(store: GroupStore, attempt: () => Promise<Attempt<T>>): Promise<T> {
  for (let i = 0; i < ATTEMPTS_MAX; i++) {
    const { compares, operations, result } = await attempt();
    if ((await store.txn(compares, operations)).committed) return result;
  }
  throw new BlockferryError('CONFLICT', 'others keep changing the same records', 'try again in a moment');
}

/** Compares an entry with what was read of it. */
export function unchanged(key: string, entry: { readonly revision: number } | undefined): StoreCompare {
  return { key, revision: entry?.revision ?? 0 };
}
