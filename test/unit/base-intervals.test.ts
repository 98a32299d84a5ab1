/** IntervalSet against a naive model: a plain Set of integers. */
import t from 'tap';
import fc from 'fast-check';
import { IntervalSet } from '../../lib/base/intervals.js';

const SEED = 20261123;
const SPACE = 40;

const range = fc
  .tuple(fc.nat(SPACE), fc.nat(SPACE))
  .map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) }));
const step = fc.record({ add: fc.boolean(), range });

/** The ranges a set of integers should print as. */
function rangesOf(model: ReadonlySet<number>): { from: number; to: number }[] {
  const ranges: { from: number; to: number }[] = [];
  for (let i = 0; i <= SPACE; i++) {
    const last = ranges.at(-1);
    if (!model.has(i)) continue;
    if (last?.to === i) last.to = i + 1;
    else ranges.push({ from: i, to: i + 1 });
  }
  return ranges;
}

/** What firstOverlap should answer. */
function firstOverlapOf(
  model: ReadonlySet<number>,
  from: number,
  to: number,
): { from: number; to: number } | undefined {
  for (let start = from; start < to; start++) {
    if (!model.has(start)) continue;
    let end = start;
    while (end < to && model.has(end)) end += 1;
    return { from: start, to: end };
  }
  return undefined;
}

await t.test(`behaves like a set of integers (seed ${SEED})`, async () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), range, (steps, query) => {
      const set = new IntervalSet();
      const model = new Set<number>();
      for (const { add, range } of steps) {
        if (add) set.add(range.from, range.to);
        else set.remove(range.from, range.to);
        for (let i = range.from; i < range.to; i++) {
          if (add) model.add(i);
          else model.delete(i);
        }
        const expected = rangesOf(model);
        const members = Array.from({ length: query.to - query.from }, (_, i) => model.has(query.from + i));
        const same =
          JSON.stringify([...set]) === JSON.stringify(expected) &&
          set.totalLength === model.size &&
          set.rangeCount === expected.length &&
          set.isEmpty === (model.size === 0) &&
          set.has(query.from) === model.has(query.from) &&
          set.overlaps(query.from, query.to) === members.some(Boolean) &&
          set.covers(query.from, query.to) === members.every(Boolean) &&
          JSON.stringify(set.firstOverlap(query.from, query.to)) ===
            JSON.stringify(firstOverlapOf(model, query.from, query.to));
        if (!same) return false;
      }
      return true;
    }),
    { seed: SEED, numRuns: 2000 },
  );
});

await t.test('merges neighbours, keeps gaps, splits', async (t) => {
  const set = new IntervalSet();
  set.add(10, 20);
  set.add(20, 30);
  t.strictSame([...set], [{ from: 10, to: 30 }], 'touching ranges are one');
  set.add(31, 40);
  t.strictSame(set.rangeCount, 2, 'a gap of one is a gap');
  set.remove(15, 16);
  t.strictSame(
    [...set],
    [
      { from: 10, to: 15 },
      { from: 16, to: 30 },
      { from: 31, to: 40 },
    ],
  );
  set.clear();
  t.ok(set.isEmpty);
  t.equal(set.totalLength, 0);
});

await t.test('holds byte offsets beyond 32 bits', async (t) => {
  const set = new IntervalSet();
  const far = 2 ** 44;
  set.add(far, far + 4096);
  t.ok(set.has(far));
  t.notOk(set.has(far + 4096), 'the end is not in it');
  t.notOk(set.has(far - 1));
  t.equal(set.totalLength, 4096);
});

await t.test('refuses what is no range', async (t) => {
  const set = new IntervalSet();
  t.throws(() => set.add(2, 1));
  t.throws(() => set.remove(0.5, 1));
  t.throws(() => set.overlaps(NaN, 1));
});
