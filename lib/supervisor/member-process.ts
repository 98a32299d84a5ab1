/**
 * One member as a process of its own: started, watched, started again when it dies, stopped in order. Knows nothing of
 * what a member does; it hears over the channel to the child that it serves, or cannot, and sees it exit.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { z } from 'zod';
import type { Clock, Timer } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { POOL_THREADS } from '../base/limits.js';
import type { Logger } from '../base/log.js';

/** What a member's process tells the process that watches over it: it serves, or cannot, since a port of its is taken. */
export const MemberWord = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready'), name: z.string() }),
  z.object({ type: z.literal('address-in-use'), name: z.string(), detail: z.string() }),
]);
export type MemberWord = z.infer<typeof MemberWord>;

export interface MemberProcessOptions {
  readonly name: string;
  /** The program's script, and its arguments. */
  readonly program: string;
  readonly args: readonly string[];
  /** Its whole standard input, anew at each start: secrets, which others see neither in its arguments nor in a file. */
  readonly input?: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Pause before a member that died is started again; doubles at each death until one has served for SETTLED_MS. */
const RESTART_MS_MIN = 50;
const RESTART_MS_MAX = 2_000;
const SETTLED_MS = 10_000;
/** A member that is not ready by then will not be: the first start fails. */
const START_DEADLINE_MS = 15_000;
/** A member that has not stopped by then is killed. */
const STOP_DEADLINE_MS = 15_000;
/** One that has never served keeps nothing for anybody, and does not hear that it is to stop while something holds up its
 *  start. */
const UNSERVED_STOP_DEADLINE_MS = 1_000;

export class MemberProcess {
  private child: ChildProcess | undefined;
  private ready = false;
  /** What it said of a port of its own that was taken before it had ever served: it is not started again. */
  private addressInUse: string | null = null;
  private readyAtMs = 0;
  private stopping = false;
  private pauseMs = RESTART_MS_MIN;
  private restartTimer: Timer | undefined;
  private exited: (() => void) | undefined;
  private readonly awaiting = new Set<(isReady: boolean) => void>();

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

  /** It has served since start(), in this process or in one before. */
  get hasServed(): boolean {
    return this.readyAtMs !== 0;
  }

  /** True once it serves, at once or within `patienceMs`; false when it does not. */
  whenReady(patienceMs: number): Promise<boolean> {
    if (this.ready) return Promise.resolve(true);
    return new Promise((resolve) => {
      const answer = (isReady: boolean): void => {
        timer.cancel();
        this.awaiting.delete(answer);
        resolve(isReady);
      };
      const timer = this.options.clock.after(patienceMs, () => answer(false));
      this.awaiting.add(answer);
    });
  }

  /**
   * Starts it, and goes on starting it until stop().
   * @throws BUSY at once, and gives up, when a port of its own is taken; UNAVAILABLE when it is not there in time, its
   *   stderr says why
   */
  async start(): Promise<void> {
    this.spawn();
    if (await this.whenReady(START_DEADLINE_MS)) return;
    if (this.addressInUse !== null) {
      const cause = { code: 'EADDRINUSE' };
      throw new BlockferryError('BUSY', `member ${this.name}: ${this.addressInUse}`, undefined, { cause });
    }
    throw new BlockferryError(
      'UNAVAILABLE',
      `member ${this.name} does not start`,
      'its own message stands above',
    );
  }

  /** Asks it to stop, waits until it is gone; kills it at the deadline. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.restartTimer?.cancel();
    this.answerAwaiting(false);
    const { child } = this;
    if (child === undefined) return;
    const gone = new Promise<void>((resolve) => (this.exited = resolve));
    const deadlineMs = this.hasServed ? STOP_DEADLINE_MS : UNSERVED_STOP_DEADLINE_MS;
    const timer = this.options.clock.after(deadlineMs, () => {
      const level = this.hasServed ? 'error' : 'info';
      this.options.log[level]({ member: this.name }, 'the member does not stop: killed');
      child.kill('SIGKILL');
    });
    if (child.connected) child.disconnect();
    await gone;
    timer.cancel();
  }

  private spawn(): void {
    const { log } = this.options;
    const child = this.fork();
    if (child === undefined) return;
    this.child = child;
    child.on('message', (message) => {
      const word = MemberWord.safeParse(message).data;
      if (word?.type === 'ready') this.becameReady();
      else if (word?.type === 'address-in-use') this.foundAddressInUse(word.detail);
    });
    child.once('error', (error) => {
      log.error({ member: this.name, err: error }, 'the member cannot be started');
      if (child.pid === undefined) this.left('no process'); // no 'exit' follows then
    });
    child.once('exit', (code, signal) => this.left(signal ?? `exit code ${code}`));
  }

  /** Most failures are told by 'error'; of some, such as ENOMEM, fork() throws. */
  private fork(): ChildProcess | undefined {
    const { program, args, input, log, name } = this.options;
    try {
      const child = fork(program, [...args], {
        // stdout belongs to the supervising process, which may owe a script one line of JSON there.
        stdio: [input === undefined ? 'ignore' : 'pipe', 'ignore', 'inherit', 'ipc'],
        // A process group of its own: Ctrl-C at the terminal would end a member that does not listen to signals yet.
        detached: true,
        env: { ...process.env, UV_THREADPOOL_SIZE: String(POOL_THREADS) },
      });
      child.stdin?.on('error', () => undefined); // it died before it had read it: 'exit' says so
      child.stdin?.end(input);
      return child;
    } catch (error) {
      log.error({ member: name, err: error }, 'the member cannot be started');
      this.left('no process');
      return undefined;
    }
  }

  private becameReady(): void {
    this.ready = true;
    this.readyAtMs = this.options.clock.nowMs();
    this.options.log.info({ member: this.name, memberPid: this.pid }, 'the member serves');
    this.answerAwaiting(true);
  }

  /** A member that has served keeps its address, and gets it back; one that has not may be given another. */
  private foundAddressInUse(detail: string): void {
    if (this.hasServed) return;
    this.addressInUse = detail;
    this.answerAwaiting(false);
  }

  private answerAwaiting(isReady: boolean): void {
    for (const answer of [...this.awaiting]) answer(isReady);
  }

  private left(how: string): void {
    const served = this.ready && this.options.clock.nowMs() - this.readyAtMs >= SETTLED_MS;
    if (served) this.pauseMs = RESTART_MS_MIN;
    this.child = undefined;
    this.ready = false;
    this.exited?.();
    if (this.stopping || this.addressInUse !== null) return;
    this.options.log.warn(
      { member: this.name, how, pauseMs: this.pauseMs },
      'the member died; starting it again',
    );
    this.restartTimer = this.options.clock.after(this.pauseMs, () => this.spawn());
    this.pauseMs = Math.min(this.pauseMs * 2, RESTART_MS_MAX);
  }
}
