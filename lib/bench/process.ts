/**
 * Child processes of a benchmark: started, heard, and gone at the end whatever happens. A child that is still there when
 * this process exits is told to end.
 */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { BlockferryError } from '../base/errors.js';
import { sleep, systemClock } from '../base/clock.js';
import { POOL_THREADS } from '../base/limits.js';
import { within } from './within.js';

const STOP_PATIENCE_MS = 10_000;
const READY_PATIENCE_MS = 60_000;
/** Longer than any step of a child takes here, on the slowest machine: what has not come by then does not come. */
const MESSAGE_MS_MAX = 30 * 60_000;
const POLL_MS = 10;

const alive = new Map<ChildProcess, NodeJS.Signals>();
process.on('exit', () => {
  for (const [child, signal] of alive) child.kill(signal);
});

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly endedBy?: NodeJS.Signals;
}

/** A program that stays until it is stopped. */
export class Running {
  private readonly output = { stdout: '', stderr: '' };
  private readonly gone: Promise<void>;
  private code: number | null = null;

  /** @param endedBy the signal that ends it: SIGKILL where SIGTERM is ignored */
  constructor(
    readonly child: ChildProcess,
    private readonly endedBy: NodeJS.Signals = 'SIGTERM',
  ) {
    alive.set(child, endedBy);
    child.stdout?.on('data', (chunk: Buffer) => (this.output.stdout += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (this.output.stderr += chunk.toString()));
    this.gone = new Promise((resolve) => {
      const ended = (code: number | null): void => {
        alive.delete(child);
        this.code = code ?? -1;
        resolve();
      };
      child.once('close', ended);
      child.once('error', () => ended(-1));
    });
  }

  static start(file: string, args: readonly string[], options: StartOptions = {}): Running {
    const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];
    const env = { ...process.env, ...options.env };
    return new Running(spawn(file, [...args], { stdio, env }), options.endedBy);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get hasEnded(): boolean {
    return this.code !== null;
  }

  get stdout(): string {
    return this.output.stdout;
  }

  get stderr(): string {
    return this.output.stderr;
  }

  /** The first line of stdout as JSON: what our programs say when they are ready. */
  async readyJson<T>(): Promise<T> {
    const deadline = Date.now() + READY_PATIENCE_MS;
    while (!this.output.stdout.includes('\n')) {
      if (this.hasEnded || Date.now() > deadline) throw this.fault('was not ready');
      await sleep(systemClock, POLL_MS);
    }
    return JSON.parse(this.output.stdout.slice(0, this.output.stdout.indexOf('\n'))) as T;
  }

  /**
   * The next message of a forked child that is `wanted`. Rejects with IO when the child ends before it has come, or does not
   * send it in time.
   */
  nextMessage({ msMax = MESSAGE_MS_MAX, wanted = (_: unknown): boolean => true } = {}): Promise<unknown> {
    const said = new Promise<unknown>((resolve, reject) => {
      const listen = (message: unknown): void => {
        if (!wanted(message)) return;
        this.child.off('message', listen);
        resolve(message);
      };
      this.child.on('message', listen);
      void this.gone.then(() => reject(this.fault('ended')));
    });
    return within(said, msMax, `${this.child.spawnfile} does not answer`);
  }

  /** Sends a signal and waits for the end; one that does not go is killed. */
  async stop(): Promise<void> {
    if (this.hasEnded) return;
    this.child.kill(this.endedBy);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_PATIENCE_MS);
    await this.gone;
    clearTimeout(timer);
  }

  whenEnded(): Promise<void> {
    return this.gone;
  }

  fault(what: string): BlockferryError {
    const said = this.output.stderr.trim().split('\n').slice(-3).join(' / ').slice(0, 300);
    return new BlockferryError(
      'IO',
      `${this.child.spawnfile} ${what}: ${said === '' ? 'it said nothing' : said}`,
    );
  }
}

/** A forked server has the thread pool that the installed program gives itself. */
const SERVER_ENV = { UV_THREADPOOL_SIZE: String(POOL_THREADS) };

/** Forks this very program in another role (bin/bench.ts, bin/proof.ts). */
export function forkSelf(role: string, args: readonly string[] = []): Running {
  const program = process.argv[1] ?? '';
  const env = { ...process.env, ...SERVER_ENV };
  return new Running(fork(program, [role, ...args], { env, stdio: ['ignore', 'inherit', 'pipe', 'ipc'] }));
}

/** Runs a program to its end; rejects with what it said when it ends badly. @returns its stdout */
export async function runToEnd(
  file: string,
  args: readonly string[],
  options: StartOptions = {},
): Promise<string> {
  const running = Running.start(file, args, options);
  await running.whenEnded();
  if (running.child.exitCode !== 0) throw running.fault(`ended with ${running.child.exitCode}`);
  return running.stdout;
}

/** A port that was free just now, for programs that cannot choose one themselves. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port: 0 }, () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
