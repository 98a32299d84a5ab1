/**
 * `make mutants`: how good the simulation is. Bugs are planted in the engine one at a time (list.ts), and the simulation
 * must find each within so many runs, or in the plans that are replayed for ever; a survivor is a hole in the simulation, and
 * makes the exit code 1, as does what goes wrong without a bug.
 */
import { createRequire } from 'node:module';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import type Cli3 from 'cli-table3';
import { BlockferryError } from '../../base/errors.js';
import { wholeOf } from '../../base/units.js';
import { hasSurvived, hunt, refuseStale, type Verdict } from './hunt.js';
import { MUTANTS } from './list.js';
import type { Mutant } from './mutant.js';

interface Options {
  readonly seed: number;
  readonly runs: number;
  readonly jobs: number;
  readonly json: boolean;
  /** A folder of plans, for what no seed has found; '': none. */
  readonly plans: string;
  /** Parts of names; none: all of them. */
  readonly only: readonly string[];
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** @returns the process's exit code: 1 when a mutant survived, or something went wrong without one */
export async function runMutants(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  const { only } = options;
  const chosen = MUTANTS.filter(({ name }) => only.length === 0 || only.some((part) => name.includes(part)));
  if (chosen.length === 0) throw new BlockferryError('USAGE', `no mutant is called '${only.join(' ')}'`);
  await refuseStale(chosen);
  const verdicts = await huntAll(chosen, options);
  const survivors = verdicts.filter(hasSurvived);
  if (options.json) say(JSON.stringify({ firstSeed: options.seed, runsMax: options.runs, verdicts }));
  else printTable(verdicts);
  return survivors.length > 0 || wrongAnyway(verdicts).length > 0 ? 1 : 0;
}

function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string', default: '1' },
      runs: { type: 'string', default: '200' },
      jobs: { type: 'string', default: '2' },
      only: { type: 'string', default: '' },
      plans: { type: 'string', default: '' },
      json: { type: 'boolean', default: false },
    },
  });
  return {
    seed: wholeOf('seed', values.seed, 0),
    runs: wholeOf('runs', values.runs),
    jobs: wholeOf('jobs', values.jobs),
    json: values.json,
    plans: values.plans,
    only: values.only.split(' ').filter((part) => part !== ''),
  };
}

/** So many at a time; each says at once what became of it, for the whole takes a while. */
async function huntAll(mutants: readonly Mutant[], options: Options): Promise<Verdict[]> {
  const verdicts = new Map<Mutant, Verdict>();
  const rest = [...mutants];
  const hunting = { firstSeed: options.seed, runsMax: options.runs, plans: options.plans };
  const lane = async (): Promise<void> => {
    for (let mutant = rest.shift(); mutant !== undefined; mutant = rest.shift()) {
      const verdict = await hunt(mutant, hunting);
      verdicts.set(mutant, verdict);
      if (!options.json) say(`${verdicts.size}/${mutants.length} ${mutant.name}: ${fateOf(verdict)}`);
    }
  };
  await Promise.all(Array.from({ length: options.jobs }, lane));
  return mutants.flatMap((mutant) => verdicts.get(mutant) ?? []);
}

function fateOf(verdict: Verdict): string {
  const { seed, plan, runs, seconds } = verdict;
  const by = seed === null ? `the plan ${basename(plan ?? '')}` : `seed ${seed}`;
  return `${hasSurvived(verdict) ? 'SURVIVED' : `found by ${by}`} (${runs} runs, ${seconds} s)`;
}

function printTable(verdicts: readonly Verdict[]): void {
  // A CommonJS package, and slow to load: only when there is something to print.
  const Table = createRequire(import.meta.url)('cli-table3') as typeof Cli3;
  const table = new Table({
    head: ['mutant', 'breaks', 'seed', 'runs', 'first wrong line'],
    style: { head: [], border: [], compact: true },
    colWidths: [26, 10, 7, 6, 80],
  });
  for (const verdict of verdicts) {
    const { mutant, invariant, seed, plan, runs, wrong } = verdict;
    const where = seed ?? (plan === null ? '–' : 'plan');
    table.push([mutant, invariant, where, runs, hasSurvived(verdict) ? `SURVIVED ${wrong}` : wrong]);
  }
  say(table.toString());
  const survivors = verdicts.filter(hasSurvived);
  say(`${verdicts.length - survivors.length} of ${verdicts.length} planted bugs were found`);
  for (const what of wrongAnyway(verdicts)) say(`${what} goes wrong without any: found by itself`);
}

function wrongAnyway(verdicts: readonly Verdict[]): string[] {
  return [...new Set(verdicts.flatMap((verdict) => verdict.wrongAnyway))];
}
