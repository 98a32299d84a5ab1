/** What the proofs make of what they saw: each line is missed where nothing was shown, or something else than it says. */
import t from 'tap';
import { deathFaults } from '../../lib/proof/crash/deaths.js';
import { survivalLine } from '../../lib/proof/figures.js';
import { convergenceOf, type Round } from '../../lib/proof/handover/converge.js';
import { summarize } from '../../lib/proof/handover/report.js';

const missed = (lines: readonly { text: string; holds: boolean }[]): string[] =>
  lines.filter(({ holds }) => !holds).map(({ text }) => text);

t.test('a member that dies unasked is told', async (t) => {
  t.same(survivalLine('zipf', []), { text: 'zipf: no member died', holds: true });
  t.same(survivalLine('zipf', ['m3']), { text: 'zipf: m3 died unasked', holds: false });
  const verdict = { ops: 9, errors: 0, wrongBlocks: 0, violations: 0, texts: [] };
  const { lines } = summarize({ by: 'harness', handovers: [], verdict, dead: ['m1', 'm2'] });
  t.same(missed(lines), ['harness: m1, m2 died unasked']);
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
  t.match(missedOf({ during: 99 }), [/99 a second, 0.10 of those before, at least 0.1$/]);
  t.match(missedOf({ before: 0 }), [/500 a second/], 'nobody wrote before either');
  t.match(missedOf({ before: 0, during: 0 }), [/0 a second/]);
  t.match(missedOf({ bytesCopied: 121 }), [/1.21 × the volume copied/]);
  t.match(missedOf({ bytesCopied: 0 }), [/0.00 × the volume copied/], 'it was full, and all of it moved');
  t.match(missedOf({ loadedSeconds: 3.1 }), [/3.1 × the move at rest/]);
  t.match(missedOf({ wrong: 1 }), [/no error/]);
  t.match(missed(convergenceOf(100, [round], ['m2']).lines), [/m2 died unasked/]);
});
