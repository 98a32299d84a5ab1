/**
 * A volume as one BlockDevice over its extents, wherever they are held. It finds the slot of each I/O, splits those
 * that meet different slots, and gathers a flush from every holder. It knows no routes, peers or moves: they plug in
 * through slot.ts.
 */
import { assert } from '../base/assert.js';
import { IoError, type BlockDevice, type BlockIo, type Provisioning, type Usage } from '../block/device.js';
import type { PageMap } from '../block/page-map.js';
import { FlushPart, JoinedIo, PartIo } from './joined-io.js';
import type { ExtentHolders, ExtentSlot, IoOrigin } from './slot.js';

export interface VolumeGeometry {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly extentBytes: number;
}

/** Extents looked at for one answer about holes: it is given on the loop. */
const PROVISIONING_LOOKS_MAX = 64;

export class Volume implements BlockDevice, IoOrigin {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly extentBytes: number;
  readonly readOnly = false;
  /** Extents on the move away from this member: their interceptors stand here (migration/). Usually empty. */
  readonly moving = new Map<number, ExtentSlot>();
  /** Asked before each I/O where set: false ends it, or holds it back if that suspended the volume. */
  guard: (() => boolean) | null = null;
  /** What other members may lose of it. */
  elsewhere: Required<Pick<BlockDevice, 'losses' | 'admit'>> | null = null;
  private held: BlockIo[] | null = null;
  private hasGivenUp = false;

  /**
   * @param holders who holds each extent, at the current epoch
   * @param self this member's number in `holders`
   * @param local the slot of what this member holds
   * @param remote the slot of what another member holds
   */
  constructor(
    geometry: VolumeGeometry,
    private holders: ExtentHolders,
    private readonly self: number,
    readonly local: ExtentSlot,
    private readonly remote: (holder: number) => ExtentSlot,
  ) {
    this.sizeBytes = geometry.sizeBytes;
    this.blockBytes = geometry.blockBytes;
    this.extentBytes = geometry.extentBytes;
  }

  get epoch(): number {
    return this.holders.epoch;
  }

  /** The route of a new epoch. */
  adopt(holders: ExtentHolders): void {
    assert(holders.epoch >= this.holders.epoch, `epoch ${holders.epoch} after ${this.holders.epoch}`);
    this.holders = holders;
  }

  holdsHere(extent: number): boolean {
    return this.holders.holderAt(extent) === this.self;
  }

  get losses(): number {
    return this.elsewhere?.losses ?? 0;
  }

  admit(): number {
    return this.elsewhere?.admit() ?? 0;
  }

  /** Stops serving until resume(): I/O waits (I4, a member without a lease). */
  suspend(): void {
    this.held ??= [];
  }

  /** What nobody waits for any more is not begun: it could meet what was sent since. */
  resume(): void {
    if (this.hasGivenUp) return;
    const held = this.held;
    this.held = null;
    for (const io of held ?? []) {
      if (io.isWanted) this.submit(io);
      else io.complete(new IoError('aborted', 'nobody waits for it any more'));
    }
  }

  /** Ends what is held and nobody waits for any more: somebody waits for its end. */
  dropUnwanted(): void {
    if (this.held === null) return;
    const unwanted = this.held.filter((io) => !io.isWanted);
    this.held = this.held.filter((io) => io.isWanted);
    for (const io of unwanted) this.turnedAway(io);
  }

  /**
   * Stops serving for good: the member stops, and no lease will come for what waits for one. Ends what is held, and whatever
   * comes: were it resumed, it could begin I/O in the midst of the stop.
   */
  giveUpHeld(): void {
    const held = this.held ?? [];
    this.held = [];
    this.hasGivenUp = true;
    for (const io of held) this.turnedAway(io);
  }

  private turnedAway(io: BlockIo): void {
    if (this.hasGivenUp) io.complete(new IoError('aborted', 'the member stops'));
    else if (!io.isWanted) io.complete(new IoError('aborted', 'nobody waits for it any more'));
    else if (this.held !== null) this.held.push(io);
    else io.complete(new IoError('aborted', 'the volume is served elsewhere by now'));
  }

  private get isServing(): boolean {
    return this.held === null && (this.guard === null || this.guard());
  }

  submit(io: BlockIo): void {
    if (!this.isServing) {
      this.turnedAway(io);
      return;
    }
    if (io.op === 'flush') {
      this.flush(io);
      return;
    }
    if (io.offsetBytes < 0 || io.lengthBytes <= 0 || io.offsetBytes + io.lengthBytes > this.sizeBytes) {
      const nothing = io.lengthBytes === 0 && io.offsetBytes >= 0 && io.offsetBytes <= this.sizeBytes;
      io.complete(nothing ? null : new IoError('out-of-range', `${io.offsetBytes}+${io.lengthBytes}`));
      return;
    }
    const first = Math.floor(io.offsetBytes / this.extentBytes);
    const last = Math.floor((io.offsetBytes + io.lengthBytes - 1) / this.extentBytes);
    const slot = this.slotAt(first);
    if (first === last) slot.submit(io, first, this);
    else this.submitAcross(io, first, last, slot);
  }

  mapped(offsetBytes: number, lengthBytes: number, withDigest: boolean): PageMap | null {
    if (!this.isServing) return null;
    return this.mappedHere(offsetBytes, lengthBytes, withDigest);
  }

