/**
 * A volume of the simulated group: where its extents are, how its requests spread over them, and what is asked of it now.
 * Owns its placement. It is itself the picture that planners see (balance/contract.ts), so that a picture of 100,000
 * volumes copies nothing.
 */
import { assert, invariant } from '../base/assert.js';
import { HOT_EXTENTS_MAX } from '../base/limits.js';
import type { CoolingRun, ExtentRun, VolumePicture } from '../balance/contract.js';

/** What initiators ask of a volume. */
export interface Demand {
  /** Requests a second if all were answered at once; Infinity: each answer is followed by the next request. */
  offeredPerSecond: number;
  /** Requests outstanding at most. */
  outstanding: number;
  readShare: number;
  requestBytes: number;
  sequentialShare: number;
}

export interface VolumeShape {
  readonly name: string;
  readonly extentBytes: number;
  /** Of each extent 1 where it has data, 0 where it is a hole. Shared by volumes of the same kind, never written to. */
  readonly filled: Uint8Array;
  /** Of each extent its share of the requests; they add up to 1. Shared as well. */
  readonly heat: Float64Array;
}

/** Requests that a member serves of a volume. */
export interface HeldShare {
  readonly member: number;
  readonly share: number;
}

export class SimVolume implements VolumePicture {
  readonly name: string;
  readonly extents: number;
  readonly extentBytes: number;
  readonly usedBytes: number;
  readonly filled: Uint8Array;
  readonly isPinned = false;
  readonly labels = {};
  /** Set and cleared by who moves it. */
  underWay: VolumePicture['underWay'];
  cooling: CoolingRun[] = [];
  demand: Demand;
  private heatNow: Float64Array;
  /** Null: `base` holds all of it. */
  private parts: Uint16Array | null = null;
  private shares: readonly HeldShare[] | null = null;
  private counts: ReadonlyMap<string, number> | null = null;
  private hot: ReadonlyMap<number, readonly number[]> | null = null;

  /**
   * @param names of the members, in the order of their numbers
   * @param homeMember number of the member that is its home and holds all of it
   */
  constructor(
    shape: VolumeShape,
    private readonly names: readonly string[],
    public homeMember: number,
    demand: Demand,
    private base = homeMember,
  ) {
    this.name = shape.name;
    this.extents = shape.heat.length;
    this.extentBytes = shape.extentBytes;
    this.filled = shape.filled;
    this.usedBytes = shape.filled.reduce((sum, data) => sum + data, 0) * shape.extentBytes;
    this.heatNow = shape.heat;
    this.demand = demand;
    assert(shape.filled.length === this.extents, 'every extent is filled or a hole');
  }

  get isMoving(): boolean {
    return this.underWay !== undefined;
  }

  get home(): string {
    return this.names[this.homeMember] as string;
  }

  get heat(): Float64Array {
    return this.heatNow;
  }

  /** Requests go elsewhere from now on. */
  set heat(heat: Float64Array) {
    assert(heat.length === this.extents, 'heat for every extent');
    if (heat === this.heatNow) return;
    this.heatNow = heat;
    this.shares = null;
    this.hot = null;
  }

  holderOf(extent: number): number {
    return this.parts === null ? this.base : (this.parts[extent] as number);
  }

  /** The extents first to last, both included, are `member`'s from now on. */
  give(first: number, last: number, member: number): void {
    invariant('I2', first <= last && last < this.extents, 'extents that exist get one holder');
    this.parts ??= new Uint16Array(this.extents).fill(this.base);
    this.parts.fill(member, first, last + 1);
    if (this.parts.every((holder) => holder === member)) {
      this.parts = null;
      this.base = member;
    }
    this.shares = null;
    this.counts = null;
    this.hot = null;
  }

  /** Who serves which share of its requests. */
  heldShares(): readonly HeldShare[] {
    return (this.shares ??= this.countShares());
  }

  /** Of each holder its hottest extents, the hottest first, HOT_EXTENTS_MAX at most. */
  hottest(): ReadonlyMap<number, readonly number[]> {
    return (this.hot ??= this.findHottest());
  }

  /** Adds the bytes of data that each member holds to `bytes`. */
  addBytesHeld(bytes: Float64Array): void {
    if (this.parts === null) bytes[this.base]! += this.usedBytes;
    else this.parts.forEach((holder, e) => (bytes[holder]! += (this.filled[e] as number) * this.extentBytes));
  }

  get holders(): ReadonlyMap<string, number> {
    return (this.counts ??= this.countHolders());
  }

  runs(): readonly ExtentRun[] {
    const runs: ExtentRun[] = [];
    let first = 0;
    for (let e = 1; e <= this.extents; e += 1) {
      if (e < this.extents && this.holderOf(e) === this.holderOf(first)) continue;
      runs.push({ first, last: e - 1, holder: this.names[this.holderOf(first)] as string });
      first = e;
    }
    return runs;
  }

  private findHottest(): Map<number, number[]> {
    const hot = new Map<number, number[]>(this.heldShares().map(({ member }) => [member, []]));
    let open = hot.size;
    for (const extent of orderOf(this.heatNow)) {
      if (open === 0 || this.heatNow[extent] === 0) break;
      const list = hot.get(this.holderOf(extent)) as number[];
      if (list.length === HOT_EXTENTS_MAX) continue;
      list.push(extent);
      if (list.length === HOT_EXTENTS_MAX) open -= 1;
    }
    return hot;
  }

  private countShares(): HeldShare[] {
    const { parts, heatNow } = this;
    if (parts === null) return [{ member: this.base, share: 1 }];
    const byMember = new Map<number, number>();
    for (let e = 0; e < parts.length; e += 1) {
      const holder = parts[e] as number;
      byMember.set(holder, (byMember.get(holder) ?? 0) + (heatNow[e] as number));
    }
    return [...byMember].map(([member, share]) => ({ member, share }));
  }

  private countHolders(): ReadonlyMap<string, number> {
    const { parts } = this;
    if (parts === null) return new Map([[this.names[this.base] as string, this.extents]]);
    const counts = new Map<string, number>();
    for (const holder of parts) {
      const name = this.names[holder] as string;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  }
}

/** Extents by heat, the hottest first; kept, since volumes share their heat and it changes seldom. */
const orders = new WeakMap<Float64Array, Uint32Array>();

function orderOf(heat: Float64Array): Uint32Array {
  let order = orders.get(heat);
  if (order === undefined) {
    order = Uint32Array.from(heat.keys()).sort((a, b) => (heat[b] as number) - (heat[a] as number) || a - b);
    orders.set(heat, order);
  }
  return order;
}
