/**
 * A row of seeds, run by this process or by several. Results come in the order of the seeds, whoever was first: what is
 * made of them does not depend on the number of processes.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { BlockferryError } from '../base/errors.js';
import { runSeed, type SeedOptions, type SeedResult } from './seed-run.js';
import type { SeedOrder } from './worker.js';

export interface Row {
  readonly firstSeed: number;
  readonly runs: number;
  readonly jobs: number;
  readonly options: SeedOptions;
  /** Told each result, in order; false: no more are wanted. */
  take(result: SeedResult): Promise<boolean>;
}

export async function runRow(row: Row): Promise<void> {
  if (row.jobs > 1) return new Workers(row).run();
  for (let seed = row.firstSeed; seed < row.firstSeed + row.runs; seed++)
    if (!(await row.take(await runSeed(seed, row.options)))) return;
}

class Workers {
  private next: number;
  private isEnough = false;
  /** Results that others have still to come before. */
  private readonly early = new Map<number, SeedResult>();
  private toTake: number;
  private taking: Promise<void> = Promise.resolve();

  constructor(private readonly row: Row) {
    this.next = this.toTake = row.firstSeed;
  }

  async run(): Promise<void> {
    const jobs = Math.min(this.row.jobs, this.row.runs);
    await Promise.all(Array.from({ length: jobs }, () => this.work()));
    await this.taking;
  }

  /** One process, until there is nothing left to do. */
  private async work(): Promise<void> {
    const child = fork(fileURLToPath(new URL('./worker.js', import.meta.url)));
    const { firstSeed, runs } = this.row;
    try {
      while (!this.isEnough && this.next < firstSeed + runs) {
        const seed = this.next++;
        this.early.set(seed, await order(child, { seed, ...this.row.options }));
        this.taking = this.taking.then(() => this.takeInOrder());
      }
    } finally {
      child.disconnect();
    }
  }

  private async takeInOrder(): Promise<void> {
    for (;;) {
      const result = this.early.get(this.toTake);
      if (result === undefined || this.isEnough) return;
      this.early.delete(this.toTake++);
      if (!(await this.row.take(result))) this.isEnough = true;
    }
  }
}

function order(child: ChildProcess, wanted: SeedOrder): Promise<SeedResult> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null): void =>
      reject(new BlockferryError('INTERNAL', `the process of seed ${wanted.seed} ended with ${code}`));
    child.once('exit', ended);
    child.once('message', (result) => {
      child.off('exit', ended);
      resolve(result as SeedResult);
    });
    child.send(wanted);
  });
}
