/**
 * The model of one volume: for every sector, which writes a read may find. It knows what initiators were told and what
 * crashed, nothing of how the group works.
 *
 * Every write has an interval, from when it was asked for to when it was answered (open while it is not). Initiators send
 * what is unanswered again, so it may take effect at any moment of its interval, more than once. Write v can be what a
 * sector holds unless some answered w began after v was over. Of what a loss of power at the holder leaves, the same is
 * true with "durable" for "answered" (I1): such a loss revives what was only superseded by writes that were not durable.
 * A read that found v says in turn that whatever was over before the read began is gone.
 */
import { REPEATED, isZeros, writeOf } from './block-pattern.js';
import { SECTOR_BYTES } from './inode.js';
import { Losses } from './losses.js';
import type { Timeline } from './timeline.js';

export type WriteKind = 'data' | 'repeated' | 'zeros';

/** One write of an initiator. */
export class ModelWrite {
  constructor(
    readonly id: number,
    readonly kind: WriteKind,
    readonly firstSector: number,
    readonly sectors: number,
    readonly beganTick: number,
    readonly fua: boolean,
    readonly by: string,
  ) {}

  /** Its sectors. */
  places(): number[] {
    return Array.from({ length: this.sectors }, (_, i) => this.firstSector + i);
  }
}

/** What one sector may hold. Entries are never changed in place where a reader may have seen their list. */
interface Entry {
  readonly write: ModelWrite;
  /** When it was over; Infinity while it is not. */
  overTick: number;
  /** Answered GOOD, and not possibly lost in a crash since: what was over before it began is gone. */
  isSure: boolean;
  isDurable: boolean;
  /** When a member other than the home lost its power, and it was not sure any more; −1: that has not happened. */
  owedTick: number;
}

interface Cell {
  /** What it may hold now. */
  now: readonly Entry[];
  /** Superseded, but not durably: a loss of power may bring it back. */
  past: readonly Entry[];
  /** The last loss of power, and what it may have left. */
  crashTick: number;
  left: readonly Entry[];
}

export interface ModelRead {
  readonly firstSector: number;
  readonly sectors: number;
  readonly beganTick: number;
  /** What each sector could hold then. */
  readonly before: readonly (readonly Entry[])[];
}

export class VolumeModel {
  readonly losses = new Losses();
  private readonly cells: Cell[];
  private readonly log: ModelWrite[] = [];
  private readonly writes = new Map<number, ModelWrite>();
  /** Sectors whose writes may not all be durable. */
  private readonly soft = new Set<number>();

  constructor(
    readonly name: string,
    sizeBytes: number,
    private readonly blockBytes: number,
    private readonly timeline: Timeline,
    private readonly nextId: () => number,
  ) {
    const birth = new ModelWrite(0, 'zeros', 0, sizeBytes / SECTOR_BYTES, 0, true, 'creation');
    this.cells = Array.from({ length: sizeBytes / SECTOR_BYTES }, () => ({
      now: [{ write: birth, overTick: 0, isSure: true, isDurable: true, owedTick: -1 }],
      past: [],
      crashTick: -1,
      left: [],
    }));
  }

  get sectors(): number {
    return this.cells.length;
  }

  /** Now, to compare with what began before. */
  tick(): number {
    return ++this.timeline.tick;
  }

  // ---- writes

  beginWrite(kind: WriteKind, firstSector: number, sectors: number, fua: boolean, by: string): ModelWrite {
    const write = new ModelWrite(this.nextId(), kind, firstSector, sectors, ++this.timeline.tick, fua, by);
    this.writes.set(write.id, write);
    this.log.push(write);
    this.each(write, (cell, sector) => {
      const entry = { write, overTick: Infinity, isSure: false, isDurable: false, owedTick: -1 };
      cell.now = [...cell.now, entry];
      this.soft.add(sector);
    });
    return write;
  }

