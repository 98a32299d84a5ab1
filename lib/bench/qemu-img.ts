/** `qemu-img bench` as a client: QEMU's own block layer over libiscsi, so what a virtual machine's disk would meet. */
import { BlockferryError } from '../base/errors.js';
import { runToEnd } from './process.js';

export interface QemuImgLoad {
  readonly queueDepth: number;
  readonly blockBytes: number;
  readonly isWrite: boolean;
}

/** It takes a number of requests instead of a time: this many say how fast it is. */
const TRIAL_REQUESTS = 20_000;

/** One after the other from the volume's start, beginning again at its end. @returns requests per second */
export async function runQemuImgBench(url: string, load: QemuImgLoad, seconds: number): Promise<number> {
  const trial = await run(url, load, TRIAL_REQUESTS);
  return run(url, load, Math.max(TRIAL_REQUESTS, Math.round(trial * seconds)));
}

async function run(url: string, load: QemuImgLoad, requests: number): Promise<number> {
  const { queueDepth, blockBytes, isWrite } = load;
  const size = ['-c', String(requests), '-d', String(queueDepth), '-s', String(blockBytes)];
  const args = ['bench', '-f', 'raw', '-t', 'none', ...size, ...(isWrite ? ['-w'] : []), url];
  return requests / parseQemuImgBench(await runToEnd('qemu-img', args));
}

/** Its "Run completed in 0.482 seconds.". */
export function parseQemuImgBench(output: string): number {
  const seconds = Number(/Run completed in ([\d.]+) seconds/.exec(output)?.[1]);
  if (seconds > 0) return seconds;
  throw new BlockferryError(
    'PROTOCOL',
    `qemu-img bench did not say how long it took: ${output.trim().slice(-200)}`,
  );
}
