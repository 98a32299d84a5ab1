/**
 * The interceptor: what stands in the slot of an extent on its way to another member. It writes every write to source
 * and destination, holds writes (and at the very end reads) at its gate while the route is committed, and knows what
 * the destination still lacks. It decides nothing about when: transfer.ts and batch.ts do.
 *
 *                submit(read)                         submit(write)
 *                     │  gate: 'all' → queue               │  gate: 'writes' or 'all' → queue
 *                     ▼                                    ▼
 *               file of the source                RangeLocks (waits for overlaps)
 *                                                          ▼
 *                                   file of the source ── fails → what it holds now goes on, and the initiator
 *                                                          ▼              gets the error
 *                                   attached? ── no → range dirty, acknowledged
 *                                                          ▼
 *                                   covered chunks clean → destination ── fails → range dirty (I6)
 *                                                          ▼
 *                                                     acknowledged
 *
 * The nine rules of the interceptor stand in README.md of this folder; the comments below cite them by number.
 */
import { assert, invariant, violated } from '../base/assert.js';
import { MOVE_CHUNK_BYTES } from '../base/limits.js';
import type { BlockDevice, BlockIo, IoPin, Provisioning } from '../block/device.js';
import type { LocalSlot } from '../volume/local-slot.js';
import type { ExtentSlot, IoOrigin } from '../volume/slot.js';
import type { DestinationLink } from './destination-link.js';
import { DirtyMap } from './dirty-map.js';
import { MirroredWrite } from './mirrored-write.js';
import { RangeLocks } from './range-locks.js';

/** What is held back at the moment. */
type Gate = 'open' | 'writes' | 'all';

/** Who waits for counts of what is in flight to reach zero. */
interface Waiter {
  readonly condition: () => boolean;
  readonly resolve: () => void;
}

/** Told when a mirrored write could not reach the destination. */
export type DestinationFailure = (status: number, detail: string) => void;

export class Interceptor implements ExtentSlot, IoPin {
  readonly dirty: DirtyMap;
  readonly locks = new RangeLocks();
  /** Which attempt on this extent the destination is receiving; late messages of an older one are refused there. */
  token = 0;
  /** The destination has begun to receive: writes go to both. */
  attached = false;
  private gate: Gate = 'all';
  private queue: { io: BlockIo; extent: number; origin: IoOrigin }[] = [];
  private readsInFlight = 0;
  private writesInFlight = 0;
  /** Mirrored writes are durable at the destination when it answers; if not, a later sync makes them so. */
  private isDurable = false;
  /** Writes that wait for the destination's answer, and those of them that will not be durable then. */
  private mirroring = 0;
  private mirroringSoftly = 0;
  private waiters: Waiter[] = [];
  private closed = false;

  /**
   * Starts with its gate shut for everything: rule 1, it is put in place while the extent is drained.
   * @param fromBytes where the extent begins in the volume
   * @param toBytes where it ends
   * @param file the source: the holder's file of the volume
   * @param counter counts what is served here, which passes the volume's own slot by
   */
  constructor(
    readonly extent: number,
    readonly fromBytes: number,
    readonly toBytes: number,
    readonly file: BlockDevice,
    private readonly counter: Pick<LocalSlot, 'count'>,
    readonly destination: DestinationLink,
    private readonly onDestinationFailure: DestinationFailure,
    /** A write that the destination does not take fails (I6). */
    readonly strict: boolean,
  ) {
    this.dirty = new DirtyMap(fromBytes, toBytes - fromBytes, MOVE_CHUNK_BYTES);
  }

  /** The source has all that was written, whatever the destination has by now. */
  provisioning(offsetBytes: number, lengthBytes: number): Provisioning {
    return this.file.provisioning?.(offsetBytes, lengthBytes) ?? { mapped: true, lengthBytes };
  }

