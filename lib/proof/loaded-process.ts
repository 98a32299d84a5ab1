/**
 * The process of a loaded initiator: fills a volume, keeps it loaded, and says at each mark what commands had to wait
 * since the mark before. Told what to do by messages; loaded-client.ts is the other side.
 */
import { describeError } from '../base/errors.js';
import {
  Initiator,
  Ledger,
  runLoad,
  runVerify,
  type LoadedUnit,
  type WorkloadReport,
} from '../iscsi/initiator/index.js';
import { fillWhole } from './filled.js';
import { LibiscsiUnit } from './libiscsi.js';
import type { LoadedAnswer, LoadedMark, LoadedOrder, LoadedRequest, LoadedVerdict } from './loaded-client.js';

const BLOCK_BYTES = 4096;
const PROGRESS_MS = 5;
/** Far beyond any use: the load ends when it is told to. */
const LOAD_SECONDS = 24 * 3600;

class LoadedProcess {
  private unit!: LoadedUnit & { close(): unknown };
  private ledger!: Ledger;
  private loading!: Promise<WorkloadReport>;
  private readonly stop = new AbortController();
  private longestMs = 0;
  private ops = 0;
  private errors = 0;
  /** Of the unit, up to the mark before. */
  private redirectsBefore = 0;
  private recoveriesBefore = 0;
  private hops = 0;

  async handle(request: LoadedRequest): Promise<LoadedAnswer> {
    if (request === 'mark') return { mark: this.mark() };
    if (request === 'stop') return { verdict: await this.end() };
    if (request === 'renew') {
      if (this.unit instanceof LibiscsiUnit) await this.unit.renew();
      return 'renewed';
    }
    await this.start(request.start);
    return 'started';
  }

  private async start(order: LoadedOrder): Promise<void> {
    this.unit = await this.connect(order);
    const { sizeBytes } = this.unit.capacity;
    this.ledger = new Ledger({ seed: order.seed, blockBytes: BLOCK_BYTES, blocks: sizeBytes / BLOCK_BYTES });
    const { ledger } = this;
    await fillWhole(this.unit, { ledger, queueDepth: 8 });
    this.loading = runLoad(this.unit, {
      ...{ ledger, queueDepth: order.queueDepth, readPercent: order.readPercent },
      ...(order.opsPerSecondMax !== undefined && { opsPerSecondMax: order.opsPerSecondMax }),
      ...{ durationSeconds: LOAD_SECONDS, signal: this.stop.signal, progressMs: PROGRESS_MS },
      onProgress: (progress) => {
        this.ops = progress.ops;
        this.errors = progress.errors + progress.wrongCount;
        this.longestMs = Math.max(this.longestMs, progress.longestMs);
      },
    });
  }

  private async connect({ by, url, chap }: LoadedOrder): Promise<LoadedUnit & { close(): unknown }> {
    if (by === 'libiscsi') return LibiscsiUnit.connect(url);
    const initiator = await Initiator.connect(url, { chap: chap ?? null });
    initiator.on('redirected', (hops) => (this.hops += hops.length - 1));
    return initiator;
  }

  private mark(): LoadedMark {
    const { unit, longestMs, ops, errors } = this;
    const redirects = unit instanceof LibiscsiUnit ? unit.redirects : this.hops;
    const mark = {
      ...{ longestMs, ops, errors },
      redirects: redirects - this.redirectsBefore,
      recoveries: unit.recoveries.length - this.recoveriesBefore,
      downMs: Math.max(0, ...unit.recoveries.slice(this.recoveriesBefore).map((recovery) => recovery.downMs)),
    };
    this.longestMs = 0;
    this.redirectsBefore = redirects;
    this.recoveriesBefore = unit.recoveries.length;
    return mark;
  }

  /** Ends the load, then reads every block once more. */
  private async end(): Promise<LoadedVerdict> {
    this.stop.abort();
    const { unit, ledger } = this;
    const load = await this.loading;
    const verify = await runVerify(unit, { ledger, queueDepth: 8 });
    await unit.close();
    // Of blocks that it did not come to nothing is known.
    const unread = verify.ok || verify.errors + verify.wrongCount > 0 ? 0 : 1;
    const texts = [...load.errorTexts, ...verify.errorTexts, ...load.violations];
    return {
      ops: load.ops,
      errors: load.errors + verify.errors + unread,
      wrongBlocks: load.wrongCount + verify.wrongCount,
      violations: load.violations.length + verify.violations.length,
      texts: [...texts, ...[...load.wrong, ...verify.wrong].map((wrong) => JSON.stringify(wrong))].slice(
        0,
        10,
      ),
    };
  }
}

export function runLoadedProcess(): void {
  const loaded = new LoadedProcess();
  process.on('message', (request: LoadedRequest) => {
    loaded.handle(request).then(
      (answer) => process.send?.(answer),
      (error: unknown) => process.send?.({ failed: describeError(error) }),
    );
  });
  process.on('disconnect', () => process.exit());
}
