/** What the proofs make of what they saw: each line is missed where nothing was shown, or something else than it says. */
import { spawnSync } from 'node:child_process';
import t from 'tap';
import {
  gapOf,
  imbalanceOf,
  judgeOscillated,
  judgeSkewed,
  judgeSlow,
  judgeUnmoved,
} from '../../lib/proof/balance/lines.js';
import { Load } from '../../lib/proof/balance/loads.js';
import { deathFaults } from '../../lib/proof/crash/deaths.js';
import { allHold, survivalLine } from '../../lib/proof/figures.js';
import { fillWhole } from '../../lib/proof/filled.js';
import { faultsOfSpace } from '../../lib/proof/crash/plots.js';
import { isCopiedOnce } from '../../lib/proof/crash/resume.js';
import { convergenceOf, type Round } from '../../lib/proof/handover/converge.js';
import { summarize } from '../../lib/proof/handover/report.js';
import { startNullServer } from '../../lib/bench/null-process.js';
import { Initiator, Ledger } from '../../lib/iscsi/initiator/index.js';
import { ScriptedTarget } from '../support/scripted-target.js';
import { tempFolder } from '../support/process.js';
import { builtFile } from '../support/root.js';

const missed = (lines: readonly { text: string; holds: boolean }[]): string[] =>
  lines.filter(({ holds }) => !holds).map(({ text }) => text);

t.test('a member that dies unasked is told', async (t) => {
  t.same(survivalLine('zipf', []), { text: 'zipf: no member died', holds: true });
  t.same(survivalLine('zipf', ['m3']), { text: 'zipf: m3 died unasked', holds: false });
  const verdict = { ops: 9, errors: 0, wrongBlocks: 0, violations: 0, texts: [] };
  const { lines } = summarize({ by: 'harness', handovers: [], verdict, dead: ['m1', 'm2'] });
  t.ok(missed(lines).includes('harness: m1, m2 died unasked'));
});

t.test('members die as often as they were killed', async (t) => {
  const said = (member: string, how: string): string =>
    JSON.stringify({ level: 40, member, how, msg: 'the member died; starting it again' });
  const log = [said('m1', 'SIGKILL'), 'RangeError: of m3', said('m3', 'exit code 1'), ''].join('\n');
  const asked = new Map([['m1', 1]]);
  t.same(deathFaults(log, asked), ['m3 died 1 times (exit code 1), 0 of them asked for']);
  t.same(deathFaults(log, new Map([...asked, ['m3', 1]])), []);
  t.same(deathFaults(`${log}${said('m1', 'SIGSEGV')}`, new Map([...asked, ['m3', 1]])), [
    'm1 died 2 times (SIGKILL, SIGSEGV), 1 of them asked for',
  ]);
  t.same(deathFaults('', asked), ['m1 died 0 times (), 1 of them asked for'], 'a log that says it otherwise');
});

t.test('a move converges under writes, or nothing is shown', async (t) => {
  const round: Round = {
    ...{ idleSeconds: 1, loadedSeconds: 2, bytesCopied: 100, before: 1000, during: 500, wrong: 0 },
  };
  const missedOf = (more: Partial<Round>): string[] =>
    missed(convergenceOf(100, Array(3).fill({ ...round, ...more }), []).lines);
  t.same(missedOf({}), []);
  t.match(missedOf({ during: 0 }), [/0 a second, 0.00 of those before/]);
  t.match(missedOf({ during: 240 }), [/240 a second, 0.24 of those before, at least 0.25$/]);
  t.match(missedOf({ before: 0 }), [/500 a second/], 'nobody wrote before either');
  t.match(missedOf({ before: 0, during: 0 }), [/0 a second/]);
  t.match(missedOf({ bytesCopied: 121 }), [/1.21 × the volume copied/]);
  t.match(missedOf({ bytesCopied: 0 }), [/0.00 × the volume copied/], 'it was full, and all of it moved');
  t.match(missedOf({ loadedSeconds: 3.1 }), [/3.1 × the move at rest/]);
  t.match(missedOf({ wrong: 1 }), [/no error/]);
  t.match(missed(convergenceOf(100, [round], ['m2']).lines), [/m2 died unasked/]);
});

