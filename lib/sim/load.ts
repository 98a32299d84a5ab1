/**
 * One simulated initiator at work: the shipped harness under a few lanes that read, write and clear overlapping blocks at
 * random, each answer held against the model of the volume.
 */
import { BlockferryError } from '../base/errors.js';
import { sleep } from '../base/clock.js';
import { FORWARD_PATIENCE_MS } from '../base/limits.js';
import { Initiator } from '../iscsi/initiator/initiator.js';
import type { InitiatorOptions } from '../iscsi/initiator/options.js';
import type { IscsiUrl } from '../iscsi/initiator/url.js';
import { REPEATED, fillSector } from './block-pattern.js';
import type { Chance } from './chance.js';
import { SECTOR_BYTES } from './inode.js';
import type { ModelWrite, VolumeModel, WriteKind } from './model.js';
import type { SimNet } from './net.js';
import type { InitiatorPlan } from './plan.js';
import type { SimProcess } from './process.js';

/** So long a group may be away before an initiator of a simulation gives up: longer than any fault lasts. */
const PATIENCE_MS = 300_000;
/** Half of all I/O meets in so many blocks. */
const HOT_BLOCKS = 12;

export interface LoadEvents {
  /** Something that must not be. */
  wrong(what: string): void;
  /** An I/O failed: the world knows whether it may. */
  failed(by: string, what: string, tookMs: number): void;
  counted(what: string): void;
}

export class Load {
  commands = 0;
  private initiator: Initiator | null = null;
  private isStopping = false;
  private lanes: Promise<void> = Promise.resolve();
  private readonly perBlock: number;
  private readonly blocks: number;

  constructor(
    readonly name: string,
    readonly process: SimProcess,
    private readonly url: IscsiUrl,
    private readonly plan: InitiatorPlan,
    private readonly blockBytes: number,
    private readonly model: VolumeModel,
    private readonly chance: Chance,
    private readonly net: SimNet,
    private readonly events: LoadEvents,
  ) {
    this.perBlock = blockBytes / SECTOR_BYTES;
    this.blocks = model.sectors / this.perBlock;
  }

  start(): void {
    this.lanes = this.run().catch((error: unknown) =>
      this.events.wrong(`${this.name} ended: ${String(error)}`),
    );
  }

  /** Lets what is under way end, then logs out. */
  async stop(): Promise<void> {
    this.isStopping = true;
    await this.lanes;
    await this.initiator?.close();
  }

  get recoveries(): number {
    return this.initiator?.recoveries.length ?? 0;
  }

  private async run(): Promise<void> {
    const initiator = await this.connect();
    this.initiator = initiator;
    initiator.on('violation', (detail) => this.events.wrong(`${this.name} saw a violation: ${detail}`));
    await Promise.all(Array.from({ length: this.plan.depth }, () => this.lane(initiator)));
  }

  /** The first login is not tried again by the harness. */
  private async connect(): Promise<Initiator> {
    const { clock } = this.process;
    const deadlineMs = clock.nowMs() + PATIENCE_MS;
    for (;;) {
      try {
        return await Initiator.connect(this.url, this.options());
      } catch (error) {
        if (clock.nowMs() > deadlineMs) throw error;
        await sleep(clock, 250);
      }
    }
  }

  private options(): InitiatorOptions {
    const { plan, process } = this;
    const isid = this.chance.uint32();
    return {
      initiatorName: `iqn.2026-01.io.blockferry.sim:${this.name}`,
      clock: process.clock,
      random: plan.keepsIsid ? { uint32: () => isid } : this.chance,
      dial: this.net.doorOf(process).connect,
      recoveryDeadlineMs: PATIENCE_MS,
      onLogoutRequest: plan.manner,
      offer: {
        ...(plan.asksForR2t ? { initialR2T: true, immediateData: false, maxBurstLength: 16384 } : {}),
        ...(plan.digests ? { headerDigest: ['CRC32C', 'None'], dataDigest: ['CRC32C', 'None'] } : {}),
      },
    };
  }

