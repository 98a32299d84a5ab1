/**
 * The interceptor: what stands in the slot of an extent on its way to another member. It writes every write to source
 * and destination, holds writes (and at the very end reads) at its gate while the route is committed, and knows what
 * the destination still lacks. It decides nothing about when: copier.ts and source-extents.ts do.
 *
 *                submit(read)                         submit(write)
 *                     │  gate: 'all' → queue               │  gate: 'writes' or 'all' → queue
 *                     ▼                                    ▼
 *               file of the source                RangeLocks (waits for overlaps)
 *                                                          ▼
 *                                   file of the source ── fails → range dirty, the initiator gets the error
 *                                                          ▼
 *                                   attached? ── no → range dirty, acknowledged
 *                                                          ▼
 *                                   covered chunks clean → destination ── fails → range dirty (I6)
 *                                                          ▼
 *                                                     acknowledged
 *
 * The nine rules of the interceptor stand in README.md of this folder; the comments below cite them by number.
 */
import { assert, invariant } from '../base/assert.js';
import { MOVE_CHUNK_BYTES } from '../base/limits.js';
import type { BlockDevice, BlockIo, IoPin } from '../block/device.js';
import type { ExtentSlot, IoOrigin } from '../volume/slot.js';
import type { DestinationLink } from './destination-link.js';
import { DirtyMap } from './dirty-map.js';
import { MirroredWrite } from './mirrored-write.js';
import { RangeLocks } from './range-locks.js';

/** What is held back at the moment. */
type Gate = 'open' | 'writes' | 'all';

/** Told when a mirrored write could not reach the destination. */
export type DestinationFailure = (extent: Interceptor, status: number, detail: string) => void;

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
  /** Writes that wait for the destination's answer. */
  private mirroring = 0;
  private mirroringEnded: (() => void) | null = null;
  private quiet: (() => void) | null = null;
  private closed = false;

  /**
   * Starts with its gate shut for everything: rule 1, it is put in place while the extent is drained.
   * @param fromBytes where the extent begins in the volume
   * @param toBytes where it ends
   * @param file the source: the holder's file of the volume
   */
  constructor(
    readonly extent: number,
    readonly fromBytes: number,
    readonly toBytes: number,
    readonly file: BlockDevice,
    readonly destination: DestinationLink,
    private readonly onDestinationFailure: DestinationFailure,
  ) {
    this.dirty = new DirtyMap(fromBytes, toBytes - fromBytes, MOVE_CHUNK_BYTES);
  }

  submit(io: BlockIo, extent: number, origin: IoOrigin): void {
    assert(!this.closed, `extent ${this.extent} gets I/O after its interceptor was taken out`);
    const held = this.gate === 'all' || (this.gate === 'writes' && io.op !== 'read');
    if (held) {
      this.queue.push({ io, extent, origin });
    } else if (io.op === 'read') {
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

  mirrorBegan(): void {
    this.mirroring += 1;
  }

  mirrorEnded(): void {
    this.mirroring -= 1;
    assert(this.mirroring >= 0, 'more mirrored writes ended than began');
    if (this.mirroring === 0) this.mirroringEnded?.();
  }

  /** Writes go to the source alone from now on; resolves when no answer of the destination is outstanding. */
  async detach(): Promise<void> {
    this.attached = false;
    if (this.mirroring === 0) return;
    assert(this.mirroringEnded === null, 'one detach at a time');
    await new Promise<void>((resolve) => {
      this.mirroringEnded = resolve;
    });
    this.mirroringEnded = null;
  }

  destinationFailed(status: number, detail: string): void {
    this.onDestinationFailure(this, status, detail);
  }

  /** Lets everything through again, the oldest first. */
  open(): void {
    this.gate = 'open';
    const queue = this.queue;
    this.queue = [];
    for (const { io, extent, origin } of queue) this.submit(io, extent, origin);
  }

  /** Holds new writes back; resolves when those under way have been answered. */
  async holdWrites(): Promise<void> {
    this.gate = 'writes';
    await this.whenQuiet(() => this.writesInFlight === 0);
  }

  /** Holds everything back; resolves when nothing is in flight on the extent (I5). */
  async holdAll(): Promise<void> {
    this.gate = 'all';
    await this.whenQuiet(() => this.writesInFlight === 0 && this.readsInFlight === 0);
  }

  private quietWhen: () => boolean = () => true;

  private whenQuiet(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    assert(this.quiet === null, 'one waiter for quiet at a time');
    return new Promise((resolve) => {
      this.quiet = resolve;
      this.quietWhen = condition;
    });
  }

  private settle(): void {
    assert(this.readsInFlight >= 0 && this.writesInFlight >= 0, 'more I/O ended than began');
    if (this.quiet === null || !this.quietWhen()) return;
    const { quiet } = this;
    this.quiet = null;
    quiet();
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
