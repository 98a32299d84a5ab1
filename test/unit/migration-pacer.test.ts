/** The pace of the copy, under a clock that the test owns. */
import t, { type Test } from 'tap';
import { sleep, systemClock, type Clock, type Timer } from '../../lib/base/clock.js';
import {
  MOVE_BYTES_PER_SECOND_CEILING as CEILING,
  MOVE_BYTES_PER_SECOND_FLOOR as FLOOR,
  MOVE_BYTES_PER_SECOND_FLOOR_WRITES as FLOOR_WRITES,
  MOVE_CHUNK_BYTES,
  MOVE_EXTENTS_IN_FLIGHT,
  MOVE_LATENCY_MS_HIGH,
  MOVE_LOOP_BUSY_HIGH,
  ORPHANS_LOOK_MS,
} from '../../lib/base/limits.js';
import { submitAndWait } from '../../lib/block/device.js';
import { Pacer, floorFor, nextRate } from '../../lib/migration/pacer.js';
import { MoveWorld } from '../support/move-world.js';

const MiB = 1024 * 1024;
const PIECE_BYTES = 256 * 1024;

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

const goOn = (): void => undefined;

/** A source and its initiators, as a pacer sees them. */
interface Place {
  readonly opsPerSecond?: number;
  /** Of them; all read otherwise. */
  readonly writeShare?: number;
  /** Share of the loop that initiators use. */
  readonly loopBusy?: number;
  /** What a piece takes of the loop. */
  readonly pieceMs?: number;
  readonly latencyMs?: number;
  /** Sources of the move, this one among them. */
  readonly givers?: number;
}

/** Bytes per second in each half second of `seconds`, of a copy that does nothing but ask. */
async function ratesOf(
  asked: number | null,
  seconds: number,
  place: (atMs: number) => Place,
): Promise<number[]> {
  const clock = new WaitingClock();
  const startMs = clock.now;
  let [operations, reads, idleMs, seenMs] = [0, 0, 0, startMs];
  /** Lets the initiators have done what they do in the time that has passed. */
  const catchUp = (): Place => {
    const now = place(clock.now - startMs);
    const begun = ((now.opsPerSecond ?? 0) * (clock.now - seenMs)) / 1000;
    operations += begun;
    reads += begun * (1 - (now.writeShare ?? 0));
    idleMs += (clock.now - seenMs) * (1 - (now.loopBusy ?? 0));
    seenMs = clock.now;
    return now;
  };
  const pacer = new Pacer(clock, asked, {
    operations: () => (catchUp(), operations),
    reads: () => (catchUp(), reads),
    idleMs: () => (catchUp(), idleMs),
    givers: () => catchUp().givers ?? 1,
  });
  const halves = new Array<number>(seconds * 2).fill(0);
  while (clock.now - startMs < seconds * 1000) {
    await pacer.take(PIECE_BYTES, goOn);
    const { pieceMs = 0.1, latencyMs = 0.5 } = catchUp();
    pacer.answered(latencyMs);
    clock.now += pieceMs;
    seenMs += pieceMs; // busy with the piece
    const half = Math.floor((clock.now - startMs) / 500);
    if (half < halves.length) halves[half] = (halves[half] ?? 0) + PIECE_BYTES * 2;
  }
  return halves;
}

function near(t: Pick<Test, 'ok'>, found: number | undefined, wanted: number, within = 0.1): void {
  t.ok(
    Math.abs((found ?? 0) / wanted - 1) < within,
    `${((found ?? 0) / MiB).toFixed(1)} MiB/s, wanted ${(wanted / MiB).toFixed(1)}`,
  );
}

t.test('the rate that was asked for holds, with and without a foreground', async (t) => {
  for (const opsPerSecond of [0, 200, 50_000]) {
    near(t, (await ratesOf(10 * MiB, 2, () => ({ opsPerSecond }))).at(-1), 10 * MiB);
  }
});

t.test('the rate that was asked for is shared by all who give, as long as they do', async (t) => {
  for (const opsPerSecond of [0, 200]) {
    const place = (atMs: number): Place => ({ opsPerSecond, givers: atMs < 2000 ? 4 : 1 });
    const rates = await ratesOf(40 * MiB, 4, place);
    for (const rate of rates.slice(1, 4)) near(t, rate, 10 * MiB);
    near(t, rates.at(-1), 40 * MiB);
  }
});

