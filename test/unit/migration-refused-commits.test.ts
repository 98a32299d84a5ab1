/** A group store that answers, and takes no commit of a move: its disk is full, say. Reads and writes wait meanwhile. */
import t, { type Test } from 'tap';
import { systemClock, type Clock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { submitAndWait } from '../../lib/block/device.js';
import { MoveWorld, VOLUME } from '../support/move-world.js';

const PAUSES_MS = [50, 100, 200, 400, 800, 1600];

/** m1 has all; the next `refusals` commits fail, during the first of which initiators begin a read and a write. */
async function start(t: Test, seed: number, refusals: number) {
  const world = new MoveWorld(seed, 1);
  const seen = { tries: 0, warnings: 0, pausesMs: [] as number[], io: [] as Promise<void>[] };
  const clock: Clock = {
    ...systemClock,
    after: (delayMs, fire) => {
      if (seen.tries > 0) seen.pausesMs.push(delayMs);
      return systemClock.after(delayMs / 100, fire);
    },
  };
  Object.assign(world, { clock });
  await world.start('m1', 'm2');
  t.teardown(() => world.close());
  const m1 = world.member('m1');
  m1.log = Object.assign(Object.create(silentLog) as typeof silentLog, { warn: () => (seen.warnings += 1) });
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 1));
  const [txn, data] = [world.store.txn.bind(world.store), Buffer.alloc(512)];
  const begin = (): void => {
    seen.io.push(submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 2)));
    seen.io.push(submitAndWait(m1.volume, 'read', 512, 512, data));
  };
  world.store.txn = (compares, operations) => {
    const isCommit = operations.some((each) => 'put' in each && each.put.startsWith('routes/'));
    if (!isCommit) return txn(compares, operations);
    seen.tries += 1;
    if (seen.tries === 1) begin();
    return seen.tries > refusals ? txn(compares, operations) : Promise.reject(new Error('the disk is full'));
  };
  return { m1, m2: world.member('m2'), seen };
}

t.test('the move fails after some 3 s, and I/O goes on', async (t) => {
  const { m1, m2, seen } = await start(t, 101, 7);
  await t.rejects(m1.give('m2'), {
    code: 'IO',
    message: "the group's store does not take the commit: the disk is full",
    hint: /full/,
  });
  t.equal(seen.tries, 7);
  t.same(seen.pausesMs, PAUSES_MS);
  t.ok(seen.warnings <= seen.tries, `${seen.warnings} warnings`);
  t.equal(m1.volume.moving.size, 0);
  await Promise.all(seen.io);
  t.equal(m1.file.ram.bytes[0], 2, 'what waited is served here');
  t.equal(m1.table.get(VOLUME)?.route.epoch, 1);
  await m1.give('m2');
  t.equal(m2.file.durable[0], 2, 'a later move begins anew');
});

t.test('a store that takes it after all', async (t) => {
  const { m1, m2, seen } = await start(t, 102, 6);
  await m1.give('m2');
  t.same(seen.pausesMs, PAUSES_MS);
  await Promise.all(seen.io);
  t.notOk(m1.volume.holdsHere(0));
  t.equal(m2.file.ram.bytes[0], 2, 'what waited went there');
});