  /** @param isGood false: it failed, and may have taken effect or not */
  endWrite(write: ModelWrite, isGood: boolean): void {
    const tick = ++this.timeline.tick;
    this.each(write, (cell) => {
      const entry = cell.now.find((other) => other.write === write);
      if (entry === undefined || entry.overTick !== Infinity) return;
      entry.overTick = tick;
      // Done before a crash and answered after it: lost all the same, unless it was to be durable.
      entry.isSure = isGood && (write.fua || cell.crashTick < write.beganTick);
      entry.isDurable = isGood && write.fua;
      if (entry.isSure) supersede(cell, entry);
    });
  }

  /**
   * A flush that began at `beganTick` was answered GOOD.
   * @param owedSinceTick it says so also of what may be gone since then (losses.ts); Infinity: of nothing
   * @returns the sectors that it made a promise of
   */
  flushed(beganTick: number, owedSinceTick = Infinity): number[] {
    const promised: number[] = [];
    for (const sector of this.soft) {
      const cell = this.cells[sector] as Cell;
      this.trust(cell, beganTick, owedSinceTick);
      if (this.harden(cell, beganTick)) promised.push(sector);
      if (cell.now.every(({ isDurable }) => isDurable)) this.soft.delete(sector);
    }
    return promised;
  }

  /** Sectors [first, last] went to another holder, durably (I3). */
  moved(firstSector: number, lastSector: number): void {
    const tick = ++this.timeline.tick;
    for (let sector = firstSector; sector <= lastSector; sector++)
      this.harden(this.cells[sector] as Cell, tick);
  }

  /** Whatever is owed is there: of what was over before it, nothing is. */
  private trust(cell: Cell, beforeTick: number, owedSinceTick: number): void {
    for (const entry of cell.now) {
      if (entry.owedTick <= owedSinceTick || entry.overTick >= beforeTick) continue;
      entry.isSure = true;
      entry.owedTick = -1;
      supersede(cell, entry);
    }
  }

  /** @returns whether anything is durable now that was not */
  private harden(cell: Cell, beforeTick: number): boolean {
    let isNew = false;
    for (const entry of cell.now) {
      if (!entry.isSure || entry.overTick >= beforeTick || entry.isDurable) continue;
      entry.isDurable = isNew = true;
      cell.past = cell.past.filter((other) => !isOverBefore(other, entry));
    }
    return isNew;
  }

  /**
   * The holder of [first, last] lost its power.
   * @param isOwed whoever wrote there has no cause to notice
   */
  crashed(firstSector: number, lastSector: number, isOwed = false): void {
    const tick = ++this.timeline.tick;
    for (let sector = firstSector; sector <= lastSector; sector++) {
      const cell = this.cells[sector] as Cell;
      cell.crashTick = tick;
      const unsure = (entry: Entry): Entry => {
        if (entry.isDurable) return entry;
        return { ...entry, isSure: false, owedTick: isOwed && entry.isSure ? tick : entry.owedTick };
      };
      cell.left = cell.now = [...cell.now.map(unsure), ...cell.past.map(unsure)];
      cell.past = [];
    }
  }

  // ---- reads

  beginRead(firstSector: number, sectors: number): ModelRead {
    const before = this.cells.slice(firstSector, firstSector + sectors).map((cell) => cell.now);
    return { firstSector, sectors, beganTick: ++this.timeline.tick, before };
  }

  /** Judges what a read has brought; null when all of it may be. */
  endRead(read: ModelRead, data: Buffer): string | null {
    for (let i = 0; i < read.sectors; i++) {
      const wrong = this.judge(read, i, data);
      if (wrong !== null) return `${this.name} sector ${read.firstSector + i}: ${wrong}`;
    }
    return null;
  }

  /** Judges the bytes of a sector that are read without anything else going on. */
  judgeSector(sector: number, data: Buffer, at: number): string | null {
    const read = this.beginRead(sector, 1);
    return this.endRead(read, data.subarray(at, at + SECTOR_BYTES));
  }

  /** Judges what a loss of power at this moment would leave of a sector; null: what it may. */
  judgeDurable(sector: number, data: Buffer): string | null {
    const cell = this.cells[sector] as Cell;
    const at = sector * SECTOR_BYTES;
    const found = isZeros(data, at) ? null : writeOf(data, at);
    if (found === null && !isZeros(data, at)) return `${this.name} sector ${sector}: a torn sector`;
    const isRight = [...cell.now, ...cell.past].some(({ write }) => this.fits(write, sector, found));
    return isRight ? null : `${this.name} sector ${sector}: ${this.explain(cell, found?.write ?? 0)}`;
  }

