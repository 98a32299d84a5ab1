/** Routes as pure snapshots against a plain array, a volume over extents of several holders, and the pins of its drain. */
import fc from 'fast-check';
import t from 'tap';
import { BlockIo, submitAndWait, type BlockDevice, type IoError } from '../../lib/block/device.js';
import { systemClock } from '../../lib/base/clock.js';
import { ROUTE_CHUNK_EXTENTS, RouteChunkRecord, RouteHeadRecord } from '../../lib/group/records.js';
import { MemberIds } from '../../lib/routing/member-ids.js';
import { Route, type RouteChange } from '../../lib/routing/route.js';
import { VolumeTraffic } from '../../lib/load/traffic.js';
import { JoinedIo, PartIo } from '../../lib/volume/joined-io.js';
import { LocalSlot } from '../../lib/volume/local-slot.js';
import type { ExtentSlot, IoOrigin } from '../../lib/volume/slot.js';
import { Volume } from '../../lib/volume/volume.js';
import { RamDevice } from '../support/ram-device.js';

const SEED = 20261123;
const MEMBERS = ['m1', 'm2', 'm3'];

function head(extents: number): RouteHeadRecord {
  return { epoch: 1, home: 'm1', base: 'm1', extents };
}

t.test(`a route is what an array of holders would be (seed ${SEED})`, async (t) => {
  const step = fc.record({
    to: fc.constantFrom(...MEMBERS),
    at: fc.nat(),
    length: fc.integer({ min: 1, max: 900 }),
  });
  const property = fc.property(
    fc.integer({ min: 1, max: 3 * ROUTE_CHUNK_EXTENTS }),
    fc.array(step, { maxLength: 12 }),
    (extents, steps) => {
      const ids = new MemberIds();
      const stored = new Map<number, RouteChunkRecord>();
      const model = new Array<string>(extents).fill('m1');
      let route = Route.fromRecords(ids, head(extents), 1, stored);
      for (const { to, at, length } of steps) {
        const first = at % extents;
        const given = Array.from({ length: Math.min(length, extents - first) }, (_, i) => first + i);
        const extentsToGive = given.filter((extent) => model[extent] !== to);
        if (extentsToGive.length === 0) continue;
        const change = route.withHolder(extentsToGive, to);
        for (const extent of extentsToGive) model[extent] = to;
        for (const [index, record] of change.chunks) {
          if (record === null) stored.delete(index);
          else stored.set(index, RouteChunkRecord.parse(JSON.parse(JSON.stringify(record))));
        }
        route = route.applying(change, route.headRevision + 1);
      }
      const read = Route.fromRecords(new MemberIds(), route.head, 1, stored);
      for (const r of [route, read]) {
        for (let extent = 0; extent < extents; extent++)
          if (r.holderNameAt(extent) !== model[extent]) return false;
        const runs = [...r.runs()];
        if (runs[0]?.first !== 0 || runs.at(-1)?.last !== extents - 1) return false;
        for (const { first, last, holder } of runs) {
          const held = r.extentsHeldBy(holder, first, last);
          if (held.length !== last - first + 1 || held[0] !== first || held.at(-1) !== last) return false;
          if (!r.isHeldBy(holder, first, last)) return false;
          if (last < extents - 1 && r.isHeldBy(holder, first, last + 1)) return false;
          if (first > 0 && r.isHeldBy(holder, first - 1, last)) return false;
          const others = new Set(model.slice(first >> 1, last + 1).filter((other) => other !== holder));
          if (r.countOthers(holder, first >> 1, last) !== others.size) return false;
        }
        for (const name of MEMBERS) {
          const count = model.filter((holder) => holder === name).length;
          if ((r.countByHolder().get(name) ?? 0) !== count || r.extentsHeldBy(name).length !== count)
            return false;
          const held = r.extentsHeldBy(name);
          if (!r.holdsNoneBut(name, held)) return false;
          if (held.length > 0 && r.holdsNoneBut(name, held.slice(0, -1))) return false;
          if (held.length > 0 && r.holdsNoneBut(name, held.slice(1))) return false;
        }
      }
      return true;
    },
  );
  fc.assert(property, { seed: SEED, numRuns: 60 });
  t.pass('60 random histories');
});

