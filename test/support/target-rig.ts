/** A portal with one disk in memory, for tests of the target: its device can hold I/O back, its directory can redirect. */
import type { IoError } from '../../lib/block/device.js';
import { type BlockDevice, type BlockIo } from '../../lib/block/device.js';
import { type Clock, systemClock, type Timer } from '../../lib/base/clock.js';
import { type Logger, silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import type { LoginIdentity, TargetAnswer, TargetDirectory } from '../../lib/iscsi/target/directory.js';
import { type Authenticator, openAuthenticator } from '../../lib/iscsi/target/login/security.js';
import { MemoryBudget } from '../../lib/iscsi/target/memory-budget.js';
import { LoopTurns } from '../../lib/base/loop-turns.js';
import { BusyPoll } from '../../lib/iscsi/target/busy-poll.js';
import { Portal } from '../../lib/iscsi/target/portal.js';
import { SessionRegistry } from '../../lib/iscsi/target/registry.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { RamDevice } from './ram-device.js';
import { TargetInitiator } from './target-initiator.js';

export const IQN = 'iqn.2026-11.test:disk';
export const MOVED = 'iqn.2026-11.test:moved';

/** Answers at once, or when told to: then in the order of arrival. */
export class HeldDevice implements BlockDevice {
  readonly readOnly = false;
  readonly blockBytes = 512;
  readonly held: BlockIo[] = [];
  holding = false;
  /** See BlockDevice; none unless a test gives one. */
  mapped?: NonNullable<BlockDevice['mapped']>;
  /** Submits that were under way at once: one that ends at once may bring the next about. */
  deepest = 0;
  private depth = 0;
  /** The next I/O fails with this. */
  failure: IoError | null = null;

  constructor(readonly ram: RamDevice) {}

  get sizeBytes(): number {
    return this.ram.sizeBytes;
  }

  submit(io: BlockIo): void {
    this.depth += 1;
    this.deepest = Math.max(this.deepest, this.depth);
    if (this.holding) this.held.push(io);
    else this.serve(io);
    this.depth -= 1;
  }

  /** Lets everything that waits through, and whatever comes. */
  release(): void {
    this.holding = false;
    for (const io of this.held.splice(0)) this.serve(io);
  }

  private serve(io: BlockIo): void {
    const { failure } = this;
    this.failure = null;
    if (failure !== null) io.complete(failure);
    else this.ram.submit(io);
  }
}

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  private now = 1_000_000;
  private readonly timers = new Set<{ atMs: number; fire: () => void }>();

  nowMs(): number {
    return this.now;
  }

  wallMs(): number {
    return this.now;
  }

  after(delayMs: number, fire: () => void): Timer {
    const timer = { atMs: this.now + delayMs, fire };
    this.timers.add(timer);
    return { cancel: () => this.timers.delete(timer) };
  }

  /** Fires what is due, in order of time. */
  move(byMs: number): void {
    const end = this.now + byMs;
    for (;;) {
      const due = [...this.timers].filter((timer) => timer.atMs <= end).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.timers.delete(due);
      this.now = due.atMs;
      due.fire();
    }
    this.now = end;
  }
}

export class TargetRig implements TargetDirectory {
  readonly device = new HeldDevice(new RamDevice(16 * 1024 * 1024));
  readonly registry: SessionRegistry;
  readonly admitted: LoginIdentity[] = [];
  readonly iqns = [IQN];
  /** What admit() waits for. */
  admission: Promise<void> = Promise.resolve();
  answer: TargetAnswer | null = null;
  port = 0;
  readonly server = new DiskServer({
    device: this.device,
    identity: { serial: '0123456789abcdef', naa: '3000000000000001', iqn: IQN },
  });
  private readonly portal: Portal;
  private readonly initiators: TargetInitiator[] = [];

  private constructor(
    clock: Clock,
    readonly memory: MemoryBudget,
    authenticator: Authenticator,
    log: Logger,
  ) {
    this.registry = new SessionRegistry(clock);
    this.portal = new Portal({
      directory: this,
      registry: this.registry,
      log,
      clock,
      random: new SeededRandom(1),
      memory,
      poll: new BusyPoll(new LoopTurns(() => clock.nowMs()), 0),
      options: { authenticator },
    });
  }

  static async start(
    clock: Clock = systemClock,
    memory = new MemoryBudget(),
    authenticator = openAuthenticator,
    log = silentLog,
  ): Promise<TargetRig> {
    const rig = new TargetRig(clock, memory, authenticator, log);
    rig.port = (await rig.portal.listen('127.0.0.1', 0)).port;
    return rig;
  }

  async connect(): Promise<TargetInitiator> {
    const initiator = await TargetInitiator.connect(this.port);
    this.initiators.push(initiator);
    return initiator;
  }

  /** A connection that has logged in. */
  async session(keys: Record<string, string> = {}, isid = '800000000001'): Promise<TargetInitiator> {
    const initiator = await this.connect();
    await initiator.login(IQN, keys, { isid });
    return initiator;
  }

  close(): Promise<void> {
    return this.portal.close();
  }

  async stop(): Promise<void> {
    this.device.release();
    for (const initiator of this.initiators) initiator.close();
    await this.portal.close();
  }

  // ---- TargetDirectory

  list(host: string, port: number): ReturnType<TargetDirectory['list']> {
    return this.iqns.map((iqn) => ({ iqn, addresses: [{ host, port, portalGroupTag: 1 }] }));
  }

  resolve(iqn: string): TargetAnswer {
    if (this.answer !== null) return this.answer;
    if (iqn === MOVED) return { kind: 'redirect', host: '127.0.0.1', port: 3333 };
    if (iqn !== IQN) return { kind: 'unknown' };
    return { kind: 'serve', target: { iqn, server: this.server } };
  }

  async admit(login: LoginIdentity): Promise<void> {
    this.admitted.push(login);
    await this.admission;
  }
}
