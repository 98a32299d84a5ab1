/**
 * `make sim`: options, progress, and the report. What is left of a run that went wrong, once shrunk, is
 * written to a folder, to be replayed for ever.
 */
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SingleBar } from 'cli-progress';
import { systemRandom } from '../base/random.js';
import { wholeOf } from '../base/units.js';
import { Plan } from './plan.js';
import { runPlan } from './run.js';
import type { SeedResult } from './seed-run.js';
import { runRow } from './workers.js';

/** From so many runs on two processes share them. */
const RUNS_FOR_WORKERS = 100;

interface Options {
  readonly seed: number;
  readonly runs: number;
  /** Processes; undefined: as many as are worth it. */
  readonly jobs: number | undefined;
  readonly json: boolean;
  readonly trace: boolean;
  /** Ends with the first run that goes wrong. */
  readonly first: boolean;
  readonly keep: string;
  /** Plans to replay instead of drawing some: files, or folders of them. */
  readonly plans: readonly string[];
}

/** A run that went wrong. */
interface Failure {
  readonly seed: number;
  readonly hash: string;
  readonly wrongs: readonly string[];
  /** Where its shrunk plan stands; '' when it was not kept. */
  readonly plan: string;
  readonly events: number;
}

/** What became of a plan from a file. */
interface Replay {
  readonly plan: string;
  readonly hash: string;
  readonly wrongs: readonly string[];
}

export interface SimReport {
  readonly firstSeed: number;
  readonly runs: number;
  /** Of all runs' hashes: the same for the same seeds and the same code. */
  readonly hash: string;
  readonly failures: readonly Failure[];
  readonly counts: Readonly<Record<string, number>>;
  readonly simulatedHours: number;
  readonly seconds: number;
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** @returns the process's exit code: 1 when a run went wrong */
export async function runSim(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (options.plans.length > 0) return replay(options);
  const report = await runSeeds(options);
  if (options.json) say(JSON.stringify(report));
  else printReport(report);
  return report.failures.length > 0 ? 1 : 0;
}

function readOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seed: { type: 'string', default: '1' },
      runs: { type: 'string', default: '100' },
      jobs: { type: 'string' },
      json: { type: 'boolean', default: false },
      trace: { type: 'boolean', default: false },
      first: { type: 'boolean', default: false },
      keep: { type: 'string', default: '' },
      /** A first seed that nobody has tried. */
      fresh: { type: 'boolean', default: false },
    },
  });
  const seed = values.fresh ? systemRandom.uint32() : wholeOf('seed', values.seed, 0);
  const jobs = values.jobs === undefined ? undefined : wholeOf('jobs', values.jobs);
  return { ...values, seed, jobs, runs: wholeOf('runs', values.runs), plans: positionals };
}

/** Plans from files; with --trace, all that happened; with --first, up to the first that goes wrong. */
async function replay(options: Options): Promise<number> {
  const replays: Replay[] = [];
  for (const path of await planFiles(options.plans)) {
    const plan = Plan.parse(JSON.parse(await readFile(path, 'utf8')));
    const { lines, hash, wrongs } = await runPlan(plan, options.trace);
    replays.push({ plan: path, hash, wrongs });
    if (!options.json) {
      for (const line of lines) say(line);
      say(`${path}: hash ${hash}, ${wrongs.length === 0 ? 'clean' : 'WRONG'}`);
      for (const text of wrongs) say(`  ${text}`);
    }
    if (options.first && wrongs.length > 0) break;
  }
  if (options.json) say(JSON.stringify({ replays }));
  return replays.some(({ wrongs }) => wrongs.length > 0) ? 1 : 0;
}

/** The files named, and those of the folders named. */
async function planFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    if (path.endsWith('.json')) files.push(path);
    else
      for (const name of (await readdir(path)).sort())
        if (name.endsWith('.json')) files.push(join(path, name));
  }
  return files;
}

async function runSeeds(options: Options): Promise<SimReport> {
  const startMs = performance.now();
  const bar =
    options.json || !process.stdout.isTTY
      ? null
      : new SingleBar({ format: '{bar} {value}/{total} runs, {eta} s left, {wrong} wrong' });
  bar?.start(options.runs, 0, { wrong: 0 });
  const totals = new Totals();
  const { seed: firstSeed, runs, trace, first } = options;
  const jobs = options.jobs ?? (runs >= RUNS_FOR_WORKERS ? 2 : 1);
  const take = async (result: SeedResult): Promise<boolean> => {
    if (trace) for (const line of result.lines) say(line);
    totals.add(result);
    const failure = await keep(result, options.keep);
    if (failure !== null) totals.failures.push(failure);
    if (failure !== null && !options.json) printFailure(failure);
    bar?.update(totals.runs, { wrong: totals.failures.length });
    return !first || failure === null;
  };
  await runRow({ firstSeed, runs, jobs, options: { trace, shrinks: options.keep !== '' }, take });
  bar?.stop();
  return {
    ...{ firstSeed, runs: totals.runs, hash: totals.hash, failures: totals.failures },
    counts: Object.fromEntries([...totals.counts].sort(([a], [b]) => a.localeCompare(b))),
    simulatedHours: Math.round(totals.simulatedMs / 36_000) / 100,
    seconds: Math.round(performance.now() - startMs) / 1000,
  };
}

class Totals {
  readonly counts = new Map<string, number>();
  readonly failures: Failure[] = [];
  runs = 0;
  simulatedMs = 0;
  private word = 0;

  add({ counts, simulatedMs, hash }: SeedResult): void {
    this.runs += 1;
    for (const [what, count] of counts) this.counts.set(what, (this.counts.get(what) ?? 0) + count);
    this.simulatedMs += simulatedMs;
    this.word = (Math.imul(this.word, 31) + parseInt(hash.slice(8), 16)) >>> 0;
  }

  get hash(): string {
    return this.word.toString(16).padStart(8, '0');
  }
}

/** Writes the plan of a failure down, if there is a folder for that. */
async function keep(result: SeedResult, folder: string): Promise<Failure | null> {
  const { seed, hash, wrongs, plan } = result;
  if (plan === null) return null;
  const events = plan.events.length;
  if (folder === '') return { seed, hash, wrongs, plan: '', events };
  const path = join(folder, `seed-${seed}.json`);
  await mkdir(folder, { recursive: true });
  await writeFile(path, `${JSON.stringify(plan, null, 2)}\n`);
  return { seed, hash, wrongs, plan: path, events };
}

/** At once, for a long row of runs may be cut off. */
function printFailure({ seed, hash, wrongs, plan, events }: Failure): void {
  say(`seed ${seed} (hash ${hash}) went wrong${plan === '' ? '' : `; ${events} events are enough: ${plan}`}`);
  for (const wrong of wrongs.slice(0, 3)) say(`  ${wrong.split('\n')[0]}`);
}

function printReport(report: SimReport): void {
  const { runs, failures, counts, seconds, simulatedHours, hash } = report;
  const entries = Object.entries(counts).map(([what, count]) => `${what} ${count}`);
  say(
    `${runs} runs from seed ${report.firstSeed}: ${failures.length === 0 ? 'clean' : `${failures.length} wrong`}, hash ${hash}`,
  );
  say(`${simulatedHours} h of group life in ${seconds} s; ${entries.join(', ')}`);
}
