/**
 * A load without patterns, ledger and checks, so that the client costs as little as it can: what is right is the harness's
 * business, here only time counts. One instance per session; figures are taken between two marks.
 */
import type { RecordableHistogram } from 'node:perf_hooks';
import { NO_BYTES } from '../base/bytes.js';
import type { BlockferryError } from '../base/errors.js';
import { SeededRandom } from '../base/random.js';
import { InitiatorTask, type Initiator } from '../iscsi/initiator/index.js';
import { describeStatus, read16, write16 } from '../iscsi/initiator/cdb.js';

export interface LoadSpec {
  readonly queueDepth: number;
  readonly blockBytes: number;
  /** Of commands. */
  readonly readPercent: number;
  readonly isRandom: boolean;
  /** Ends by itself after so many commands; default: never. */
  readonly opsMax?: number;
}

class LeanTask extends InitiatorTask {
  readonly buffer: Buffer;

  constructor(
    private readonly load: LeanLoad,
    blockBytes: number,
  ) {
    super();
    this.buffer = Buffer.alloc(blockBytes, 0x5a);
  }

  override completed(error: BlockferryError | null): void {
    this.load.completed(this, error);
  }
}

/** Where all sessions of one client count. */
export interface LoadCounters {
  ops: number;
  errors: number;
  errorText: string;
  readonly histogramUs: RecordableHistogram;
}

export class LeanLoad {
  private readonly random: SeededRandom;
  private readonly lbasPerOp: number;
  private readonly places: number;
  private sequence = 0;
  private started = 0;
  private inFlight = 0;
  private isStopping = false;
  private resolve!: () => void;
  /** Resolves when the last command is answered after stop() or opsMax. */
  readonly ended = new Promise<void>((resolve) => (this.resolve = resolve));

  constructor(
    private readonly initiator: Initiator,
    private readonly spec: LoadSpec,
    private readonly counters: LoadCounters,
    seed: number,
  ) {
    const { capacity } = initiator;
    this.random = new SeededRandom(seed);
    this.lbasPerOp = spec.blockBytes / capacity.blockBytes;
    this.places = Math.floor(capacity.sizeBytes / spec.blockBytes);
  }

  start(): void {
    for (let i = 0; i < this.spec.queueDepth; i++) this.startOne(new LeanTask(this, this.spec.blockBytes));
  }

  stop(): void {
    this.isStopping = true;
    if (this.inFlight === 0) this.resolve();
  }

  private startOne(task: LeanTask): void {
    const { spec, random } = this;
    if (this.isStopping || this.started === spec.opsMax) return;
    // Modulo is biased by less than one in four thousand here, and costs nothing.
    const place = (spec.isRandom ? random.uint32() : this.sequence++) % this.places;
    if (random.uint32() % 100 < spec.readPercent) {
      read16(task.cdb, place * this.lbasPerOp, this.lbasPerOp);
      task.dataIn = task.buffer;
      task.dataOut = NO_BYTES;
    } else {
      write16(task.cdb, place * this.lbasPerOp, this.lbasPerOp, false);
      task.dataOut = task.buffer;
      task.dataIn = NO_BYTES;
    }
    this.started += 1;
    this.inFlight += 1;
    this.initiator.submit(task);
  }

  completed(task: LeanTask, error: BlockferryError | null): void {
    const { counters } = this;
    const tookMs = this.initiator.nowMs() - task.submittedAtMs;
    counters.histogramUs.record(Math.max(1, Math.round(tookMs * 1000)));
    counters.ops += 1;
    if (error !== null || task.status !== 0) {
      counters.errors += 1;
      counters.errorText = error?.line ?? describeStatus(task.status, task.sense);
      if (error !== null) this.isStopping = true;
    }
    this.inFlight -= 1;
    this.startOne(task);
    if (this.inFlight === 0) this.resolve();
  }
}
