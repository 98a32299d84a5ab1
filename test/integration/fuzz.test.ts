/**
 * A slice of make fuzz: some 20,000 PDUs at real targets; the conversations that once found something; and a target that
 * leaks, which is found out.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { exec, tempFolder } from '../support/process.js';
import { builtFile, ROOT } from '../support/root.js';

const PROOF = builtFile('bin/proof.js');
const FIXTURES = join(ROOT, 'fixtures', 'fuzz');
const LEAK = join(ROOT, 'test', 'support', 'leaking-target.mjs');
const SPOILT = 8_000;

interface Summary {
  readonly hash: string;
  readonly targets: readonly {
    target: string;
    pdus: number;
    mutated: number;
    answers: number;
    witnessOps: number;
  }[];
  readonly faults: readonly string[];
}

async function fuzz(t: Test, ...args: string[]): Promise<Summary> {
  const folder = await tempFolder(t);
  const run = ['-u', 'NODE_OPTIONS', process.execPath, PROOF, 'fuzz', '--json', '--folder', folder];
  const ended = await exec('env', [...run, '--keep', folder, ...args]);
  if (ended.stdout === '') throw new Error(ended.stderr);
  return JSON.parse(ended.stdout) as Summary;
}

t.test(`${SPOILT} spoilt PDUs of a known seed, among valid ones`, async (t) => {
  const summary = await fuzz(t, '--seed', '20261128', '--pdus', String(SPOILT));
  t.same(summary.faults, []);
  for (const { target, pdus, mutated, answers, witnessOps } of summary.targets) {
    t.ok(pdus > SPOILT / 2, `${target}: ${pdus} PDUs were sent`);
    t.ok(mutated > SPOILT / 4 && mutated < pdus, `${target}: ${mutated} of them spoilt`);
    t.ok(answers > pdus / 20, `${target}: ${answers} answers came, so that more than the framer was reached`);
    t.ok(witnessOps > 0, `${target}: ${witnessOps} commands of the witness`);
  }
});

t.test('what once went wrong', async (t) => {
  for (const name of readdirSync(FIXTURES).filter((file) => file.endsWith('.json'))) {
    const summary = await fuzz(t, '--replay', join(FIXTURES, name));
    t.same(summary.faults, [], name);
    t.ok(
      summary.targets.some(({ pdus }) => pdus > 0),
      `${name}: something was sent`,
    );
  }
});

t.test('a target that keeps 8 MiB of each connection is found out', async (t) => {
  const summary = await fuzz(t, '--seed', '7', '--pdus', String(SPOILT), '--preload', LEAK);
  const found = summary.faults.filter((fault) => /memory has grown by \d+ MiB since the warm-up/.test(fault));
  t.not(found.length, 0, summary.faults.join('; '));
});
