/**
 * libiscsi's own test suite, one test a process and under a time limit, so that one which hangs or dies spoils only itself.
 * It reads what CUnit prints; it knows nothing of what is tested.
 */
import { spawn } from 'node:child_process';
import { runToEnd } from '../../bench/process.js';

export const OUTCOMES = ['passed', 'failed', 'skipped', 'hung'] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface Verdict {
  readonly outcome: Outcome;
  /** What the test says: why it gave up, what did not hold. */
  readonly note: string;
}

const PROGRAM = 'iscsi-test-cu';
const TEST_MS_MAX = 90_000;
/** What a test may print: the longest print some megabytes. */
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
/** What a test prints where it leaves out an assertion, and goes on. */
const GOES_ON = ['restrictions on this LUN', 'Skipping assert'];

/** "FAMILY.SUITE.TEST" of every test; family LINUX repeats others under other names. Rejects when it is not installed. */
export async function listTests(): Promise<string[]> {
  const out = await runToEnd(PROGRAM, ['--list']);
  return out.split(/\s+/).filter((name) => /^ALL\.[^.]+\.[^.]+$/.test(name));
}

/** Runs one test against a unit; `urls` are one or two ways to it. Resolves always. */
export function runTest(test: string, urls: readonly string[]): Promise<Verdict> {
  return new Promise((resolve) => {
    const args = [
      '-oL',
      PROGRAM,
      '--dataloss',
      '--allow-sanitize',
      '--Verbose-scsi',
      '--test',
      test,
      ...urls,
    ];
    // One pipe for both: what it prints on stderr has its place between lines of stdout.
    const child = spawn('sh', ['-c', 'exec stdbuf "$@" 2>&1', 'sh', ...args], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let output = '';
    const take = (chunk: Buffer): void => {
      output = (output + chunk.toString('latin1')).slice(-OUTPUT_BYTES_MAX);
    };
    child.stdout.on('data', take);
    let isLate = false;
    const limit = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, TEST_MS_MAX);
    child.on('error', (error) => {
      clearTimeout(limit);
      resolve({ outcome: 'failed', note: error.message });
    });
    child.on('close', (code, signal) => {
      clearTimeout(limit);
      if (isLate) resolve({ outcome: 'hung', note: `after: ${lastLine(output)}` });
      else resolve(judge(output, signal ?? `exit code ${code}`));
    });
  });
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