  private async lane(initiator: Initiator): Promise<void> {
    const { clock } = this.process;
    while (!this.isStopping) {
      const beganMs = clock.nowMs();
      try {
        await this.step(initiator);
        this.commands += 1;
      } catch (error) {
        if (!(error instanceof BlockferryError)) throw error;
        this.events.failed(this.name, error.message, clock.nowMs() - beganMs);
        if (error.code !== 'IO') return;
      }
      if (!this.chance.happens(0.3)) await sleep(clock, this.chance.between(0, 2 * this.plan.thinkMs));
    }
  }

  private async step(initiator: Initiator): Promise<void> {
    const { first, count } = this.pickBlocks();
    const choice = this.chance.below(100);
    if (choice < 45) return this.write(initiator, first, count);
    if (choice < 82) return this.read(initiator, first, count);
    if (choice < 90) return this.flush(initiator);
    if (choice < 95)
      return this.clear('zeros', first, count, () => initiator.unmap([{ lba: first, blocks: count }]));
    return this.repeat(initiator, first, count);
  }

  private pickBlocks(): { first: number; count: number } {
    const { chance, blocks } = this;
    const most = chance.happens(0.05) ? Math.min(blocks, 65536 / this.blockBytes) : Math.min(blocks, 8);
    const count = chance.within(1, most);
    const range = chance.happens(0.5) ? Math.min(HOT_BLOCKS, blocks - count + 1) : blocks - count + 1;
    // The hot blocks lie around the end of the first extent, so that many an I/O meets two.
    const from =
      range < HOT_BLOCKS ? 0 : Math.max(0, Math.min(blocks - range - count + 1, 65536 / this.blockBytes - 6));
    return { first: (range === HOT_BLOCKS ? from : 0) + chance.below(range), count };
  }

  private async write(initiator: Initiator, first: number, count: number): Promise<void> {
    const fua = this.chance.happens(0.2);
    const write = this.begin('data', first, count, fua);
    const data = Buffer.alloc(count * this.blockBytes);
    for (let i = 0; i < write.sectors; i++)
      fillSector(data, i * SECTOR_BYTES, write.id, write.firstSector + i);
    await this.settle(write, () => initiator.write(first, data, { fua }));
  }

  private async repeat(initiator: Initiator, first: number, count: number): Promise<void> {
    const block = Buffer.alloc(this.blockBytes);
    if (this.chance.happens(0.5)) {
      return this.clear('zeros', first, count, () =>
        initiator.writeSame(first, count, block, { unmap: true }),
      );
    }
    const write = this.begin('repeated', first, count, false);
    for (let i = 0; i < this.perBlock; i++) fillSector(block, i * SECTOR_BYTES, write.id, REPEATED | i);
    await this.settle(write, () => initiator.writeSame(first, count, block));
  }

  private clear(kind: WriteKind, first: number, count: number, run: () => Promise<void>): Promise<void> {
    return this.settle(this.begin(kind, first, count, false), run);
  }

  private begin(kind: WriteKind, first: number, count: number, fua: boolean): ModelWrite {
    return this.model.beginWrite(kind, first * this.perBlock, count * this.perBlock, fua, this.name);
  }

  private async settle(write: ModelWrite, run: () => Promise<void>): Promise<void> {
    this.events.counted(write.kind);
    try {
      await run();
    } catch (error) {
      // Answered with an error it is over; given up unanswered it may still land.
      if (error instanceof BlockferryError && error.code === 'IO') this.model.endWrite(write, false);
      throw error;
    }
    this.model.endWrite(write, true);
  }

  private async read(initiator: Initiator, first: number, count: number): Promise<void> {
    this.events.counted('read');
    const read = this.model.beginRead(first * this.perBlock, count * this.perBlock);
    const data = await initiator.read(first, count);
    const wrong = this.model.endRead(read, data);
    if (wrong !== null) this.events.wrong(`${this.name} read ${wrong}`);
  }

  private async flush(initiator: Initiator): Promise<void> {
    this.events.counted('flush');
    const beganTick = this.model.tick();
    await initiator.flush();
    this.model.flushed(beganTick);
  }

  /** Longer than a forwarded I/O waits for its holder. */
  static isPatienceSpent(tookMs: number): boolean {
    return tookMs >= FORWARD_PATIENCE_MS;
  }
}
