/**
 * Fill, verify and load: a volume worked on with patterned blocks at a queue depth, every read checked against the ledger
 * of acknowledged writes, and a report at the end. Errors of commands are counted, not thrown: the report says whether
 * all was well.
 */
import { BlockferryError, describeError } from '../../base/errors.js';
import { SeededRandom, systemRandom } from '../../base/random.js';
import { Engine, type EngineJob, type LoadedUnit } from './engine.js';
import { Ledger } from './ledger.js';
import type { Progress, WorkloadReport } from './report.js';
import { RandomPlaces, SequentialPlaces, type Places } from './places.js';

export type { LoadedUnit } from './engine.js';
export type { Progress, WorkloadReport } from './report.js';

/** What all three have in common. */
export interface WorkloadOptions {
  /** Commands outstanding at once. Default 32. */
  queueDepth?: number;
  /** Bytes of one command, a multiple of the unit's block. Default 4096 for a load, 256 KiB otherwise. */
  blockBytes?: number;
  /** Byte range to work on; default: the whole unit. Rounded inward to blockBytes. */
  offsetBytes?: number;
  lengthBytes?: number;
  /**
   * Of random places, and of patterns where there is no ledger yet. Default: a new one each time, so that what an earlier
   * run left cannot be mistaken for this one's.
   */
  seed?: number;
  /** What earlier runs wrote; grows with this one. */
  ledger?: Ledger;
  /** The same, from a file (if it is there), saved to it at the end. */
  ledgerFile?: string;
  /** Commands per second at most. */
  opsPerSecondMax?: number;
  /** Commands that end BUSY or with a unit attention are sent again, as hosts do. Default: they are errors. */
  repeats?: boolean;
  /** Ends the run in order before its time; what is in flight is answered first. */
  signal?: AbortSignal;
  /** Told about every `progressMs` (default 1000). */
  onProgress?: (progress: Progress) => void;
  progressMs?: number;
}

export interface LoadOptions extends WorkloadOptions {
  /** Of commands. Default 70. */
  readPercent?: number;
  order?: 'random' | 'sequential';
  /** Until one of these is reached; default 10 s. */
  durationSeconds?: number;
  bytes?: number;
  /** Check what reads bring. Default true. */
  verifyReads?: boolean;
  /** FUA on every write. Default false. */
  fua?: boolean;
}

const FILL_BYTES = 256 * 1024;
const LOAD_BYTES = 4096;
const LOAD_SECONDS = 10;
const LOAD_READ_PERCENT = 70;
/** Generations are counted per 4096 bytes where commands allow, so that ledgers stay small. */
const LEDGER_BLOCK_BYTES = 4096;

/** Writes every block of the range once, in order, and flushes. */
export async function runFill(initiator: LoadedUnit, options: WorkloadOptions = {}): Promise<WorkloadReport> {
  const job = await prepare(initiator, options, FILL_BYTES);
  job.readPercent = 0;
  job.places = new SequentialPlaces(job.slots, 1);
  return unlessStopped(await finish(initiator, job, options, true), job);
}

/**
 * Reads every block of the range once, in order, and checks it. With a seed and no ledger it can only tell whether each
 * block is whole and in its place. Rejects with USAGE when there is neither, with NOT_FOUND when every block could be read
 * and not one is of it.
 */
export async function runVerify(
  initiator: LoadedUnit,
  options: WorkloadOptions = {},
): Promise<WorkloadReport> {
  if (options.ledger === undefined && options.ledgerFile === undefined && options.seed === undefined) {
    const hint = 'give the ledger, or the seed, of an earlier run';
    throw new BlockferryError('USAGE', 'there is nothing to verify against', hint);
  }
  const job = await prepare(initiator, await withLedger(options), FILL_BYTES);
  job.readPercent = 100;
  job.places = new SequentialPlaces(job.slots, 1);
  const report = await finish(initiator, job, options, false);
  // A wrong seed or a ledger that is not there would find nothing wrong anywhere. Of what failed, the report is the answer.
  if (job.ledger.writtenBlocks === 0 && report.errors === 0) {
    const hint = 'give the seed or the ledger of the run that wrote it';
    throw new BlockferryError(
      'NOT_FOUND',
      `no block of seed ${job.ledger.geometry.seed} is here: nothing was verified`,
      hint,
    );
  }
  return unlessStopped(report, job);
}

/** Every block of the range was asked for; of one that was stopped before its end nothing is said of the rest. */
function unlessStopped(report: WorkloadReport, { slots }: EngineJob): WorkloadReport {
  if (report.ops === slots) return report;
  const errorTexts = [...report.errorTexts, `stopped after ${report.ops} of ${slots} commands`];
  return { ...report, ok: false, errorTexts };
}

/** A verify needs its ledger file to be there; the others make one. */
async function withLedger(options: WorkloadOptions): Promise<WorkloadOptions> {
  if (options.ledger !== undefined || options.ledgerFile === undefined) return options;
  const ledger = await Ledger.load(options.ledgerFile);
  if (ledger === undefined) {
    throw new BlockferryError(
      'NOT_FOUND',
      `there is no ledger ${options.ledgerFile}`,
      'name the one of an earlier run',
    );
  }
  return { ...options, ledger };
}

