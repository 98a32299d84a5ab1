/** The small arithmetic that everything stands on, each against a naive model: serial, bitmap, random, units. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import fc from 'fast-check';
import { isProcessGone } from '../../lib/base/processes.js';
import { Bitmap } from '../../lib/base/bitmap.js';
import { BlockferryError } from '../../lib/base/errors.js';
import { isLoopback } from '../../lib/base/net.js';
import { randomBelow, randomToken, SeededRandom, systemRandom } from '../../lib/base/random.js';
import { serialAdd, serialDistance, serialLess, serialLessOrEqual } from '../../lib/base/serial.js';
import { exactSize, formatSize, parseSize, sizeOf, wholeOf } from '../../lib/base/units.js';
import { until } from '../support/wait.js';

const SEED = 20261123;
const parameters = { seed: SEED, numRuns: 1000 };
t.comment(`seed ${SEED}`);

const WORD = 2n ** 32n;
const HALF = 2n ** 31n;
const serial = fc.oneof(
  fc.integer({ min: 0, max: 0xffffffff }),
  fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff),
);

await t.test('serial numbers follow RFC 1982', async () => {
  fc.assert(
    fc.property(
      serial,
      fc.nat(0x7fffffff),
      (s, n) => serialAdd(s, n) === Number((BigInt(s) + BigInt(n)) % WORD),
    ),
    parameters,
  );
  // RFC 1982 3.2: s1 < s2 when the way up from s1 to s2 is shorter than half the circle.
  fc.assert(
    fc.property(serial, serial, (a, b) => {
      const up = (BigInt(b) - BigInt(a) + WORD) % WORD;
      const less = up !== 0n && up < HALF;
      return (
        serialLess(a, b) === less &&
        serialLessOrEqual(a, b) === (less || a === b) &&
        serialDistance(a, b) === Number(up < HALF ? up : up - WORD) &&
        serialAdd(a, serialDistance(a, b)) === b
      );
    }),
    parameters,
  );
});

await t.test('serial numbers wrap', async (t) => {
  t.equal(serialAdd(0xffffffff, 1), 0);
  t.ok(serialLess(0xffffffff, 0));
  t.notOk(serialLess(0, 0xffffffff));
  t.notOk(serialLess(5, 5));
});

interface Step {
  readonly set: boolean;
  readonly from: number;
  readonly length: number;
}
const steps = fc.array(fc.record<Step>({ set: fc.boolean(), from: fc.nat(140), length: fc.nat(80) }), {
  maxLength: 20,
});

await t.test('a bitmap behaves like an array of booleans', async () => {
  fc.assert(
    fc.property(fc.nat(140), steps, fc.nat(140), (size, steps, query) => {
      const bitmap = new Bitmap(size);
      const model = Array.from({ length: size }, () => false);
      for (const { set, from, length } of steps) {
        const to = Math.min(from + length, size);
        if (from > to) continue;
        if (set) bitmap.setRange(from, to);
        else bitmap.clearRange(from, to);
        model.fill(set, from, to);
      }
      const start = Math.min(query, size);
      const nextClear = model.indexOf(false, start);
      return (
        bitmap.count === model.filter(Boolean).length &&
        model.every((member, i) => bitmap.has(i) === member) &&
        bitmap.nextSet(start) === model.indexOf(true, start) &&
        bitmap.nextClear(start) === (nextClear === -1 ? size : nextClear)
      );
    }),
    parameters,
  );
});

await t.test('a bitmap refuses what lies outside', async (t) => {
  const bitmap = new Bitmap(33);
  t.throws(() => bitmap.setRange(0, 34));
  t.throws(() => bitmap.clearRange(-1, 2));
  t.throws(() => new Bitmap(-1));
  bitmap.setRange(0, 33);
  t.equal(bitmap.nextClear(0), 33);
  t.equal(bitmap.count, 33);
});

/** xoshiro128** and splitmix32 written down a second time, in BigInt. */
function* referenceRandom(seed: number): Generator<number> {
  const word = (x: bigint): bigint => BigInt.asUintN(32, x);
  const rotate = (x: bigint, k: bigint): bigint => word((x << k) | (x >> (32n - k)));
  let mix = word(BigInt(seed));
  const s = [0, 1, 2, 3].map(() => {
    mix = word(mix + 0x9e3779b9n);
    let z = word((mix ^ (mix >> 16n)) * 0x21f0aaadn);
    z = word((z ^ (z >> 15n)) * 0x735a2d97n);
    return word(z ^ (z >> 15n));
  }) as [bigint, bigint, bigint, bigint];
  for (;;) {
    yield Number(word(rotate(word(s[1] * 5n), 7n) * 9n));
    const shifted = word(s[1] << 9n);
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 11n);
  }
}

await t.test('seeded randomness is xoshiro128** and repeats itself', async (t) => {
  for (const seed of [0, 1, SEED, 0xffffffff]) {
    const random = new SeededRandom(seed);
    const expected = referenceRandom(seed);
    const ours = Array.from({ length: 200 }, () => random.uint32());
    t.strictSame(
      ours,
      Array.from({ length: 200 }, () => expected.next().value as number),
      `seed ${seed}`,
    );
  }
});

