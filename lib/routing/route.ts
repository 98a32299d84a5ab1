/**
 * One volume's route as an immutable snapshot: its home, its epoch, and who holds each extent. Lookups are two array
 * reads whatever the size; a change copies one chunk. It knows records, not the store: table.ts keeps it current.
 */
import { assert, invariant, violated } from '../base/assert.js';
import { BlockferryError } from '../base/errors.js';
import { ROUTE_CHUNK_EXTENTS, type RouteChunkRecord, type RouteHeadRecord } from '../group/records.js';
import type { ExtentHolders } from '../volume/slot.js';
import type { MemberIds } from './member-ids.js';

/** One holder for the whole chunk, or one byte per extent. */
type Chunk = number | Uint8Array;

export class Route implements ExtentHolders {
  private constructor(
    private readonly ids: MemberIds,
    readonly head: RouteHeadRecord,
    /** The store's revision of the head: what a commit compares (every change of a chunk rewrites the head too). */
    readonly headRevision: number,
    private readonly chunks: readonly Chunk[],
  ) {}

  /** @throws INVALID when the records contradict each other */
  static fromRecords(
    ids: MemberIds,
    head: RouteHeadRecord,
    headRevision: number,
    chunkRecords: ReadonlyMap<number, RouteChunkRecord>,
  ): Route {
    const chunks: Chunk[] = new Array<Chunk>(chunkCount(head.extents)).fill(ids.idOf(head.base));
    for (const [index, record] of chunkRecords) chunks[index] = expandChunk(ids, head, index, record);
    return new Route(ids, head, headRevision, chunks);
  }

  get epoch(): number {
    return this.head.epoch;
  }

  get home(): string {
    return this.head.home;
  }

  /** See RouteHeadRecord. */
  get unflushed(): Readonly<Record<string, string>> {
    return this.head.unflushed ?? {};
  }

  /** See RouteHeadRecord. */
  get gave(): Readonly<Record<string, string>> {
    return this.head.gave ?? {};
  }

  /** See RouteHeadRecord. */
  get lostAt(): Readonly<Record<string, number>> {
    return this.head.lostAt ?? {};
  }

  /** See RouteHeadRecord. */
  get homeSince(): number {
    return this.head.homeSince ?? 0;
  }

  get extents(): number {
    return this.head.extents;
  }

  holderAt(extent: number): number {
    const chunk = this.chunks[Math.floor(extent / ROUTE_CHUNK_EXTENTS)];
    if (chunk === undefined) violated(`extent ${extent} is beyond the route's ${this.head.extents}`);
    return typeof chunk === 'number' ? chunk : (chunk[extent % ROUTE_CHUNK_EXTENTS] as number);
  }

  holderNameAt(extent: number): string {
    return this.ids.nameOf(this.holderAt(extent));
  }

  /** How many extents each member holds. */
  countByHolder(): Map<string, number> {
    const counts = new Map<number, number>();
    this.chunks.forEach((chunk, index) => {
      if (typeof chunk === 'number')
        counts.set(chunk, (counts.get(chunk) ?? 0) + extentsIn(this.head.extents, index));
      else for (const holder of chunk) counts.set(holder, (counts.get(holder) ?? 0) + 1);
    });
    return new Map([...counts].map(([id, count]) => [this.ids.nameOf(id), count]));
  }

  private holderSet: readonly number[] | undefined;

  /** Every member that holds an extent; computed once per snapshot. */
  get holders(): readonly number[] {
    if (this.holderSet === undefined) {
      const seen = new Set<number>();
      for (const chunk of this.chunks) {
        if (typeof chunk === 'number') seen.add(chunk);
        else for (const holder of chunk) seen.add(holder);
      }
      this.holderSet = [...seen];
    }
    return this.holderSet;
  }

