/** The pace of the copy, under a clock that the test owns. */
import t from 'tap';
import type { Clock } from '../../lib/base/clock.js';
import { MOVE_BUSY_BYTES_PER_SECOND } from '../../lib/base/limits.js';
import { Pacer } from '../../lib/migration/pacer.js';

const MiB = 1024 * 1024;

/** Time that passes only by waiting. */
class WaitingClock implements Clock {
  now = 1000;
  nowMs = (): number => this.now;
  wallMs = (): number => this.now;
  after(delayMs: number, fire: () => void) {
    this.now += delayMs;
    queueMicrotask(fire);
    return { cancel: () => undefined };
  }
}

/** Bytes per second over 2 s of a copy that does nothing but ask; each piece takes `pieceMs` by itself. */
async function rateOf(rate: number | null, opsPerSecond: number, pieceMs = 0.1): Promise<number> {
  const clock = new WaitingClock();
  const pacer = new Pacer(clock, rate, () => (clock.now * opsPerSecond) / 1000);
  let bytes = 0;
  const startMs = clock.now;
  while (clock.now - startMs < 2000) {
    await pacer.take(256 * 1024);
    clock.now += pieceMs;
    bytes += 256 * 1024;
  }
  return (bytes / (clock.now - startMs)) * 1000;
}

function near(t: { ok(value: boolean, message: string): boolean }, found: number, wanted: number): void {
  t.ok(
    Math.abs(found / wanted - 1) < 0.1,
    `${(found / MiB).toFixed(1)} MiB/s, wanted ${(wanted / MiB).toFixed(1)}`,
  );
}

t.test('the ceiling holds, with and without a foreground', async (t) => {
  near(t, await rateOf(10 * MiB, 0), 10 * MiB);
  near(t, await rateOf(10 * MiB, 50_000), 10 * MiB);
});

t.test('a busy foreground lowers the pace, and never to a halt', async (t) => {
  near(t, await rateOf(null, 50_000), MOVE_BUSY_BYTES_PER_SECOND);
  near(t, await rateOf(1000 * MiB, 50_000), MOVE_BUSY_BYTES_PER_SECOND);
});

t.test('a foreground that hardly does anything does not', async (t) => {
  t.ok((await rateOf(null, 10)) > 5 * MOVE_BUSY_BYTES_PER_SECOND);
});
