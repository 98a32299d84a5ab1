/** The task table of a session against a Map, with tags that nobody means ill by and tags that are made to collide. */
import fc from 'fast-check';
import t from 'tap';
import { InvariantError } from '../../lib/base/assert.js';
import { COMMAND_WINDOW } from '../../lib/base/limits.js';
import { Task, type TaskOwner } from '../../lib/iscsi/target/task.js';
import { TAG_FACTOR, TaskTable } from '../../lib/iscsi/target/task-table.js';

const SEED = 20261203;
/** Of an empty table. */
const PLACES = 64;
const PLACE_BITS = 6;
/** All that a session can have: those of its window, and as many immediate ones. */
const TASKS_MAX = 2 * COMMAND_WINDOW;
/** What tags that collide at any size of the table have in common, at least: the bits that make a home of so many. */
const COLLIDING_BITS = 16;

const owner: TaskOwner = {
  finished: () => undefined,
  ioCompleted: () => undefined,
  turnCame: () => undefined,
  answers: () => true,
};

function taskOf(tag: number): Task {
  const task = new Task(owner);
  task.initiatorTaskTag = tag;
  return task;
}

/** TAG_FACTOR × this is 1 in 32 bits; each round of Newton's doubles the bits that are right, of which there are 3 at first. */
function inverse(factor: number): number {
  let found = factor;
  for (let round = 0; round < 4; round++) found = Math.imul(found, 2 - Math.imul(factor, found));
  return found;
}
const INVERSE = inverse(TAG_FACTOR);

/** A tag whose home is this one of the PLACES, and whose home in a larger table is that of all with this `home`. */
function tagAt(home: number, which: number): number {
  return Math.imul((home << (32 - PLACE_BITS)) | which, INVERSE) >>> 0;
}

function homeOf(tag: number, bits = PLACE_BITS): number {
  return Math.imul(tag, TAG_FACTOR) >>> (32 - bits);
}

function isRefused(act: () => void): boolean {
  try {
    act();
    return false;
  } catch (error) {
    if (error instanceof InvariantError) return true;
    throw error;
  }
}

/** A table and what it must be like. */
class Pair {
  readonly table = new TaskTable();
  readonly model = new Map<number, Task>();

  /** @returns whether the table has taken what it should, and only that */
  add(tag: number): boolean {
    const task = taskOf(tag);
    const isTaken = this.model.has(tag);
    if (!isTaken) this.model.set(tag, task);
    return isTaken === isRefused(() => this.table.add(task));
  }

  remove(tag: number): void {
    const task = this.model.get(tag);
    if (task === undefined) return;
    this.model.delete(tag);
    this.table.remove(task);
  }

  /** The first thing that is wrong. */
  fault(): string | null {
    const { table, model } = this;
    if (table.size !== model.size) return `${table.size} tasks, not ${model.size}`;
    for (const [tag, task] of model) {
      if (table.find(tag) !== task || !table.has(tag)) return `${tag} is not found`;
    }
    const order = table.inOrder().map((task) => task.initiatorTaskTag);
    const wanted = [...model.keys()];
    return order.join() === wanted.join() ? null : `${order.join()}, not ${wanted.join()}`;
  }
}

/** Homes in a row, over the end of the table too, with some tags each; others that collide by chance; any at all. */
const tag = fc.oneof(
  fc.tuple(fc.constantFrom(0, 1, 2, PLACES - 2, PLACES - 1), fc.nat(11)).map((at) => tagAt(...at)),
  fc.nat(100),
  fc.integer({ min: 0, max: 0xfffffffe }),
);
/** What is begun; or which of those there are ends, as a share of them. */
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ adds: tag }) },
  {
    weight: 2,
    arbitrary: fc.record({ removes: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }) }),
  },
);