  /** Runs of extents with one holder, in order; for people and for plans. */
  *runs(first = 0, last = this.head.extents - 1): Generator<{ first: number; last: number; holder: string }> {
    let start = first;
    for (let extent = first; extent <= last; extent++) {
      const next = extent === last ? -1 : this.holderAt(extent + 1);
      if (next !== this.holderAt(extent)) {
        yield { first: start, last: extent, holder: this.holderNameAt(extent) };
        start = extent + 1;
      }
    }
  }

  /** The extents of [first, last] that `member` holds. */
  extentsHeldBy(member: string, first = 0, last = this.head.extents - 1): number[] {
    const id = this.ids.idOf(member);
    const held: number[] = [];
    for (let extent = first; extent <= last; extent++) {
      if (this.holderAt(extent) === id) held.push(extent);
      else if (typeof this.chunks[chunkOf(extent)] === 'number') extent = endOfChunk(extent) - 1;
    }
    return held;
  }

  /** Whether `member` holds all of [first, last]. Asked at every commit of a move: chunks with one holder are one look. */
  isHeldBy(member: string, first = 0, last = this.head.extents - 1): boolean {
    const id = this.ids.idOf(member);
    for (let extent = first; extent <= last; extent++) {
      if (this.holderAt(extent) !== id) return false;
      if (typeof this.chunks[chunkOf(extent)] === 'number') extent = endOfChunk(extent) - 1;
    }
    return true;
  }

  /** How many members but `member` hold something of [first, last]. */
  countOthers(member: string, first = 0, last = this.head.extents - 1): number {
    const seen = new Set([this.ids.idOf(member)]);
    for (let extent = first, before = -1; extent <= last; extent++) {
      const holder = this.holderAt(extent);
      if (holder !== before) seen.add(holder);
      before = holder;
      if (typeof this.chunks[chunkOf(extent)] === 'number') extent = endOfChunk(extent) - 1;
    }
    return seen.size - 1;
  }

  /** Whether `extents`, in ascending order, are all that `member` holds. Asked at every batch: it ends at the first other. */
  holdsNoneBut(member: string, extents: readonly number[]): boolean {
    const id = this.ids.idOf(member);
    let next = 0;
    for (let extent = 0; extent < this.head.extents; extent++) {
      if (this.holderAt(extent) === id) {
        if (extents[next++] !== extent) return false;
      } else if (typeof this.chunks[chunkOf(extent)] === 'number') extent = endOfChunk(extent) - 1;
    }
    return true;
  }

  /**
   * The records of the next epoch, in which `to` holds `extents` (I3), all of one holder. Only what changed is returned.
   * @param verifier the write verifier under which that one gives them; '' where it has none
   * @param hasLost its disk has lost what was written there
   * @returns the new head, and chunk records by index; a chunk that is all `base` again is null: delete it
   */
  withHolder(extents: readonly number[], to: string, verifier = '', hasLost = false): RouteChange {
    const id = this.ids.idOf(to);
    const touched = new Map<number, Uint8Array>();
    for (const extent of extents) {
      invariant('I2', this.holderAt(extent) !== id, `extent ${extent} is given to its holder ${to}`);
      const index = Math.floor(extent / ROUTE_CHUNK_EXTENTS);
      const chunk = touched.get(index) ?? this.copyOfChunk(index);
      chunk[extent % ROUTE_CHUNK_EXTENTS] = id;
      touched.set(index, chunk);
    }
    const base = this.ids.idOf(this.head.base);
    const chunks = new Map<number, RouteChunkRecord | null>();
    for (const [index, chunk] of touched) {
      chunks.set(index, chunk.every((holder) => holder === base) ? null : compressChunk(this.ids, chunk));
    }
    const epoch = this.head.epoch + 1;
    const [first] = extents;
    if (first === undefined) return { head: { ...this.head, epoch }, chunks };
    const giver = this.holderNameAt(first);
    const gave = this.gaveWith(giver, to, verifier);
    const lostAt = hasLost ? { ...this.lostAt, [giver]: epoch } : this.head.lostAt;
    return { head: { ...this.head, gave, lostAt, epoch }, chunks };
  }

