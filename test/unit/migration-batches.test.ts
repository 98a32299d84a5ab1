/**
 * How a move goes about its batches: small ones and two extents at a time until it knows that no initiator is at work, then
 * large ones, four at a time, which the destination makes durable while they come.
 */
import t from 'tap';
import {
  MOVE_BATCH_BYTES,
  MOVE_EXTENTS_IN_FLIGHT,
  MOVE_EXTENTS_IN_FLIGHT_ALONE,
} from '../../lib/base/limits.js';
import { IoError } from '../../lib/block/device.js';
import { hurriedClock, MoveWorld, type WorldMember } from '../support/move-world.js';

const MiB = 1024 * 1024;
/** Of the second batch, which is the last one. */
const MORE_EXTENTS = 40;
const FIRST_EXTENTS = MOVE_BATCH_BYTES / MiB;
const LAST_EXTENTS_FROM = FIRST_EXTENTS + 25;
/** The pacer has looked whether initiators are at work before the first batch has ended. */
const HURRY = 1000;

/** What a destination's file was asked to do. */
class Watch {
  /** "sync", or the extent that a write was for. */
  readonly asked: (number | 'sync')[] = [];
  /** Extents with writes on their way, at most, among the first, the next, and the last ones. */
  readonly most = { first: 0, other: 0, last: 0 };
  private readonly onTheirWay = new Map<number, number>();

  constructor({ file }: WorldMember) {
    const submit = file.submit.bind(file);
    file.submit = (io) => {
      if (io.op === 'flush') this.asked.push('sync');
      if (io.op !== 'write') return submit(io);
      const extent = Math.floor(io.offsetBytes / MiB);
      this.asked.push(extent);
      this.count(extent, 1);
      io.counter = { ended: () => this.count(extent, -1) };
      submit(io);
    };
  }

  private count(extent: number, by: number): void {
    const left = (this.onTheirWay.get(extent) ?? 0) + by;
    if (left === 0) this.onTheirWay.delete(extent);
    else this.onTheirWay.set(extent, left);
    const part = extent < FIRST_EXTENTS ? 'first' : extent < LAST_EXTENTS_FROM ? 'other' : 'last';
    this.most[part] = Math.max(this.most[part], this.onTheirWay.size);
  }

  /** Syncs that some copy of the given extents came after. */
  earlySyncs(from: number, to: number): number {
    const isOf = (entry: number | 'sync'): boolean => entry !== 'sync' && entry >= from && entry < to;
    const first = this.asked.findIndex(isOf);
    const last = this.asked.findLastIndex(isOf);
    return this.asked.slice(first, last).filter((entry) => entry === 'sync').length;
  }
}

/** A full volume at m1, and what m2's file is asked to do once it moves there. */
async function startWorld(seed: number) {
  const world = Object.assign(new MoveWorld(seed, FIRST_EXTENTS + MORE_EXTENTS, MiB), {
    clock: hurriedClock(HURRY),
  });
  await world.start('m1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  m1.file.ram.bytes.fill(0xa5);
  return { world, m1, m2, watch: new Watch(m2) };
}

t.test('a large batch is made durable while it comes, a small one at its end', async (t) => {
  const { world, m1, m2, watch } = await startWorld(71);
  await m1.give('m2');
  t.ok(m2.file.durable.equals(m1.file.durable.fill(0xa5)), 'all of it is there, on its disk');
  t.equal(watch.earlySyncs(0, FIRST_EXTENTS), 0);
  t.equal(watch.earlySyncs(FIRST_EXTENTS, world.extents), 1, `${MORE_EXTENTS} MiB have one before their end`);
  t.equal(watch.asked.filter((entry) => entry === 'sync').length, 5, 'and either has two at it');
  t.equal(watch.most.first, MOVE_EXTENTS_IN_FLIGHT);
  t.ok(watch.most.other > MOVE_EXTENTS_IN_FLIGHT, `${watch.most.other} at the same time`);
  t.ok(watch.most.other <= MOVE_EXTENTS_IN_FLIGHT_ALONE, `${watch.most.other} at the same time`);
  await world.close();
});

t.test('initiators who come meanwhile have fewer copies beside them at once', async (t) => {
  const { world, m1, m2, watch } = await startWorld(73);
  let operations = 0;
  m1.operations = () => {
    const haveCome = watch.asked.includes(FIRST_EXTENTS + 10);
    return (operations += haveCome ? 1e6 : 0);
  };
  await m1.give('m2');
  t.ok(watch.most.other > MOVE_EXTENTS_IN_FLIGHT, `${watch.most.other} before`);
  t.equal(watch.most.last, MOVE_EXTENTS_IN_FLIGHT, 'as many as in a batch that began beside them');
  t.ok(m2.file.durable.equals(m1.file.durable.fill(0xa5)));
  await world.close();
});

t.test('a disk that fails meanwhile fails the batch, not the member (I3)', async (t) => {
  const { world, m1, m2, watch } = await startWorld(72);
  let failed = 0;
  m2.file.fault = (io) => {
    if (io.op !== 'flush' || watch.earlySyncs(FIRST_EXTENTS, world.extents) === 0) return null;
    failed += 1;
    return new IoError('medium-write', 'the disk is broken');
  };
  await t.rejects(m1.give('m2'), /broken/);
  t.ok(failed > 1, 'the sync on the way, and those at the end');
  t.ok(m1.volume.holdsHere(FIRST_EXTENTS), 'the source still has them');
  t.notOk(m1.volume.holdsHere(0), 'but not what was committed before');
  await world.close();
});