t.test('initiators who want all of the loop bring it to the floor, and never below', async (t) => {
  const full = { opsPerSecond: 50_000, loopBusy: 1, latencyMs: 1000 };
  near(t, (await ratesOf(null, 2, () => full)).at(-1), FLOOR);
  near(t, (await ratesOf(1000 * MiB, 2, () => full)).at(-1), FLOOR);
});

t.test('the floor is the higher the more of their I/O writes', async (t) => {
  for (const writeShare of [0, 0.3, 1]) {
    const full = { opsPerSecond: 50_000, loopBusy: 1, writeShare };
    near(t, (await ratesOf(null, 2, () => full)).at(-1), floorFor(writeShare), 0.02);
  }
  t.same([floorFor(0), floorFor(1)], [FLOOR, FLOOR_WRITES]);
  t.equal(floorFor(0.5), FLOOR);
  t.ok(FLOOR < floorFor(0.7) && floorFor(0.7) < FLOOR_WRITES && FLOOR_WRITES < CEILING);
});

t.test('nobody at work: no ceiling', async (t) => {
  t.ok(
    (await ratesOf(null, 2, () => ({ opsPerSecond: 10 }))).every((rate, i) => i === 0 || rate > 3 * CEILING),
  );
});

t.test('initiators who want little let it rise to the ceiling, within two seconds', async (t) => {
  const rates = await ratesOf(null, 4, () => ({ opsPerSecond: 1000, loopBusy: 0.05 }));
  for (const rate of rates.slice(4)) near(t, rate, CEILING);
});

t.test('a slow destination holds it down, however idle the source is', async (t) => {
  const rates = await ratesOf(null, 3, () => ({ opsPerSecond: 1000, latencyMs: MOVE_LATENCY_MS_HIGH + 1 }));
  near(t, rates.at(-1), FLOOR);
});

t.test('a destination whose loop is full holds it down as well: the home may be there', async (t) => {
  const clock = new WaitingClock();
  const pacer = new Pacer(clock, null, {
    operations: () => clock.now,
    reads: () => clock.now,
    idleMs: () => clock.now,
    givers: () => 1,
  });
  let bytes = 0;
  for (const busyThere of [0, 0.9]) {
    const startMs = clock.now;
    for (bytes = 0; clock.now - startMs < 3000; bytes += PIECE_BYTES) {
      await pacer.take(PIECE_BYTES, goOn);
      pacer.destinationIdle((clock.now - 1000) * (1 - busyThere));
    }
    if (busyThere === 0) t.ok(bytes / 3 > 1.5 * FLOOR, 'idle at both ends');
  }
  near(t, bytes / 3, FLOOR, 0.15);
});

t.test('it comes to rest between them, without hunting', async (t) => {
  // The copy itself takes 0.7 ms of the loop a piece: at the ceiling that would be nearly all of it.
  const rates = await ratesOf(null, 12, () => ({ opsPerSecond: 5000, loopBusy: 0.2, pieceMs: 0.7 }));
  const later = rates.slice(8);
  const [least, most] = [Math.min(...later), Math.max(...later)];
  t.ok(least > FLOOR * 1.05 && most < CEILING * 0.95, `${least / MiB} to ${most / MiB} MiB/s`);
  t.ok(most / least < 1.05, `it stays within a twentieth: ${least / MiB} to ${most / MiB} MiB/s`);
});

t.test('a burst of initiators is answered within half a second, and forgotten within two', async (t) => {
  const rates = await ratesOf(null, 9, (atMs) => ({
    opsPerSecond: 1000,
    loopBusy: atMs >= 3000 && atMs < 5000 ? 0.9 : 0.05,
  }));
  near(t, rates[5], CEILING);
  for (const rate of rates.slice(7, 10)) near(t, rate, FLOOR);
  near(t, rates[14], CEILING);
});

t.test('the decision: down fast, up slowly, within its bounds, and a band where it rests', async (t) => {
  const quiet = { loopBusy: 0.1, latencyMs: 0.5 };
  const busy = { loopBusy: MOVE_LOOP_BUSY_HIGH + 0.01, latencyMs: 0.5 };
  const middle = 180 * MiB;
  t.ok(nextRate(middle, quiet, FLOOR) > middle && nextRate(middle, quiet, FLOOR) < 1.2 * middle);
  t.ok(nextRate(middle, busy, FLOOR) < 0.8 * middle);
  t.equal(nextRate(middle, { loopBusy: 0.6, latencyMs: 0.5 }, FLOOR), middle);
  t.equal(nextRate(middle, { loopBusy: 0.1, latencyMs: 3 }, FLOOR), middle);
  t.equal(nextRate(FLOOR, busy, FLOOR), FLOOR);
  t.equal(nextRate(FLOOR, quiet, FLOOR_WRITES), FLOOR_WRITES, 'a floor that rises takes the rate along');
  t.equal(nextRate(CEILING, quiet, FLOOR), CEILING);
});

