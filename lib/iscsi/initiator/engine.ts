/**
 * Keeps a queue depth of commands in flight until the job is done. Task objects, buffers and the histogram are made once;
 * per command nothing is allocated. Two commands never overlap where one of them writes, so that every block has one
 * order of generations.
 */
import { createHistogram } from 'node:perf_hooks';
import { NO_BYTES } from '../../base/bytes.js';
import { systemClock, type Timer } from '../../base/clock.js';
import type { BlockferryError } from '../../base/errors.js';
import { randomBelow, type Random } from '../../base/random.js';
import { INITIATOR_RECOVERY_DEADLINE_MS } from '../../base/limits.js';
import { describeStatus, isUnitAttention, read16, write16 } from './cdb.js';
import { InitiatorTask } from './command.js';
import type { Initiator } from './initiator.js';
import type { Ledger, WrongBlock } from './ledger.js';
import { allocPatternBuffer, fillBlock, wordsOf } from './pattern.js';
import type { Places } from './places.js';
import { SAMPLES_MAX, latencyOf, type Progress, type WorkloadReport } from './report.js';

export interface EngineJob {
  queueDepth: number;
  /** Bytes of one command. */
  blockBytes: number;
  /** The range, in units of blockBytes. */
  firstSlot: number;
  slots: number;
  places: Places;
  random: Random;
  readPercent: number;
  verifyReads: boolean;
  fua: boolean;
  repeats: boolean;
  durationMs: number;
  opsMax: number;
  opsPerSecondMax: number;
  ledger: Ledger;
  signal: AbortSignal | undefined;
  onProgress: ((progress: Progress) => void) | undefined;
  progressMs: number;
}

/** What a workload runs on: our initiator, or a foreign one behind the same face. */
export type LoadedUnit = Pick<
  Initiator,
  'capacity' | 'nowMs' | 'submit' | 'flush' | 'recoveries' | 'redirects' | 'violations'
>;

const BUSY = 0x08;
const BUSY_PAUSE_MS = 20;
/** How often a rate limit hands out commands. */
const RATE_TICK_MS = 2;
/** Random places tried before a command waits for another to end: only tiny ranges are that crowded. */
const PLACE_TRIES = 16;

/** One place in the queue: a command, its buffer, and what its blocks may hold. */
class EngineTask extends InitiatorTask {
  slot = 0;
  isRead = false;
  /** When it was first submitted. */
  begunAtMs = 0;
  readonly buffer: Buffer;
  readonly words: Uint32Array;
  /** floorOf() of each block when the read was submitted. */
  readonly floors: Uint32Array;

  constructor(
    private readonly engine: Engine,
    blockBytes: number,
    blocks: number,
  ) {
    super();
    this.buffer = allocPatternBuffer(blockBytes);
    this.words = wordsOf(this.buffer);
    this.floors = new Uint32Array(blocks);
  }

  override completed(error: BlockferryError | null): void {
    this.engine.completed(this, error);
  }
}

export class Engine {
  private readonly histogram = createHistogram();
  private readonly idle: EngineTask[] = [];
  /** Commands under way at each slot: −1 a write, n > 0 so many reads. */
  private readonly busy: Int8Array;
  private readonly ledgerBlocks: number;
  private readonly lbasPerBlock: number;
  private readonly lbasPerSlot: number;
  private inFlight = 0;
  private started = 0;
  private reads = 0;
  private writes = 0;
  private errors = 0;
  private repeated = 0;
  private wrongCount = 0;
  private stallMsMax = 0;
  /** The slowest since progress was told. */
  private progressStallMs = 0;
  private exhausted = false;
  private readonly errorTexts: string[] = [];
  private readonly wrong: WrongBlock[] = [];
  private startMs = 0;
  private rateTimer: Timer | null = null;
  private progressTimer: Timer | null = null;
  private progressOps = 0;
  private resolve!: () => void;

  constructor(
    private readonly initiator: LoadedUnit,
    private readonly job: EngineJob,
  ) {
    this.ledgerBlocks = job.blockBytes / job.ledger.geometry.blockBytes;
    this.lbasPerBlock = job.ledger.geometry.blockBytes / initiator.capacity.blockBytes;
    this.lbasPerSlot = job.blockBytes / initiator.capacity.blockBytes;
    this.busy = new Int8Array(job.slots);
  }