  submit(io: BlockIo, extent: number, origin: IoOrigin): void {
    if (this.closed) violated(`extent ${this.extent} gets I/O after its interceptor was taken out`);
    const held = this.gate === 'all' || (this.gate === 'writes' && io.op !== 'read');
    if (held) {
      this.queue.push({ io, extent, origin });
      return;
    }
    this.counter.count(io); // untimed: a write waits for the destination as well, which is not this storage's doing
    if (io.op === 'read') {
      this.readsInFlight += 1;
      io.pin = this;
      this.file.submit(io);
    } else {
      this.writesInFlight += 1;
      this.locks.acquire(new MirroredWrite(this, io));
    }
  }

  /** A read ended (I5). */
  unpin(): void {
    this.readsInFlight -= 1;
    this.settle();
  }

  /** A mirrored write was answered. */
  writeEnded(): void {
    this.writesInFlight -= 1;
    this.settle();
  }

  /** @returns whether the destination has to make this write durable before it answers */
  mirrorBegan(): boolean {
    this.mirroring += 1;
    if (!this.isDurable) this.mirroringSoftly += 1;
    return this.isDurable;
  }

  /** @param wasDurable what mirrorBegan() said */
  mirrorEnded(wasDurable: boolean): void {
    this.mirroring -= 1;
    if (!wasDurable) this.mirroringSoftly -= 1;
    this.settle();
  }

  /** Writes go to the source alone from now on; resolves when no answer of the destination is outstanding. */
  async detach(): Promise<void> {
    this.attached = false;
    await this.when(() => this.mirroring === 0);
  }

  /**
   * Until the gate is opened anew, mirrored writes are durable when the destination answers. Resolves when those before
   * have been answered: a sync of the destination after that covers them.
   */
  async mirrorDurably(): Promise<void> {
    this.isDurable = true;
    await this.when(() => this.mirroringSoftly === 0);
  }

  destinationFailed(status: number, detail: string): void {
    this.onDestinationFailure(status, detail);
  }

  /** Lets everything through again, the oldest first. */
  open(): void {
    this.gate = 'open';
    this.isDurable = false;
    const queue = this.queue;
    this.queue = [];
    for (const { io, extent, origin } of queue) this.submit(io, extent, origin);
  }

  /** Holds new writes back; resolves when those under way have been answered. */
  async holdWrites(): Promise<void> {
    this.gate = 'writes';
    await this.when(() => this.writesInFlight === 0);
  }

  /** Holds everything back; resolves when nothing is in flight on the extent (I5). */
  async holdAll(): Promise<void> {
    this.gate = 'all';
    await this.when(() => this.writesInFlight === 0 && this.readsInFlight === 0);
  }

  private when(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => this.waiters.push({ condition, resolve }));
  }

  /** Something ended: whoever waited for just that goes on. */
  private settle(): void {
    assert(
      this.readsInFlight >= 0 && this.writesInFlight >= 0 && this.mirroring >= this.mirroringSoftly,
      'more I/O ended than began',
    );
    if (this.waiters.length === 0) return;
    const due = this.waiters.filter(({ condition }) => condition());
    this.waiters = this.waiters.filter((waiter) => !due.includes(waiter));
    for (const { resolve } of due) resolve();
  }

  /** Rule 8. */
  assertClean(): void {
    invariant(
      'I3',
      this.dirty.count === 0,
      `extent ${this.extent} is committed with ${this.dirty.count} dirty chunks`,
    );
    invariant(
      'I5',
      this.readsInFlight + this.writesInFlight === 0,
      `extent ${this.extent} is committed while in use`,
    );
    assert(this.locks.activeCount === 0, `extent ${this.extent} is committed while being copied`);
  }

  /** Taken out of its slot with nothing in flight: whoever waited at the gate resolves its route again. */
  takeOut(): void {
    invariant(
      'I5',
      this.readsInFlight + this.writesInFlight === 0,
      `extent ${this.extent} leaves its slot while in use`,
    );
    this.closed = true;
    this.attached = false;
    const queue = this.queue;
    this.queue = [];
    for (const { io, origin } of queue) origin.again(io);
  }
}
