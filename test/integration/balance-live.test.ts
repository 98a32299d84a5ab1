/**
 * A slice of `make balance`: a group of three real members whose disks are slow, with all of its load at m1, gives volumes
 * and single extents away under load, without an error, serves more, and then leaves things alone.
 */
import t from 'tap';
import { exec, tempFolder } from '../support/process.js';
import { builtFile } from '../support/root.js';

const PROOF = builtFile('bin/proof.js');
/** The whole proof watches for two minutes. */
const QUIET_SECONDS = 12;

interface Proof {
  results: {
    figures: Record<string, number>;
    lines: { text: string; holds: boolean }[];
  }[];
}

t.test('four volumes at one member', { timeout: 280_000 }, async (t) => {
  const scene = ['--scenes', 'zipf', '--quiet-seconds', String(QUIET_SECONDS)];
  const args = ['balance', ...scene, '--json', '--folder', await tempFolder(t)];
  const run = ['-u', 'NODE_OPTIONS', process.execPath, PROOF, ...args];
  const { stdout, stderr } = await exec('env', run, { timeoutMs: 270_000 });
  const [result] = (JSON.parse(stdout) as Proof).results;
  t.equal(result?.lines.length, 6, stderr);
  for (const { text, holds } of result?.lines ?? []) t.ok(holds, text);
  t.ok((result?.figures['moves'] ?? 0) > 1, 'more than one move');
  t.ok((result?.figures['holdersOfOneVolume'] ?? 0) > 1, 'single extents were given away');
});