t.test(
  'what a disk had lost when it gave its last extents stays in the route, whatever follows',
  async (t) => {
    const start = Route.fromRecords(new MemberIds(), head(4), 1, new Map());
    let route = start.applying(start.withHolder([0, 1, 2, 3], 'm2', '7-i', true), 2);
    const and = (change: RouteChange): Route => (route = route.applying(change, route.headRevision + 1));
    and(route.withHolder([0, 1], 'm1', 'of m2'));
    t.same(route.gave, { m2: 'of m2' }, 'what it gave is old');
    t.same(route.lostAt, { m1: 2 });
    and(route.withHome('m2'));
    and(route.withHolder([0], 'm2', 'of m1'));
    and(route.begun());
    t.same([route.lostAt, route.homeSince], [{ m1: 2 }, 4]);
    and(route.withHolder([1], 'm2', '8-i', true));
    t.same(
      RouteHeadRecord.parse(JSON.parse(JSON.stringify(route.head))).lostAt,
      { m1: 7 },
      'the last of each',
    );
    t.same([start.lostAt, start.homeSince], [{}, 0], 'records of before there was that say nothing');
  },
);

t.test('records that contradict each other are refused', async (t) => {
  const ids = new MemberIds();
  const short = new Map([[0, RouteChunkRecord.parse({ runs: [[3, 'm2']] })]]);
  t.throws(() => Route.fromRecords(ids, head(5), 1, short), { code: 'INVALID' });
  const route = Route.fromRecords(ids, head(5), 1, new Map());
  t.throws(() => route.withHolder([1], 'm1'), /I2/, 'an extent is not given to its holder');
  t.throws(() => route.applying({ head: head(5), chunks: new Map() }, 2), /I3/, 'an epoch only grows');
});

/** A slot of another member: its own RAM, and a note of what it was asked. */
class OtherSlot implements ExtentSlot {
  readonly asked: string[] = [];
  constructor(readonly ram: RamDevice) {}
  submit(io: BlockIo, _extent: number, _origin: IoOrigin): void {
    this.asked.push(`${io.op} ${io.offsetBytes}+${io.lengthBytes}`);
    this.ram.submit(io);
  }
}

function scattered() {
  const ids = new MemberIds();
  const route = Route.fromRecords(ids, head(8), 1, new Map());
  const two = route.applying(route.withHolder([2, 3, 6], 'm2'), 2);
  const local = new LocalSlot(new VolumeTraffic(systemClock, 4096));
  const here = new RamDevice(8 * 65536);
  local.opened(here);
  const there = new OtherSlot(new RamDevice(8 * 65536));
  const geometry = { sizeBytes: 8 * 65536, blockBytes: 512, extentBytes: 65536 };
  return { volume: new Volume(geometry, two, ids.idOf('m1'), local, () => there), here, there, local };
}

t.test('an I/O is split only where holders differ, and every byte goes to its holder', async (t) => {
  const { volume, here, there } = scattered();
  const data = Buffer.from(Array.from({ length: volume.sizeBytes }, (_, i) => (i * 7) % 251));
  await submitAndWait(volume, 'write', 0, data.length, data);
  t.same(there.asked, ['write 131072+131072', 'write 393216+65536'], 'two runs of the other member');
  t.equal(here.counts.write, 3);
  const read = Buffer.alloc(volume.sizeBytes);
  await submitAndWait(volume, 'read', 0, read.length, read);
  t.ok(read.equals(data));
  t.ok(
    here.bytes.subarray(2 * 65536, 4 * 65536).every((byte) => byte === 0),
    'nothing of it is here',
  );
  await submitAndWait(volume, 'flush', 0, 0);
  t.equal(here.counts.flush, 1);
  t.equal(there.ram.counts.flush, 1, 'a flush goes to every holder');
});

t.test('what is outside a volume is refused, what is empty is done', async (t) => {
  const { volume } = scattered();
  await t.rejects(submitAndWait(volume, 'read', volume.sizeBytes, 512, Buffer.alloc(512)), {
    code: 'out-of-range',
  });
  await t.rejects(submitAndWait(volume, 'discard', -512, 512), { code: 'out-of-range' });
  await submitAndWait(volume, 'write', volume.sizeBytes, 0, Buffer.alloc(0));
});

t.test('a suspended volume holds I/O and serves it when it resumes (I4)', async (t) => {
  const { volume, here } = scattered();
  volume.suspend();
  const read = submitAndWait(volume, 'read', 0, 512, Buffer.alloc(512));
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(here.counts.read, 0);
  volume.resume();
  await read;
  t.equal(here.counts.read, 1);
});

