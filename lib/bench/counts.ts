/** Counts of a served process from outside: those of the probe inside it, and the kernel's. Starts no process itself. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BlockferryError } from '../base/errors.js';
import { sleep, systemClock } from '../base/clock.js';
import { POOL_THREADS } from '../base/limits.js';
import type { Scope } from './scope.js';

/** Names the folder that a probe writes to. */
export const PROBE_FOLDER = 'BLOCKFERRY_PROBE_FOLDER';
const PROBE = new URL('./count-probe.js', import.meta.url).href;
const ANSWER_MS_MAX = 5_000;
const POLL_MS = 2;

/** What a probe writes: since it was asked before. */
export interface ProbeCounts {
  readonly heapBytes: number;
  readonly promises: number;
  /** Turns of the microtask queue that a promise asked for. */
  readonly jobs: number;
  readonly collections: number;
}

/** The same, with what the kernel counts. */
export interface Counts extends ProbeCounts {
  /** System calls of the read and write families, of files and of sockets. */
  readonly readsAndWrites: number;
}

export class Counters {
  private readonly readsAndWrites = new Map<number, number>();

  private constructor(private readonly folder: string) {}

  static async create(workFolder: string, scope: Scope): Promise<Counters> {
    const folder = await mkdtemp(join(workFolder, 'counts-'));
    scope.defer(() => rm(folder, { recursive: true, force: true }));
    return new Counters(folder);
  }

  /** For the process to be counted, and for those that it starts. */
  get env(): Readonly<Record<string, string>> {
    return {
      [PROBE_FOLDER]: this.folder,
      NODE_OPTIONS: `--import ${PROBE}`,
      // Loading the probe uses the thread pool before the program has said how large it is to be.
      UV_THREADPOOL_SIZE: String(POOL_THREADS),
    };
  }

  /** Since the call before, of one process. */
  async take(pid: number): Promise<Counts> {
    const path = join(this.folder, String(pid));
    await rm(path, { force: true });
    process.kill(pid, 'SIGUSR2');
    const deadline = Date.now() + ANSWER_MS_MAX;
    while (!existsSync(path)) {
      if (Date.now() > deadline)
        throw new BlockferryError('IO', `the probe in process ${pid} does not answer`);
      await sleep(systemClock, POLL_MS);
    }
    const probed = JSON.parse(await readFile(path, 'utf8')) as ProbeCounts;
    const now = parseProcIo(await readFile(`/proc/${pid}/io`, 'utf8'));
    const before = this.readsAndWrites.get(pid) ?? 0;
    this.readsAndWrites.set(pid, now);
    return { ...probed, readsAndWrites: now - before };
  }
}

/** syscr and syscw of /proc/PID/io. */
export function parseProcIo(text: string): number {
  const field = (name: string): number => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1]);
  return field('syscr') + field('syscw');
}

/** The count of the one event in what `perf stat -x,` prints; NaN when it could not count it. */
export function parsePerfStat(output: string): number {
  return Number(/^(\d+),/m.exec(output)?.[1]);
}
