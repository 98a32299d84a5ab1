/**
 * One simulated initiator at work: the shipped harness under a few lanes that read, write and clear overlapping blocks at
 * random, each answer held against the model of the volume. While something is under way that they could meet they are quick.
 */
import type { Chance } from '../base/chance.js';
import { BlockferryError } from '../base/errors.js';
import { sleep } from '../base/clock.js';
import { initiatorIqn } from '../base/iscsi-names.js';
import { FORWARD_PATIENCE_MS } from '../base/limits.js';
import { Initiator } from '../iscsi/initiator/initiator.js';
import type { InitiatorOptions } from '../iscsi/initiator/options.js';
import type { IscsiUrl } from '../iscsi/initiator/url.js';
import { AsyncEvent } from '../iscsi/wire/opcodes.js';
import { REPEATED, fillSector } from './block-pattern.js';
import { SECTOR_BYTES } from './inode.js';
import type { ModelWrite, VolumeModel, WriteKind } from './model.js';
import type { SimNet } from './net.js';
import type { InitiatorPlan, Point } from './plan.js';
import type { SimProcess } from './process.js';
import { SessionJudge, type HomeHistory } from './session-judge.js';
import { drawBlocks, drawFua, drawPages, drawStep, type Blocks } from './works.js';

/** So long a group may be away before an initiator of a simulation gives up: longer than any fault lasts. */
const PATIENCE_MS = 300_000;
/** Quick commands of one initiator: what a run may cost. */
const HOT_COMMANDS_MAX = 180;
/** What a slow disk takes for a write at the most. */
const LATE_MS = 400;
/** How an answer reads after which hosts send a command again: BUSY, and unit attentions that come of a home's moves. */
const REPEATABLE = /ended in (?:BUSY|CHECK CONDITION, sense 6\/(?:2A\/06|29\/03))$/;
/** How a flush reads that cannot make durable what is gone. */
const WRITE_ERROR = /sense 3\/0C\/00$/;
const FILL_BYTES = 64 * 1024;

/** The world as a load sees it. */
export interface LoadWorld extends HomeHistory {
  /** An I/O failed: the world knows whether it may. */
  failed(by: string, error: BlockferryError, tookMs: number): void;
  counted(what: string): void;
  /** It was told that writes are gone. */
  toldOfLoss(): void;
  /** Something is under way that I/O should meet. */
  isHot(): boolean;
  /** An initiator was promised that what it wrote to these sectors is durable. */
  promised(point: Point, sectors: readonly number[]): void;
  spawn(): SimProcess;
}

export class Load {
  commands = 0;
  process: SimProcess;
  private initiator: Initiator | null = null;
  private isStopping = false;
  private hotCommands = 0;
  private work: Promise<void> = Promise.resolve();
  private readonly perBlock: number;
  private readonly blocks: number;
  private readonly judge: SessionJudge;
  /** When it was last told that writes are gone. */
  private toldTick = -1;
  /** How often of the same. */
  private toldTimes = 0;
  /** Lanes between two commands. */
  private readonly thinking = new Set<() => void>();

  constructor(
    readonly name: string,
    private readonly url: IscsiUrl,
    private readonly plan: InitiatorPlan,
    private readonly volume: { readonly blockBytes: number; readonly extentBytes: number },
    private readonly model: VolumeModel,
    private readonly chance: Chance,
    private readonly net: SimNet,
    private readonly world: LoadWorld,
  ) {
    this.process = world.spawn();
    this.perBlock = volume.blockBytes / SECTOR_BYTES;
    this.blocks = model.sectors / this.perBlock;
    this.judge = new SessionJudge(name, url, world);
  }

  start(): void {
    if (this.isStopping) return;
    const { process } = this;
    this.work = this.run().catch((error: unknown) => {
      if (!process.isDead) this.world.wrong(`${this.name} ended: ${String(error)}`);
    });
  }

  /** Lets what is under way end, then logs out. */
  async stop(): Promise<void> {
    this.isStopping = true;
    if (this.process.isDead) return;
    await this.work;
    await this.initiator?.close();
  }

  /** Its process is gone, with what it had asked for; it comes back as another under the same name. */
  kill(downMs: number): void {
    const { process, net, world } = this;
    if (process.isDead || this.isStopping) return;
    process.kill();
    net.left(process, false);
    this.thinking.clear();
    process.timeline.after(downMs, () => {
      if (this.isStopping) return;
      this.process = world.spawn();
      this.start();
    });
  }

