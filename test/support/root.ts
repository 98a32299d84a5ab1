/** Where the project is: the tests run as they are written, from test/, and as they are compiled, from dist/test/. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

export const ROOT = findRoot();

/** A built program, as users run it. */
export const builtFile = (path: string): string => join(ROOT, 'dist', path);

/** What Node needs to run another file of the tests as it runs this one. */
export const LOADERS: readonly string[] = import.meta.url.endsWith('.ts') ? process.execArgv : [];
