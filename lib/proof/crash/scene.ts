/**
 * The scene of one crash: a group of four members on the program with orders, a volume spread over three of them, and two
 * initiators at work on it with a ledger each, one writing through (FUA), one flushing now and then. Everything is new, and
 * gone at the end.
 */
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sleep, systemClock } from '../../base/clock.js';
import { BlockferryError, describeError, errnoOf } from '../../base/errors.js';
import { initiatorIqn, targetIqn } from '../../base/iscsi-names.js';
import { POOL_THREADS } from '../../base/limits.js';
import { Running } from '../../bench/process.js';
import { moveAndWait } from '../../bench/servers.js';
import type { Scope } from '../../bench/scope.js';
import { within } from '../../bench/within.js';
import { Initiator, Ledger, runLoad, runVerify, type WorkloadReport } from '../../iscsi/initiator/index.js';
import { GroupReady, volumeUrl } from '../../manage/api.js';
import { ManageClient } from '../../manage/client.js';
import { fillWhole } from '../filled.js';
import { MEMBER_OF } from './cases.js';
import { deathFaults } from './deaths.js';
import { ORDERS_VARIABLE, OrderDesk } from './orders.js';

const PROGRAM = fileURLToPath(new URL('../../../bin/crash-blockferry.js', import.meta.url));
const MiB = 1024 * 1024;
export const VOLUME = 'disk';
export const EXTENT_BYTES = MiB;
/** A third each at m1, m2 and m4. */
export const EXTENTS = 48;
const THIRD = EXTENTS / 3;
const BLOCK_BYTES = 4096;
const QUEUE_DEPTH = 8;
/** Each of the two; enough to have something in flight at every moment, with room for several scenes on a machine. */
const OPS_PER_SECOND = 1500;
const FLUSH_MS = 60;
/** How long an initiator goes on trying: longer than any recovery may take. */
const PATIENCE_MS = 60_000;
const LOAD_SECONDS = 600;
const LAST_WORDS = 12;
/** What is in flight is answered at once, or after a recovery; then so little is soon read. */
export const JUDGE_MS_MAX = 5 * 60_000;
/** A move of so little takes seconds: one that has not ended by then does not end. */
export const MOVE_MS_MAX = 5 * 60_000;
/** On a machine with more to do than it can, members lose their leases for a while. */
const ABSENT_MS_MAX = 15_000;

/** One of the two, on its half of every stretch of the volume. */
export interface Worker {
  readonly initiator: Initiator;
  readonly ledger: Ledger;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** Commands answered so far. */
  ops: number;
  loading: Promise<WorkloadReport>;
}

export class Scene {
  readonly workers: Worker[] = [];
  private readonly stopLoad = new AbortController();
  private flushing: Promise<void> = Promise.resolve();
  /** How often each member is killed on purpose. */
  private readonly blows = new Map<string, number>();
  flushErrors = '';

  private constructor(
    readonly client: ManageClient,
    readonly desk: OrderDesk,
    readonly data: string,
    readonly running: Running,
    private readonly portal: string,
  ) {}

  /** @param host an address of its own: others that start groups just now take no port of a member that is down */
  static async open(workFolder: string, scope: Scope, { host = '127.0.0.1' } = {}): Promise<Scene> {
    const folder = await mkdtemp(join(workFolder, 'scene-'));
    scope.defer(() => rm(folder, { recursive: true, force: true }));
    const orders = join(folder, 'orders');
    await mkdir(orders);
    const data = join(folder, 'data');
    const ports = ['--host', host, '--port', '0', '--manage-port', '0'];
    const args = ['up', '--json', ...ports, '--members', '4', '--data', data, '--balance', 'none'];
    const env = {
      [ORDERS_VARIABLE]: orders,
      BLOCKFERRY_LOG: 'warn',
      UV_THREADPOOL_SIZE: String(POOL_THREADS),
    };
    const running = Running.start(process.execPath, [PROGRAM, ...args], { env });
    scope.defer(() => running.stop());
    const ready = GroupReady.parse(await running.readyJson());
    return new Scene(new ManageClient(ready.manage), new OrderDesk(orders), data, running, ready.portal);
  }

  /** What the group had to say that was out of the ordinary, the latest of it: for a scene that went wrong. */
  lastWords(): string[] {
    const said = this.running.stderr.split('\n').filter((line) => line !== '');
    return said.slice(-LAST_WORDS).map((line) => `the group said: ${line.slice(0, 300)}`);
  }

  /** A member is to be killed, once more: every other death is a fault. */
  willDie(member: string): void {
    this.blows.set(member, (this.blows.get(member) ?? 0) + 1);
  }

  /** Members that did not die as often as they were to, one line each. */
  deathFaults(): string[] {
    return deathFaults(this.running.stderr, this.blows);
  }

  async makeVolume(name: string, extents: number): Promise<void> {
    const size = extents * EXTENT_BYTES;
    await this.patiently(() =>
      this.client.createVolume({ name, size, home: 'm1', extentSize: EXTENT_BYTES }),
    );
  }

