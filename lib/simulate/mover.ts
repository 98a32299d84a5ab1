/**
 * Carries planned moves out as the real engine does: extents in order, each committed when its bytes are over, holes for
 * nothing, the home of a whole volume when the destination holds the larger part. Owns what is under way and what cools.
 */
import { assert } from '../base/assert.js';
import type { ProposedMove } from '../balance/contract.js';
import type { Copy } from './performance.js';
import type { SimVolume } from './volume.js';
import type { World } from './world.js';

/** A move that was begun; `finishedAtMs` when it is over. */
export interface MoveRecord {
  readonly volume: string;
  readonly first: number;
  readonly last: number;
  readonly isWhole: boolean;
  readonly from: string;
  readonly to: string;
  readonly startedAtMs: number;
  readonly reason: string;
  bytes: number;
  finishedAtMs: number | null;
}

interface Running {
  readonly record: MoveRecord;
  readonly volume: SimVolume;
  readonly to: number;
  next: number;
  /** Of the extent `next`. */
  copiedBytes: number;
}

export class Mover {
  /** All moves, in the order they were begun. */
  readonly records: MoveRecord[] = [];
  bytesMoved = 0;
  private running: Running[] = [];
  private readonly volumes: ReadonlyMap<string, SimVolume>;
  private readonly numbers: ReadonlyMap<string, number>;

  constructor(
    world: World,
    private readonly coolDownMs: number,
  ) {
    this.volumes = new Map(world.volumes.map((volume) => [volume.name, volume]));
    this.numbers = new Map(world.members.map(({ name }, m) => [name, m]));
  }

  get underWay(): number {
    return this.running.length;
  }

  begin(moves: readonly ProposedMove[], nowMs: number): void {
    for (const { volume: name, extents, from, to: toName, reason, after } of moves) {
      // It waits for another one; the next plan proposes it again.
      if (after !== null) continue;
      const volume = this.volumes.get(name);
      const to = this.numbers.get(toName);
      assert(volume !== undefined && to !== undefined, `a plan moves ${name} to ${toName}, both known`);
      assert(!volume.isMoving, `a plan leaves ${name} alone while it moves`);
      const { first, last } = extents ?? { first: 0, last: volume.extents - 1 };
      assert(first >= 0 && first <= last && last < volume.extents, `a plan moves extents that ${name} has`);
      const record: MoveRecord = {
        ...{ volume: name, first, last, isWhole: extents === null, from, to: toName },
        ...{ startedAtMs: nowMs, reason, bytes: 0, finishedAtMs: null },
      };
      this.records.push(record);
      const move: Running = { record, volume, to, next: first, copiedBytes: 0 };
      volume.underWay = { extents, to: toName };
      this.passFree(move);
      this.commit(move);
      this.running.push(move);
    }
  }

  /** What is to be copied: one for each move under way that has bytes left, in order. */
  copies(): Copy[] {
    return this.copying().map((move) => ({
      from: move.volume.holderOf(move.next),
      to: move.to,
      bytes: bytesLeft(move),
    }));
  }

  /** Bytes on their way to each member. */
  expectedBytes(members: number): Float64Array {
    const bytes = new Float64Array(members);
    for (const move of this.running) bytes[move.to]! += bytesLeft(move);
    return bytes;
  }

  /** Time passes. @param bytesPerSecond of each of copies() */
  advance(bytesPerSecond: readonly number[], fromMs: number, windowMs: number): void {
    this.copying().forEach((move, i) => this.copy(move, ((bytesPerSecond[i] as number) * windowMs) / 1000));
    const untilMs = fromMs + windowMs;
    for (const move of this.running) if (isOver(move)) this.finish(move, untilMs);
    this.running = this.running.filter((move) => !isOver(move));
    for (const volume of this.volumes.values()) {
      if (volume.cooling.length > 0)
        volume.cooling = volume.cooling.filter((cooling) => cooling.untilMs > untilMs);
    }
  }

  private copying(): Running[] {
    return this.running.filter((move) => !isOver(move));
  }

  private copy(move: Running, bytes: number): void {
    const { volume } = move;
    let budget = bytes;
    while (!isOver(move) && budget > 0) {
      const step = Math.min(budget, volume.extentBytes - move.copiedBytes);
      move.copiedBytes += step;
      budget -= step;
      this.bytesMoved += step;
      move.record.bytes += step;
      if (move.copiedBytes < volume.extentBytes) break;
      move.copiedBytes = 0;
      move.next += 1;
      this.passFree(move);
    }
    this.commit(move);
  }

  /** Past what costs nothing: holes, and extents that are there already. */
  private passFree(move: Running): void {
    const { volume, to } = move;
    while (!isOver(move) && (volume.filled[move.next] === 0 || volume.holderOf(move.next) === to))
      move.next += 1;
  }

  /** What is before `next` is the destination's. */
  private commit({ volume, to, next, record }: Running): void {
    if (next > record.first) volume.give(record.first, next - 1, to);
    const held = volume.holders.get(record.to) ?? 0;
    if (record.isWhole && 2 * held >= volume.extents) volume.homeMember = to;
  }

  private finish({ record, volume }: Running, nowMs: number): void {
    record.finishedAtMs = nowMs;
    volume.underWay = undefined;
    const { first, last, from } = record;
    if (this.coolDownMs > 0) volume.cooling.push({ first, last, from, untilMs: nowMs + this.coolDownMs });
  }
}

function isOver({ next, record }: Running): boolean {
  return next > record.last;
}

function bytesLeft({ volume, record, next, to, copiedBytes }: Running): number {
  let extents = 0;
  for (let e = next; e <= record.last; e += 1)
    if (volume.filled[e] === 1 && volume.holderOf(e) !== to) extents += 1;
  return extents * volume.extentBytes - copiedBytes;
}
