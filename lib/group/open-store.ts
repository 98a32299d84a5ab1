/** From the URL that --store takes to an open group store. */
import { isAbsolute } from 'node:path';
import { BlockferryError } from '../base/errors.js';
import { EmbeddedStore, type EmbeddedStoreOptions } from './embedded-store.js';
import type { GroupStore } from './store.js';

const EMBEDDED = 'embedded:';

/**
 * Opens embedded:/path/to/folder.
 * @throws USAGE for any other URL, and what the engine throws
 */
export async function openStore(url: string, options: EmbeddedStoreOptions): Promise<GroupStore> {
  const path = url.startsWith(EMBEDDED) ? url.slice(EMBEDDED.length) : '';
  if (!isAbsolute(path)) {
    throw new BlockferryError('USAGE', `'${url}' is not a store`, 'write --store embedded:/path/to/folder');
  }
  return EmbeddedStore.open(path, options);
}