  get keepsIsid(): boolean {
    return this.plan.keepsIsid;
  }

  get recoveries(): number {
    return this.initiator?.recoveries.length ?? 0;
  }

  private async run(): Promise<void> {
    const { plan } = this;
    const initiator = await this.connect();
    this.initiator = initiator;
    initiator.on('violation', (detail) => this.world.wrong(`${this.name} saw a violation: ${detail}`));
    initiator.on('asyncMessage', ({ asyncEvent, expCmdSN }) => {
      if (asyncEvent === AsyncEvent.CONNECTION_DROP && !plan.asksForR2t)
        this.judge.dropped(
          expCmdSN,
          initiator.unanswered.map(({ cmdSN }) => cmdSN),
        );
    });
    if (plan.fills && this.commands === 0) await this.fill(initiator);
    await Promise.all(Array.from({ length: plan.depth }, () => this.lane(initiator)));
  }

  /** The first login is not tried again by the harness. */
  private async connect(): Promise<Initiator> {
    const { clock } = this.process;
    const deadlineMs = clock.nowMs() + PATIENCE_MS;
    for (;;) {
      try {
        return await Initiator.connect(this.url, this.options());
      } catch (error) {
        const isWrong = error instanceof BlockferryError && error.code === 'PROTOCOL';
        if (isWrong || clock.nowMs() > deadlineMs) throw error;
        await sleep(clock, 250);
      }
    }
  }

  private options(): InitiatorOptions {
    const { plan, process } = this;
    const isid = this.chance.uint32();
    const { connect } = this.net.doorOf(process);
    return {
      initiatorName: initiatorIqn(this.name),
      clock: process.clock,
      random: plan.keepsIsid ? { uint32: () => isid } : this.chance,
      dial: (address, reader) => {
        this.judge.dialled(address);
        return connect(address, reader);
      },
      recoveryDeadlineMs: PATIENCE_MS,
      onLogoutRequest: plan.manner,
      offer: {
        ...(plan.asksForR2t ? { initialR2T: true, immediateData: false, maxBurstLength: 16384 } : {}),
        ...(plan.digests ? { headerDigest: ['CRC32C', 'None'], dataDigest: ['CRC32C', 'None'] } : {}),
      },
    };
  }

  private async fill(initiator: Initiator): Promise<void> {
    const count = FILL_BYTES / this.volume.blockBytes;
    for (let first = 0; first < this.blocks; first += count)
      await this.attempt(() => this.write(initiator, { first, count: Math.min(count, this.blocks - first) }));
  }

  private async lane(initiator: Initiator): Promise<void> {
    while (!this.isStopping) {
      if (!(await this.attempt(() => this.step(initiator)))) return;
      const isHot = this.hotCommands < HOT_COMMANDS_MAX && this.world.isHot();
      if (isHot) this.hotCommands += 1;
      const thinkMs = isHot ? (this.plan.hotThinkMs ?? this.plan.thinkMs) : this.plan.thinkMs;
      if (!this.chance.happens(0.3)) await this.think(this.chance.between(0, 2 * thinkMs));
    }
  }

  /** Until it is time for the next command, or something begins that commands should meet. */
  private think(ms: number): Promise<void> {
    const { clock } = this.process;
    return new Promise((resolve) => {
      const goOn = (): void => {
        if (this.thinking.delete(wake)) resolve();
      };
      const wake = (): void =>
        void clock.after(this.chance.between(0, 2 * (this.plan.hotThinkMs ?? ms)), goOn);
      this.thinking.add(wake);
      clock.after(ms, goOn);
    });
  }

  /** Something has begun. */
  wake(): void {
    if (this.plan.hotThinkMs !== undefined) for (const wake of this.thinking) wake();
  }

  /** One command. False: there will be no session any more. */
  private async attempt(run: () => Promise<void>): Promise<boolean> {
    const { clock } = this.process;
    const askedAtMs = clock.nowMs();
    this.judge.look(this.initiator?.portal);
    try {
      await run();
      this.commands += 1;
    } catch (error) {
      if (!(error instanceof BlockferryError)) throw error;
      // A host would send it again; here the next command does.
      if (this.world.access === 'alua' && REPEATABLE.test(error.message)) {
        this.world.counted('repeatable');
        return true;
      }
      this.world.failed(this.name, error, clock.nowMs() - askedAtMs);
      if (error.code !== 'IO') return false;
    }
    return true;
  }

