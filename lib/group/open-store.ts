/** From the URL that --store takes to an open group store. */
import { isAbsolute } from 'node:path';
import { BlockferryError } from '../base/errors.js';
import { EmbeddedStore, type EmbeddedStoreOptions } from './embedded-store.js';
import { LmdbTables } from './lmdb-tables.js';
import type { GroupStore } from './store.js';

const EMBEDDED = 'embedded:';

/** Whether openStore() takes it: what a process would do before it opens its store need not be done for another. */
export function isStoreUrl(url: string): boolean {
  return url.startsWith(EMBEDDED) && isAbsolute(url.slice(EMBEDDED.length));
}

/**
 * Opens embedded:/path/to/folder, making it where it is missing.
 * @throws USAGE for any other URL, and what the engine throws
 */
export async function openStore(url: string, options: EmbeddedStoreOptions): Promise<GroupStore> {
  return EmbeddedStore.open(folderOf(url), options);
}

/**
 * Of who must not make a store: a new one where that of a group was moved away would be taken for the group's.
 * @throws NOT_FOUND where there is none, USAGE
 */
export async function refuseMissingStore(url: string): Promise<void> {
  const folder = folderOf(url);
  if (await LmdbTables.isIn(folder)) return;
  const hint = "start the group with 'blockferry up' first, or move its folder back";
  throw new BlockferryError('NOT_FOUND', `there is no group store in ${folder}`, hint);
}

function folderOf(url: string): string {
  if (isStoreUrl(url)) return url.slice(EMBEDDED.length);
  throw new BlockferryError('USAGE', `'${url}' is not a store`, 'write --store embedded:/path/to/folder');
}