/** Reads and writes for a time or a number of bytes. */
export async function runLoad(initiator: LoadedUnit, options: LoadOptions = {}): Promise<WorkloadReport> {
  const job = await prepare(initiator, options, LOAD_BYTES);
  job.readPercent = options.readPercent ?? LOAD_READ_PERCENT;
  job.verifyReads = options.verifyReads ?? true;
  job.fua = options.fua ?? false;
  const ends = options.durationSeconds !== undefined || options.bytes !== undefined;
  job.durationMs = ends ? (options.durationSeconds ?? Infinity) * 1000 : LOAD_SECONDS * 1000;
  job.opsMax = Math.ceil((options.bytes ?? Infinity) / job.blockBytes);
  if (options.order === 'sequential') job.places = new SequentialPlaces(job.slots, Infinity);
  return finish(initiator, job, options, job.readPercent < 100);
}

async function prepare(
  initiator: LoadedUnit,
  options: WorkloadOptions,
  blockBytes: number,
): Promise<EngineJob> {
  const { capacity } = initiator;
  const bytes = options.blockBytes ?? Math.max(blockBytes, capacity.blockBytes);
  if (!(bytes > 0) || bytes % capacity.blockBytes !== 0) {
    const hint = `give a multiple of ${capacity.blockBytes}`;
    throw new BlockferryError('USAGE', `commands of ${bytes} bytes do not fit the unit's blocks`, hint);
  }
  const first = Math.ceil((options.offsetBytes ?? 0) / bytes);
  const endBytes = Math.min(
    capacity.sizeBytes,
    (options.offsetBytes ?? 0) + (options.lengthBytes ?? Infinity),
  );
  const slots = Math.floor(endBytes / bytes) - first;
  if (slots < 1) throw new BlockferryError('USAGE', 'the range holds no whole block', 'give a larger range');
  const ledger = await ledgerFor(initiator, options, bytes);
  const seed = ledger.geometry.seed;
  const places: Places = new RandomPlaces(slots, new SeededRandom(options.seed ?? seed));
  return {
    queueDepth: Math.min(options.queueDepth ?? 32, slots),
    blockBytes: bytes,
    firstSlot: first,
    slots,
    places,
    random: new SeededRandom((options.seed ?? seed) ^ 0x5bd1e995),
    readPercent: 100,
    verifyReads: true,
    fua: false,
    repeats: options.repeats ?? false,
    durationMs: Infinity,
    opsMax: Infinity,
    opsPerSecondMax: options.opsPerSecondMax ?? Infinity,
    ledger,
    signal: options.signal,
    onProgress: options.onProgress,
    progressMs: options.progressMs ?? 1000,
  };
}

async function ledgerFor(
  initiator: LoadedUnit,
  options: WorkloadOptions,
  commandBytes: number,
): Promise<Ledger> {
  const { sizeBytes, blockBytes } = initiator.capacity;
  const loaded =
    options.ledger ?? (options.ledgerFile === undefined ? undefined : await Ledger.load(options.ledgerFile));
  if (loaded === undefined) {
    const unit = commandBytes % LEDGER_BLOCK_BYTES === 0 ? LEDGER_BLOCK_BYTES : blockBytes;
    const seed = options.seed ?? systemRandom.uint32();
    const made = new Ledger({ seed, blockBytes: unit, blocks: Math.floor(sizeBytes / unit) });
    // A seed that somebody chose may have been used here before: later generations are then no phantoms.
    made.interrupted = options.seed !== undefined;
    return made;
  }
  const { geometry } = loaded;
  const fits =
    geometry.blocks === Math.floor(sizeBytes / geometry.blockBytes) &&
    commandBytes % geometry.blockBytes === 0;
  if (!fits) {
    const of = `${geometry.blocks} blocks of ${geometry.blockBytes} bytes`;
    throw new BlockferryError(
      'USAGE',
      `the ledger is of ${of}, which is not this unit`,
      'start with a new ledger',
    );
  }
  return loaded;
}

async function finish(
  initiator: LoadedUnit,
  job: EngineJob,
  options: WorkloadOptions,
  writes: boolean,
): Promise<WorkloadReport> {
  const { ledgerFile } = options;
  const { ledger } = job;
  if (ledgerFile !== undefined && writes) await saveAsInterrupted(ledger, ledgerFile);
  const report = await new Engine(initiator, job).run();
  if (writes && report.errors === 0) await initiator.flush();
  const wasWhole = report.ok && job.opsMax === Infinity && report.bytes === initiator.capacity.sizeBytes;
  if (wasWhole && job.durationMs === Infinity) ledger.interrupted = false;
  return ledgerFile === undefined ? report : saved(ledger, ledgerFile, report);
}

/** A run may have taken hours: what it has found is told, whatever becomes of its ledger. */
async function saved(ledger: Ledger, ledgerFile: string, report: WorkloadReport): Promise<WorkloadReport> {
  try {
    await ledger.save(ledgerFile);
    return report;
  } catch (error) {
    const errorTexts = [...report.errorTexts, describeError(error)];
    return { ...report, ok: false, errors: report.errors + 1, errorTexts };
  }
}

/** So that a verify after a crash of this very process does not take the writes of this run for phantoms. */
async function saveAsInterrupted(ledger: Ledger, ledgerFile: string): Promise<void> {
  const before = ledger.interrupted;
  ledger.interrupted = true;
  await ledger.save(ledgerFile);
  ledger.interrupted = before;
}