t.test('what is measured of a group is that of all who serve, or nothing', async (t) => {
  const served = (...figures: [requestsPerSecond: number, latencyMs: number][]) =>
    figures.map(([requestsPerSecond, latencyMs], i) => ({ member: `m${i}`, requestsPerSecond, latencyMs }));
  t.equal(imbalanceOf(served([900, 1], [0, 0], [0, 0])), 3);
  t.equal(imbalanceOf(served([300, 1], [300, 1], [300, 1])), 1);
  t.ok(Number.isNaN(imbalanceOf([])), 'nobody has told');
  t.ok(Number.isNaN(imbalanceOf(served([0, 0], [0, 0]))), 'nobody serves');
  t.equal(gapOf(served([90, 41], [90, 3], [0, 0])), 38, 'who serves nothing has no latency');
  t.ok(Number.isNaN(gapOf(served([90, 41], [1, 3]))));
  t.ok(Number.isNaN(gapOf([])));
});

t.test('load that was skewed is even, or nothing is shown', async (t) => {
  const even = { imbalance: 1.1, ops: 2000 };
  const seen = {
    ...{ before: { imbalance: 3, ops: 1000 }, after: even, settledMs: 9000, moves: 2, quietMs: 1000 },
    ...{ quiet: { moves: 0, imbalance: 1.1 }, most: 1, bad: 0 },
  };
  const missedOf = (more: Partial<typeof seen>): string[] =>
    missed(judgeSkewed({ ...seen, ...more }, false).lines);
  t.same(missedOf({}), []);
  t.match(missed(judgeSkewed(seen, true).lines), [/spread over 1 members/]);
  t.match(missedOf({ before: { imbalance: NaN, ops: 1000 } }), [/the imbalance was NaN/]);
  t.match(missedOf({ before: { imbalance: 3, ops: 0 } }), [/the throughput/], 'nobody was served before');
  t.match(missedOf({ settledMs: 60_000 }), [/within 60 s/]);
  t.match(missedOf({ quiet: { moves: 1, imbalance: 1 } }), [/1 moves in the next 1 s/]);
  t.match(missedOf({ bad: 1 }), [/no error/]);
});

t.test('load stays where it is since the group has looked at it', async (t) => {
  const seen = { moves: 0, imbalance: 1, ops: 50, verdicts: ['idle'], bad: 0 };
  const missedOf = (more: Partial<typeof seen>): string[] => missed(judgeUnmoved({ ...seen, ...more }).lines);
  t.same(missedOf({}), []);
  t.match(missedOf({ ops: 0 }), [/0 requests a second/]);
  t.match(missedOf({ verdicts: [] }), [/looked at it: never/]);
  t.match(missedOf({ verdicts: ['stale', 'stale'] }), [/looked at it: stale/]);
  t.match(missedOf({ moves: 1 }), [/no move/]);
  const turns = { moves: [], opsLeast: 9, verdicts: ['held'], bad: 0 };
  const move = { volume: 'v', range: { first: 0, last: 3 }, extents: 4 };
  const missedTurns = (more: object): string[] => missed(judgeOscillated({ ...turns, ...more }).lines);
  t.same(missedTurns({ moves: [move, { ...move, range: { first: 4, last: 7 } }] }), []);
  t.match(missedTurns({ moves: [move, { ...move, range: null }] }), [/an extent moves 2 times/]);
  t.match(missedTurns({ opsLeast: 0 }), [/0 requests/]);
  t.match(missedTurns({ opsLeast: Infinity }), [/Infinity requests/], 'there was no turn');
  t.match(missedTurns({ verdicts: [] }), [/never/]);
});

t.test('latencies were apart, and meet by moves', async (t) => {
  const seen = {
    ...{ before: { gapMs: 200, ops: 900 }, after: { gapMs: 9, ops: 1000 } },
    ...{ settledMs: 20_000, withinMs: 120_000, moves: 1, bad: 0 },
  };
  const missedOf = (more: Partial<typeof seen>): string[] => missed(judgeSlow({ ...seen, ...more }).lines);
  t.same(missedOf({}), []);
  t.match(missedOf({ before: { gapMs: 20, ops: 900 } }), [/are 20.0 ms apart, over 20/]);
  t.match(missedOf({ before: { gapMs: NaN, ops: 900 } }), [/are NaN ms apart/]);
  t.match(missedOf({ settledMs: 120_000 }), [/they meet/]);
  t.match(missedOf({ moves: 0 }), [/by 0 moves/]);
});

