/**
 * The bytes of one simulated file, twice: as processes see them (the page cache) and as a loss of power leaves them. What
 * is dirty in between is durable, or not, or in part, as a seed says. Space is counted in pages, atomicity in sectors.
 */
import type { Chance } from '../base/chance.js';

export const SECTOR_BYTES = 512;
export const PAGE_BYTES = 4096;
const SECTORS_PER_PAGE = PAGE_BYTES / SECTOR_BYTES;

/** What a loss of power does to what is dirty. */
export type Loss = 'all' | 'none' | 'sectors';

export class Inode {
  cache: Buffer = Buffer.alloc(0);
  private durable: Buffer = Buffer.alloc(0);
  /** 1: the page takes space. */
  mapped = new Uint8Array(0);
  private durableMapped = new Uint8Array(0);
  /** Sectors that differ from the disk. */
  private readonly stale = new Set<number>();
  /** Those of them that the next sync will write: not the ones that an earlier one failed to. */
  private dirty = new Set<number>();
  private durableSizeBytes = 0;
  /** File descriptors' locks. */
  readonly locks = new Map<number, boolean>();

  constructor(
    readonly id: number,
    readonly isFolder: boolean,
  ) {}

  /** What a loss of power would leave. */
  get durableBytes(): Buffer {
    return this.durable;
  }

  get sizeBytes(): number {
    return this.cache.length;
  }

  get mappedPages(): number {
    let count = 0;
    for (const page of this.mapped) count += page;
    return count;
  }

  resize(sizeBytes: number): void {
    if (sizeBytes === this.sizeBytes) return;
    const grow = (bytes: Buffer): Buffer => {
      const grown = Buffer.alloc(sizeBytes);
      bytes.copy(grown, 0, 0, sizeBytes);
      return grown;
    };
    this.cache = grow(this.cache);
    this.durable = grow(this.durable);
    const pages = Math.ceil(sizeBytes / PAGE_BYTES);
    const growMap = (map: Uint8Array): Uint8Array<ArrayBuffer> => {
      const grown = new Uint8Array(pages);
      grown.set(map.subarray(0, pages));
      return grown;
    };
    this.mapped = growMap(this.mapped);
    this.durableMapped = growMap(this.durableMapped);
  }

  /** Whether a write there takes more space. */
  needsSpace(offsetBytes: number, lengthBytes: number): boolean {
    const last = Math.floor((offsetBytes + lengthBytes - 1) / PAGE_BYTES);
    for (let page = Math.floor(offsetBytes / PAGE_BYTES); page <= last; page++) {
      if (this.mapped[page] === 0) return true;
    }
    return false;
  }

  write(offsetBytes: number, bytes: Buffer): void {
    if (bytes.length === 0) return;
    bytes.copy(this.cache, offsetBytes);
    const end = offsetBytes + bytes.length;
    this.mapped.fill(1, Math.floor(offsetBytes / PAGE_BYTES), Math.ceil(end / PAGE_BYTES));
    this.touch(offsetBytes, end);
  }

  /** Zeros; whole pages give their space back. */
  punch(offsetBytes: number, lengthBytes: number): void {
    const end = Math.min(offsetBytes + lengthBytes, this.cache.length);
    this.cache.fill(0, offsetBytes, end);
    const first = Math.ceil(offsetBytes / PAGE_BYTES);
    const last = end === this.cache.length ? this.mapped.length : Math.floor(end / PAGE_BYTES);
    if (first < last) this.mapped.fill(0, first, last);
    this.touch(offsetBytes, end);
  }

  private touch(fromBytes: number, toBytes: number): void {
    const last = Math.ceil(toBytes / SECTOR_BYTES);
    for (let sector = Math.floor(fromBytes / SECTOR_BYTES); sector < last; sector++) {
      this.stale.add(sector);
      this.dirty.add(sector);
    }
  }

  /** A sync of a range begins: what it will have made durable when it ends. */
  beginSync(fromBytes = 0, toBytes = Infinity): ReadonlySet<number> {
    const first = Math.floor(fromBytes / SECTOR_BYTES);
    const last = Math.ceil(toBytes / SECTOR_BYTES);
    const covered = new Set([...this.dirty].filter((sector) => sector >= first && sector < last));
    for (const sector of covered) this.dirty.delete(sector);
    return covered;
  }

  endSync(covered: Iterable<number>): void {
    for (const sector of covered) this.settle(sector);
    this.durableSizeBytes = this.sizeBytes;
  }

  /** A sync whose process died: the next one covers the same. */
  dropSync(covered: Iterable<number>): void {
    for (const sector of covered) this.dirty.add(sector);
  }

  /** Makes a range durable (O_DSYNC). */
  harden(offsetBytes: number, lengthBytes: number): void {
    const last = Math.ceil((offsetBytes + lengthBytes) / SECTOR_BYTES);
    for (let sector = Math.floor(offsetBytes / SECTOR_BYTES); sector < last; sector++) this.settle(sector);
  }

  /** The power goes: every stale sector is kept, or falls back to what the disk had. */
  losePower(loss: Loss, chance: Chance): void {
    const takesSpace = new Map<number, boolean>();
    for (const sector of [...this.stale].sort((a, b) => a - b)) {
      const page = Math.floor(sector / SECTORS_PER_PAGE);
      const keeps = loss === 'none' || (loss === 'sectors' && chance.happens(0.5));
      const isMapped = (keeps ? this.mapped : this.durableMapped)[page] === 1;
      takesSpace.set(page, isMapped || takesSpace.get(page) === true);
      this.copySector(sector, keeps);
    }
    // A page with anything of a file in it is the file's: no file system leaves bytes in a hole.
    for (const [page, isMapped] of takesSpace)
      this.mapped[page] = this.durableMapped[page] = isMapped ? 1 : 0;
    this.stale.clear();
    this.dirty.clear();
    this.locks.clear();
    if (this.durableSizeBytes < this.sizeBytes && loss !== 'none') this.resize(this.durableSizeBytes);
  }

  /** One sector: the disk gets the cache's bytes, or the cache the disk's. */
  private copySector(sector: number, keeps: boolean): void {
    const from = sector * SECTOR_BYTES;
    const [source, target] = keeps ? [this.cache, this.durable] : [this.durable, this.cache];
    source.copy(target, from, from, from + SECTOR_BYTES);
  }

  /** One sector is on the disk as it is in the cache. */
  private settle(sector: number): void {
    this.copySector(sector, true);
    const page = Math.floor(sector / SECTORS_PER_PAGE);
    this.durableMapped[page] = this.mapped[page] as number;
    this.stale.delete(sector);
  }
}
