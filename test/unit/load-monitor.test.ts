/** Traffic and its monitor under a clock of the test's: synthetic streams in, load vectors out. */
import t from 'tap';
import { randomBelow, SeededRandom } from '../../lib/base/random.js';
import { BlockIo, type BlockDevice } from '../../lib/block/device.js';
import { LoadMonitor, type MonitorDoors, type MonitoredVolume } from '../../lib/load/monitor.js';
import { VolumeTraffic } from '../../lib/load/traffic.js';
import { LoadVector } from '../../lib/load/vector.js';
import type { DestinationLink } from '../../lib/migration/destination-link.js';
import { Interceptor } from '../../lib/migration/interceptor.js';
import { LocalSlot } from '../../lib/volume/local-slot.js';
import { SteppedClock } from '../support/hand-clock.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const EXTENT = 4 * MiB;
const WINDOW_MS = 8_000;
const SECOND_MS = 1_000;

class Io extends BlockIo {
  isDone = false;
  protected override completed(): void {
    this.isDone = true;
  }
}

/** A device that completes after so long by the clock, or at once. */
class SlowDevice implements BlockDevice {
  readonly sizeBytes = 1024 * MiB;
  readonly blockBytes = 512;
  readonly readOnly = false;
  tookMs = 0;
  constructor(private readonly clock: SteppedClock) {}
  submit(io: BlockIo): void {
    if (this.tookMs === 0) io.complete(null);
    else this.clock.after(this.tookMs, () => io.complete(null));
  }
}

class Rig {
  readonly clock = new SteppedClock();
  readonly vectors: LoadVector[] = [];
  readonly volumes: (MonitoredVolume & { readonly slot: LocalSlot; readonly device: SlowDevice })[] = [];
  readonly counts = { processorMs: 0, idleMs: 0, bytesIn: 0, bytesOut: 0 };
  held = (_extent: number): boolean => true;
  readonly monitor: LoadMonitor;

  constructor(doors: Partial<MonitorDoors> = {}) {
    this.monitor = new LoadMonitor(
      {
        ...{ clock: this.clock, member: 'm1', incarnation: 'i' },
        counts: () => ({ ...this.counts }),
        takeLoopDelayMs: () => 3,
        sessions: () => 2,
        roundTrips: () => [['m2', 0.5]],
        volumes: () => this.volumes,
        space: () => ({ usedBytes: 10, freeBytes: 20 }),
        ...doors,
      },
      WINDOW_MS,
    );
    this.monitor.onWindow((vector) => this.vectors.push(LoadVector.parse(vector)));
  }

  volume(name: string): { slot: LocalSlot; device: SlowDevice } {
    const traffic = new VolumeTraffic(this.clock, EXTENT);
    const slot = new LocalSlot(traffic);
    const device = new SlowDevice(this.clock);
    slot.opened(device);
    const volume = {
      ...{ name, traffic, slot, device, initiators: 1 },
      get pinned() {
        return slot.pinned;
      },
      holdsHere: (extent: number) => this.held(extent),
    };
    this.volumes.push(volume);
    return volume;
  }

  get last(): LoadVector {
    return this.vectors.at(-1) as LoadVector;
  }
}

function submit(slot: LocalSlot, op: BlockIo['op'], offsetBytes: number, lengthBytes: number): Io {
  const io = new Io();
  io.prepare(op, offsetBytes, lengthBytes);
  slot.submit(io);
  return io;
}

