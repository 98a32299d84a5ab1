/** A slice of make conformance: some of libiscsi's tests against a volume that is spread over members, and on the move. */
import t from 'tap';
import { exec, tempFolder } from '../support/process.js';
import { builtFile } from '../support/root.js';
import { needs } from '../support/tools.js';

const PROOF = builtFile('bin/proof.js');
/** Parts of the names of tests; the rest is make conformance's. */
const TESTS = [
  'CompareAndWrite.Simple',
  'OrWrite',
  'Reserve6',
  'ProutRegister',
  'iSCSIDataSn',
  'Unmap.Simple',
];
/** All that these parts name, at two places. */
const ROWS = 34;

interface Proof {
  rows: { test: string; kind: string; place: string; outcome: string; note: string }[];
}

t.test("libiscsi's suite", { skip: needs('iscsi-test-cu'), timeout: 280_000 }, async (t) => {
  const folder = await tempFolder(t);
  const choice = [
    '--places',
    'spread,moving',
    '--kinds',
    'fixed 4096',
    '--tests',
    TESTS.join(' '),
    '--jobs',
    '1',
  ];
  const run = [
    '-u',
    'NODE_OPTIONS',
    process.execPath,
    PROOF,
    'conformance',
    ...choice,
    '--json',
    '--folder',
    folder,
  ];
  const { stdout, stderr } = await exec('env', run, { timeoutMs: 270_000 });
  if (stdout === '') throw new Error(stderr);
  const { rows } = JSON.parse(stdout) as Proof;
  for (const { test, place, outcome, note } of rows) t.equal(outcome, 'passed', `${place}: ${test} ${note}`);
  t.equal(rows.length, ROWS, 'all of them were run');
});