  private step(initiator: Initiator): Promise<void> {
    const { chance, blocks } = this;
    const { extentBytes, blockBytes } = this.volume;
    const extentBlocks = extentBytes / blockBytes;
    const step = drawStep(chance, this.plan.work);
    if (step === 'flush') return this.flush(initiator);
    if (step === 'write') return this.write(initiator, drawBlocks(chance, blocks, extentBlocks));
    if (step === 'read') return this.read(initiator, drawBlocks(chance, blocks, extentBlocks));
    const pages = drawPages(chance, blocks, extentBlocks, blockBytes);
    if (step === 'repeat') return this.repeat(initiator, pages);
    return this.clear(pages, () => initiator.unmap([{ lba: pages.first, blocks: pages.count }]));
  }

  /** What was sent again is written over at once: if its first sending is still somewhere, it must not land any more (I8). */
  private async write(initiator: Initiator, blocks: Blocks): Promise<void> {
    const { dials } = this.judge;
    await this.writeOnce(initiator, blocks);
    if (this.judge.dials !== dials) {
      await this.writeOnce(initiator, blocks);
      await sleep(this.process.clock, this.chance.between(20, LATE_MS));
      await this.read(initiator, blocks);
    }
    // What was answered is there: at once, and wherever the extent is held by now.
    if (this.chance.happens(0.1)) await this.read(initiator, blocks);
  }

  private async writeOnce(initiator: Initiator, { first, count }: Blocks): Promise<void> {
    const fua = drawFua(this.chance, this.plan.work);
    const write = this.begin('data', { first, count }, fua);
    const data = Buffer.allocUnsafe(count * this.volume.blockBytes);
    for (let i = 0; i < write.sectors; i++)
      fillSector(data, i * SECTOR_BYTES, write.id, write.firstSector + i);
    await this.settle(write, () => initiator.write(first, data, { fua }));
    if (fua) this.world.promised('io.durable', write.places());
  }

  private async repeat(initiator: Initiator, { first, count }: Blocks): Promise<void> {
    const block = Buffer.alloc(this.volume.blockBytes);
    if (this.chance.happens(0.5)) {
      return this.clear({ first, count }, () => initiator.writeSame(first, count, block, { unmap: true }));
    }
    const write = this.begin('repeated', { first, count }, false);
    for (let i = 0; i < this.perBlock; i++) fillSector(block, i * SECTOR_BYTES, write.id, REPEATED | i);
    await this.settle(write, () => initiator.writeSame(first, count, block));
  }

  private clear(blocks: Blocks, run: () => Promise<void>): Promise<void> {
    return this.settle(this.begin('zeros', blocks, false), run);
  }

  private begin(kind: WriteKind, { first, count }: Blocks, fua: boolean): ModelWrite {
    return this.model.beginWrite(kind, first * this.perBlock, count * this.perBlock, fua, this.name);
  }

  private async settle(write: ModelWrite, run: () => Promise<void>): Promise<void> {
    this.world.counted(write.kind);
    try {
      await run();
    } catch (error) {
      // Answered with an error it is over; given up unanswered it may still land.
      if (error instanceof BlockferryError && error.code === 'IO') this.model.endWrite(write, false);
      throw error;
    }
    this.model.endWrite(write, true);
  }

  private async read(initiator: Initiator, { first, count }: Blocks): Promise<void> {
    this.world.counted('read');
    const read = this.model.beginRead(first * this.perBlock, count * this.perBlock);
    const data = await initiator.read(first, count);
    const wrong = this.model.endRead(read, data);
    if (wrong !== null) this.world.wrong(`${this.name} read ${wrong}`);
  }

  private async flush(initiator: Initiator): Promise<void> {
    this.world.counted('flush');
    const { model, toldTick, toldTimes } = this; // others are under way, and may be told of the same
    const { losses } = model;
    const beganTick = model.tick();
    try {
      await initiator.flush();
    } catch (error) {
      if (!(error instanceof BlockferryError) || !WRITE_ERROR.test(error.message)) throw error;
      if (!losses.mayBeTold(toldTick, toldTimes)) throw error;
      this.toldTimes = losses.isNewsSince(toldTick) ? 1 : toldTimes + 1;
      this.toldTick = model.tick();
      return this.world.toldOfLoss();
    }
    this.world.promised('io.flushed', model.flushed(beganTick, losses.owedSince(this.toldTick)));
  }

  /** Longer than a forwarded I/O waits for its holder. */
  static isPatienceSpent(tookMs: number): boolean {
    return tookMs >= FORWARD_PATIENCE_MS;
  }
}
