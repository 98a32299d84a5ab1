/**
 * The page cache of one file as an address, for reads that go straight from there to a socket (block/page-map.ts): what is
 * mapped is the whole file, what may be used of it is what the kernel said a moment ago is cached (mincore).
 *
 *   regions   2 MiB; looked at as a whole when one is asked for, at most once in RESIDENT_MS
 *   chunks    64 KiB; a bit each: every page of it was in the page cache
 *
 * A page that leaves the cache within that moment costs the loop a wait for the disk, once. Where that is likely, preadv2
 * decides instead (reader.ts): in a region where something was not cached a moment ago, and in the whole file when that
 * happens often. Now and then it happens everywhere: kernels that reclaim ahead of need take a few pages a second.
 */
import type { IoError } from '../block/device.js';
import type { PageMap } from '../block/page-map.js';
import { ioErrorOf } from './io-errors.js';
import type { BlockDigests } from './block-digests.js';
import type { FileCalls } from './doors.js';
import type { MapCalls } from './map-calls.js';
import { MAPPED_MISSES_MAX, RESIDENT_MS } from '../base/limits.js';

const PAGE_BYTES = 4096;
const CHUNK_BYTES = 64 * 1024;
const PAGES_A_CHUNK = CHUNK_BYTES / PAGE_BYTES;
const REGION_BYTES = 32 * CHUNK_BYTES;
/** Regions known at a time, each at its place modulo this power of two: 4 GiB of a file for 28 KiB of memory. */
const REGIONS_KNOWN = 2048;
const NEVER = -Infinity;

export class MappedFile implements PageMap {
  private readonly regionAt = new Int32Array(REGIONS_KNOWN).fill(-1);
  private readonly lookedAtMs = new Float64Array(REGIONS_KNOWN).fill(NEVER);
  private readonly chunks = new Uint32Array(REGIONS_KNOWN);
  private readonly pages = new Uint8Array(REGION_BYTES / PAGE_BYTES);
  private distrustedUntilMs = NEVER;
  private countingSinceMs = NEVER;
  private misses = 0;

  private constructor(
    readonly address: number,
    private readonly fd: number,
    private readonly sizeBytes: number,
    private readonly mapCalls: MapCalls,
    private readonly calls: Pick<FileCalls, 'readSync'>,
    private readonly digests: BlockDigests | null,
  ) {}

  /**
   * Null when the file cannot be mapped.
   * @param fd open for writing: of a file that is not ours mincore says that all is cached
   * @param digests null: none can be said
   */
  static open(
    fd: number,
    sizeBytes: number,
    mapCalls: MapCalls,
    calls: Pick<FileCalls, 'readSync'>,
    digests: BlockDigests | null = null,
  ): MappedFile | null {
    const address = mapCalls.map(fd, sizeBytes);
    return address === 0 ? null : new MappedFile(address, fd, sizeBytes, mapCalls, calls, digests);
  }

  close(): void {
    this.mapCalls.unmap(this.address, this.sizeBytes);
  }

  /** Whether the range was cached when last looked at, which was a moment ago at most. */
  has(offsetBytes: number, lengthBytes: number, nowMs: number): boolean {
    if (nowMs < this.distrustedUntilMs) return false;
    const region = Math.floor(offsetBytes / REGION_BYTES);
    const withinBytes = offsetBytes - region * REGION_BYTES; // % of numbers beyond 2^31 is a call
    const first = (withinBytes / CHUNK_BYTES) | 0;
    const last = ((withinBytes + lengthBytes - 1) / CHUNK_BYTES) | 0;
    if (last >= 32) return false; // over the end of its region: rare, and preadv2 can do it
    const place = region & (REGIONS_KNOWN - 1);
    if (nowMs - (this.lookedAtMs[place] as number) > RESIDENT_MS) this.look(region, place, nowMs);
    else if (this.regionAt[place] !== region) return false; // looking at each in turn would cost more than it gives
    const wanted = (0xffffffff >>> (31 - last)) & (0xffffffff << first);
    return ((this.chunks[place] as number) & wanted) === wanted;
  }

  /** Something in the region of this byte was not cached, so its neighbours may be leaving the page cache too. */
  missed(offsetBytes: number, nowMs: number): void {
    const region = Math.floor(offsetBytes / REGION_BYTES);
    const place = region & (REGIONS_KNOWN - 1);
    this.regionAt[place] = region;
    this.lookedAtMs[place] = nowMs;
    this.chunks[place] = 0;
    if (nowMs - this.countingSinceMs > RESIDENT_MS) {
      this.countingSinceMs = nowMs;
      this.misses = 0;
    }
    this.misses += 1;
    if (this.misses <= MAPPED_MISSES_MAX) return;
    this.distrustedUntilMs = Math.max(this.distrustedUntilMs, nowMs + RESIDENT_MS);
  }

  /** The range is about to leave the page cache. */
  forget(offsetBytes: number, lengthBytes: number): void {
    this.mapCalls.forget(this.address + offsetBytes, lengthBytes);
    const end = Math.ceil((offsetBytes + lengthBytes) / REGION_BYTES);
    for (let region = Math.floor(offsetBytes / REGION_BYTES); region < end; region++) {
      const place = region & (REGIONS_KNOWN - 1);
      if (this.regionAt[place] === region) this.lookedAtMs[place] = NEVER;
    }
  }

  copyOut(offsetBytes: number, into: Buffer): void {
    for (let done = 0; done < into.length;) {
      const bytes = this.readSome(offsetBytes + done, into, done);
      done += bytes;
    }
  }

  digestOf(offsetBytes: number, lengthBytes: number): number {
    return this.digests?.of(offsetBytes, lengthBytes) ?? -1;
  }

  private readSome(positionBytes: number, into: Buffer, at: number): number {
    let error: IoError;
    try {
      const bytes = this.calls.readSync(this.fd, into, at, into.length - at, positionBytes);
      if (bytes > 0) return bytes;
      error = ioErrorOf(new Error('the file has become shorter than its volume'), 'read');
    } catch (cause) {
      error = ioErrorOf(cause, 'read');
    }
    this.distrustedUntilMs = Infinity; // the ordinary way tells the initiator what is wrong
    throw error;
  }

  private look(region: number, place: number, nowMs: number): void {
    const { pages } = this;
    const fromBytes = region * REGION_BYTES;
    const lengthBytes = Math.min(REGION_BYTES, this.sizeBytes - fromBytes);
    this.regionAt[place] = region;
    this.lookedAtMs[place] = nowMs;
    this.chunks[place] = 0;
    this.digests?.age(fromBytes, nowMs);
    if (!this.mapCalls.resident(this.address + fromBytes, lengthBytes, pages)) return;
    const pageCount = Math.ceil(lengthBytes / PAGE_BYTES);
    let bits = 0;
    for (let chunk = 0; chunk * PAGES_A_CHUNK < pageCount; chunk++) {
      const end = Math.min((chunk + 1) * PAGES_A_CHUNK, pageCount);
      let cached = 1;
      for (let page = chunk * PAGES_A_CHUNK; page < end; page++) cached &= pages[page] as number;
      bits |= cached << chunk;
    }
    this.chunks[place] = bits;
  }
}