t.test('where there is no line, nothing is proved', async (t) => {
  t.equal(allHold([{ text: 'a', holds: true }]), true);
  t.equal(
    allHold([
      { text: 'a', holds: true },
      { text: 'b', holds: false },
    ]),
    false,
  );
  const nothing = { code: 'UNAVAILABLE' };
  t.throws(() => allHold([]), { ...nothing, message: 'nothing was proved' });
  t.throws(() => allHold([], 'skipped'), { ...nothing, message: 'nothing was proved: skipped' });
});

t.test('hand-overs by libiscsi alone, where it cannot be loaded', async (t) => {
  const hide = `import m from 'node:module';
    const load = m._load;
    m._load = function (name, ...more) {
      if (name === 'koffi') throw new Error('not here');
      return load.call(this, name, ...more);
    };`;
  const without = ['--import', `data:text/javascript,${encodeURIComponent(hide)}`];
  const only = ['handover', '--by', 'libiscsi', '--converge', '0', '--folder', await tempFolder(t)];
  const env = { ...process.env, NODE_OPTIONS: '' };
  const ended = spawnSync(process.execPath, [...without, builtFile('bin/proof.js'), ...only], { env });
  t.match(ended.stdout.toString(), /skipped libiscsi/);
  t.match(ended.stderr.toString(), /nothing was proved: skipped libiscsi/);
  t.equal(ended.status, 1);
});

t.test('who gave a volume away keeps no space of it, and who has it does', async (t) => {
  const full = 16 * 1024 * 1024;
  const spaces = (m2: number, m3: number): Map<string, number> =>
    new Map([
      ['m2', m2],
      ['m3', m3],
    ]);
  t.same(faultsOfSpace(spaces(4096, full), 'disk', ['m2']), []);
  t.same(faultsOfSpace(spaces(full, full), 'disk', ['m2']), [`m2 keeps space of disk: ${full} bytes`]);
  t.same(faultsOfSpace(spaces(0, 0), 'disk', ['m2']), ['disk has space nowhere'], 'it was not looked for');
});

t.test('an extent is tried, and no more often than it has to be', async (t) => {
  const MiB = 1024 * 1024; // an extent; there are 96
  t.ok(isCopiedOnce({ attempts: 96, bytesCopied: 90 * MiB }, 96), 'of a source that died not all is counted');
  t.notOk(isCopiedOnce({ attempts: 97, bytesCopied: 96 * MiB }, 96));
  t.notOk(isCopiedOnce({ attempts: 96, bytesCopied: 97 * MiB }, 96));
  t.notOk(isCopiedOnce({ attempts: 95, bytesCopied: 96 * MiB }, 96));
  t.notOk(isCopiedOnce({ attempts: 0, bytesCopied: 0 }, 96), 'nobody has counted');
});

t.test('a volume that cannot be filled is nothing to verify', async (t) => {
  const server = await startNullServer(1, 1024 * 1024);
  const initiator = await Initiator.connect(server.urls[0] ?? '');
  t.teardown(async () => {
    await initiator.close();
    await server.close();
  });
  const ledger = new Ledger({ seed: 1, blockBytes: 4096, blocks: 512 });
  await fillWhole(initiator, { ledger: new Ledger({ seed: 1, blockBytes: 4096, blocks: 256 }) });
  // The target is half as large as the fill believes.
  Object.defineProperty(initiator, 'capacity', {
    value: { sizeBytes: 2 * 1024 * 1024, blockBytes: 512, blocks: 4096 },
  });
  await t.rejects(fillWhole(initiator, { ledger }), { code: 'IO', message: /cannot be filled: ./ });
});

t.test(
  'a command that is never answered does not hold up a proof for ever',
  { timeout: 60_000 },
  async (t) => {
    const target = await new ScriptedTarget().listen();
    t.teardown(() => target.close());
    const load = await Load.prepare({ url: target.url(), seed: 1, queueDepth: 1 });
    load.begin();
    target.onCommand = () => true;
    await t.rejects(load.end(100), { code: 'IO', message: 'a command of a load is not answered' });
    await load.close(100).catch((error: unknown) => t.match(error, { code: 'IO' }, 'nor its end'));
  },
);
