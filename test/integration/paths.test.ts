/**
 * A group whose members all serve (up --access alua), on real processes: two paths of one initiator under load while the
 * home moves there and back, and while it is killed; libiscsi's and QEMU's tools as second judges.
 */
import t, { type Test } from 'tap';
import { Initiator, Ledger, runFill, runLoad, runVerify } from '../../lib/iscsi/initiator/index.js';
import { testQemuTools } from '../support/foreign.js';
import { kill, pidOf, startGroup, type TestGroup } from '../support/group.js';
import { exec } from '../support/process.js';
import { needs } from '../support/tools.js';
import { sleepMs } from '../support/wait.js';

const MiB = 1024 * 1024;
const SIZE_BYTES = 32 * MiB;
const IQN = 'iqn.2026-11.org.blockferry:disk';

interface Path {
  readonly initiator: Initiator;
  readonly ledger: Ledger;
  readonly offsetBytes: number;
}

const portalOf = (group: TestGroup, name: string): string =>
  group.ready.members.find((member) => member.name === name)?.portal ?? '';
const urlAt = (group: TestGroup, name: string): string => `iscsi://${portalOf(group, name)}/${IQN}/0`;

/** Two sessions of one initiator, at m1 and m2, each with a half of the disk, filled. */
async function twoPaths(t: Test, group: TestGroup): Promise<Path[]> {
  const paths: Path[] = [];
  for (const name of ['m1', 'm2']) {
    const initiator = await Initiator.connect(urlAt(group, name));
    t.teardown(() => initiator.close());
    const ledger = new Ledger({ seed: 5, blockBytes: 4096, blocks: SIZE_BYTES / 4096 });
    const path = { initiator, ledger, offsetBytes: paths.length * (SIZE_BYTES / 2) };
    await runFill(initiator, { ...workOf(path), ledger });
    paths.push(path);
  }
  return paths;
}

function workOf({ ledger, offsetBytes }: Path) {
  return { ledger, offsetBytes, lengthBytes: SIZE_BYTES / 2, queueDepth: 8, repeats: true };
}

/** That many have to be answered through each path for a load to be one, however slow the machine. */
const OPS_MIN = 100;
const OPS_MIN_WITHIN_MS = 60_000;

/** Loads both paths for as long as `trouble` takes, and a little longer; then each half is right, through either path. */
async function loadThrough(t: Test, paths: readonly Path[], trouble: () => Promise<void>): Promise<void> {
  const abort = new AbortController();
  const answered = paths.map(() => 0);
  const loads = paths.map((path, index) => {
    const until = { signal: abort.signal, durationSeconds: 120 };
    const onProgress = ({ ops }: { ops: number }): void => void (answered[index] = ops);
    const watched = { progressMs: 20, onProgress };
    return runLoad(path.initiator, { ...workOf(path), ...until, ...watched, readPercent: 50, fua: false });
  });
  await trouble();
  const deadline = Date.now() + OPS_MIN_WITHIN_MS;
  while (answered.some((ops) => ops <= OPS_MIN) && Date.now() < deadline) await sleepMs(20);
  abort.abort();
  for (const report of await Promise.all(loads)) {
    t.match(report, { ok: true, errorTexts: [], wrong: [], violations: [] });
    t.ok(report.ops > OPS_MIN, `${report.ops} commands, ${report.repeated} sent again`);
  }
  for (const path of paths) {
    for (const { initiator } of paths) {
      const report = await runVerify(initiator, workOf(path));
      t.match(report, { ok: true, errorTexts: [], wrong: [] });
    }
  }
}

t.test('two paths under load while the home moves there and back', { timeout: 240_000 }, async (t) => {
  const group = await startGroup(t, { args: ['--access', 'alua'], volumes: { disk: '32M' } });
  const paths = await twoPaths(t, group);
  await loadThrough(t, paths, async () => {
    for (const to of ['m2', 'm1', 'm3', 'm1']) {
      const { sessions } = await group.json<{ sessions: number }>('move', 'disk', '--to', to);
      t.equal(sessions, 0, `to ${to}: nobody has to leave`);
      await sleepMs(300);
    }
  });
  for (const { initiator } of paths) t.equal(initiator.recoveries.length, 0, 'each stays where it is');
  const status = await group.json<{ members: { access: string }[] }>('status');
  t.strictSame(
    status.members.map(({ access }) => access),
    ['alua', 'alua', 'alua'],
  );
});

t.test(
  'two paths under load while the home is killed, and a member beside it',
  { timeout: 240_000 },
  async (t) => {
    const group = await startGroup(t, { args: ['--access', 'alua'], volumes: { disk: '32M' } });
    const paths = await twoPaths(t, group);
    await loadThrough(t, paths, async () => {
      for (const victim of ['m1', 'm2', 'm1']) {
        await kill(group, victim);
        await sleepMs(1_000);
      }
      for (const { name } of group.ready.members) await pidOf(group, name);
    });
  },
);

t.test('foreign initiators at a member that is not the home', { timeout: 240_000 }, async (t) => {
  const group = await startGroup(t, { args: ['--access', 'alua'], volumes: { disk: '32M' } });
  const url = urlAt(group, 'm2');
  const target = { portal: portalOf(group, 'm2'), iqn: IQN, url, sizeBytes: SIZE_BYTES };
  await testQemuTools(t, target);
  await t.test('iscsi-ls and iscsi-inq', { skip: needs('iscsi-ls', 'iscsi-inq') }, async (t) => {
    for (const portal of [group.ready.portal, portalOf(group, 'm3')]) {
      const listed = await exec('iscsi-ls', [`iscsi://${portal}`]);
      const found = [...listed.stdout.matchAll(/Portal:(\S+),(\d+)$/gm)].map(([, at, tag]) => ({ at, tag }));
      const wanted = ['m1', 'm2', 'm3'].map((name) => portalOf(group, name)).sort();
      t.strictSame(found.map(({ at }) => at).sort(), wanted, `${portal} lists every path`);
      t.strictSame(found.map(({ tag }) => tag).sort(), ['1', '2', '3'], 'each a portal group of its own');
    }
    const standard = await exec('iscsi-inq', [url]);
    t.match(standard.stdout, /TPGS:1/i);
    const page = await exec('iscsi-inq', ['-e', '1', '-c', '131', url]);
    t.match(page.stdout, /TARGET_PORT_GROUP/);
  });
});