  private gaveWith(giver: string, to: string, verifier: string): Record<string, string> {
    const gave = { ...this.gave };
    delete gave[to];
    if (verifier === '') delete gave[giver];
    else gave[giver] = verifier;
    return gave;
  }

  /** The records of the next epoch, the same otherwise: the holder's file exists from now on. */
  begun(): RouteChange {
    return { head: { ...this.head, epoch: this.head.epoch + 1 }, chunks: new Map() };
  }

  /** The records of the next epoch, in which `home` is the home. */
  withHome(home: string, unflushed: Readonly<Record<string, string>> = {}): RouteChange {
    const epoch = this.head.epoch + 1;
    return { head: { ...this.head, home, homeSince: epoch, unflushed, epoch }, chunks: new Map() };
  }

  /** The snapshot after a change as it stands in the store. Unchanged chunks are shared. */
  applying(change: RouteChange, headRevision: number): Route {
    invariant(
      'I3',
      change.head.epoch > this.head.epoch,
      `epoch ${change.head.epoch} after ${this.head.epoch}`,
    );
    const chunks = [...this.chunks];
    const base = this.ids.idOf(change.head.base);
    for (const [index, record] of change.chunks) {
      chunks[index] = record === null ? base : expandChunk(this.ids, change.head, index, record);
    }
    return new Route(this.ids, change.head, headRevision, chunks);
  }

  private copyOfChunk(index: number): Uint8Array {
    const chunk = this.chunks[index];
    assert(chunk !== undefined, `chunk ${index} is beyond the route`);
    return typeof chunk === 'number'
      ? new Uint8Array(extentsIn(this.head.extents, index)).fill(chunk)
      : chunk.slice();
  }
}

export interface RouteChange {
  readonly head: RouteHeadRecord;
  readonly chunks: ReadonlyMap<number, RouteChunkRecord | null>;
}

function chunkOf(extent: number): number {
  return Math.floor(extent / ROUTE_CHUNK_EXTENTS);
}

/** The first extent of the next chunk. */
function endOfChunk(extent: number): number {
  return (chunkOf(extent) + 1) * ROUTE_CHUNK_EXTENTS;
}

function chunkCount(extents: number): number {
  return Math.ceil(extents / ROUTE_CHUNK_EXTENTS);
}

/** How many extents chunk `index` covers: all but the last are full. */
function extentsIn(extents: number, index: number): number {
  return Math.min(ROUTE_CHUNK_EXTENTS, extents - index * ROUTE_CHUNK_EXTENTS);
}

function expandChunk(ids: MemberIds, head: RouteHeadRecord, index: number, record: RouteChunkRecord): Chunk {
  const size = index < chunkCount(head.extents) ? extentsIn(head.extents, index) : 0;
  const total = record.runs.reduce((sum, [count]) => sum + count, 0);
  if (total !== size) {
    throw new BlockferryError(
      'INVALID',
      `route chunk ${index} speaks of ${total} extents where there are ${size}`,
    );
  }
  const [only] = record.runs;
  if (record.runs.length === 1 && only !== undefined) return ids.idOf(only[1]);
  const chunk = new Uint8Array(size);
  let at = 0;
  for (const [count, holder] of record.runs) {
    chunk.fill(ids.idOf(holder), at, at + count);
    at += count;
  }
  return chunk;
}

function compressChunk(ids: MemberIds, chunk: Uint8Array): RouteChunkRecord {
  const runs: [number, string][] = [];
  let start = 0;
  for (let i = 1; i <= chunk.length; i++) {
    if (i === chunk.length || chunk[i] !== chunk[start]) {
      runs.push([i - start, ids.nameOf(chunk[start] as number)]);
      start = i;
    }
  }
  return { runs };
}