t.test('a table has what a Map would have, in the order in which it came', async (t) => {
  let most = 0;
  const property = fc.property(fc.array(step, { maxLength: 400, size: 'max' }), (steps) => {
    const pair = new Pair();
    for (const one of steps) {
      let touched: number | undefined;
      if ('adds' in one) {
        touched = one.adds;
        if (!pair.add(touched)) return false;
      } else {
        touched = [...pair.model.keys()][Math.floor(one.removes * pair.model.size)];
        if (touched !== undefined) pair.remove(touched);
      }
      const fault = pair.fault();
      if (fault !== null) throw new Error(fault);
      if (touched !== undefined && pair.table.has(touched) !== pair.model.has(touched)) return false;
      most = Math.max(most, pair.model.size);
    }
    return true;
  });
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 300 }));
  t.ok(most > PLACES / 2, `it has grown: ${most} at once`);
});

t.test('tags that all collide: as many as a session can have, that end in any order', async (t) => {
  const tags = Array.from({ length: TASKS_MAX }, (_, which) => tagAt(PLACES - 1, which));
  t.equal(new Set(tags.map((one) => homeOf(one, COLLIDING_BITS))).size, 1, 'they do');
  const shuffled = fc.shuffledSubarray(tags, { minLength: tags.length });
  const property = fc.property(shuffled, shuffled, (begun, ended) => {
    const pair = new Pair();
    for (const one of begun) pair.add(one);
    for (const [index, one] of ended.entries()) {
      pair.remove(one);
      if (pair.table.has(one)) return false;
      const fault = index % 64 === 0 ? pair.fault() : null;
      if (fault !== null) throw new Error(fault);
    }
    return pair.table.size === 0 && pair.table.inOrder().length === 0;
  });
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: 20 }));
});

t.test('what closes up stays behind its home, over the end of the table too', async (t) => {
  const pair = new Pair();
  const last = PLACES - 1;
  // Places: last, 0, 1, 2, 3, 4; the ones at 2 and 4 are at home.
  const places = [tagAt(last, 0), tagAt(last, 1), tagAt(last, 2), tagAt(2, 0), tagAt(0, 0), tagAt(4, 0)];
  for (const one of places) pair.add(one);
  for (const one of [tagAt(last, 0), tagAt(0, 0), tagAt(2, 0), tagAt(last, 2)]) {
    pair.remove(one);
    t.equal(pair.table.has(one), false);
    t.equal(pair.fault(), null);
  }
});

t.test('tasks may end, and begin, while somebody goes through them', async (t) => {
  const pair = new Pair();
  for (let which = 0; which < 40; which++) pair.add(tagAt(which % 3, which));
  const seen: Task[] = [];
  for (const task of pair.table.inOrder()) {
    seen.push(task);
    pair.remove(task.initiatorTaskTag);
    if (seen.length % 2 === 0) pair.add(tagAt(5, seen.length));
  }
  t.equal(seen.length, 40, 'each once, and none that began meanwhile');
  t.equal(pair.table.size, 20);
  t.equal(pair.fault(), null);
});

t.test('a task that comes again under its old tag is the youngest', async (t) => {
  const pair = new Pair();
  for (const one of [7, 8, 9]) pair.add(one);
  pair.remove(7);
  pair.add(7);
  t.strictSame(
    pair.table.inOrder().map((task) => task.initiatorTaskTag),
    [8, 9, 7],
  );
});

t.test('a tag has one task, and a task ends once', async (t) => {
  const table = new TaskTable();
  const task = taskOf(1);
  t.equal(table.find(1), null);
  t.throws(() => table.remove(task), InvariantError, 'it has not begun');
  table.add(task);
  t.throws(() => table.add(taskOf(1)), InvariantError, 'the tag is taken');
  t.throws(() => table.remove(taskOf(1)), InvariantError, 'another has the tag');
  t.equal(table.find(1), task);
  table.remove(task);
  t.throws(() => table.remove(task), InvariantError, 'it has ended');
  t.equal(table.size, 0);
});

t.test('tags that are counted in any of their bytes have homes of their own', async (t) => {
  const count = PLACES / 2;
  for (const shift of [0, 8, 16, 24]) {
    const homes = new Set<number>();
    for (let which = 0; which < count; which++) homes.add(homeOf((which << shift) >>> 0));
    t.ok(homes.size >= count / 2, `byte ${3 - shift / 8}: ${homes.size} homes of ${count} tags`);
  }
});