t.test('rates, sizes and shares of a window', async (t) => {
  const rig = new Rig();
  rig.monitor.start();
  rig.clock.pass(WINDOW_MS / 8);
  t.equal(rig.vectors.length, 1, 'the first window is a slice long');
  t.equal(rig.last.windowMs, WINDOW_MS / 8);
  const { slot } = rig.volume('data');
  for (let i = 0; i < 800; i++)
    submit(slot, i % 4 === 0 ? 'write' : 'read', ((i * 37) % 512) * EXTENT, 8 * KiB);
  submit(slot, 'flush', 0, 0);
  submit(slot, 'discard', 0, 64 * MiB);
  Object.assign(rig.counts, { processorMs: 4_000, idleMs: 6_000, bytesIn: 80_000, bytesOut: 160_000 });
  rig.clock.pass(WINDOW_MS);
  t.equal(rig.vectors.length, 2);
  const { server, storage, volumes, sequence, windowMs } = rig.last;
  t.strictSame([sequence, windowMs], [2, WINDOW_MS]);
  t.strictSame(server, {
    ...{ processors: 0.5, loopBusy: 0.25, loopDelayMsP99: 3, sessions: 2 },
    ...{ bytesIn: 10_000, bytesOut: 20_000, roundTripMs: { m2: 0.5 } },
  });
  t.strictSame(
    [storage.readsPerSecond, storage.writesPerSecond],
    [75, 25.13],
    'a discard writes, a flush is nothing',
  );
  t.strictSame([storage.readBytesPerSecond, storage.writeBytesPerSecond], [75 * 8 * KiB, 25 * 8 * KiB]);
  t.strictSame([storage.usedBytes, storage.freeBytes], [10, 20]);
  t.match(volumes, [{ volume: 'data', pattern: { kind: 'mixed', initiators: 1, requestBytes: 8182 } }]);
  rig.clock.pass(WINDOW_MS);
  t.strictSame(rig.last.volumes, [], 'an idle volume is left out');
  t.equal(rig.last.storage.readsPerSecond, 0);
});

/** Streams, and what they are to be called. */
const STREAMS: Record<
  string,
  { kind: string; next: (i: number, random: SeededRandom) => [BlockIo['op'], number] }
> = {
  'one stream of reads': { kind: 'sequential-read', next: (i) => ['read', i * 64 * KiB] },
  'a stream of writes': { kind: 'sequential-write', next: (i) => ['write', i * 64 * KiB] },
  'eight streams in turn': {
    kind: 'sequential-read',
    next: (i) => ['read', (i % 8) * 128 * MiB + Math.floor(i / 8) * 64 * KiB],
  },
  'a stride': { kind: 'random-read', next: (i) => ['read', (i * 128 * KiB) % (1024 * MiB)] },
  'random reads': {
    kind: 'random-read',
    next: (_, random) => ['read', randomBelow(random, 16_000) * 64 * KiB],
  },
  'random writes': {
    kind: 'random-write',
    next: (_, random) => ['write', randomBelow(random, 16_000) * 64 * KiB],
  },
};

for (const [name, { kind, next }] of Object.entries(STREAMS)) {
  t.test(`${name}: ${kind}, at every rate of sampling`, async (t) => {
    const rig = new Rig();
    const { slot } = rig.volume('data');
    const random = new SeededRandom(4);
    rig.monitor.start();
    rig.clock.pass(WINDOW_MS / 8);
    let i = 0;
    for (const requests of [200, 5_000, 200_000, 200_000, 300]) {
      for (let k = 0; k < requests; k++, i++) {
        const [op, offsetBytes] = next(i, random);
        submit(slot, op, offsetBytes, 64 * KiB);
      }
      rig.clock.pass(WINDOW_MS);
      t.match(rig.last.volumes, [{ pattern: { kind } }], `${requests} in a window`);
    }
  });
}

