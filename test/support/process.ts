/** Runs programs for integration tests: to their end, or until they are stopped, with what they said kept. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { builtFile } from './root.js';

const PROGRAM = builtFile('bin/blockferry.cjs');
/**
 * The built program and its first arguments: integration tests run what users run. The test runner adds what counts coverage
 * to every process that a test starts, by NODE_OPTIONS: more than twice the start, and a thread pool in use.
 */
export const BLOCKFERRY = ['env', '-u', 'NODE_OPTIONS', process.execPath, PROGRAM] as const;

export interface Ended {
  /** −1 when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: Buffer | string;
  readonly timeoutMs?: number;
}

/** Runs a program to its end; never rejects for a bad exit, does for a program that is missing or hangs. */
export function exec(file: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...args], { env: { ...process.env, ...options.env } });
    const output = collect(child);
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${file} ${args.join(' ')} hangs\n${output.stdout}\n${output.stderr}`));
    }, options.timeoutMs ?? 120_000);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? -1, ...output });
    });
    child.stdin.on('error', () => undefined); // it may end before it has read everything
    child.stdin.end(options.input);
  });
}

/** Runs one blockferry command to its end. */
export function blockferry(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const [file, ...before] = BLOCKFERRY;
  return exec(file, [...before, ...args], options);
}

/** A program that stays until it is told to stop. */
export class Running {
  private readonly output: { stdout: string; stderr: string };
  private readonly ended: Promise<Ended>;

  private constructor(readonly child: ChildProcess) {
    this.output = collect(child);
    this.ended = new Promise((resolve) => {
      child.once('close', (code) => resolve({ code: code ?? -1, ...this.output }));
    });
  }

  /** @param ownProcessGroup as a shell starts it: a signal to −pid reaches it and its children, and not the test */
  static blockferry(args: readonly string[], ownProcessGroup = false): Running {
    const [file, ...before] = BLOCKFERRY;
    return Running.start(file, [...before, ...args], ownProcessGroup);
  }

  static start(file: string, args: readonly string[], ownProcessGroup = false): Running {
    return new Running(spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: ownProcessGroup }));
  }

  get stdout(): string {
    return this.output.stdout;
  }
  get stderr(): string {
    return this.output.stderr;
  }

  /** The first line of stdout as JSON; rejects with what it said when it ends before, or takes too long. */
  async readyJson<T>(timeoutMs = 60_000): Promise<T> {
    const deadline = Date.now() + timeoutMs;
    while (!this.output.stdout.includes('\n')) {
      if (this.child.exitCode !== null)
        throw new Error(`it ended with ${this.child.exitCode}: ${this.stderr}`);
      if (Date.now() > deadline) throw new Error(`not ready after ${timeoutMs} ms: ${this.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return JSON.parse(this.output.stdout.slice(0, this.output.stdout.indexOf('\n'))) as T;
  }

  /** Sends a signal and waits for the end. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.child.kill(signal);
    return this.ended;
  }

  /** Waits for an end that something else brings about. */
  whenEnded(): Promise<Ended> {
    return this.ended;
  }
}

function collect(child: ChildProcess): { stdout: string; stderr: string } {
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
  return output;
}

/** Node itself starts in this on the machines that what we promise was measured on. */
const NODE_STARTS_MS = 50;

/** A time that was promised, on this machine as it is now: longer by as much as Node takes longer to start. */
export function promisedHere(promisedMs: number): number {
  const env = { ...process.env, NODE_OPTIONS: '' };
  const startsMs = [1, 2, 3].map(() => {
    const begunMs = performance.now();
    spawnSync(process.execPath, ['-e', '0'], { env });
    return performance.now() - begunMs;
  });
  return Math.round(promisedMs * Math.max(1, Math.min(...startsMs) / NODE_STARTS_MS));
}

/** Where a test may put things; removed at its end. */
export async function tempFolder(t: { teardown(end: () => unknown): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'blockferry-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