  /**
   * Of what one slot of this member serves, for its initiators and for other members; whatever has to wait, be split or be
   * forwarded is asked for by submit().
   */
  mappedHere(offsetBytes: number, lengthBytes: number, withDigest: boolean): PageMap | null {
    const end = offsetBytes + lengthBytes;
    if (offsetBytes < 0 || lengthBytes <= 0 || end > this.sizeBytes) return null;
    const extent = Math.floor(offsetBytes / this.extentBytes);
    if (end > (extent + 1) * this.extentBytes) return null;
    return this.slotAt(extent).mapped?.(offsetBytes, lengthBytes, withDigest) ?? null;
  }

  /**
   * The route changed under an I/O that a slot had not begun, or may have. Where it did not, and one holder of several did not
   * answer a flush, he alone is asked again.
   */
  again(io: BlockIo): void {
    const isUnchanged = io instanceof FlushPart && io.epoch === this.epoch && this.isServing;
    if (isUnchanged) this.slotOf(io.holder).submit(io, 0, this);
    else this.submit(io);
  }

  /** What serves I/O on an extent right now. */
  slotAt(extent: number): ExtentSlot {
    if (this.moving.size !== 0) {
      const interceptor = this.moving.get(extent);
      if (interceptor !== undefined) return interceptor;
    }
    return this.slotOf(this.holders.holderAt(extent));
  }

  private slotOf(holder: number): ExtentSlot {
    return holder === this.self ? this.local : this.remote(holder);
  }

  /** What is held elsewhere counts as mapped. */
  provisioning(offsetBytes: number, lengthBytes: number): Provisioning {
    const { extentBytes } = this;
    const end = Math.min(offsetBytes + lengthBytes, this.sizeBytes);
    let at = offsetBytes;
    let mapped = true;
    for (let looks = 0; at < end && looks < PROVISIONING_LOOKS_MAX; looks++) {
      const extent = Math.floor(at / extentBytes);
      const toExtentEnd = Math.min((extent + 1) * extentBytes, end) - at;
      const here = this.slotAt(extent).provisioning?.(at, toExtentEnd) ?? {
        mapped: true,
        lengthBytes: toExtentEnd,
      };
      if (at === offsetBytes) mapped = here.mapped;
      else if (here.mapped !== mapped) break;
      at += here.lengthBytes;
    }
    return { mapped, lengthBytes: Math.min(at, end) - offsetBytes };
  }

  /** What is held elsewhere is asked for there. */
  async lookUp(offsetBytes: number, lengthBytes: number): Promise<Provisioning> {
    const first = Math.floor(offsetBytes / this.extentBytes);
    for (;;) {
      const slot = this.slotAt(first);
      if (slot.lookUp === undefined) return this.provisioning(offsetBytes, lengthBytes);
      const end = Math.min(this.endOfSlot(slot, first), offsetBytes + lengthBytes);
      const found = await slot.lookUp(offsetBytes, end - offsetBytes, first);
      if (found !== null) return found;
    }
  }

  /**
   * What all holders take together, but for those that do not answer. Of what is left for it the least anywhere: nobody
   * chooses where a write goes.
   */
  async usage(): Promise<Usage> {
    const slots = this.holders.holders.map((holder) =>
      holder === this.self ? this.local : this.remote(holder),
    );
    const answers = await Promise.all(slots.map(async (slot) => (await slot.usage?.()) ?? null));
    const known = answers.filter((usage) => usage !== null);
    const usedBytes = known.reduce((sum, usage) => sum + usage.usedBytes, 0);
    const least = Math.min(...known.map(({ availableBytes }) => availableBytes));
    return { usedBytes, availableBytes: known.length === 0 ? 0 : least };
  }

  /** How far one slot serves what follows, by so many extents as are looked at together. */
  private endOfSlot(slot: ExtentSlot, first: number): number {
    const last = Math.min(first + PROVISIONING_LOOKS_MAX, Math.ceil(this.sizeBytes / this.extentBytes));
    let extent = first + 1;
    while (extent < last && this.slotAt(extent) === slot) extent += 1;
    return Math.min(extent * this.extentBytes, this.sizeBytes);
  }

  /** Neighbouring extents with one slot (all of a quiet volume) stay one I/O. */
  private submitAcross(io: BlockIo, first: number, last: number, firstSlot: ExtentSlot): void {
    const parts: { slot: ExtentSlot; first: number; last: number }[] = [
      { slot: firstSlot, first, last: first },
    ];
    for (let extent = first + 1; extent <= last; extent++) {
      const slot = this.slotAt(extent);
      const part = parts.at(-1);
      if (part?.slot === slot) part.last = extent;
      else parts.push({ slot, first: extent, last: extent });
    }
    if (parts.length === 1) {
      firstSlot.submit(io, first, this);
      return;
    }
    const joined = new JoinedIo(io, parts.length);
    for (const part of parts) {
      const from = Math.max(io.offsetBytes, part.first * this.extentBytes);
      const to = Math.min(io.offsetBytes + io.lengthBytes, (part.last + 1) * this.extentBytes);
      part.slot.submit(new PartIo(joined, from, to - from), part.first, this);
    }
  }

  /**
   * Everything acknowledged before is durable afterwards, wherever it went. Every holder is asked, also those this
   * member never wrote to: the initiator may have written through another home before a hand-over.
   */
  private flush(io: BlockIo): void {
    const { holders } = this.holders;
    const [only] = holders;
    if (holders.length === 1 && only === this.self) {
      this.local.submit(io, 0, this);
      return;
    }
    const joined = new JoinedIo(io, holders.length);
    for (const holder of holders)
      this.slotOf(holder).submit(new FlushPart(joined, holder, this.epoch), 0, this);
  }
}
