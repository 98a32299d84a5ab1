/** libiscsi's iscsi-perf as a client: reads only, and light enough not to be the limit. */
import { BlockferryError } from '../base/errors.js';
import { runToEnd } from './process.js';

export interface ReadLoad {
  readonly queueDepth: number;
  readonly blockBytes: number;
  readonly isRandom: boolean;
}

/** Its blocks are the unit's. */
const SECTOR_BYTES = 512;

/** @returns commands per second */
export async function runIscsiPerf(url: string, load: ReadLoad, seconds: number): Promise<number> {
  const blocks = load.blockBytes / SECTOR_BYTES;
  const args = ['-m', String(load.queueDepth), '-b', String(blocks), '-t', String(Math.ceil(seconds))];
  if (load.isRandom) args.push('-r');
  return parseIscsiPerf(await runToEnd('iscsi-perf', [...args, url]));
}

/** The last "iops average N" of what it prints. */
export function parseIscsiPerf(output: string): number {
  const found = [...output.matchAll(/iops average (\d+)/g)].at(-1)?.[1];
  if (found === undefined) {
    throw new BlockferryError('PROTOCOL', `iscsi-perf did not say its IOPS: ${output.trim().slice(-200)}`);
  }
  return Number(found);
}
