/** A loaded initiator in a process of its own, from the side of who asks for it; loaded-process.ts is the other side. */
import { forkSelf, type Running } from '../bench/process.js';
import type { Scope } from '../bench/scope.js';
import { BlockferryError } from '../base/errors.js';
import type { ChapIdentity } from '../iscsi/initiator/chap.js';

/** Longer than it takes to fill, or to read, any volume here: a command that is never answered would hold up all. */
const ANSWER_MS_MAX = 10 * 60_000;

/** Our harness, or libiscsi (libiscsi.ts). */
export type LoadedBy = 'harness' | 'libiscsi';

export interface LoadedOrder {
  readonly by: LoadedBy;
  readonly url: string;
  readonly seed: number;
  readonly queueDepth: number;
  readonly readPercent: number;
  /** Default: as many as it gets answered. */
  readonly opsPerSecondMax?: number;
  /** Of our harness. */
  readonly chap?: ChapIdentity;
}

/** Since the mark before; `ops` and `errors` since the start. */
export interface LoadedMark {
  /** The slowest command answered. */
  readonly longestMs: number;
  readonly ops: number;
  /** Failed commands and wrong blocks. */
  readonly errors: number;
  readonly redirects: number;
  /** Sessions lost and regained. */
  readonly recoveries: number;
  /** The longest of them without a session. */
  readonly downMs: number;
}

/** At the end, with every block read once more. */
export interface LoadedVerdict {
  readonly ops: number;
  readonly errors: number;
  readonly wrongBlocks: number;
  readonly violations: number;
  readonly texts: readonly string[];
}

export type LoadedRequest = { start: LoadedOrder } | 'mark' | 'renew' | 'stop';
export type LoadedAnswer = 'started' | 'renewed' | { mark: LoadedMark } | { verdict: LoadedVerdict };
type Failure = { failed: string };

export class LoadedClient {
  private constructor(private readonly running: Running) {}

  /** The volume is filled and under load when it resolves; the process ends with `scope` at the latest. */
  static async start(order: LoadedOrder, scope: Scope): Promise<LoadedClient> {
    const running = forkSelf('loaded-process');
    scope.defer(() => running.stop());
    const client = new LoadedClient(running);
    await client.ask({ start: order });
    return client;
  }

  async mark(): Promise<LoadedMark> {
    const answer = await this.ask('mark');
    if (typeof answer === 'object' && 'mark' in answer) return answer.mark;
    throw this.running.fault('sent no figures');
  }

  /** libiscsi: a new session in a new context; the harness keeps the one it has. */
  async renew(): Promise<void> {
    await this.ask('renew');
  }

  async stop(): Promise<LoadedVerdict> {
    const answer = await this.ask('stop');
    await this.running.stop();
    if (typeof answer === 'object' && 'verdict' in answer) return answer.verdict;
    throw this.running.fault('sent no verdict');
  }

  /** One question at a time, so that the next message is its answer. */
  private async ask(request: LoadedRequest): Promise<LoadedAnswer> {
    const answered = this.running.nextMessage({ msMax: ANSWER_MS_MAX });
    this.running.child.send(request);
    const answer = (await answered) as LoadedAnswer | Failure;
    if (typeof answer === 'object' && 'failed' in answer) throw new BlockferryError('IO', answer.failed);
    return answer;
  }
}
