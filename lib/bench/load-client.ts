/** A lean load in a process of its own, from the side of who asks for it; load-process.ts is the other side. */
import { BlockferryError } from '../base/errors.js';
import { sleep, systemClock } from '../base/clock.js';
import type { LoadSpec } from './lean-load.js';
import { forkSelf, type Running } from './process.js';
import type { Scope } from './scope.js';

export interface LoadOrder {
  /** A session each; the spec holds for each of them. */
  readonly urls: readonly string[];
  readonly spec: LoadSpec;
  readonly digests: boolean;
}

/** Between two marks. */
export interface LoadFigures {
  readonly ops: number;
  readonly seconds: number;
  readonly iops: number;
  readonly p999Ms: number;
  readonly longestMs: number;
  readonly errors: number;
  readonly errorText: string;
  /** Share of one processor that the client took. */
  readonly busy: number;
}

export type LoadRequest = { start: LoadOrder } | 'mark' | 'stop';
export type LoadAnswer = 'started' | { figures: LoadFigures } | 'ended' | { failed: string };

export const RANDOM_READ: LoadSpec = { queueDepth: 32, blockBytes: 4096, readPercent: 100, isRandom: true };

/** Connections, pools and the just-in-time compiler settle in this time. */
const WARM_UP_MS = 500;

export class LoadClient {
  private constructor(private readonly running: Running) {}

  /** Logs in and starts the load; it ends with `scope` at the latest. */
  static async start(order: LoadOrder, scope: Scope): Promise<LoadClient> {
    const client = new LoadClient(forkSelf('load-process'));
    scope.defer(() => client.running.stop());
    await client.ask({ start: order }, 'started');
    return client;
  }

  /** What happened since the mark before. Rejects with IO when a command failed. */
  async mark(): Promise<LoadFigures> {
    const answer = await this.ask('mark', 'figures');
    if (typeof answer !== 'object' || !('figures' in answer)) throw this.running.fault('sent no figures');
    const { figures } = answer;
    if (figures.errors === 0) return figures;
    throw new BlockferryError('IO', `${figures.errors} commands failed: ${figures.errorText}`);
  }

  /** Ends the load, waits for the last answer and a flush of every volume. */
  async stop(): Promise<void> {
    await this.ask('stop', 'ended');
    await this.running.stop();
  }

  /** For a load that ends by itself. */
  async whenEnded(): Promise<void> {
    await this.expect('ended');
    await this.running.stop();
  }

  private ask(request: LoadRequest, kind: string): Promise<LoadAnswer> {
    const answer = this.expect(kind);
    this.running.child.send(request);
    return answer;
  }

  private async expect(kind: string): Promise<LoadAnswer> {
    const wanted = (message: unknown): boolean =>
      message === kind ||
      (typeof message === 'object' && message !== null && (kind in message || 'failed' in message));
    const answer = (await this.running.nextMessage({ wanted })) as LoadAnswer;
    if (typeof answer === 'object' && 'failed' in answer) throw new BlockferryError('IO', answer.failed);
    return answer;
  }
}

/** One measurement of `seconds`, after a warm-up, in a fresh process. */
export async function measureLoad(order: LoadOrder, seconds: number, scope: Scope): Promise<LoadFigures> {
  const client = await LoadClient.start(order, scope);
  await sleep(systemClock, WARM_UP_MS);
  await client.mark();
  await sleep(systemClock, seconds * 1000);
  const figures = await client.mark();
  await client.stop();
  return figures;
}

/** 4 KiB random reads of one volume at depth 32: what most comparisons are made with. */
export function measureRandomReads(url: string, seconds: number, scope: Scope): Promise<LoadFigures> {
  return measureLoad({ urls: [url], spec: RANDOM_READ, digests: false }, seconds, scope);
}

/** Writes the whole of a volume once. */
export async function fillVolume(url: string, sizeBytes: number, scope: Scope): Promise<void> {
  const blockBytes = 256 * 1024;
  const spec = {
    queueDepth: 16,
    blockBytes,
    readPercent: 0,
    isRandom: false,
    opsMax: sizeBytes / blockBytes,
  };
  const client = await LoadClient.start({ urls: [url], spec, digests: false }, scope);
  await client.whenEnded();
}