t.test('hot extents: found among many, with their rates, gone when the extent is', async (t) => {
  const rig = new Rig();
  const { slot } = rig.volume('data');
  const random = new SeededRandom(8);
  rig.monitor.start();
  rig.clock.pass(WINDOW_MS / 8);
  const load = (): void => {
    for (let i = 0; i < 80_000; i++) {
      const chance = randomBelow(random, 100);
      const extent = chance < 40 ? 11 : chance < 60 ? 200 : randomBelow(random, 256);
      submit(slot, 'read', extent * EXTENT + randomBelow(random, 1000) * 4 * KiB, 4 * KiB);
    }
    rig.clock.pass(WINDOW_MS);
  };
  for (let window = 0; window < 4; window++) load();
  const [first, second, third] = rig.last.volumes[0]?.hot ?? [];
  t.equal(first?.[0], 11);
  t.equal(second?.[0], 200);
  t.ok(Math.abs((first?.[1] ?? 0) / 4_000 - 1) < 0.1, `${first?.[1]} of 4,000 a second`);
  t.ok(Math.abs((second?.[1] ?? 0) / 2_000 - 1) < 0.1, `${second?.[1]} of 2,000 a second`);
  t.ok((third?.[1] ?? 0) < 100, `${third?.[1]} a second of any other`);
  rig.held = (extent) => extent !== 11;
  load();
  t.equal(rig.last.volumes[0]?.hot[0]?.[0], 200, 'what is held elsewhere by now is not told');
});

t.test('the heat of extents that have left is taken from nobody', async (t) => {
  const rig = new Rig();
  const { slot } = rig.volume('data');
  rig.monitor.start();
  rig.clock.pass(WINDOW_MS / 8);
  /** @returns the rates of extents 3 and 7, and of all the others */
  const load = (extents: number[]): number[] => {
    for (let i = 0; i < 16_000; i++)
      submit(
        slot,
        'read',
        (extents[i % extents.length] as number) * EXTENT + ((i * 36 * KiB) % EXTENT),
        4 * KiB,
      );
    rig.clock.pass(WINDOW_MS);
    const [volume] = rig.last.volumes;
    const hot = new Map(volume?.hot);
    const others = [...hot.values()].reduce((left, rate) => left - rate, volume?.readsPerSecond ?? 0);
    return [hot.get(3) ?? 0, hot.get(7) ?? 0, others];
  };
  const isNear = (rates: number[], wanted: number[], message: string): void => {
    t.ok(
      rates.every((rate, i) => Math.abs(rate - (wanted[i] as number)) < 150),
      `${message}: ${rates.join(', ')}`,
    );
  };
  for (let window = 0; window < 4; window++) load([3, 7]);
  isNear(load([3, 7]), [1000, 1000, 0], 'both');
  rig.held = (extent) => extent !== 7;
  isNear(load([3, 7]), [1000, 0, 1000], 'it has left at the end of the window');
  isNear(load([3]), [2000, 0, 0], 'it is remembered, and is not told as heat of others');
  isNear(load([3]), [2000, 0, 0], 'later, too');
  rig.held = () => false;
  isNear(load([3]), [0, 0, 2000], 'all have left');
});

t.test('service times and queue depth of a storage that takes its time, and of one that hangs', async (t) => {
  const rig = new Rig();
  const { slot, device } = rig.volume('data');
  rig.monitor.start();
  rig.clock.pass(WINDOW_MS / 8);
  device.tookMs = 20;
  for (let i = 0; i < 800; i++) {
    submit(slot, 'read', i * EXTENT, 4 * KiB);
    rig.clock.pass(10);
  }
  const { serviceMs, queueDepth } = rig.last.storage;
  t.equal(serviceMs.mean, 20);
  t.ok(Math.abs(serviceMs.p99 / 20 - 1) < 0.1, `p99 ${serviceMs.p99}`);
  t.ok(Math.abs(queueDepth - 2) < 0.1, `two at a time: ${queueDepth}`);
  t.equal(rig.last.volumes[0]?.serviceMs, 20);
  rig.clock.pass(WINDOW_MS);
  device.tookMs = 3 * WINDOW_MS;
  for (let i = 0; i < 5; i++) submit(slot, 'read', 0, 4 * KiB);
  rig.clock.pass(2 * WINDOW_MS);
  t.equal(rig.last.storage.queueDepth, 5, 'what hangs stands in the queue');
  t.equal(slot.pinned, 5);
  rig.clock.pass(2 * WINDOW_MS);
  t.strictSame([slot.pinned, rig.last.storage.queueDepth], [0, 0]);
});

