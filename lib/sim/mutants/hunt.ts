/** One mutant's hunt: the simulation in a process of its own, with the bug planted, until a run goes wrong. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { BlockferryError } from '../../base/errors.js';
import { plantIn, type Mutant } from './list.js';

/** For a bug that makes the loop spin, which is not found by this: only what the simulation itself reports counts. A thousand
 *  runs take some minutes, and a busy machine is no hole in the simulation. */
const HUNT_MS_MAX = 1_800_000;

/** What is read of `sim --json`. */
const Report = z.object({
  runs: z.number(),
  failures: z.array(z.object({ seed: z.number(), wrongs: z.array(z.string()) })),
});

export interface Verdict {
  readonly mutant: string;
  readonly invariant: string;
  readonly breaks: string;
  /** Of the run that went wrong; null: the mutant survived. */
  readonly seed: number | null;
  /** As many as it took, or as there were. */
  readonly runs: number;
  /** The first line of what went wrong; or why nothing could. */
  readonly wrong: string;
  readonly seconds: number;
}

export async function hunt(mutant: Mutant, firstSeed: number, runsMax: number): Promise<Verdict> {
  const { name, invariant, breaks } = mutant;
  const startMs = performance.now();
  const outcome = await simulate(name, firstSeed, runsMax);
  const seconds = Math.round(performance.now() - startMs) / 1000;
  const verdict = { mutant: name, invariant, breaks, seconds };
  if (typeof outcome === 'string') return { ...verdict, seed: null, runs: 0, wrong: outcome };
  const [failure] = outcome.failures;
  const wrong = failure?.wrongs[0]?.split('\n')[0] ?? '';
  return { ...verdict, seed: failure?.seed ?? null, runs: outcome.runs, wrong };
}

/** A mutant that does not fit the code it is of proves nothing: better found before anything runs. */
export async function refuseStale(mutants: readonly Mutant[]): Promise<void> {
  for (const mutant of mutants) {
    const text = await readFile(fileURLToPath(new URL(`../../${mutant.file}`, import.meta.url)), 'utf8');
    if (plantIn(text, mutant) === null)
      throw new BlockferryError(
        'INVALID',
        `mutant ${mutant.name} is stale: what it replaces does not stand once in ${mutant.file}`,
        'change it with the code, in lib/sim/mutants/list.ts',
      );
  }
}

/** @returns a text when the process did not end with a report */
function simulate(name: string, firstSeed: number, runs: number): Promise<z.infer<typeof Report> | string> {
  const plant = new URL(`./plant.js?${encodeURIComponent(name)}`, import.meta.url).href;
  const sim = fileURLToPath(new URL('../../../bin/sim.js', import.meta.url));
  const args = [
    '--import',
    plant,
    sim,
    '--first',
    '--json',
    '--jobs',
    '1',
    '--seed',
    `${firstSeed}`,
    '--runs',
    `${runs}`,
  ];
  return new Promise((resolve) => {
    const options = { timeout: HUNT_MS_MAX, killSignal: 'SIGKILL', maxBuffer: 16 * 1024 * 1024 } as const;
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      if (stdout.startsWith('{')) resolve(Report.parse(JSON.parse(stdout)));
      else if (error?.killed === true) resolve('the simulation hung');
      else resolve(`the simulation ended without a report: ${stderr.trim().split('\n')[0] ?? ''}`);
    });
  });
}