  /** Resolves when the last command is answered. */
  async run(): Promise<WorkloadReport> {
    const { job, initiator } = this;
    const before = { recoveries: initiator.recoveries.length, redirects: initiator.redirects };
    const violationsBefore = initiator.violations.length;
    for (let i = 0; i < job.queueDepth; i++) {
      this.idle.push(new EngineTask(this, job.blockBytes, this.ledgerBlocks));
    }
    this.startMs = initiator.nowMs();
    await new Promise<void>((resolve) => {
      this.resolve = resolve;
      if (job.onProgress !== undefined) this.scheduleProgress();
      this.advance();
    });
    this.rateTimer?.cancel();
    this.progressTimer?.cancel();
    return {
      ...this.figures(),
      recoveries: initiator.recoveries.slice(before.recoveries),
      redirects: initiator.redirects - before.redirects,
      violations: initiator.violations.slice(violationsBefore),
    };
  }

  private figures(): Omit<WorkloadReport, 'recoveries' | 'redirects' | 'violations'> {
    const seconds = (this.initiator.nowMs() - this.startMs) / 1000;
    const ops = this.reads + this.writes;
    const bytes = ops * this.job.blockBytes;
    return {
      ok: this.errors === 0 && this.wrongCount === 0,
      seed: this.job.ledger.geometry.seed,
      ops,
      reads: this.reads,
      writes: this.writes,
      bytes,
      seconds,
      iops: Math.round(ops / seconds),
      MBps: Math.round(bytes / seconds / 1e4) / 100,
      latencyUs: latencyOf(this.histogram),
      longestStallMs: Math.round(this.stallMsMax * 1000) / 1000,
      repeated: this.repeated,
      errors: this.errors,
      errorTexts: this.errorTexts,
      wrongCount: this.wrongCount,
      wrong: this.wrong,
    };
  }

  /** Starts what may be started now; ends the run when nothing is left to start or to wait for. */
  private advance(): void {
    while (this.idle.length > 0 && !this.isOver() && this.withinRate()) {
      if (!this.startOne(this.idle[this.idle.length - 1] as EngineTask)) break;
      this.idle.pop();
    }
    if (this.inFlight === 0 && this.isOver()) this.resolve();
  }

  private isOver(): boolean {
    const { job } = this;
    if (this.exhausted || this.started >= job.opsMax || job.signal?.aborted === true) return true;
    return job.durationMs !== Infinity && this.initiator.nowMs() - this.startMs >= job.durationMs;
  }

  /** Under a rate limit, the commands due by now; otherwise always. */
  private withinRate(): boolean {
    const { opsPerSecondMax } = this.job;
    if (opsPerSecondMax === Infinity) return true;
    const due = ((this.initiator.nowMs() - this.startMs) / 1000) * opsPerSecondMax;
    if (this.started < due) return true;
    this.rateTimer ??= systemClock.after(RATE_TICK_MS, () => {
      this.rateTimer = null;
      this.advance();
    });
    return false;
  }

  /** False when no place is free for it now. */
  private startOne(task: EngineTask): boolean {
    const { job } = this;
    task.isRead =
      job.readPercent >= 100 || (job.readPercent > 0 && randomBelow(job.random, 100) < job.readPercent);
    const slot = this.findPlace(task.isRead);
    if (slot === -1) return false;
    task.slot = slot;
    this.busy[slot] = task.isRead ? (this.busy[slot] as number) + 1 : -1;
    const lba = (job.firstSlot + slot) * this.lbasPerSlot;
    if (task.isRead) this.prepareRead(task, lba);
    else this.prepareWrite(task, lba);
    this.inFlight += 1;
    this.started += 1;
    task.begunAtMs = this.initiator.nowMs();
    this.initiator.submit(task);
    return true;
  }

  private findPlace(isRead: boolean): number {
    for (let tries = 0; tries < PLACE_TRIES; tries++) {
      const slot = this.job.places.next();
      if (slot === -1) {
        this.exhausted = true;
        return -1;
      }
      const under = this.busy[slot] as number;
      if (under === 0 || (isRead && under > 0 && under < 127)) return slot;
    }
    return -1;
  }

  private prepareRead(task: EngineTask, lba: number): void {
    read16(task.cdb, lba, this.lbasPerSlot);
    task.dataIn = task.buffer;
    task.dataOut = NO_BYTES;
    if (!this.job.verifyReads) return;
    const first = this.firstBlockOf(task);
    for (let i = 0; i < this.ledgerBlocks; i++) task.floors[i] = this.job.ledger.floorOf(first + i);
  }

