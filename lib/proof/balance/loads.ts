/** Initiators of a scene, in this process: each loads one volume, checks what it reads, and can be asked how it fares. */
import { within } from '../../bench/within.js';
import { Initiator } from '../../iscsi/initiator/initiator.js';
import type { WorkloadReport } from '../../iscsi/initiator/report.js';
import { runLoad, type LoadOptions } from '../../iscsi/initiator/workload.js';
import { Ledger } from '../../iscsi/initiator/ledger.js';
import { fillWhole } from '../filled.js';

const BLOCK_BYTES = 4096;
const PROGRESS_MS = 50;
/** The load ends when it is told to. */
const LOAD_SECONDS = 24 * 3600;
/** What is in flight is answered at once, or after a hand-over. */
const END_MS_MAX = 5 * 60_000;
const CLOSE_MS_MAX = 10_000;

export interface LoadOrder {
  readonly url: string;
  readonly seed: number;
  readonly queueDepth: number;
  /** Default: as many as it gets answered. */
  readonly opsPerSecondMax?: number;
}

export class Load {
  /** Answered since the start. */
  ops = 0;
  private readonly stopping = new AbortController();
  private running: Promise<WorkloadReport> = Promise.reject(new Error('not begun'));

  private constructor(
    private readonly initiator: Initiator,
    private readonly options: LoadOptions,
  ) {
    this.running.catch(() => undefined);
  }

  /** Logged in, every block written once; begin() starts the load. */
  static async prepare({ url, seed, queueDepth, opsPerSecondMax }: LoadOrder): Promise<Load> {
    const initiator = await Initiator.connect(url);
    const blocks = initiator.capacity.sizeBytes / BLOCK_BYTES;
    const ledger = new Ledger({ seed, blockBytes: BLOCK_BYTES, blocks });
    await fillWhole(initiator, { ledger, queueDepth: 8, blockBytes: 1024 * 1024 });
    return new Load(initiator, {
      ledger,
      queueDepth,
      ...(opsPerSecondMax !== undefined && { opsPerSecondMax }),
    });
  }

  begin(): void {
    this.running = runLoad(this.initiator, {
      ...this.options,
      ...{ durationSeconds: LOAD_SECONDS, signal: this.stopping.signal, progressMs: PROGRESS_MS },
      onProgress: (progress) => (this.ops = progress.ops),
    });
    this.running.catch(() => undefined); // told by end()
  }

  /** Works for a time, then rests. */
  async burst(seconds: number): Promise<WorkloadReport> {
    return runLoad(this.initiator, { ...this.options, durationSeconds: seconds });
  }

  /** Rejects with IO where a command is never answered. */
  end(msMax = END_MS_MAX): Promise<WorkloadReport> {
    this.stopping.abort();
    return within(this.running, msMax, 'a command of a load is not answered');
  }

  async close(msMax = CLOSE_MS_MAX): Promise<void> {
    await this.end(msMax).catch(() => undefined);
    await within(this.initiator.close(), msMax, 'a load does not log out');
  }
}
