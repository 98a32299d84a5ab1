/** What a workload found: figures for people and programs, and every block that was wrong. */
import type { RecordableHistogram } from 'node:perf_hooks';
import type { WrongBlock } from './ledger.js';
import type { Recovery } from './recovery.js';

/** Wrong blocks and error texts that are listed; all are counted. */
export const SAMPLES_MAX = 100;

export interface Latency {
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface WorkloadReport {
  /** No error and no wrong block; a fill or a verify has come to its end. */
  readonly ok: boolean;
  /** Of the patterns. */
  readonly seed: number;
  readonly ops: number;
  readonly reads: number;
  readonly writes: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly iops: number;
  /** 10^6 bytes per second. */
  readonly MBps: number;
  /** Microseconds. */
  readonly latencyUs: Latency;
  /** The slowest command of all: what an application would have felt. */
  readonly longestStallMs: number;
  /** Commands that were sent again after BUSY or a unit attention. */
  readonly repeated: number;
  /** Commands that failed. */
  readonly errors: number;
  readonly errorTexts: readonly string[];
  readonly wrongCount: number;
  readonly wrong: readonly WrongBlock[];
  /** Sessions lost and regained meanwhile. */
  readonly recoveries: readonly Recovery[];
  /** Logins that were redirected meanwhile. */
  readonly redirects: number;
  /** What the target did against the protocol meanwhile. */
  readonly violations: readonly string[];
}

/** One interval of a run under way. */
export interface Progress {
  readonly seconds: number;
  readonly ops: number;
  /** Of this interval alone. */
  readonly iops: number;
  readonly MBps: number;
  /** The slowest command answered in it. */
  readonly longestMs: number;
  readonly errors: number;
  readonly wrongCount: number;
}

/** Reads a histogram of microseconds. */
export function latencyOf(histogram: RecordableHistogram): Latency {
  if (histogram.count === 0) return { mean: 0, p50: 0, p95: 0, p99: 0, p999: 0, max: 0 };
  return {
    mean: Math.round(histogram.mean * 10) / 10,
    p50: histogram.percentile(50),
    p95: histogram.percentile(95),
    p99: histogram.percentile(99),
    p999: histogram.percentile(99.9),
    max: histogram.max,
  };
}