  private prepareWrite(task: EngineTask, lba: number): void {
    const { ledger } = this.job;
    const { blockWords, geometry } = ledger;
    write16(task.cdb, lba, this.lbasPerSlot, this.job.fua);
    const first = this.firstBlockOf(task);
    for (let i = 0; i < this.ledgerBlocks; i++) {
      const generation = ledger.issue(first + i);
      fillBlock(task.words, i * blockWords, blockWords, geometry.seed, first + i, generation);
    }
    task.dataOut = task.buffer;
    task.dataIn = NO_BYTES;
  }

  private firstBlockOf(task: EngineTask): number {
    return (this.job.firstSlot + task.slot) * this.ledgerBlocks;
  }

  /** Every answer, and every command given up. */
  completed(task: EngineTask, error: BlockferryError | null): void {
    if (this.job.repeats && error === null && task.status !== 0 && this.repeats(task)) return;
    const tookMs = this.initiator.nowMs() - task.begunAtMs;
    this.histogram.record(Math.max(1, Math.round(tookMs * 1000)));
    if (tookMs > this.stallMsMax) this.stallMsMax = tookMs;
    if (tookMs > this.progressStallMs) this.progressStallMs = tookMs;
    if (task.isRead) this.reads += 1;
    else this.writes += 1;
    if (error !== null || task.status !== 0) this.failed(task, error);
    else if (!task.isRead) this.acknowledge(task);
    else if (this.job.verifyReads) this.verify(task);
    this.busy[task.slot] = task.isRead ? (this.busy[task.slot] as number) - 1 : 0;
    this.inFlight -= 1;
    this.idle.push(task);
    this.advance();
  }

  /**
   * Sends a command again as hosts do: after a unit attention, since it was not done, and, after a pause, where the target
   * was busy. Not for ever.
   */
  private repeats(task: EngineTask): boolean {
    const isAttention = isUnitAttention(task.sense);
    const isOver = this.initiator.nowMs() - task.begunAtMs > INITIATOR_RECOVERY_DEADLINE_MS;
    if (isOver || (!isAttention && task.status !== BUSY)) return false;
    this.repeated += 1;
    systemClock.after(isAttention ? 0 : BUSY_PAUSE_MS, () => this.initiator.submit(task));
    return true;
  }

  private failed(task: EngineTask, error: BlockferryError | null): void {
    this.errors += 1;
    if (this.errorTexts.length >= SAMPLES_MAX) return;
    const what = `${task.isRead ? 'read' : 'write'} at lba ${(this.job.firstSlot + task.slot) * this.lbasPerSlot}`;
    this.errorTexts.push(`${what}: ${error?.line ?? describeStatus(task.status, task.sense)}`);
    // The initiator has given up for good: without an end here, every further command would fail at once.
    if (error !== null) this.exhausted = true;
  }

  private acknowledge(task: EngineTask): void {
    const first = this.firstBlockOf(task);
    for (let i = 0; i < this.ledgerBlocks; i++) this.job.ledger.acknowledge(first + i);
  }

  private verify(task: EngineTask): void {
    const { ledger } = this.job;
    const first = this.firstBlockOf(task);
    for (let i = 0; i < this.ledgerBlocks; i++) {
      const floor = task.floors[i] as number;
      const wrong = ledger.check(task.words, i * ledger.blockWords, first + i, floor, this.lbasPerBlock);
      if (wrong === null) continue;
      this.wrongCount += 1;
      if (this.wrong.length < SAMPLES_MAX) this.wrong.push(wrong);
    }
  }

  private scheduleProgress(): void {
    const { progressMs, onProgress } = this.job;
    this.progressTimer = systemClock.after(progressMs, () => {
      const ops = this.reads + this.writes;
      const iops = Math.round(((ops - this.progressOps) * 1000) / progressMs);
      this.progressOps = ops;
      const MBps = Math.round((iops * this.job.blockBytes) / 1e4) / 100;
      const seconds = (this.initiator.nowMs() - this.startMs) / 1000;
      const { errors, wrongCount, progressStallMs: longestMs } = this;
      this.progressStallMs = 0;
      onProgress?.({ seconds, ops, iops, MBps, longestMs, errors, wrongCount });
      this.scheduleProgress();
    });
  }
}