t.test('what a volume holds is given up with it, and nothing is begun any more', async (t) => {
  const { volume, here } = scattered();
  const read = (): Promise<void> => submitAndWait(volume, 'read', 0, 512, Buffer.alloc(512));
  volume.suspend();
  const held = read();
  volume.giveUpHeld();
  await t.rejects(held, { code: 'aborted' });
  await t.rejects(read(), { code: 'aborted' });
  volume.resume();
  await t.rejects(read(), { code: 'aborted' }, 'not by a lease that comes then, either');
  t.equal(here.counts.read, 0);
});

t.test('what nobody waits for by then is not begun', async (t) => {
  const { volume, here } = scattered();
  volume.suspend();
  let isWanted = true;
  class Written extends BlockIo {
    override get isWanted(): boolean {
      return isWanted;
    }
    constructor(private readonly ended: (outcome: string) => void) {
      super();
    }
    protected override completed(error: IoError | null): void {
      this.ended(error?.code ?? 'done');
    }
  }
  const outcomes: string[] = [];
  const io = new Written((outcome) => outcomes.push(outcome)).prepare('write', 0, 512, Buffer.alloc(512));
  volume.submit(io);
  const part = new PartIo(new JoinedIo(io, 2), 0, 256);
  t.ok(part.isWanted);
  isWanted = false;
  t.notOk(part.isWanted);
  volume.resume();
  t.same(outcomes, ['aborted']);
  t.equal(here.counts.write, 0);

  volume.suspend();
  isWanted = true;
  volume.submit(io);
  const read = submitAndWait(volume, 'read', 0, 512, Buffer.alloc(512));
  volume.dropUnwanted();
  t.equal(outcomes.length, 1, 'what is wanted stays');
  isWanted = false;
  volume.dropUnwanted();
  t.same(outcomes, ['aborted', 'aborted'], 'the rest need not wait for the lease');
  volume.submit(io);
  t.equal(outcomes.length, 3, 'nor what comes then');
  volume.resume();
  await read;
  t.equal(here.counts.write, 0);
});

/** Keeps what it is given until it is told to complete it. */
class HoldingDevice implements BlockDevice {
  readonly sizeBytes = 1 << 20;
  readonly blockBytes = 512;
  readonly readOnly = false;
  readonly held: BlockIo[] = [];
  submit(io: BlockIo): void {
    this.held.push(io);
  }
}

class CountingIo extends BlockIo {
  ended = 0;
  protected override completed(_error: IoError | null): void {
    this.ended += 1;
  }
}

t.test('a drain does not wait for the disk to make anything durable', async (t) => {
  const slot = new LocalSlot(new VolumeTraffic(systemClock, 4096));
  const device = new HoldingDevice();
  slot.opened(device);
  const flush = new CountingIo().prepare('flush', 0, 0);
  slot.submit(flush);
  await slot.drain();
  t.same([slot.pinned, flush.ended], [0, 0], 'the flush is under way, and holds nobody up');
  for (const io of device.held) io.complete(null);
  t.equal(flush.ended, 1);
});

t.test('a drain waits for what was begun before it, and for nothing else (I5)', async (t) => {
  const slot = new LocalSlot(new VolumeTraffic(systemClock, 4096));
  const early = new CountingIo().prepare('read', 0, 512, Buffer.alloc(512));
  slot.submit(early); // before the file is open: waits, and counts from then on
  const device = new HoldingDevice();
  slot.opened(device);
  t.equal(device.held.length, 1);
  let drained = false;
  const drain = slot.drain().then(() => (drained = true));
  await new Promise((resolve) => setImmediate(resolve));
  const late = new CountingIo().prepare('read', 0, 512, Buffer.alloc(512));
  slot.submit(late);
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(drained, 'one from before is in flight');
  early.complete(null);
  await drain;
  t.equal(late.ended, 0, 'the later one still is');
  let again = false;
  const second = slot.drain().then(() => (again = true));
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(again);
  late.complete(null);
  await second;
  await slot.drain();
  slot.failed('never');
});

t.test('I/O on a file that cannot be opened fails', async (t) => {
  const slot = new LocalSlot(new VolumeTraffic(systemClock, 4096));
  const submit = { submit: (io: BlockIo) => slot.submit(io) };
  const waiting = submitAndWait(submit, 'read', 0, 512, Buffer.alloc(512));
  slot.failed('no such disk');
  await t.rejects(waiting, { code: 'medium-read' });
  await t.rejects(submitAndWait(submit, 'read', 0, 512, Buffer.alloc(512)), { code: 'medium-read' });
});