t.test('an extent on the move counts its requests, once, when they are served', async (t) => {
  const rig = new Rig();
  const { slot, device } = rig.volume('data');
  const interceptor = new Interceptor(
    0,
    0,
    EXTENT,
    device,
    slot,
    {} as DestinationLink,
    () => undefined,
    false,
  );
  const origin = { again: (io: BlockIo) => slot.submit(io) };
  const ios = (['read', 'write', 'read'] as const).map((op) => new Io().prepare(op, 0, 4 * KiB));
  for (const io of ios) interceptor.submit(io, 0, origin);
  t.equal(slot.begun, 0, 'held at the gate');
  interceptor.open();
  t.strictSame([slot.begun, slot.begunReads], [3, 2]);
  await interceptor.holdAll();
  interceptor.submit(new Io().prepare('read', 0, 4 * KiB), 0, origin);
  interceptor.takeOut();
  t.strictSame([slot.begun, slot.begunReads], [4, 3], 'what waited to the end is counted where it goes then');
});

t.test('steady and bursty', async (t) => {
  const rig = new Rig();
  const steady = rig.volume('steady');
  const bursty = rig.volume('bursty');
  rig.monitor.start();
  for (let second = 0; second < 24; second++) {
    for (let i = 0; i < 100; i++) submit(steady.slot, 'read', i * EXTENT, 4 * KiB);
    if (second % 6 === 0) for (let i = 0; i < 600; i++) submit(bursty.slot, 'read', i * EXTENT, 4 * KiB);
    rig.clock.pass(SECOND_MS);
  }
  const burstiness = Object.fromEntries(rig.last.volumes.map((v) => [v.volume, v.pattern.burstiness]));
  t.ok((burstiness['steady'] ?? 9) < 0.2, `steady: ${burstiness['steady']}`);
  t.ok((burstiness['bursty'] ?? 0) > 1, `bursty: ${burstiness['bursty']}`);
});

t.test('a new length of window holds from now on; nothing is measured after the end', async (t) => {
  const rig = new Rig();
  rig.monitor.start();
  rig.clock.pass(WINDOW_MS / 8);
  rig.monitor.setWindow(800);
  rig.clock.pass(800);
  t.strictSame([rig.vectors.length, rig.last.windowMs, rig.monitor.windowMs], [2, 800, 800]);
  rig.clock.pass(400);
  rig.monitor.setWindow(8_000);
  rig.clock.pass(4_000);
  t.strictSame([rig.vectors.length, rig.last.windowMs], [3, 4_400], 'figures are of the time that they took');
  rig.monitor.close();
  rig.clock.pass(100_000);
  t.equal(rig.vectors.length, 3);
});

t.test('a vector is bounded, whatever there is to tell', async (t) => {
  const rig = new Rig({
    roundTrips: () => Array.from({ length: 2_000 }, (_, i) => [`member-${i}`, 1.23456] as const),
  });
  const random = new SeededRandom(2);
  for (let v = 0; v < 700; v++) {
    const { slot } = rig.volume(`a-volume-with-a-long-name-${v}`);
    for (let i = 0; i < 100; i++) submit(slot, 'write', randomBelow(random, 250) * EXTENT, 4 * KiB);
  }
  rig.monitor.start();
  rig.clock.pass(WINDOW_MS);
  t.equal(rig.last.volumes.length, 512);
  const hot = rig.last.volumes.reduce((sum, { hot }) => sum + hot.length, 0);
  t.equal(hot, 1024, 'hot extents, of the busiest');
  const bytes = JSON.stringify(rig.last).length;
  t.ok(bytes < 300 * KiB, `${bytes} bytes`);
});
