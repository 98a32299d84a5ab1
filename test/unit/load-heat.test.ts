/** Heat and service times: what the sketch and the histogram promise, over streams that fast-check makes. */
import fc from 'fast-check';
import t from 'tap';
import { SeededRandom, randomBelow } from '../../lib/base/random.js';
import { HeatSketch } from '../../lib/load/heat-sketch.js';
import { burstinessOf, kindOf } from '../../lib/load/pattern.js';
import { ServiceTimes } from '../../lib/load/service-times.js';

/** [key, weight] or a decay. */
const step = fc.oneof(
  { weight: 20, arbitrary: fc.tuple(fc.nat(30), fc.integer({ min: 1, max: 64 })) },
  { weight: 1, arbitrary: fc.constantFrom(0.5, 0.7) },
);

t.test('a key above n/k has a place, and what is said of it is right within its error', async () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), fc.integer({ min: 2, max: 12 }), (steps, places) => {
      const sketch = new HeatSketch(places);
      const truth = new Map<number, number>();
      for (const one of steps) {
        if (typeof one === 'number') {
          sketch.decay(one);
          for (const [key, weight] of truth) truth.set(key, weight * one);
        } else {
          sketch.add(...one);
          truth.set(one[0], (truth.get(one[0]) ?? 0) + one[1]);
        }
      }
      const total = [...truth.values()].reduce((sum, weight) => sum + weight, 0);
      const slack = 1e-6 * (1 + total);
      const said = new Map(sketch.hottest().map((hot) => [hot.key, hot]));
      if (said.size > places || Math.abs(sketch.total - total) > slack + 1e-3) return false;
      for (const [key, weight] of truth) {
        if (weight > total / places + slack && total > 1e-3 && !said.has(key)) return false;
      }
      for (const { key, atLeast, atMost } of said.values()) {
        const weight = truth.get(key) ?? 0;
        if (atLeast > weight + slack || atMost < weight - slack) return false;
        if (atMost - atLeast > total / places + slack) return false;
      }
      return true;
    }),
    { numRuns: 300 },
  );
});

t.test('the hottest come first, and old heat fades', async (t) => {
  const sketch = new HeatSketch(8);
  for (let i = 0; i < 1000; i++) sketch.add(1, 1);
  sketch.add(2, 10);
  t.strictSame(
    sketch.hottest().map(({ key }) => key),
    [1, 2],
  );
  for (let i = 0; i < 8; i++) sketch.decay(0.5);
  sketch.add(2, 10);
  t.strictSame(
    sketch.hottest().map(({ key }) => key),
    [2, 1],
    'what was hot once is behind what is warm now',
  );
  for (let i = 0; i < 30; i++) sketch.decay(0.5);
  t.strictSame([sketch.total, sketch.hottest()], [0, []], 'and is forgotten in the end');
});

t.test('places that are full of chance are not taken for hot', async (t) => {
  const sketch = new HeatSketch(64);
  const random = new SeededRandom(3);
  for (let i = 0; i < 100_000; i++) sketch.add(i % 10 === 0 ? 7 : randomBelow(random, 100_000), 1);
  const [first, second] = sketch.hottest();
  t.equal(first?.key, 7);
  t.ok((first?.atLeast ?? 0) > 9_000, `${first?.atLeast} of 10,000 are sure`);
  t.ok((second?.atLeast ?? 0) < 100, `${second?.atLeast} of a key among 100,000`);
});

t.test('percentiles are off by 9 % at most at any magnitude', async (t) => {
  for (const scaleMs of [0.005, 0.3, 20, 4_000]) {
    const times = new ServiceTimes();
    for (let i = 1; i <= 1000; i++) times.add((i / 1000) * scaleMs, 2);
    for (const share of [0.5, 0.99]) {
      const ratio = times.percentileMs(share) / (share * scaleMs);
      t.ok(ratio > 0.91 && ratio < 1.1, `p${share * 100} of ${scaleMs} ms: ${ratio}`);
    }
    t.ok(Math.abs(times.meanMs / scaleMs - 0.5005) < 1e-6, 'the mean is exact');
  }
});

t.test('nothing, almost nothing and for ever', async (t) => {
  const times = new ServiceTimes();
  t.strictSame([times.isEmpty, times.meanMs, times.percentileMs(0.99)], [true, 0, 0]);
  for (let i = 0; i < 99; i++) times.add(0, 1);
  times.add(1e9, 1);
  t.equal(times.percentileMs(0.5), 0, 'what took no time took none');
  t.ok(times.percentileMs(1) > 1e6 / 2, 'and what took for ever stands in the last bucket');
  const both = new ServiceTimes();
  both.addAll(times);
  both.addAll(times);
  t.equal(both.meanMs, times.meanMs, 'twice the same is the same');
  both.clear();
  t.ok(both.isEmpty);
});

t.test('names of patterns', async (t) => {
  t.equal(kindOf(1, 0.9), 'sequential-read');
  t.equal(kindOf(0, 0.9), 'sequential-write');
  t.equal(kindOf(0.9, 0.1), 'random-read');
  t.equal(kindOf(0.1, 0.1), 'random-write');
  t.equal(kindOf(0.7, 0.9), 'mixed');
});

t.test('burstiness: 0 for an even or a random stream, above 1 for bursts', async (t) => {
  t.equal(burstinessOf([100, 100, 100, 100]), 0);
  t.equal(burstinessOf([7]), 0, 'one count says nothing');
  t.equal(burstinessOf([0, 0, 0]), 0);
  const random = new SeededRandom(9);
  const poisson = Array.from({ length: 16 }, () => {
    let arrivals = 0;
    for (let i = 0; i < 1000; i++) if (randomBelow(random, 100) === 0) arrivals += 1;
    return arrivals;
  });
  t.ok(burstinessOf(poisson) < 0.3, `${burstinessOf(poisson)} for ten a slice by chance`);
  t.ok(burstinessOf([0, 0, 0, 4000, 0, 0, 0, 4000]) > 1);
});
