/**
 * What a benchmark case is: the figures it promises, and how one round of it is measured. Runs nothing itself.
 * Both sides of a comparison are measured in every round, one right after the other, so that what the machine does
 * meanwhile hits both.
 */
import { BlockferryError } from '../base/errors.js';
import type { Scope } from './scope.js';
import type { Goal } from './stats.js';
import type { ToolName } from './tools.js';

/** 'ratio' is of the subject to the baseline; 'each' is a bare count per something. */
export type Unit = 'ratio' | 'share' | 'ms' | 's' | 'MB/s' | 'IOPS' | 'MiB' | 'KiB' | 'B' | 'ns' | 'each';

export interface Figure {
  readonly name: string;
  readonly unit: Unit;
  /** Absent: shown for comparison only. */
  readonly goal?: Goal;
}

/** One measured value of one figure. */
export interface Sample {
  readonly value: number;
  /** The two sides of a ratio, in `sideUnit`. */
  readonly subject?: number;
  readonly baseline?: number;
  readonly sideUnit?: Unit;
  /** Share of one processor that the load generator took: near 1, it may be the limit instead of what is measured. */
  readonly clientBusy?: number;
}

export interface BenchSettings {
  readonly rounds: number;
  /** Length of one measurement. */
  readonly seconds: number;
  /** For images and data folders: on the disk that is measured. */
  readonly workFolder: string;
  /** Bytes of the images; the moves' volumes are as large. */
  readonly imageBytes: number;
}

/** Measures one round; one sample per figure, in their order. */
export type Round = (round: number) => Promise<readonly Sample[]>;

export interface BenchCase {
  /** What ONLY= chooses by. */
  readonly id: string;
  readonly title: string;
  /** What it is measured against. */
  readonly against: string;
  readonly needs: readonly ToolName[];
  readonly figures: readonly Figure[];
  /** Starts what a round needs; everything started is given to `scope`, which ends it. Throws SkipCase. */
  open(settings: BenchSettings, scope: Scope): Promise<Round>;
}

/** A case that cannot run here; the message is the reason. */
export class SkipCase extends BlockferryError {
  constructor(reason: string) {
    super('UNAVAILABLE', reason);
  }
}

/** @throws IO when the baseline did nothing: any subject would be better than that */
export function ratio(subject: number, baseline: number, sideUnit: Unit, clientBusy?: number): Sample {
  if (!(baseline > 0))
    throw new BlockferryError('IO', `what it is measured against did ${baseline} ${sideUnit}`);
  const sample = { value: subject / baseline, subject, baseline, sideUnit };
  return clientBusy === undefined ? sample : { ...sample, clientBusy };
}

/** Measures both sides; who begins changes with the round, so that neither always follows the other. */
export async function alternately<T>(
  round: number,
  subject: () => Promise<T>,
  baseline: () => Promise<T>,
): Promise<[subject: T, baseline: T]> {
  if (round % 2 === 0) {
    const first = await subject();
    return [first, await baseline()];
  }
  const first = await baseline();
  return [await subject(), first];
}

/** What one side did, and how busy its client was where that is known. */
export interface IopsMeasured {
  readonly iops: number;
  readonly busy: number | undefined;
}

/** A round of one figure: the ratio of both sides' IOPS. */
export async function iopsRound(
  round: number,
  subject: () => Promise<IopsMeasured>,
  baseline: () => Promise<IopsMeasured>,
): Promise<readonly Sample[]> {
  const [ours, theirs] = await alternately(round, subject, baseline);
  return [ratio(ours.iops, theirs.iops, 'IOPS', ours.busy)];
}
