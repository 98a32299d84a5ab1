/** A worker of a row of runs (workers.ts): one seed at a time, as it is told. */
import { runSeed, type SeedOptions } from './seed-run.js';

export interface SeedOrder extends SeedOptions {
  readonly seed: number;
}

process.on('message', ({ seed, ...options }: SeedOrder) => {
  void runSeed(seed, options).then((result) => process.send?.(result));
});
// Whoever gave the orders is gone.
process.on('disconnect', () => process.exit());
