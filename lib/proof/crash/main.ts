/** `make crash`: which cases, how many scenes at once, and where the report goes. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { assert } from '../../base/assert.js';
import { BlockferryError } from '../../base/errors.js';
import { SeededRandom, randomBelow } from '../../base/random.js';
import { wholeOf } from '../../base/units.js';
import { inWorkFolder } from '../../bench/frame.js';
import { alignedTable } from '../../bench/text.js';
import { allHold, describeLine, distributionOf, type Line } from '../figures.js';
import { allCases, type CrashCase } from './cases.js';
import { runRefusals } from './refusal.js';
import { runResume } from './resume.js';
import { runCrash, type CrashResult } from './run.js';

/** @returns the process's exit code: 1 when something was lost, wrong, or did not recover */
export async function runCrashProof(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  const { cases: all, leftOut } = allCases();
  const cases = choose(all, options.points, options.cases, options.seed);
  const out = options.json ? process.stderr : process.stdout;
  const say = (text: string): void => void out.write(`${text}\n`);
  say(`${cases.length} of ${all.length} cases, ${options.jobs} at a time; left out:`);
  for (const [why, count] of countBy(leftOut.map((each) => each.why))) say(`  ${count} × ${why}`);
  return inWorkFolder(options.folder, 'crash', async (workFolder) => {
    const results: CrashResult[] = [];
    const waiting = [...cases];
    const lane = async (_: unknown, number: number): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const result = await runCrash(next, workFolder, number);
        results.push(result);
        say(describe(result, `${results.length}/${cases.length}`));
      }
    };
    await Promise.all(Array.from({ length: options.jobs }, lane));
    assert(results.length === cases.length, 'every case was tried');
    const lines: Line[] = [...(await runResume(workFolder)), ...(await runRefusals(workFolder))];
    say(`\n${summaryTable(results)}`);
    for (const line of lines) say(describeLine(line));
    const failed = results.filter((result) => result.faults.length > 0);
    for (const { id, faults, said } of failed) say(`FAILED ${id}\n  ${[...faults, ...said].join('\n  ')}`);
    if (options.json) process.stdout.write(`${JSON.stringify({ results, lines, leftOut })}\n`);
    return failed.length === 0 && allHold(lines) ? 0 : 1;
  });
}

/** Those whose id contains one of `points`; of these `count` at random by the seed, or all. */
function choose(
  all: readonly CrashCase[],
  points: readonly string[],
  count: number,
  seed: number,
): CrashCase[] {
  const wanted = all.filter(({ id }) => points.length === 0 || points.some((point) => id.includes(point)));
  const strange = points.filter((point) => !all.some(({ id }) => id.includes(point)));
  if (strange.length > 0) throw new BlockferryError('USAGE', `no case is named like ${strange.join(', ')}`);
  if (count === 0 || count >= wanted.length) return wanted;
  const random = new SeededRandom(seed);
  const chosen = new Set<CrashCase>();
  while (chosen.size < count) {
    const found = wanted[randomBelow(random, wanted.length)];
    if (found !== undefined) chosen.add(found);
  }
  return [...chosen];
}

function describe({ id, recoveryMs, stallMs, faults }: CrashResult, at: string): string {
  const verdict = faults.length === 0 ? 'held  ' : 'FAILED';
  return `${verdict} ${at.padStart(7)}  ${id.padEnd(52)} recovered in ${ms(recoveryMs)}, longest command ${ms(stallMs)}`;
}

const ms = (value: number): string => (Number.isFinite(value) ? `${Math.round(value)} ms` : '–');

/** A row per plot and blow. */
export function summaryTable(results: readonly CrashResult[]): string {
  const groups = new Map<string, CrashResult[]>();
  for (const result of results) {
    const parts = result.id.split('/');
    const isPair = (parts[2] ?? '').includes('+');
    const key = [parts[0], parts[3], isPair ? 'two' : 'one'].join('\t');
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  const rows = [...groups].map(([key, members]) => {
    const [plot = '', blow = '', victims = ''] = key.split('\t');
    const figures = (values: readonly number[]): string => {
      const { p50, max } = distributionOf(values.filter((value) => Number.isFinite(value)));
      return `${Math.round(p50)} / ${Math.round(max)}`;
    };
    const failed = members.filter((result) => result.faults.length > 0).length;
    const recovery = figures(members.map((result) => result.recoveryMs));
    const stall = figures(members.map((result) => result.stallMs));
    return [plot, blow, victims, String(members.length), String(failed), recovery, stall];
  });
  const headings = ['plot', 'blow', 'victims', 'cases', 'failed', 'recovery ms', 'longest command ms'];
  return `${alignedTable(headings, rows)}\n(p50 / max; recovery of a stopped member counts from its going on)`;
}

function countBy(values: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

function readOptions(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      points: { type: 'string', default: '' },
      cases: { type: 'string', default: '0' },
      jobs: { type: 'string', default: '2' },
      seed: { type: 'string', default: '1' },
      folder: { type: 'string', default: '.' },
      json: { type: 'boolean', default: false },
    },
  });
  return {
    points: values.points.split(/[\s,]+/).filter((point) => point !== ''),
    cases: wholeOf('cases', values.cases, 0),
    jobs: wholeOf('jobs', values.jobs),
    seed: wholeOf('seed', values.seed, 0),
    folder: resolve(values.folder),
    json: values.json,
  };
}
