/**
 * Several test files in one process: to start one and load the product into it costs more than most of the files do by
 * themselves. Each file still runs by itself too. None may use the root's t.teardown: with it tap takes the first pause
 * between two files for the end of the run. A file that measures its whole process is named *.alone.test.ts, and
 * what make check runs *.check.test.ts.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import 'tap'; // first, so that its handler of 'exit' does not have the last word
import { ROOT } from './root.js';

/** Runs share `number` of `shares` of the unit tests, counted from 1, one file after the other. */
export async function runShare(number: number, shares: number): Promise<void> {
  // The sources say which there are: what was compiled may be there still when they are gone.
  const names = readdirSync(join(ROOT, 'test', 'unit')).filter((name) => /^[^.]+\.test\.ts$/.test(name));
  const sizeOf = (name: string): number => statSync(join(ROOT, 'test', 'unit', name)).size;
  // By length, dealt there and back: what is long takes long, more or less, and a new file moves few of the others.
  const longestFirst = names.sort().sort((a, b) => sizeOf(b) - sizeOf(a));
  const dealt = (at: number): number =>
    at % (2 * shares) < shares ? at % shares : shares - 1 - (at % shares);
  const share = longestFirst.filter((_, at) => dealt(at) === number - 1);
  let left = share.length;
  process.once('exit', () => {
    if (left === 0) return;
    process.stderr.write(`${String(left)} files of share ${String(number)} were not run\n`);
    process.exitCode = 1;
  });
  for (const name of share) {
    await import(`../unit/${name.replace(/\.ts$/, '.js')}`);
    left -= 1;
  }
}
