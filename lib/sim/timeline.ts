/**
 * The time of a simulated world: what is due, in order, and a hash of all that happened. Nothing in the world waits for
 * a real clock; whatever is due at the same instant happens in the order in which it was asked for.
 */
import { MinHeap } from './min-heap.js';

/** One thing that is due; cancelled by forgetting what to do. */
export class Due {
  constructor(
    readonly atMs: number,
    readonly order: number,
    public run: (() => void) | null,
  ) {}

  cancel(): void {
    this.run = null;
  }
}

/** The latest lines of a trace that a report shows. */
const LINES_MAX = 2_000_000;

export class Timeline {
  nowMs = 1_000;
  /** Counts everything that can be ordered: "before" and "after" for the checker. */
  tick = 0;
  private readonly heap = new MinHeap<Due>((a, b) => a.atMs - b.atMs || a.order - b.order);
  private orders = 0;
  private low = 0x811c9dc5;
  private high = 0x1b873593;
  private readonly lines: string[] = [];

  /** @param keepsLines remembers the latest notes as text; slower, for reports */
  constructor(readonly keepsLines = false) {}

  /** Does `run` at `atMs`, or now if that has passed. */
  at(atMs: number, run: () => void): Due {
    const due = new Due(Math.max(atMs, this.nowMs), ++this.orders, run);
    this.heap.push(due);
    return due;
  }

  after(delayMs: number, run: () => void): Due {
    return this.at(this.nowMs + delayMs, run);
  }

  /** Does the next thing that is due; false when there is none. */
  runNext(): boolean {
    for (let due = this.heap.pop(); due !== undefined; due = this.heap.pop()) {
      if (due.run === null) continue;
      this.nowMs = due.atMs;
      due.run();
      return true;
    }
    return false;
  }

  /** Enters something that happened into the hash. */
  note(what: string, a = 0, b = 0): void {
    let text = 0;
    for (let i = 0; i < what.length; i++) text = Math.imul(text ^ what.charCodeAt(i), 0x01000193);
    this.mix(text);
    this.mix(a);
    this.mix(b);
    this.mix(Math.round(this.nowMs * 1000));
    if (this.keepsLines) this.say(`${what} ${a} ${b}`);
  }

  /** A line for people, that is not part of the hash. */
  say(line: string): void {
    if (!this.keepsLines) return;
    this.lines.push(`${this.nowMs.toFixed(3).padStart(12)}  ${line}`);
    if (this.lines.length > LINES_MAX * 2) this.lines.splice(0, LINES_MAX);
  }

  /** Sixteen hexadecimal digits: the same for the same history. */
  get hash(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0');
    return hex(this.high) + hex(this.low);
  }

  get latest(): readonly string[] {
    return this.lines.slice(-LINES_MAX);
  }

  private mix(value: number): void {
    const word = value | 0;
    this.low = Math.imul(this.low ^ word, 0x85ebca6b);
    this.low ^= this.low >>> 13;
    this.high = Math.imul((this.high ^ word) + this.low, 0xc2b2ae35);
    this.high ^= this.high >>> 16;
  }
}
