/**
 * One member as a process of its own: started, watched, started again when it dies, stopped in order. Knows nothing of
 * what a member does; it hears "ready" over the channel to the child and sees it exit.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { z } from 'zod';
import type { Clock, Timer } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import type { Logger } from '../base/log.js';

/** What a member's process tells the process that watches over it, once it serves. */
export const MemberReady = z.object({ type: z.literal('ready'), name: z.string() });
export type MemberReady = z.infer<typeof MemberReady>;

export interface MemberProcessOptions {
  readonly name: string;
  /** The program's script, and its arguments. */
  readonly program: string;
  readonly args: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
}

/** Pause before a member that died is started again; doubles while it does not come up. */
const RESTART_MS_MIN = 50;
const RESTART_MS_MAX = 2_000;
/** A member that is not ready by then will not be: the first start fails. */
const START_DEADLINE_MS = 15_000;
/** A member that has not stopped by then is killed. */
const STOP_DEADLINE_MS = 15_000;

export class MemberProcess {
  private child: ChildProcess | undefined;
  private ready = false;
  private stopping = false;
  private pauseMs = RESTART_MS_MIN;
  private restartTimer: Timer | undefined;
  private firstReady: (() => void) | undefined;
  private exited: (() => void) | undefined;

  constructor(private readonly options: MemberProcessOptions) {}

  get name(): string {
    return this.options.name;
  }

  /** 0 while none runs. */
  get pid(): number {
    return this.child?.pid ?? 0;
  }

  /** It has said that it serves, and has not exited since. */
  get isReady(): boolean {
    return this.ready;
  }

  /** Resolves when it serves; rejects with UNAVAILABLE when it does not within the deadline (its stderr says why). */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.options.clock.after(START_DEADLINE_MS, () => {
        reject(
          new BlockferryError(
            'UNAVAILABLE',
            `member ${this.name} does not start`,
            'its own message stands above',
          ),
        );
      });
      this.firstReady = () => {
        timer.cancel();
        resolve();
      };
      this.spawn();
    });
  }

  /** Asks it to stop, waits until it is gone; kills it at the deadline. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.restartTimer?.cancel();
    const { child } = this;
    if (child === undefined) return;
    const gone = new Promise<void>((resolve) => (this.exited = resolve));
    const timer = this.options.clock.after(STOP_DEADLINE_MS, () => {
      this.options.log.error({ member: this.name }, 'the member does not stop: killed');
      child.kill('SIGKILL');
    });
    child.kill('SIGTERM');
    await gone;
    timer.cancel();
  }

  private spawn(): void {
    const { program, args, log } = this.options;
    // stdout belongs to the supervising process, which may owe a script one line of JSON there.
    const child = fork(program, [...args], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.child = child;
    child.on('message', (message) => {
      if (MemberReady.safeParse(message).success) this.becameReady();
    });
    child.once('error', (error) =>
      log.error({ member: this.name, err: error }, 'the member cannot be started'),
    );
    child.once('exit', (code, signal) => this.left(signal ?? `exit code ${code}`));
  }

  private becameReady(): void {
    this.ready = true;
    this.pauseMs = RESTART_MS_MIN;
    this.options.log.info({ member: this.name, memberPid: this.pid }, 'the member serves');
    this.firstReady?.();
    this.firstReady = undefined;
  }

  private left(how: string): void {
    this.child = undefined;
    this.ready = false;
    this.exited?.();
    if (this.stopping) return;
    this.options.log.warn(
      { member: this.name, how, pauseMs: this.pauseMs },
      'the member died; starting it again',
    );
    this.restartTimer = this.options.clock.after(this.pauseMs, () => this.spawn());
    this.pauseMs = Math.min(this.pauseMs * 2, RESTART_MS_MAX);
  }
}
