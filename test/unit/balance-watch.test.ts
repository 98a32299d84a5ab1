/** The parts around a plan: queues, ranges, the detector of shares, what a move has brought. */
import t from 'tap';
import type { LoadVector } from '../../lib/load/vector.js';
import { demandsOf, responseMs, utilisationAt } from '../../lib/balance/model.js';
import { outcomeOf } from '../../lib/balance/outcome.js';
import { plan } from '../../lib/balance/plan.js';
import { bestRange, heatOf, withoutCooling } from '../../lib/balance/ranges.js';
import { BalanceSettings } from '../../lib/balance/settings.js';
import { ShareWatch, type MemberShare } from '../../lib/balance/share-watch.js';
import { apply, member, picture, volume } from '../support/balance-pictures.js';

const settings = BalanceSettings.parse({});

function vectors(...args: Parameters<typeof picture>): LoadVector[] {
  return picture(...args).members.map(({ vector }) => vector as LoadVector);
}

t.test('what a request asks of a member comes out of what was measured', (t) => {
  const members = [member('m1', { storageMs: 2 }), member('m2', { storageMs: 0.5 }), member('m3')];
  const volumes = [volume('a', 'm1', 300), volume('b', 'm2', 1500)];
  const [slow, fast, idle] = demandsOf(vectors(members, volumes));
  t.ok(slow && fast && idle);
  t.ok(Math.abs((slow?.storageMs ?? 0) - 2) < 1e-9);
  t.ok(Math.abs((fast?.storageMs ?? 0) - 0.5) < 1e-9);
  t.ok(Math.abs((idle?.storageMs ?? 0) - 0.75) < 1e-9, 'an idle one is an average one');
  t.equal(utilisationAt({ storageMs: 1, loopMs: 2 }, 250), 0.5);
  t.equal(responseMs({ storageMs: 1, loopMs: 0 }, 500), 2);
  const over = [900, 1200, 2000].map((requests) => responseMs({ storageMs: 1, loopMs: 0 }, requests));
  t.same(
    over,
    [...over].sort((a, b) => a - b),
  );
  t.ok(over.every(Number.isFinite));
  t.end();
});

t.test('a range has what is wanted in the fewest extents', (t) => {
  const goal = { target: 100, most: 104, extentBytes: 4 << 20, fixedBytes: 1 << 30 };
  const run = { first: 0, last: 99 };
  const one = heatOf(
    [
      [50, 60],
      [52, 40],
      [90, 70],
    ],
    100,
    170,
  );
  t.same(bestRange([run], one, goal), { first: 50, last: 52, requests: 100 });
  t.same(bestRange([run], heatOf([], 100, 400), goal), { first: 0, last: 24, requests: 100 }, 'even heat');
  t.equal(
    bestRange([{ first: 7, last: 7 }], heatOf([[7, 500]], 1, 500), goal),
    null,
    'one extent is too hot',
  );
  t.equal(bestRange([], one, goal), null);
  const cooling = [{ first: 51, last: 60, untilMs: 5 }];
  t.same(withoutCooling([run], cooling, 0), [
    { first: 0, last: 50 },
    { first: 61, last: 99 },
  ]);
  t.same(withoutCooling([run], cooling, 5), [run]);
  t.end();
});

t.test('a range reaches its target with cold neighbours, and is as small as any that does', (t) => {
  const heat = heatOf(
    [
      [10, 50],
      [30, 20],
    ],
    64,
    132,
  );
  const range = bestRange([{ first: 0, last: 63 }], heat, {
    target: 60,
    most: 60,
    extentBytes: 1,
    fixedBytes: 1e9,
  });
  t.match(range, { first: 0, last: 10, requests: 60 });
  t.end();
});

t.test('a share counts when it has lasted for a window, until it is down to shareLow', (t) => {
  const watch = new ShareWatch(settings);
  const at = (seconds: number, m1: number, utilisation = 0.8) => {
    const one = (name: string, requestsPerSecond: number): MemberShare => {
      return { name, requestsPerSecond, weight: name === 'm3' ? 2 : 1, utilisation };
    };
    return watch.feed(seconds * 1000, [one('m1', m1), one('m2', 400 - m1 / 2), one('m3', 800 - m1 / 2)]);
  };
  t.same(at(0, 500), []);
  t.same(at(20, 290), [], 'a dip');
  t.same(at(30, 500), [], 'it begins anew');
  t.same(at(50, 500), []);
  t.same(watch.over, []);
  const [event] = at(60, 500);
  t.match(event, { kind: 'disproportionate', member: 'm1', sinceMs: 30_000, limit: 1.25 });
  t.match(event, { fairRequestsPerSecond: 300, requestsPerSecond: 500, text: /1\.67 times its fair 300/ });
  t.same(watch.over, ['m1']);
  t.same(at(90, 500), [], 'told once');
  t.same(at(120, 350), [], 'between the two it stays');
  t.match(at(150, 320), [{ kind: 'proportionate', member: 'm1', limit: 1.1, sinceMs: 30_000 }]);
  t.same(watch.over, []);
  t.same([...at(200, 500, 0.2), ...at(240, 500, 0.2)], [], 'nobody is busy');
  at(300, 500);
  at(330, 500);
  t.match(at(360, 500, 0.1), [{ kind: 'proportionate' }], 'nor any more');
  t.same(watch.feed(400_000, []), []);
  t.end();
});

t.test('the outcome of a move, beside what was predicted', (t) => {
  const members = [member('m1'), member('m2')];
  const volumes = [volume('a', 'm1', 450), volume('b', 'm1', 400)];
  const before = vectors(members, volumes);
  const result = plan(picture(members, volumes), settings);
  const [move] = result.moves;
  if (move === undefined) throw new Error(result.reason);
  apply({ ...result, moves: [move] }, volumes, 0);
  const after = vectors(members, volumes);
  const outcome = outcomeOf(move, before, after);
  t.ok(Math.abs(outcome.gainMs / outcome.predictedGainMs - 1) < 0.01, String(outcome.gainMs));
  t.equal(outcome.loadChange, 0);
  t.ok(outcome.gainMs > 3);
  t.equal(outcomeOf(move, before, before).gainMs, 0, 'nothing has come of it');
  t.match(outcomeOf(move, before, []), { gainMs: 0, loadChange: 0 }, 'nothing is known of after');
  const third = vectors([...members, member('m3')], [...volumes, volume('c', 'm3', 900)]);
  t.match(outcomeOf(move, before, third), outcome, 'who is only in one of them does not count');
  t.end();
});