  private judge(read: ModelRead, index: number, data: Buffer): string | null {
    const sector = read.firstSector + index;
    const cell = this.cells[sector] as Cell;
    const at = index * SECTOR_BYTES;
    const found = isZeros(data, at) ? null : writeOf(data, at);
    if (found === null && !isZeros(data, at)) return 'holds what nobody wrote, or a torn sector';
    const fits = (write: ModelWrite): boolean => this.fits(write, sector, found);
    const before = read.before[index] as readonly Entry[];
    const isExplained =
      before.some(({ write }) => fits(write)) ||
      cell.now.some(({ write }) => fits(write)) ||
      // A read that was under way meanwhile may have found what the loss brought back, for as long as it was there.
      (cell.crashTick > read.beganTick && cell.left.some(({ write }) => fits(write))) ||
      this.begunSince(read.beganTick, sector).some(fits);
    if (!isExplained) return this.explain(cell, found?.write ?? 0);
    if (cell.crashTick < read.beganTick) this.settle(cell, read.beganTick, fits);
    return null;
  }

  private fits(write: ModelWrite, sector: number, found: { write: number; place: number } | null): boolean {
    if (found === null) return write.kind === 'zeros';
    if (write.id !== found.write) return false;
    const perBlock = this.blockBytes / SECTOR_BYTES;
    return found.place === (write.kind === 'repeated' ? (REPEATED | (sector % perBlock)) >>> 0 : sector);
  }

  private begunSince(tick: number, sector: number): ModelWrite[] {
    const found: ModelWrite[] = [];
    for (let i = this.log.length - 1; i >= 0; i--) {
      const write = this.log[i] as ModelWrite;
      if (write.beganTick < tick) break;
      if (sector >= write.firstSector && sector < write.firstSector + write.sectors) found.push(write);
    }
    return found;
  }

  /** What was over before the read began and is not what it found is gone. */
  private settle(cell: Cell, beganTick: number, fits: (write: ModelWrite) => boolean): void {
    if (cell.now.length === 1) return;
    const isGone = (entry: Entry): boolean => entry.overTick < beganTick && !fits(entry.write);
    if (!cell.now.some(isGone)) return;
    const kept = cell.now.filter((entry) => !isGone(entry));
    if (kept.length === 0) return;
    cell.past = [...cell.past, ...cell.now.filter(isGone)];
    cell.now = kept;
  }

  private explain(cell: Cell, found: number): string {
    const write = this.writes.get(found);
    const name = (entry: Entry): string => {
      const state =
        entry.overTick === Infinity
          ? 'open'
          : entry.isDurable
            ? 'durable'
            : entry.isSure
              ? 'done'
              : 'perhaps';
      return `${entry.write.id} (${entry.write.by}, ${state})`;
    };
    const what = found === 0 ? 'zeros' : `write ${found} (${write?.by ?? 'of another volume'})`;
    return `${what} where there may be ${cell.now.map(name).join(', ')}`;
  }

  private each(write: ModelWrite, visit: (cell: Cell, sector: number) => void): void {
    for (let i = 0; i < write.sectors; i++) {
      const sector = write.firstSector + i;
      visit(this.cells[sector] as Cell, sector);
    }
  }
}

/** Whether `earlier` was over before `later` began. */
function isOverBefore(earlier: Entry, later: Entry): boolean {
  return earlier.overTick < later.write.beganTick;
}

/** An answered write: what was over before it began is not there any more, if only until the power goes. */
function supersede(cell: Cell, entry: Entry): void {
  const gone = cell.now.filter((other) => isOverBefore(other, entry));
  if (gone.length > 0) cell.now = cell.now.filter((other) => !isOverBefore(other, entry));
  cell.past = entry.isDurable
    ? cell.past.filter((other) => !isOverBefore(other, entry))
    : [...cell.past, ...gone];
}
