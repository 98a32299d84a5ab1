/** What libiscsi's suite prints, and what is made of it. */
import t from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { exceptionsOf } from '../../lib/proof/conformance/exceptions.js';
import {
  judge,
  listTests,
  type Outcome,
  runOnTheMove,
  untilReady,
  type Verdict,
} from '../../lib/proof/conformance/suite.js';

const printed = (body: string, word: string, failed: number, after = ''): string =>
  `Suite: Read10\n  Test: Simple ...${body}${word}${after}\n\nRun Summary:    Type  Total    Ran Passed Failed Inactive
              suites      1      1    n/a      0        0
               tests      1      1      ${1 - failed}      ${failed}        0
             asserts      9      9      9      0      n/a\n`;

t.test('a program that lists no test is none to run', async (t) => {
  await t.rejects(listTests('echo'), { code: 'INVALID', message: 'echo lists no test: --list' });
  await t.rejects(listTests('true'), { code: 'INVALID', message: 'true lists no test: no output' });
  await t.rejects(listTests('/no/such/program'), { code: 'IO' });
});

t.test('outcomes', (t) => {
  t.same(judge(printed('', 'passed', 0), 'exit code 0'), { outcome: 'passed', note: '' });
  t.same(
    judge(printed('\n    Test one\n    [OK] all of it\n', 'passed', 0), 'exit code 0').outcome,
    'passed',
  );
  t.same(judge(printed('\n    [SKIPPED] SANITIZE is not implemented.\n', 'passed', 0), 'exit code 0'), {
    outcome: 'skipped',
    note: 'SANITIZE is not implemented.',
  });
  const partly = '\n    [SKIPPED] Skipping assert for this LUN\n    Test the rest\n';
  t.equal(judge(printed(partly, 'passed', 0), 'exit code 0').outcome, 'passed', 'it went on');
  const where = '\n    1. test_read10.c:40  - CU_ASSERT_EQUAL(ret,0)\n    2. another';
  t.same(judge(printed('\n    [FAILED] READ10 said so\n', 'FAILED', 1, where), 'exit code 0'), {
    outcome: 'failed',
    note: 'READ10 said so; test_read10.c:40  - CU_ASSERT_EQUAL(ret,0)',
  });
  t.equal(judge(printed('', 'passed', 1), 'exit code 0').outcome, 'failed', 'the counts decide');
  t.end();
});

t.test('a test that dies', (t) => {
  const died = judge('Suite: Read10\n  Test: Simple ...\n    Test READ10\n', 'SIGABRT');
  t.same(died, { outcome: 'failed', note: 'SIGABRT: Test READ10' });
  t.same(judge('', 'exit code 10'), { outcome: 'failed', note: 'exit code 10: no output' });
  t.end();
});

t.test('a test that was let down by its own initiator is run again, and no other is', async (t) => {
  const letDown: Verdict = {
    outcome: 'skipped',
    note: 'Task Management functionfor WarmReset is not working/implemented',
  };
  const passed: Verdict = { outcome: 'passed', note: '' };
  const failed: Verdict = { outcome: 'failed', note: 'RESERVE6 said so' };
  const runs = async (...verdicts: Verdict[]) => {
    let count = 0;
    const verdict = await runOnTheMove('a', [], () => Promise.resolve(verdicts[count++] ?? passed));
    return { outcome: verdict.outcome, count };
  };
  t.same(await runs(letDown, letDown), { outcome: 'passed', count: 3 });
  t.same(
    await runs(letDown, letDown, letDown),
    { outcome: 'skipped', count: 3 },
    'a target that never answers',
  );
  t.same(await runs(failed), { outcome: 'failed', count: 1 });
  t.same(await runs(passed), { outcome: 'passed', count: 1 });
});

t.test('behind a test that hung, the next one begins when the unit is ready', async (t) => {
  const asked: string[] = [];
  const pauses: number[] = [];
  const clock = {
    ...systemClock,
    after: (ms: number, callback: () => void) => {
      pauses.push(ms);
      return systemClock.after(0, callback);
    },
  };
  const readyAfter = async (attempts: number, last: Outcome = 'passed'): Promise<void> => {
    asked.length = pauses.length = 0;
    await untilReady(
      ['iscsi://a'],
      (test, urls) => {
        asked.push(`${test} ${urls.join()}`);
        return Promise.resolve({ outcome: asked.length > attempts ? last : 'failed', note: '' });
      },
      clock,
    );
  };
  await readyAfter(2);
  t.same(asked, Array(3).fill('ALL.TestUnitReady.Simple iscsi://a'));
  t.same(pauses, [1000, 1000]);
  await readyAfter(1, 'hung');
  t.equal(asked.length, 2, 'nor one that answers nothing: each such question takes a minute and a half');
  await readyAfter(Infinity);
  t.equal(asked.length, 300, 'a unit that never is ready does not hold everything up for ever');
});

t.test('what one version of the suite does wrong is no excuse in the other', (t) => {
  const older = exceptionsOf(['CompareAndWrite.InvalidDataOutSize', 'iSCSITMF.LUNResetSimpleAsync']);
  const newer = exceptionsOf(['CompareAndWrite.InvalidDataOutSize', 'iSCSISendTargets.Simple']);
  const has = (test: string): boolean[] => [older.has(test), newer.has(test)];
  t.same(has('iSCSITMF.LUNResetSimpleAsync'), [true, false]);
  t.same(has('CompareAndWrite.InvalidDataOutSize'), [false, true]);
  t.same(has('StartStopUnit.PwrCnd'), [true, true]);
  t.same(has('Read10.Simple'), [false, false]);
  t.end();
});
