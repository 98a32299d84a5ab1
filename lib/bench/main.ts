/** `make bench`: options, progress, and where the report goes. What is measured stands in cases/. */
import { writeFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BlockferryError } from '../base/errors.js';
import { parseSize, wholeOf } from '../base/units.js';
import type { BenchCase, BenchSettings } from './case.js';
import { coldCases } from './cases/cold.js';
import { countCases } from './cases/counts.js';
import { dataPathCases } from './cases/data-path.js';
import { groupCases } from './cases/group.js';
import { monitorCases } from './cases/monitor.js';
import { limitCases } from './cases/limits.js';
import { mirrorCases } from './cases/mirror.js';
import { moveCases } from './cases/move.js';
import { inWorkFolder, showProgress } from './frame.js';
import { isWhole, type CaseResult, type Curve, type Report } from './report.js';
import { runCases } from './runner.js';
import { measureScale } from './scale/index.js';
import { barsSvg, curvesSvg } from './svg.js';
import { curveTable, resultTable } from './text.js';

const CASES: readonly BenchCase[] = [
  ...dataPathCases,
  ...limitCases,
  ...groupCases,
  ...monitorCases,
  ...moveCases,
  ...mirrorCases,
  ...coldCases,
  ...countCases,
];

const say = (line: string): void => void process.stdout.write(`${line}\n`);

interface Options extends Omit<BenchSettings, 'workFolder'> {
  readonly outFolder: string;
  readonly only: readonly string[];
  readonly isScale: boolean;
}

/** @returns the process's exit code: 1 when a case failed or was not come to, whatever the figures are */
export async function runBench(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  return inWorkFolder(options.outFolder, 'work', async (workFolder) => {
    const settings = { ...options, workFolder };
    return options.isScale
      ? runScale(settings, options.outFolder, stop.signal)
      : runComparisons(settings, options, stop.signal);
  });
}

function readOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      size: { type: 'string', default: '1G' },
      only: { type: 'string', default: '' },
      out: { type: 'string', default: './bench-out' },
    },
  });
  return {
    rounds: wholeOf('rounds', values.rounds),
    seconds: wholeOf('seconds', values.seconds),
    imageBytes: parseSize('size', values.size),
    only: values.only.split(/[\s,]+/).filter((id) => id !== ''),
    outFolder: resolve(values.out),
    isScale: positionals[0] === 'scale',
  };
}

function chooseCases(only: readonly string[]): readonly BenchCase[] {
  if (only.length === 0) return CASES;
  const unknown = only.filter((id) => !CASES.some((bench) => bench.id === id));
  if (unknown.length > 0) {
    const all = CASES.map((bench) => bench.id).join(' ');
    throw new BlockferryError('USAGE', `there is no case ${unknown.join(', ')}`, `choose among: ${all}`);
  }
  return CASES.filter((bench) => only.includes(bench.id));
}

async function runComparisons(
  settings: BenchSettings,
  options: Options,
  signal: AbortSignal,
): Promise<number> {
  const cases = chooseCases(options.only);
  const { rounds, seconds } = settings;
  say(`${cases.length} cases, ${rounds} rounds of ${seconds} s a side, both sides in every round`);
  const results = await runCases(cases, settings, signal, {
    progress: showProgress,
    finished: (result) => {
      showProgress('');
      say(`${result.id}: ${firstLineOf(result)}`);
    },
  });
  showProgress('');
  say(`\n${resultTable(results)}`);
  await writeReport(
    options.outFolder,
    'bench',
    reportOf(settings, results, []),
    barsSvg('Blockferry, side by side', results),
  );
  return isWhole(results, cases.length) ? 0 : 1;
}

async function runScale(settings: BenchSettings, outFolder: string, signal: AbortSignal): Promise<number> {
  const curves = await measureScale(settings, signal, showProgress);
  showProgress('');
  say(curveTable(curves));
  await writeReport(
    outFolder,
    'bench-scale',
    reportOf(settings, [], curves),
    curvesSvg('Blockferry, as it grows', curves),
  );
  return signal.aborted ? 1 : 0;
}

function firstLineOf(result: CaseResult): string {
  if (result.failed !== null) return `FAILED: ${result.failed}`;
  if (result.skipped !== null) return `skipped: ${result.skipped}`;
  return result.figures.map((figure) => `${figure.name} ${figure.value.median.toFixed(2)}`).join(', ');
}

function reportOf(settings: BenchSettings, cases: readonly CaseResult[], curves: readonly Curve[]): Report {
  const all = cpus();
  return {
    version: 1,
    startedAt: new Date().toISOString(),
    machine: {
      cpu: all[0]?.model ?? 'unknown',
      cores: all.length,
      memoryBytes: totalmem(),
      kernel: release(),
      node: process.version,
    },
    rounds: settings.rounds,
    seconds: settings.seconds,
    cases,
    curves,
  };
}

async function writeReport(folder: string, name: string, report: Report, svg: string): Promise<void> {
  const json = join(folder, `${name}.json`);
  const picture = join(folder, `${name}.svg`);
  await writeFile(json, `${JSON.stringify(report, null, 2)}\n`);
  await writeFile(picture, svg);
  say(`\n${json}\n${picture}`);
}