t.test('what was taken and is not sent is given back to the pace', async (t) => {
  const clock = new WaitingClock();
  const quiet = { operations: () => 0, reads: () => 0, idleMs: () => 0, givers: () => 1 };
  for (const [corrected, expectedMs] of [
    [0, 1_000],
    [-PIECE_BYTES / 2, 500],
    [PIECE_BYTES, 2_000],
  ] as const) {
    const pacer = new Pacer(clock, PIECE_BYTES, quiet);
    clock.now += 1_000;
    await pacer.take(1, goOn); // the first look: nobody is at work
    await pacer.take(PIECE_BYTES, goOn);
    pacer.correct(corrected);
    const beforeMs = clock.now;
    await pacer.take(1, goOn);
    t.ok(Math.abs(clock.now - beforeMs - expectedMs) < 100, `${clock.now - beforeMs} ms`);
  }
});

t.test('who waits at a small rate hears soon that it need not', async (t) => {
  const clock = new WaitingClock();
  const quiet = { operations: () => 0, reads: () => 0, idleMs: () => clock.now, givers: () => 1 };
  const pacer = new Pacer(clock, 1, quiet);
  await pacer.take(PIECE_BYTES, goOn); // paid for by the next one: three days
  const stopMs = clock.now + 5_000;
  const waiting = pacer.take(PIECE_BYTES, () => {
    if (clock.now >= stopMs) throw new Error('called off');
  });
  await t.rejects(waiting, /called off/);
  t.ok(clock.now - stopMs <= 1_000, `after ${clock.now - stopMs} ms`);
});

t.test('who writes does not wait for the pace of the copy', async (t) => {
  const due: (() => void)[] = [];
  /** Waits of seconds end when the test says so, but for the destination's look at what it has received. */
  const after = (delayMs: number, fire: () => void): Timer => {
    if (delayMs < 1_000 || delayMs === ORPHANS_LOOK_MS) return systemClock.after(delayMs, fire);
    due.push(fire);
    return { cancel: () => undefined };
  };
  const world = Object.assign(new MoveWorld(7), { clock: { ...systemClock, after } });
  await world.start('m1', 'm2');
  const m1 = world.member('m1');
  m1.file.ram.bytes.fill(0xa5);
  m1.rateBytesPerSecond = 32 * 1024; // eight seconds an extent
  const giving = m1.give('m2').catch(() => 'called off');
  while (due.length < MOVE_EXTENTS_IN_FLIGHT) await sleep(systemClock, 1);
  const data = Buffer.alloc(4096, 1);
  const writes = Array.from({ length: world.extents }, (_, extent) =>
    submitAndWait(m1.volume, 'write', extent * world.extentBytes, data.length, data),
  );
  await Promise.all(writes); // or this test ends by its time
  m1.cancelled = true;
  for (const fire of due.splice(0)) fire();
  t.equal(await giving, 'called off');
  await world.close();
});

t.test('holes within what is copied cost nothing of the rate that was asked for', async (t) => {
  let skippedMs = 0;
  /** Waits for the pace, and the look at the source's sync, are over at once, and their time has passed; no other does. */
  const clock: Clock = {
    ...systemClock,
    nowMs: () => skippedMs,
    after(delayMs, fire) {
      if (delayMs < 100 || delayMs === ORPHANS_LOOK_MS) return systemClock.after(delayMs, fire);
      skippedMs += delayMs;
      return systemClock.after(0, fire);
    },
  };
  const world = Object.assign(new MoveWorld(7), { clock });
  await world.start('m1', 'm2');
  const m1 = world.member('m1');
  let dataBytes = 0;
  for (let at = 0; at < m1.file.ram.bytes.length; at += MOVE_CHUNK_BYTES) {
    const page = m1.file.ram.bytes.subarray(at, at + 4096).fill(0xa5);
    dataBytes += page.length;
  }
  m1.rateBytesPerSecond = 16 * 1024;
  await m1.give('m2');
  const dueMs = (dataBytes / m1.rateBytesPerSecond) * 1000;
  t.ok(skippedMs > dueMs / 2 && skippedMs < 3 * dueMs, `${skippedMs} ms instead of ${dueMs}`);
  await world.close();
});
