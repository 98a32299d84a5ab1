/** `make handover`: options, progress, and where the report goes. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BlockferryError } from '../../base/errors.js';
import { parseSize, wholeOf } from '../../base/units.js';
import { inWorkFolder, showProgress } from '../../bench/frame.js';
import { allHold, describeLine } from '../figures.js';
import type { LoadedBy } from '../loaded-client.js';
import { whyNoLibiscsi } from '../libiscsi.js';
import { runConvergence } from './converge.js';
import { summarize, summaryTable, type HandoverSummary } from './report.js';
import { runHandovers } from './run.js';

const KINDS: readonly LoadedBy[] = ['harness', 'libiscsi'];

/** @returns the process's exit code: 1 when a line is missed. Rejects when there is none. */
export async function runHandoverProof(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  const out = options.json ? process.stderr : process.stdout;
  const say = (text: string): void => void out.write(`${text}\n`);
  return inWorkFolder(options.folder, 'handover', async (workFolder) => {
    const summaries: HandoverSummary[] = [];
    const skipped: string[] = [];
    for (const by of options.by) {
      const missing = by === 'libiscsi' ? whyNoLibiscsi() : undefined;
      if (missing !== undefined) skipped.push(`skipped ${by}: ${missing}`);
      else summaries.push(summarize(await runHandovers(by, { ...options, workFolder }, showProgress)));
    }
    const { convergeBytes, queueDepth } = options;
    showProgress('a move under random writes');
    const convergence =
      convergeBytes === 0 ? null : await runConvergence(convergeBytes, queueDepth, workFolder);
    showProgress('');
    const lines = [...summaries.flatMap((summary) => summary.lines), ...(convergence?.lines ?? [])];
    say([summaryTable(summaries), ...skipped, ...lines.map(describeLine)].join('\n'));
    for (const text of summaries.flatMap((summary) => summary.texts)) say(text);
    if (options.json) process.stdout.write(`${JSON.stringify({ summaries, convergence, skipped })}\n`);
    return allHold(lines, skipped.join('; ')) ? 0 : 1;
  });
}

function readOptions(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      handovers: { type: 'string', default: '200' },
      size: { type: 'string', default: '32M' },
      converge: { type: 'string', default: '256M' },
      'queue-depth': { type: 'string', default: '32' },
      by: { type: 'string', default: KINDS.join(',') },
      folder: { type: 'string', default: '.' },
      json: { type: 'boolean', default: false },
    },
  });
  const by = values.by.split(',').map((name) => {
    const kind = KINDS.find((candidate) => candidate === name);
    if (kind === undefined)
      throw new BlockferryError('USAGE', `--by '${name}' is none of ${KINDS.join(', ')}`);
    return kind;
  });
  return {
    by,
    handovers: wholeOf('handovers', values.handovers),
    sizeBytes: parseSize('size', values.size),
    convergeBytes: values.converge === '0' ? 0 : parseSize('converge', values.converge),
    queueDepth: wholeOf('queue-depth', values['queue-depth']),
    folder: resolve(values.folder),
    json: values.json,
  };
}
