/**
 * libiscsi's own test suite, one test a process and under a time limit, so that one which hangs or dies spoils only itself.
 * It reads what CUnit prints; it knows nothing of what is tested.
 */
import { type Clock, sleep, systemClock } from '../../base/clock.js';
import { BlockferryError } from '../../base/errors.js';
import { Running, runToEnd } from '../../bench/process.js';

export const OUTCOMES = ['passed', 'failed', 'skipped', 'hung'] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface Verdict {
  readonly outcome: Outcome;
  /** What the test says: why it gave up, what did not hold. */
  readonly note: string;
}

const PROGRAM = 'iscsi-test-cu';
const TEST_MS_MAX = 90_000;
/** How often a test is run that was let down by its own initiator. */
const ATTEMPTS_MAX = 3;
/** What a test prints that was: see runOnTheMove. */
const LET_DOWN = /^(Task Management function *for|LUN reset failed|ABORT TASK( SET)? failed)/;
/** Asks whether the unit is ready, and no more. */
const READY_TEST = 'ALL.TestUnitReady.Simple';
const READY_PAUSE_MS = 1_000;
const READY_ATTEMPTS_MAX = 300;
/** What a test prints where it leaves out an assertion, and goes on. */
const GOES_ON = ['restrictions on this LUN', 'Skipping assert'];

/**
 * "FAMILY.SUITE.TEST" of every test; family LINUX repeats others under other names. Rejects when it is not installed, and
 * when it lists none: nothing would be run, and nothing fail.
 */
export async function listTests(program = PROGRAM): Promise<string[]> {
  const out = await runToEnd(program, ['--list']);
  const tests = out.split(/\s+/).filter((name) => /^ALL\.[^.]+\.[^.]+$/.test(name));
  if (tests.length === 0) throw new BlockferryError('INVALID', `${program} lists no test: ${lastLine(out)}`);
  return tests;
}

/** Runs one test against a unit; `urls` are one or two ways to it. Resolves always. */
export async function runTest(test: string, urls: readonly string[]): Promise<Verdict> {
  const args = [PROGRAM, '--dataloss', '--allow-sanitize', '--Verbose-scsi', '--test', test, ...urls];
  // One pipe for both: what it prints on stderr has its place between lines of stdout.
  const running = Running.start('sh', ['-c', 'exec stdbuf -oL "$@" 2>&1', 'sh', ...args], {
    endedBy: 'SIGKILL',
  });
  let isLate = false;
  const limit = setTimeout(() => {
    isLate = true;
    void running.stop();
  }, TEST_MS_MAX);
  await running.whenEnded();
  clearTimeout(limit);
  const { stdout, child } = running;
  if (isLate) return { outcome: 'hung', note: `after: ${lastLine(stdout)}` };
  return judge(stdout, child.signalCode ?? `exit code ${child.exitCode}`);
}

/**
 * What a test that hung has begun may go on without it, as a SANITIZE of the whole unit does, and would fail all those
 * behind it. Resolves when the unit is ready again, or does not get so: where even this hangs, waiting gains nothing.
 */
export async function untilReady(
  urls: readonly string[],
  run: typeof runTest = runTest,
  clock: Clock = systemClock,
): Promise<void> {
  for (let attempt = 0; attempt < READY_ATTEMPTS_MAX; attempt++) {
    const { outcome } = await run(READY_TEST, urls);
    if (outcome === 'passed' || outcome === 'hung') return;
    await sleep(clock, READY_PAUSE_MS);
  }
}

/**
 * One test against a unit that moves. When libiscsi comes back after a hand-over it sends its SCSI commands again and drops
 * everything else (`iscsi_reconnect_cb`): a task management function that was asked for behind its own Logout was never
 * sent, and the test gives up. That says nothing of the target, so the test is run again.
 */
export async function runOnTheMove(
  test: string,
  urls: readonly string[],
  run: typeof runTest = runTest,
): Promise<Verdict> {
  let verdict = await run(test, urls);
  for (let attempt = 1; attempt < ATTEMPTS_MAX && LET_DOWN.test(verdict.note); attempt++)
    verdict = await run(test, urls);
  return verdict;
}

function lastLine(output: string): string {
  const last = output.trim().split('\n').at(-1) ?? '';
  return last.trim() || 'no output';
}

/** @param end how the process ended */
export function judge(output: string, end: string): Verdict {
  const counts = /^ *tests +\d+ +\d+ +\d+ +(\d+)/m.exec(output);
  const test = /^ {2}Test: .*? \.\.\.([^]*?)(?:(?<=^|\.\.\.))(passed|FAILED)([^]*)/m.exec(output);
  if (counts === null || test === null) return { outcome: 'failed', note: `${end}: ${lastLine(output)}` };
  const [, body = '', word, after = ''] = test;
  const says = [...body.matchAll(/\[(SKIPPED|FAILED)\] *([^\n]*)/g)].map(([, tag, text = '']) => ({
    tag,
    text,
  }));
  if (counts[1] !== '0' || word === 'FAILED') {
    const assertion = /^ +1\. (.*?)(?: {4}|$)/m.exec(after)?.[1] ?? '';
    const failed = says.find(({ tag }) => tag === 'FAILED')?.text ?? '';
    return { outcome: 'failed', note: [failed.trim(), assertion.trim()].filter(Boolean).join('; ') };
  }
  const gaveUp = says.at(-1);
  if (gaveUp?.tag === 'SKIPPED' && !GOES_ON.some((text) => gaveUp.text.includes(text)))
    return { outcome: 'skipped', note: gaveUp.text.trim() };
  return { outcome: 'passed', note: '' };
}
