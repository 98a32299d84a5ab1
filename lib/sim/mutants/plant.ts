/**
 * Preloaded into a simulation (`node --import plant.js?NAME`): the one module that the mutant NAME is of is changed as it is
 * loaded; nothing is copied, and nothing else knows. Node runs the hook in a thread of its own, from this same file.
 */
import { register } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { MUTANTS } from './list.js';
import { plantIn } from './mutant.js';

interface Loaded {
  readonly format: string;
  readonly source?: string | ArrayBuffer | Uint8Array;
}
type NextLoad = (url: string, context: unknown) => Promise<Loaded>;

const name = decodeURIComponent(new URL(import.meta.url).search.slice(1));
const mutant = MUTANTS.find((one) => one.name === name);
if (mutant === undefined) throw new Error(`there is no mutant '${name}'`);
const target = new URL(`../../${mutant.file}`, import.meta.url).href;

if (isMainThread) register(import.meta.url);

export async function load(url: string, context: unknown, next: NextLoad): Promise<Loaded> {
  const loaded = await next(url, context);
  if (url !== target || mutant === undefined) return loaded;
  const text = Buffer.from(loaded.source as Uint8Array).toString('utf8');
  const source = plantIn(text, mutant);
  if (source === null) throw new Error(`mutant ${name} is stale: ${mutant.file} has changed`);
  return { ...loaded, source };
}
