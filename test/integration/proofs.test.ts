/** Slices of make handover and make crash: a few hand-overs of a loaded volume, a few crashes at points of every plot. */
import t from 'tap';
import { exec, tempFolder } from '../support/process.js';
import { builtFile } from '../support/root.js';

const PROOF = builtFile('bin/proof.js');
const HANDOVERS = 10;
/** One of each plot, each role and both blows; the rest is make crash's. */
const CRASHES = [
  'part/commit.done/source+destination/kill',
  'part/batch.sealed/source/stop',
  'part/destination.synced/destination/kill',
  'part/store.writing/source/kill',
  'whole/home.done/home/stop',
  'whole/fence.draining/home+destination/kill',
];

interface HandoverProof {
  summaries: { by: string; handovers: number; errors: number; wrongBlocks: number; redirectsMax: number }[];
  skipped: string[];
}
interface CrashProof {
  results: { id: string; faults: string[]; recoveryMs: number }[];
  lines: { text: string; holds: boolean }[];
}

/** Runs a proof to its end; its lines of time are not judged here, where other tests share the machine. */
async function prove<T>(t: Parameters<typeof tempFolder>[0], ...args: string[]): Promise<T> {
  const folder = await tempFolder(t);
  const run = ['-u', 'NODE_OPTIONS', process.execPath, PROOF, ...args, '--json', '--folder', folder];
  const ended = await exec('env', run, { timeoutMs: 280_000 });
  if (ended.stdout === '') throw new Error(ended.stderr);
  return JSON.parse(ended.stdout) as T;
}

t.test(`${HANDOVERS} hand-overs of a loaded volume`, { timeout: 300_000 }, async (t) => {
  const proof = await prove<HandoverProof>(
    t,
    'handover',
    '--handovers',
    String(HANDOVERS),
    '--converge',
    '0',
  );
  for (const skipped of proof.skipped) t.comment(skipped);
  t.ok(proof.summaries.length + proof.skipped.length === 2, 'our harness and libiscsi');
  for (const summary of proof.summaries) {
    t.match(summary, { handovers: HANDOVERS, errors: 0, wrongBlocks: 0 }, summary.by);
    t.ok(summary.redirectsMax <= 2, `${summary.by}: redirected ${summary.redirectsMax} times at most`);
  }
});

t.test('crashes at named points', { timeout: 300_000 }, async (t) => {
  const proof = await prove<CrashProof>(t, 'crash', '--jobs', '3', '--points', CRASHES.join(','));
  for (const { id, faults, recoveryMs } of proof.results) {
    t.same(faults, [], `${id}, recovered in ${Math.round(recoveryMs)} ms`);
  }
  t.equal(proof.results.length, CRASHES.length, 'all of them were run');
  for (const { text, holds } of proof.lines) t.ok(holds, text);
});
