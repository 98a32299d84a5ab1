/**
 * Counts what a process of ours allocates and promises. Not a part of the program: benchmarks have Node load it before the
 * program (counts.ts), so that what is counted is the program as it is shipped.
 *
 * At SIGUSR2 it writes what has happened since the SIGUSR2 before, and begins again. Heap bytes are exact, not sampled:
 * what the heap grew by, and what each collection took away in between. Buffers' bytes are not on the heap; only their
 * objects are.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GCProfiler, getHeapStatistics, promiseHooks } from 'node:v8';
import { PROBE_FOLDER, type ProbeCounts } from './counts.js';

const folder = process.env[PROBE_FOLDER];

export class Probe {
  private promises = 0;
  private jobs = 0;
  private profiler = new GCProfiler();
  private heapBytesBefore = 0;

  constructor() {
    promiseHooks.onInit(() => (this.promises += 1));
    promiseHooks.onBefore(() => (this.jobs += 1));
    this.begin();
  }

  private begin(): void {
    this.promises = this.jobs = 0;
    this.profiler = new GCProfiler();
    this.profiler.start();
    this.heapBytesBefore = getHeapStatistics().used_heap_size;
  }

  /** Since begin(). */
  take(): ProbeCounts {
    const grownBytes = getHeapStatistics().used_heap_size - this.heapBytesBefore;
    const { promises, jobs } = this;
    const collections = this.profiler.stop().statistics;
    const collectedBytes = collections.reduce(
      (sum, { beforeGC, afterGC }) =>
        sum + beforeGC.heapStatistics.usedHeapSize - afterGC.heapStatistics.usedHeapSize,
      0,
    );
    this.begin();
    return { heapBytes: grownBytes + collectedBytes, promises, jobs, collections: collections.length };
  }
}

if (folder !== undefined) {
  const probe = new Probe();
  const path = join(folder, String(process.pid));
  process.on('SIGUSR2', () => {
    writeFileSync(`${path}.part`, JSON.stringify(probe.take()));
    renameSync(`${path}.part`, path);
  });
}
