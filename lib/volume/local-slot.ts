/**
 * The slot of every extent that this member holds and that is not on the move: the volume's file, with a count of the
 * I/O in flight (the pins of I5). The file may still be opening: I/O waits for it.
 */
import { Mutex } from 'async-mutex';
import { assert } from '../base/assert.js';
import {
  IoError,
  type BlockDevice,
  type BlockIo,
  type IoPin,
  type Provisioning,
  type Usage,
} from '../block/device.js';
import type { PageMap } from '../block/page-map.js';
import type { ExtentSlot } from './slot.js';

/** What counts the I/O of a volume here (load/traffic.ts). */
export interface SlotTraffic {
  readonly reads: number;
  readonly writes: number;
  /** @returns true: ended() wants to know how long it took from nowMs() on */
  began(isRead: boolean, offsetBytes: number, dataBytes: number): boolean;
  ended(tookMs: number): void;
  nowMs(): number;
}

/** Beside the generation in an I/O's note: it is to be timed. */
const TIMED = 2;

/**
 * Pins are counted in two generations instead of per extent, which costs an I/O two additions. drain() turns to the
 * other generation and waits until the one before is empty: then every I/O begun before the call has ended. A drain
 * may so wait for I/O on extents it does not care about; all of it is on the same file.
 */
export class LocalSlot implements ExtentSlot, IoPin {
  private backing: BlockDevice | null = null;
  private failure: IoError | null = null;
  private waitingForFile: BlockIo[] = [];
  private generation = 0;
  private readonly inFlight = [0, 0];
  private drained: (() => void) | null = null;
  private readonly oneDrain = new Mutex();

  /** @param traffic told of what initiators ask of this member's extents */
  constructor(readonly traffic: SlotTraffic) {}

  /** I/Os served here, ever, without flushes. */
  get begun(): number {
    return this.traffic.reads + this.traffic.writes;
  }

  /** Those of them that read. */
  get begunReads(): number {
    return this.traffic.reads;
  }

  /** I/Os in flight, without flushes. */
  get pinned(): number {
    return (this.inFlight[0] as number) + (this.inFlight[1] as number);
  }

  /** The file is open: what waited goes on. */
  opened(file: BlockDevice): void {
    assert(this.backing === null, 'a slot is given one file at a time');
    this.backing = file;
    this.releaseWaiting();
  }

  /** The file is left, when nothing is held in it: I/O waits for the next one. */
  left(): void {
    this.backing = null;
    this.failure = null;
  }

  /** The file cannot be opened: what waited, and all that comes until it is opened after all, fails. */
  failed(detail: string): void {
    this.failure = new IoError('medium-read', detail);
    this.releaseWaiting();
  }

  private releaseWaiting(): void {
    const waiting = this.waitingForFile;
    this.waitingForFile = [];
    for (const io of waiting) this.submit(io);
  }

  submit(io: BlockIo): void {
    const backing = this.backing;
    if (backing === null) {
      if (this.failure !== null) io.complete(this.failure);
      else this.waitingForFile.push(io);
      return;
    }
    if (io.op === 'flush') {
      // It meets no extent: what it covers is durable here when it ends, and wherever it has gone by then (I3). Pinned, it
      // would keep whoever drains waiting, with I/O held back, for as long as a disk may take.
      backing.submit(io);
      return;
    }
    assert(io.pin === null, 'an I/O is pinned once');
    io.pin = this;
    io.pinGeneration = this.generation;
    if (this.count(io)) {
      io.pinGeneration += TIMED;
      io.pinnedAtMs = this.traffic.nowMs();
    }
    this.inFlight[this.generation] = (this.inFlight[this.generation] as number) + 1;
    backing.submit(io);
  }

  /** Also for who stands in this slot's place while an extent moves. @returns whether it is to be timed */
  count({ op, offsetBytes, lengthBytes }: BlockIo): boolean {
    return this.traffic.began(op === 'read', offsetBytes, op === 'read' || op === 'write' ? lengthBytes : 0);
  }

  /** Needs no pin: the bytes are taken within this turn of the loop. So it takes no time of the storage. */
  mapped(offsetBytes: number, lengthBytes: number, withDigest: boolean): PageMap | null {
    const map = this.backing?.mapped?.(offsetBytes, lengthBytes, withDigest) ?? null;
    if (map !== null && this.traffic.began(true, offsetBytes, lengthBytes)) this.traffic.ended(0);
    return map;
  }

  /** See BlockDevice; all is mapped while the file is not open. */
  provisioning(offsetBytes: number, lengthBytes: number): Provisioning {
    return this.backing?.provisioning?.(offsetBytes, lengthBytes) ?? { mapped: true, lengthBytes };
  }

  async usage(): Promise<Usage | null> {
    return (await this.backing?.usage?.()) ?? null;
  }

  unpin(io: BlockIo): void {
    const generation = io.pinGeneration % TIMED;
    const left = (this.inFlight[generation] as number) - 1;
    assert(left >= 0, 'more I/O ended than began');
    this.inFlight[generation] = left;
    if (io.pinGeneration >= TIMED) this.traffic.ended(this.traffic.nowMs() - io.pinnedAtMs);
    if (left === 0 && this.drained !== null && generation !== this.generation) this.drained();
  }

  /** Resolves when every I/O submitted before the call has ended, but for flushes. */
  drain(): Promise<void> {
    return this.oneDrain.runExclusive(async () => {
      const before = this.generation;
      this.generation = 1 - before;
      assert(this.inFlight[this.generation] === 0, 'the other generation was drained before');
      if (this.inFlight[before] === 0) return;
      await new Promise<void>((resolve) => {
        this.drained = resolve;
      });
      this.drained = null;
    });
  }
}
