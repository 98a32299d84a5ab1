/** Dirty maps and range locks against plain models: every byte, every order (rules 2, 5 and 6). */
import fc from 'fast-check';
import t from 'tap';
import { DirtyMap } from '../../lib/migration/dirty-map.js';
import { RangeLocks, type RangeHolder } from '../../lib/migration/range-locks.js';

const SEED = 20261123;
const BASE = 1000 * 512;
const CHUNK = 64;

t.test(`a dirty map never calls a chunk clean that was not wholly covered (seed ${SEED})`, async (t) => {
  const lengths = fc.integer({ min: 1, max: 20 * CHUNK });
  const step = fc.record({ mark: fc.boolean(), at: fc.nat(), length: lengths });
  const property = fc.property(lengths, fc.array(step, { maxLength: 40 }), (size, steps) => {
    const map = new DirtyMap(BASE, size, CHUNK);
    const chunks = Math.ceil(size / CHUNK);
    const model = new Set<number>();
    for (const { mark, at, length } of steps) {
      const from = at % size;
      const to = Math.min(size, from + length);
      if (mark) map.mark(BASE + from, BASE + to);
      else map.clearCovered(BASE + from, BASE + to);
      for (let chunk = 0; chunk < chunks; chunk++) {
        const [begin, end] = [chunk * CHUNK, Math.min((chunk + 1) * CHUNK, size)];
        if (mark && begin < to && from < end) model.add(chunk);
        if (!mark && from <= begin && end <= to) model.delete(chunk);
      }
    }
    const found = new Set<number>();
    for (let run = map.nextRun(BASE, CHUNK); run !== null; run = map.nextRun(run.toBytes, CHUNK)) {
      if (run.toBytes > BASE + size) return false;
      found.add((run.fromBytes - BASE) / CHUNK);
    }
    return (
      map.count === model.size && found.size === model.size && [...model].every((chunk) => found.has(chunk))
    );
  });
  fc.assert(property, { seed: SEED, numRuns: 300 });
  t.pass('300 histories');
});

class Holder implements RangeHolder {
  isGranted = false;
  constructor(
    readonly fromBytes: number,
    readonly toBytes: number,
    private readonly onGranted: (holder: Holder) => void,
  ) {}
  granted(): void {
    this.isGranted = true;
    this.onGranted(this);
  }
}

t.test(
  `ranges in use never overlap, overlapping ones go in order, nobody is forgotten (seed ${SEED})`,
  async (t) => {
    const step = fc.record({
      release: fc.boolean(),
      at: fc.integer({ min: 0, max: 30 }),
      length: fc.integer({ min: 1, max: 8 }),
    });
    const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const locks = new RangeLocks();
      const order: Holder[] = [];
      const active: Holder[] = [];
      let sound = true;
      const overlap = (a: Holder, b: Holder): boolean => a.fromBytes < b.toBytes && b.fromBytes < a.toBytes;
      const onGranted = (holder: Holder): void => {
        const earlier = order.slice(0, order.indexOf(holder));
        sound &&= !active.some((other) => overlap(other, holder));
        sound &&= !earlier.some((other) => !other.isGranted && overlap(other, holder));
        active.push(holder);
      };
      const release = (): void => {
        const holder = active.shift();
        if (holder !== undefined) locks.release(holder);
      };
      for (const { release: isRelease, at, length } of steps) {
        if (isRelease) release();
        else {
          const holder = new Holder(at, at + length, onGranted);
          order.push(holder);
          locks.acquire(holder);
        }
      }
      while (active.length > 0) release();
      return sound && order.every((holder) => holder.isGranted) && locks.activeCount === 0;
    });
    fc.assert(property, { seed: SEED, numRuns: 500 });
    t.pass('500 histories');
  },
);
