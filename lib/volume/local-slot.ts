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
  private begun_ = 0;
  private begunReads_ = 0;
  private readonly inFlight = [0, 0];
  private drained: (() => void) | null = null;
  private readonly oneDrain = new Mutex();

  /** I/Os served here, ever: what initiators ask of this member's extents. */
  get begun(): number {
    return this.begun_;
  }

  /** Those of them that read. */
  get begunReads(): number {
    return this.begunReads_;
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
    assert(io.pin === null, 'an I/O is pinned once');
    this.begun_ += 1;
    if (io.op === 'read') this.begunReads_ += 1;
    io.pin = this;
    io.pinGeneration = this.generation;
    this.inFlight[this.generation] = (this.inFlight[this.generation] as number) + 1;
    backing.submit(io);
  }

  /** Needs no pin: the bytes are taken before anything else can happen here. */
  mapped(offsetBytes: number, lengthBytes: number): PageMap | null {
    const map = this.backing?.mapped?.(offsetBytes, lengthBytes) ?? null;
    if (map !== null) {
      this.begun_ += 1;
      this.begunReads_ += 1;
    }
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
    const left = (this.inFlight[io.pinGeneration] as number) - 1;
    assert(left >= 0, 'more I/O ended than began');
    this.inFlight[io.pinGeneration] = left;
    if (left === 0 && this.drained !== null && io.pinGeneration !== this.generation) this.drained();
  }

  /** Resolves when every I/O submitted before the call has ended. */
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
