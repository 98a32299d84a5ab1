/**
 * A device on which a range can be had alone, for commands that read and write in one uninterrupted series of actions
 * (COMPARE AND WRITE, ORWRITE) or are seen whole or not at all (WRITE ATOMIC). It stands where initiators' I/O enters a
 * unit, above extents, holders and moves: what is alone here is alone wherever the bytes are, since a unit has one home.
 *
 *        submit ── overlaps a claim ──► held until it is released, or nobody waits for it
 *           │
 *           └──── counted, in one of two generations ──► the device
 *
 * I/O is not remembered by its range, which would cost every READ and WRITE: a claim waits for all that is in flight when
 * its turn comes, whatever its range. Flushes pass by, uncounted. Claims have their turns one after the other. Commands
 * that only have to know that what came before them has ended (SANITIZE, MODE SELECT) take such a turn, too.
 */
import { assert } from '../base/assert.js';
import {
  IoError,
  type BlockDevice,
  type BlockIo,
  type IoCounter,
  type Provisioning,
  type Usage,
} from './device.js';
import type { PageMap } from './page-map.js';

/** A range that nobody else reads or writes until it is released. */
export class Claim {
  isGranted = false;

  constructor(
    private readonly owner: ClaimableDevice,
    readonly fromBytes: number,
    readonly toBytes: number,
    /** Called once, perhaps inside claim(). */
    readonly granted: (claim: Claim) => void,
  ) {}

  /** I/O of the claim itself; it has to stay in its range. */
  submit(io: BlockIo): void {
    assert(this.isGranted, 'I/O of a claim that is not granted');
    const { offsetBytes, lengthBytes } = io;
    assert(
      offsetBytes >= this.fromBytes && offsetBytes + lengthBytes <= this.toBytes,
      'I/O leaves its claim',
    );
    this.owner.inner.submit(io);
  }

  /** Once, when its I/O has ended. */
  release(): void {
    this.owner.release(this);
  }

  overlaps(offsetBytes: number, lengthBytes: number): boolean {
    return offsetBytes < this.toBytes && offsetBytes + lengthBytes > this.fromBytes;
  }
}

export class ClaimableDevice implements BlockDevice, IoCounter {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  /** The claim whose turn it is. */
  private current: Claim | null = null;
  private waiting: Claim[] = [];
  private held: BlockIo[] = [];
  private generation = 0;
  private readonly inFlight = [0, 0];

  constructor(readonly inner: BlockDevice) {
    this.sizeBytes = inner.sizeBytes;
    this.blockBytes = inner.blockBytes;
    this.readOnly = inner.readOnly;
  }

  submit(io: BlockIo): void {
    // A flush has no range to be atomic with, and may take as long as a disk does for all that others have written.
    if (io.op === 'flush') this.inner.submit(io);
    else if (this.current?.overlaps(io.offsetBytes, io.lengthBytes) === true) this.held.push(io);
    else this.pass(io);
  }

  mapped(offsetBytes: number, lengthBytes: number, withDigest: boolean): PageMap | null {
    if (this.current?.overlaps(offsetBytes, lengthBytes) === true) return null;
    return this.inner.mapped?.(offsetBytes, lengthBytes, withDigest) ?? null;
  }

  get losses(): number {
    return this.inner.losses ?? 0;
  }

  admit(): number {
    return this.inner.admit?.() ?? 0;
  }

  provisioning(offsetBytes: number, lengthBytes: number): Provisioning {
    return this.inner.provisioning?.(offsetBytes, lengthBytes) ?? { mapped: true, lengthBytes };
  }

  async usage(): Promise<Usage> {
    return this.inner.usage?.() ?? { usedBytes: this.sizeBytes, availableBytes: 0 };
  }

  async lookUp(offsetBytes: number, lengthBytes: number): Promise<Provisioning> {
    return this.inner.lookUp?.(offsetBytes, lengthBytes) ?? this.provisioning(offsetBytes, lengthBytes);
  }

  /** Asks for a range; what overlaps it waits from its turn on. */
  claim(offsetBytes: number, lengthBytes: number, granted: (claim: Claim) => void): void {
    const claim = new Claim(this, offsetBytes, offsetBytes + lengthBytes, granted);
    if (this.current === null) this.begin(claim);
    else this.waiting.push(claim);
  }

  /** Calls back, perhaps inside, once all that is in flight now, or held, has ended. Its empty claim holds up no I/O. */
  drain(drained: () => void): void {
    this.claim(0, 0, (claim) => {
      claim.release();
      drained();
    });
  }

  /** What was held goes first, so that a unit which is claimed all the time is read and written all the same. */
  release(claim: Claim): void {
    assert(this.current === claim && claim.isGranted, 'a claim is released once, by its owner');
    claim.isGranted = false;
    while (this.held.length !== 0) {
      const { held } = this;
      this.held = [];
      for (const io of held) this.pass(io);
    }
    this.current = null;
    const next = this.waiting.shift();
    if (next !== undefined) this.begin(next);
  }

  /** Ends what is held and nobody waits for any more. */
  dropUnwanted(): void {
    const unwanted = this.held.filter((io) => !io.isWanted);
    this.held = this.held.filter((io) => io.isWanted);
    for (const io of unwanted) io.complete(new IoError('aborted', 'nobody waits for it any more'));
  }

  ended(io: BlockIo): void {
    const left = (this.inFlight[io.countedIn] as number) - 1;
    assert(left >= 0, 'more I/O ended than began');
    this.inFlight[io.countedIn] = left;
    if (left === 0 && this.current !== null && io.countedIn !== this.generation) this.grant(this.current);
  }

  private pass(io: BlockIo): void {
    assert(io.counter === null, 'an I/O is submitted to one unit');
    io.counter = this;
    io.countedIn = this.generation;
    this.inFlight[this.generation] = (this.inFlight[this.generation] as number) + 1;
    this.inner.submit(io);
  }

  private begin(claim: Claim): void {
    this.current = claim;
    const before = this.generation;
    this.generation = 1 - before;
    assert(this.inFlight[this.generation] === 0, 'the claim before waited for the other generation');
    if (this.inFlight[before] === 0) this.grant(claim);
  }

  private grant(claim: Claim): void {
    assert(!claim.isGranted, 'a claim is granted once');
    claim.isGranted = true;
    claim.granted(claim);
  }
}
