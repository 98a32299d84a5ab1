/**
 * The tasks of one session by their Initiator Task Tags, from the command to the end of its work. Not a Map: V8 grows,
 * shrinks and rehashes one in its runtime as commands come and go, which took 3 to 4 % of the time of a busy home. Here a
 * task stands at the home of its tag or, where others are, at the first free place behind it; when one leaves, those behind
 * it close up, so that a search may end at the first free place.
 *
 *     home of a, b    home of c
 *         a      b      c      d      ·          a leaves: b moves to its home, c is at its own and stays
 */
import { violated } from '../../base/assert.js';
import type { Task } from './task.js';

/** The bits of a place's number at first: 64 places, for 32 tasks. Twice as many whenever more than half are taken. */
const BITS_AT_FIRST = 6;
/**
 * 2^32 divided by the golden ratio: the top bits of the product with it depend on all of a tag, near tags get homes far
 * apart. Tags are the initiator's to choose, and not all count in the low bits: Linux does so in the order of its own bytes,
 * here mostly the highest of four. One who makes them collide makes every search as long as there are tasks, and those are
 * bounded: COMMAND_WINDOW, and as many immediate ones.
 */
export const TAG_FACTOR = 0x9e3779b1;

export class TaskTable {
  private places = emptyPlaces(BITS_AT_FIRST);
  private bits = BITS_AT_FIRST;
  private size_ = 0;
  private begun = 0;

  get size(): number {
    return this.size_;
  }

  /** The task of this tag, or null. */
  find(tag: number): Task | null {
    return this.places[this.placeOf(tag)] as Task | null;
  }

  has(tag: number): boolean {
    return this.find(tag) !== null;
  }

  /** Under its initiatorTaskTag, which stays as it is until the task is removed. */
  add(task: Task): void {
    if (2 * (this.size_ + 1) > this.places.length) this.grow();
    const at = this.placeOf(task.initiatorTaskTag);
    if (this.places[at] !== null) violated('a task was begun under the tag of another');
    this.places[at] = task;
    this.size_ += 1;
    task.order = this.begun++;
  }

  remove(task: Task): void {
    const at = this.placeOf(task.initiatorTaskTag);
    if (this.places[at] !== task) violated('a task ended that had not begun, or had ended');
    this.closeUp(at);
    this.size_ -= 1;
  }

  /** All, in the order in which they were begun, in an array of the caller's: they may end while it goes through them. */
  inOrder(): Task[] {
    return this.places.filter((task) => task !== null).sort((a, b) => a.order - b.order);
  }

  private homeOf(tag: number): number {
    return Math.imul(tag, TAG_FACTOR) >>> (32 - this.bits);
  }

  /** Where the task of this tag is, or would be: half of the places are free, so there is one. */
  private placeOf(tag: number): number {
    const { places } = this;
    const mask = places.length - 1;
    let at = this.homeOf(tag);
    for (let task = places[at] as Task | null; task !== null && task.initiatorTaskTag !== tag;) {
      at = (at + 1) & mask;
      task = places[at] as Task | null;
    }
    return at;
  }

  /** Frees a place. Of those behind it, up to the first free one, each that is not nearer to its home there moves up. */
  private closeUp(freed: number): void {
    const { places } = this;
    const mask = places.length - 1;
    let gap = freed;
    for (let at = (gap + 1) & mask; ; at = (at + 1) & mask) {
      const task = places[at] as Task | null;
      if (task === null) break;
      const fromHome = (at - this.homeOf(task.initiatorTaskTag)) & mask;
      if (fromHome < ((at - gap) & mask)) continue; // its home is behind the gap
      places[gap] = task;
      gap = at;
    }
    places[gap] = null;
  }

  private grow(): void {
    const before = this.places;
    this.bits += 1;
    this.places = emptyPlaces(this.bits);
    for (const task of before) if (task !== null) this.places[this.placeOf(task.initiatorTaskTag)] = task;
  }
}

function emptyPlaces(bits: number): (Task | null)[] {
  return new Array<null>(2 ** bits).fill(null);
}
