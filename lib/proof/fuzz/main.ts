/** `make fuzz`: options, progress, the table, and where a conversation is kept that something went wrong with. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { wholeOf } from '../../base/units.js';
import { inWorkFolder, showProgress } from '../../bench/frame.js';
import { Scope } from '../../bench/scope.js';
import { alignedTable, formatCount } from '../../bench/text.js';
import { replay, runFuzz, type FuzzSummary } from './run.js';

/** Between two probes: some ten seconds. */
const BATCH_PDUS = 250_000;
/** A short run has its probes too. */
const BATCHES_MIN = 4;

/** @returns the process's exit code: 1 when anything went wrong */
export async function runFuzzProof(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  const out = options.json ? process.stderr : process.stdout;
  return inWorkFolder(options.folder, 'fuzz', async (workFolder) => {
    const scope = new Scope();
    try {
      const batchPdus = Math.min(BATCH_PDUS, Math.ceil(options.pdus / BATCHES_MIN));
      const all = { ...options, batchPdus, workFolder, onProgress: showProgress };
      const summary =
        options.replay === undefined ? await runFuzz(all, scope) : await replay(options.replay, all, scope);
      showProgress('');
      out.write(`${report(summary)}\n`);
      if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
      return summary.faults.length === 0 ? 0 : 1;
    } finally {
      await scope.close();
    }
  });
}

function report(summary: FuzzSummary): string {
  const { seed, hash, seconds, targets, faults, kept } = summary;
  const mib = (kib: number): string => (kib / 1024).toFixed(0);
  const rows = targets.map((one) => [
    one.target,
    ...[one.connections, one.sessions, one.pdus, one.mutated, one.answers].map(formatCount),
    ...[one.residentKibStart, one.residentKibEnd, one.residentKibMax].map(mib),
    ...[one.witnessOps, Math.round(one.witnessLongestMs)].map(formatCount),
  ]);
  const counted = ['connections', 'sessions', 'PDUs', 'spoilt', 'answers'];
  const memory = ['MiB warm', 'MiB end', 'MiB most'];
  const headings = ['target', ...counted, ...memory, 'witness', 'longest ms'];
  const sent = targets.reduce((sum, { pdus }) => sum + pdus, 0);
  return [
    alignedTable(headings, rows),
    `seed ${seed}, hash ${hash}: ${formatCount(sent)} PDUs in ${seconds.toFixed(0)} s, ${formatCount(Math.round(sent / seconds))} a second`,
    ...faults.slice(0, 20).map((fault) => `FAILED ${fault}`),
    ...(kept === null ? [] : [`what was under way is in ${kept}; play it again with --replay ${kept}`]),
  ].join('\n');
}

function readOptions(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string', default: '1' },
      pdus: { type: 'string', default: '10000000' },
      jobs: { type: 'string', default: '8' },
      replay: { type: 'string' },
      keep: { type: 'string', default: '.' },
      folder: { type: 'string', default: '.' },
      preload: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  return {
    seed: wholeOf('seed', values.seed, 0),
    pdus: wholeOf('pdus', values.pdus),
    jobs: wholeOf('jobs', values.jobs),
    replay: values.replay,
    keep: resolve(values.keep),
    folder: resolve(values.folder),
    preload: values.preload === undefined ? undefined : resolve(values.preload),
    json: values.json,
  };
}
