/**
 * One mutant's hunt: the simulation in a process of its own, with the bug planted, until a run goes wrong. What needs many
 * things to meet may not come by in so many seeds: then the plans that are replayed for ever have to find it. A run that goes
 * wrong without the bug, too, has found something else: the hunt goes on, and tells.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { BlockferryError } from '../../base/errors.js';
import { plantIn, type Mutant } from './mutant.js';

/** For a bug that makes the loop spin, which is not found by this: only what the simulation itself reports counts. A thousand
 *  runs take some minutes, and a busy machine is no hole in the simulation. */
const HUNT_MS_MAX = 1_800_000;

/** What is read of `sim --json`. */
const Report = z.object({
  runs: z.number(),
  failures: z.array(z.object({ seed: z.number(), wrongs: z.array(z.string()) })),
});

/** What is read of `sim --json FOLDER`. */
const Replays = z.object({
  replays: z.array(z.object({ plan: z.string(), wrongs: z.array(z.string()) })),
});

/** Either. */
const Whole = Report.pick({ failures: true })
  .extend(Replays.shape)
  .partial()
  .transform(({ failures = [], replays = [] }) => ({ failures, replays }));

export interface HuntOptions {
  readonly firstSeed: number;
  readonly runsMax: number;
  /** A folder of plans; '': none. */
  readonly plans: string;
}

export interface Verdict {
  readonly mutant: string;
  readonly invariant: string;
  readonly breaks: string;
  /** Of the run that went wrong; null: none did. */
  readonly seed: number | null;
  /** The plan that went wrong where no seed did; null: none, or none was asked. With no seed either, the mutant survived. */
  readonly plan: string | null;
  /** As many as it took, or as there were. */
  readonly runs: number;
  /** The first line of what went wrong; or why nothing could. */
  readonly wrong: string;
  /** Seeds and plans that went wrong with the bug and without it. */
  readonly wrongAnyway: readonly string[];
  readonly seconds: number;
}

export const hasSurvived = ({ seed, plan }: Verdict): boolean => seed === null && plan === null;

export async function hunt(mutant: Mutant, options: HuntOptions): Promise<Verdict> {
  const { name, invariant, breaks } = mutant;
  const startMs = performance.now();
  const wrongAnyway: string[] = [];
  const bySeeds = await huntBySeeds(name, options, wrongAnyway);
  const { plans } = options;
  const isOver = bySeeds.seed !== null || plans === '';
  const found = isOver ? bySeeds : { ...bySeeds, ...(await huntByPlans(name, plans, wrongAnyway)) };
  const seconds = Math.round(performance.now() - startMs) / 1000;
  return { mutant: name, invariant, breaks, plan: null, ...found, wrongAnyway, seconds };
}

type Found = Pick<Verdict, 'seed' | 'runs' | 'wrong'>;

async function huntBySeeds(
  name: string,
  { firstSeed, runsMax }: HuntOptions,
  wrongAnyway: string[],
): Promise<Found> {
  for (let runs = 0; ;) {
    if (runs === runsMax) return { seed: null, runs, wrong: '' };
    const args = ['--seed', `${firstSeed + runs}`, '--runs', `${runsMax - runs}`];
    const answer = await simulate(name, ['--first', '--jobs', '1', ...args]);
    if (typeof answer === 'string') return { seed: null, runs, wrong: answer };
    const report = Report.parse(answer.report);
    const [failure] = report.failures;
    runs += report.runs;
    if (failure === undefined) return { seed: null, runs, wrong: '' };
    const { seed, wrongs } = failure;
    if (await isRight(['--seed', `${seed}`, '--runs', '1']))
      return { seed, runs, wrong: firstLineOf(wrongs) };
    wrongAnyway.push(`seed ${seed}`);
  }
}

/** @returns nothing when no plan goes wrong */
async function huntByPlans(
  name: string,
  plans: string,
  wrongAnyway: string[],
): Promise<Partial<Pick<Verdict, 'plan' | 'wrong'>>> {
  const answer = await simulate(name, [plans]);
  if (typeof answer === 'string') return { wrong: answer };
  const failed = Replays.parse(answer.report).replays.filter(({ wrongs }) => wrongs.length > 0);
  for (const { plan, wrongs } of failed) {
    if (await isRight([plan])) return { plan, wrong: firstLineOf(wrongs) };
    wrongAnyway.push(`the plan ${basename(plan)}`);
  }
  return {};
}

/** The same without a bug. */
async function isRight(options: readonly string[]): Promise<boolean> {
  const answer = await simulate(null, options);
  if (typeof answer === 'string') throw new BlockferryError('IO', `without a bug: ${answer}`);
  const { failures, replays } = Whole.parse(answer.report);
  return failures.length === 0 && replays.every(({ wrongs }) => wrongs.length === 0);
}

function firstLineOf(wrongs: readonly string[] = []): string {
  return wrongs[0]?.split('\n')[0] ?? '';
}

/** A mutant that does not fit the code it is of proves nothing: better found before anything runs. */
export async function refuseStale(mutants: readonly Mutant[]): Promise<void> {
  for (const mutant of mutants) {
    const text = await readFile(fileURLToPath(new URL(`../../${mutant.file}`, import.meta.url)), 'utf8');
    if (plantIn(text, mutant) === null)
      throw new BlockferryError(
        'INVALID',
        `mutant ${mutant.name} is stale: what it replaces does not stand once in ${mutant.file}`,
        'change it with the code, below lib/sim/mutants',
      );
  }
}

/**
 * @param name the bug to plant, if any
 * @returns a text when the process did not end with a report
 */
function simulate(name: string | null, options: readonly string[]): Promise<{ report: unknown } | string> {
  const plant = new URL(`./plant.js?${encodeURIComponent(name ?? '')}`, import.meta.url).href;
  const sim = fileURLToPath(new URL('../../../bin/sim.js', import.meta.url));
  const args = [...(name === null ? [] : ['--import', plant]), sim, '--json', ...options];
  return new Promise((resolve) => {
    const limits = { timeout: HUNT_MS_MAX, killSignal: 'SIGKILL', maxBuffer: 16 * 1024 * 1024 } as const;
    execFile(process.execPath, args, limits, (error, stdout, stderr) => {
      if (stdout.startsWith('{')) resolve({ report: JSON.parse(stdout) as unknown });
      else if (error?.killed === true) resolve('the simulation hung');
      else resolve(`the simulation ended without a report: ${stderr.trim().split('\n')[0] ?? ''}`);
    });
  });
}
