/** The 'heat' policy on pictures made by hand: what it leaves alone, what it moves, and where it ends. */
import t from 'tap';
import { plan } from '../../lib/balance/plan.js';
import { BalanceSettings } from '../../lib/balance/settings.js';
import {
  apply,
  imbalance,
  member,
  picture,
  requestsByMember,
  volume,
  zipf,
  type TestMember,
  type TestVolume,
} from '../support/balance-pictures.js';

const settings = BalanceSettings.parse({});
const three = [member('m1'), member('m2'), member('m3')];

/** Plans and applies until nothing moves; the moves in order. */
function settle(members: readonly TestMember[], volumes: readonly TestVolume[], own = settings) {
  const moves = [];
  for (let round = 1; round <= 50; round++) {
    const nowMs = round * own.windowMs;
    const next = plan(picture(members, volumes, { nowMs }), own);
    if (next.moves.length === 0) return { moves, last: next, rounds: round };
    moves.push(...next.moves);
    apply(next, volumes, nowMs + own.coolDownMs);
  }
  throw new Error('it never settles');
}

t.test('members that are all low are left alone', (t) => {
  const result = plan(picture(three, [volume('a', 'm1', 200), volume('b', 'm1', 50)]), settings);
  t.equal(result.verdict, 'idle');
  t.match(result.reason, /25 % busy, below 30 %/);
  t.same(result.moves, []);
  t.end();
});

t.test('members that are all equally high are left alone', (t) => {
  const volumes = three.map(({ name }) => volume(`v-${name}`, name, 900));
  const result = plan(picture(three, volumes), settings);
  t.equal(result.verdict, 'balanced');
  t.match(result.measure, { value: 1, limit: 1.25 });
  t.end();
});

t.test('a hot volume alone goes in ranges to the others', (t) => {
  const volumes = [volume('hot', 'm1', 900)];
  const { moves } = settle(three, volumes);
  t.ok(moves.every(({ extents }) => extents !== null));
  t.equal(volumes[0]?.home, 'm1');
  t.ok(imbalance(three, volumes) <= 1.15, String(imbalance(three, volumes)));
  t.equal(moves.length, 2);
  t.end();
});

t.test('a range holds the hot extents, not the rest', (t) => {
  const heat = Array.from({ length: 64 }, (_, extent) => (extent >= 20 && extent < 30 ? 80 : 1));
  const [move] = plan(picture(three, [volume('hot', 'm1', 0, { heat })]), settings).moves;
  t.ok(move?.extents);
  t.ok((move?.extents?.first ?? 0) >= 20 && (move?.extents?.last ?? 99) < 30, JSON.stringify(move));
  t.match(move, { from: 'm1', to: 'm2' });
  t.end();
});

t.test('four volumes after Zipf on one of three even out, and then rest', (t) => {
  for (const exponent of [0.8, 1, 1.2, 2]) {
    const volumes = zipf(4, 930, exponent).map((requests, i) => volume(`v${i}`, 'm1', requests));
    const { moves, last } = settle(three, volumes);
    const end = imbalance(three, volumes);
    t.ok(end <= 1.15, `exponent ${exponent}: ${end} after ${moves.length}`);
    t.ok(moves.length <= 8, `${moves.length} moves`);
    t.match(last.verdict, /balanced|idle/);
    t.ok(
      moves.some(({ extents }) => extents === null),
      'whole volumes, where they fit',
    );
  }
  t.end();
});

t.test('a slow member sheds', (t) => {
  const members = [member('m1', { storageMs: 4 }), member('m2'), member('m3')];
  const volumes = members.flatMap(({ name }) => [1, 2, 3, 4].map((n) => volume(`${name}-${n}`, name, 55)));
  t.ok(imbalance(members, volumes) > 1.25);
  const { moves } = settle(members, volumes);
  t.ok(moves.every(({ from }) => from === 'm1'));
  t.ok(imbalance(members, volumes) <= 1.25, String(imbalance(members, volumes)));
  t.ok((requestsByMember(members, volumes).get('m1') as number) > 0);
  t.end();
});

t.test('a loop that is busy counts as storage that is', (t) => {
  const members = three.map(({ name }) => member(name, { storageMs: 0.01, loopMs: 1 }));
  const volumes = [1, 2, 3].map((n) => volume(`v${n}`, 'm1', 300));
  t.equal(settle(members, volumes).moves.length, 2);
  t.ok(imbalance(members, volumes) < 1.01);
  t.end();
});