await t.test('randomBelow stays below its bound and reaches all of it', async (t) => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 2 ** 53 - 1 }), (seed, bound) => {
      const value = randomBelow(new SeededRandom(seed), bound);
      return Number.isInteger(value) && value >= 0 && value < bound;
    }),
    parameters,
  );
  t.equal(randomBelow({ uint32: () => 0xffffffff }, 2 ** 53), 2 ** 53 - 1, 'the top');
  t.equal(randomBelow({ uint32: () => 0 }, 2 ** 53), 0, 'the bottom');
  const random = new SeededRandom(SEED);
  const counts = [0, 0, 0, 0, 0, 0];
  for (let i = 0; i < 6000; i++) {
    const face = randomBelow(random, 6);
    counts[face] = (counts[face] ?? 0) + 1;
  }
  t.ok(
    counts.every((count) => count > 850 && count < 1150),
    `six faces, about as often: ${counts.join(' ')}`,
  );
});

await t.test('tokens are sixteen hexadecimal digits', async (t) => {
  t.equal(randomToken({ uint32: () => 1 }), '0000000100000001');
  const tokens = new Set(Array.from({ length: 100 }, () => randomToken(systemRandom)));
  t.equal(tokens.size, 100);
  t.ok([...tokens].every((token) => /^[0-9a-f]{16}$/.test(token)));
});

const suffixes = ['', 'K', 'M', 'G', 'T', 'P'] as const;

await t.test('sizes are read as powers of 1024', async (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1023 }), fc.nat(4), (count, power) => {
      const bytes = count * 1024 ** power;
      const suffix = suffixes[power] ?? '';
      return (
        sizeOf(`${count}${suffix}`) === bytes &&
        sizeOf(` ${count}${suffix.toLowerCase()}iB `) === bytes &&
        formatSize(bytes) === `${count}${suffix}`
      );
    }),
    parameters,
  );
  t.equal(sizeOf('1.5G'), 1536 * 1024 * 1024);
  t.equal(sizeOf('512'), 512);
  t.equal(parseSize('size', '64K'), 65_536);
});

await t.test('a size that was formatted is read back within a twentieth', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 50 }), (bytes) => {
      const text = formatSize(bytes);
      const value = Number.parseFloat(text) * 1024 ** suffixes.indexOf(text.replace(/[\d.]/g, '') as 'K');
      return Math.abs(value - bytes) <= bytes / 20;
    }),
    parameters,
  );
});

await t.test('an exact size is read back as it was', async () => {
  const exact = (bytes: number): boolean => sizeOf(exactSize(bytes)) === bytes;
  fc.assert(fc.property(fc.integer({ min: 1, max: 2 ** 50 }), exact), parameters);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5000 }), (count) => exact(count * 2 ** 20)),
    parameters,
  );
});

await t.test('what is no size is wrong usage', async (t) => {
  for (const text of ['', '0', '-1', '1.5', '0.3K', '10X', 'K', '1e3', '0x10', '9999999P', '1 G', 'NaN']) {
    t.equal(sizeOf(text), null, `'${text}'`);
    t.throws(() => parseSize('size', text), BlockferryError, `'${text}'`);
    t.throws(() => parseSize('size', text), { code: 'USAGE', message: `--size '${text}' is not a size` });
  }
});

await t.test('what no other machine can reach', async (t) => {
  for (const near of [
    '127.0.0.1',
    '127.255.255.254',
    '::1',
    '0:0:0:0:0:0:0:1',
    '::ffff:127.0.1.1',
    '::FFFF:7f00:1',
  ])
    t.ok(isLoopback(near), near);
  for (const far of [
    '128.0.0.1',
    '10.0.0.127',
    '0.0.0.0',
    '::',
    '::127.0.0.1',
    '::ffff:10.0.0.1',
    '::1%lo',
    'fe80::1',
  ])
    t.notOk(isLoopback(far), far);
  for (const name of ['', 'localhost', '127.example.org', '127.0.0', '127.0.0.256', '127.0.0.1:80', '[::1]'])
    t.notOk(isLoopback(name), `'${name}' is no address`);
});

await t.test('counts of options', async (t) => {
  t.equal(wholeOf('jobs', '1'), 1);
  t.equal(wholeOf('seed', '0', 0), 0);
  t.throws(() => wholeOf('jobs', '0'), { code: 'USAGE', message: /--jobs '0' is no whole number from 1 on/ });
  for (const text of ['', ' ', 'x', '-1', '1.5', 'Infinity', String(2 ** 53)])
    t.throws(() => wholeOf('seed', text, 0), { code: 'USAGE' }, `'${text}'`);
});

t.test('a killed process that nobody has reaped is gone', async (t) => {
  t.equal(isProcessGone(process.pid), false);
  // The shell leaves its child unreaped: it sleeps in the exec'd program, which waits for nobody.
  const parent = spawn('sh', ['-c', 'sleep 0.01 & echo $!; exec sleep 30'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(line.toString());
  await until('the process is gone', () => isProcessGone(pid));
  t.equal(isProcessGone(pid), true, 'a zombie');
  t.doesNotThrow(() => process.kill(pid, 0), 'whose number is still taken');
  parent.kill('SIGKILL');
  t.equal(isProcessGone(0x3fffffff), true, 'a number that was never given');
});