  /** A member that the machine kept from its lease for a moment is back in the next. */
  async patiently<T>(ask: () => Promise<T>): Promise<T> {
    const deadlineMs = systemClock.nowMs() + ABSENT_MS_MAX;
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        const isAway = error instanceof BlockferryError && error.code === 'NOT_FOUND';
        if (!isAway || systemClock.nowMs() > deadlineMs) throw error;
        await sleep(systemClock, 200);
      }
    }
  }

  /** While it is empty, so that it takes no time. */
  async spread(): Promise<void> {
    for (const [index, to] of [MEMBER_OF.source, MEMBER_OF.third].entries()) {
      const first = (index + 1) * THIRD;
      const extents = { first, last: first + THIRD - 1 };
      await this.patiently(() => moveAndWait(this.client, { volume: VOLUME, to, extents }));
    }
  }

  get movedExtents(): { first: number; last: number } {
    return { first: THIRD, last: 2 * THIRD - 1 };
  }

  url(volume = VOLUME): string {
    return volumeUrl(this.portal, targetIqn(volume));
  }

  async pidOf(member: string): Promise<number> {
    const found = (await this.client.members()).find(({ name }) => name === member);
    if (found === undefined || found.pid === 0) throw new BlockferryError('IO', `${member} does not run`);
    return found.pid;
  }

  /** Fills the volume, each its half, and keeps it loaded from then on. */
  async load(scope: Scope): Promise<void> {
    for (const index of [0, 1]) this.workers.push(await this.hire(index, scope));
    await Promise.all(this.workers.map((worker) => fillWhole(worker.initiator, worker)));
    for (const [index, worker] of this.workers.entries()) this.keepLoaded(worker, index === 1);
    this.flushing = this.keepFlushing();
  }

  private async hire(index: number, scope: Scope): Promise<Worker> {
    const initiatorName = initiatorIqn(`worker-${index}`);
    const initiator = await Initiator.connect(this.url(), { initiatorName, recoveryDeadlineMs: PATIENCE_MS });
    scope.defer(() => Promise.race([initiator.close(), sleep(systemClock, 2000)]));
    const { sizeBytes } = initiator.capacity;
    const ledger = new Ledger({
      seed: 100 + index,
      blockBytes: BLOCK_BYTES,
      blocks: sizeBytes / BLOCK_BYTES,
    });
    const lengthBytes = sizeBytes / 2;
    const loading = Promise.reject<WorkloadReport>(new Error('not loaded yet'));
    loading.catch(() => undefined);
    return { initiator, ledger, offsetBytes: index * lengthBytes, lengthBytes, ops: 0, loading };
  }

  private keepLoaded(worker: Worker, fua: boolean): void {
    worker.loading = runLoad(worker.initiator, {
      ...{ ledger: worker.ledger, offsetBytes: worker.offsetBytes, lengthBytes: worker.lengthBytes },
      ...{ queueDepth: QUEUE_DEPTH, readPercent: 40, fua, opsPerSecondMax: OPS_PER_SECOND },
      ...{ durationSeconds: LOAD_SECONDS, signal: this.stopLoad.signal, progressMs: 20 },
      onProgress: ({ ops }) => (worker.ops = ops),
    });
  }

  private async keepFlushing(): Promise<void> {
    const [first] = this.workers;
    while (!this.stopLoad.signal.aborted && first !== undefined) {
      await first.initiator.flush().catch((error: unknown) => (this.flushErrors = describeError(error)));
      await sleep(systemClock, FLUSH_MS);
    }
  }

  /** Both workers have had an answer to something that they asked for after this call. */
  async untilServed(deadlineMs: number): Promise<void> {
    const before = this.workers.map(({ ops }) => ops + 2 * QUEUE_DEPTH);
    while (!this.workers.every(({ ops }, index) => ops > (before[index] ?? 0))) {
      if (systemClock.nowMs() > deadlineMs)
        throw new BlockferryError('IO', 'initiators are not served again');
      await sleep(systemClock, 20);
    }
  }

  /**
   * Ends the load, then every block is read by a stranger and judged. Rejects with IO where a command is never answered.
   * @returns what was wrong, one line each
   */
  judge(): Promise<{ faults: string[]; stallMs: number }> {
    return within(this.endAndVerify(), JUDGE_MS_MAX, 'a command of the initiators is not answered');
  }

  private async endAndVerify(): Promise<{ faults: string[]; stallMs: number }> {
    this.stopLoad.abort();
    await this.flushing;
    const faults: string[] = this.flushErrors === '' ? [] : [`a flush failed: ${this.flushErrors}`];
    let stallMs = 0;
    for (const { loading, ledger, offsetBytes, lengthBytes } of this.workers) {
      const report = await loading;
      stallMs = Math.max(stallMs, report.longestStallMs);
      faults.push(...faultsOf('under load', report));
      const stranger = await Initiator.connect(this.url(), {
        initiatorName: initiatorIqn('judge'),
      });
      faults.push(...faultsOf('at the end', await runVerify(stranger, { ledger, offsetBytes, lengthBytes })));
      await stranger.close();
    }
    return { faults: [...faults, ...this.deathFaults()], stallMs };
  }

  /** Bytes on disk that a member has of the volume, by name. */
  async spaces(volume = VOLUME): Promise<ReadonlyMap<string, number>> {
    const spaces = Object.values(MEMBER_OF).map(async (member) => {
      const path = join(this.data, member, `${volume}.volume`);
      return [member, (await blocksOf(path)) * 512] as const;
    });
    return new Map(await Promise.all(spaces));
  }
}

/** None where there is no file. */
async function blocksOf(path: string): Promise<number> {
  try {
    return (await stat(path)).blocks;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0;
    throw error;
  }
}

function faultsOf(when: string, report: WorkloadReport): string[] {
  const wrong = report.wrong.slice(0, 3).map((each) => JSON.stringify(each));
  return [...report.errorTexts.slice(0, 3), ...wrong, ...report.violations.slice(0, 3)].map(
    (text) => `${when}: ${text}`,
  );
}
