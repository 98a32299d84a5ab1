/**
 * Moves under random load and random failure, whole members in one process from a seed. Every byte read is compared with
 * a model; every commit is checked for durability at the destination (I1, I3, I5, I6). A failing seed is in the name.
 */
import t from 'tap';
import { IoError, submitAndWait } from '../../lib/block/device.js';
import { PeerStatus, PeerType } from '../../lib/peer/contract.js';
import { randomBelow } from '../../lib/base/random.js';
import { Foreground, MoveWorld, type WorldMember } from '../support/move-world.js';
import { until } from '../support/wait.js';

const SEEDS = Array.from(
  { length: Number(process.env['SEEDS'] ?? 3) },
  (_, i) => i + Number(process.env['SEED'] ?? 1),
);

/** At each commit of a route, what the destination has on disk is what the source has (I3). */
function checkCommits(
  world: MoveWorld,
  from: WorldMember,
  to: WorldMember,
  wrong: string[],
): { commits: number } {
  const counter = { commits: 0 };
  const txn = world.store.txn.bind(world.store);
  world.store.txn = (compares, operations) => {
    const isCommit = operations.some(
      (operation) => 'put' in operation && operation.put.startsWith('routes/'),
    );
    for (let extent = 0; isCommit && extent < world.extents; extent++) {
      if (!from.volume.moving.has(extent)) continue;
      const at = extent * world.extentBytes;
      const held = from.volume.moving.get(extent) as { gate?: string };
      if (held.gate !== 'all') continue;
      counter.commits += 1;
      const [source, there] = [from.file.ram.bytes, to.file.durable].map((b) =>
        b.subarray(at, at + world.extentBytes),
      );
      if (there?.equals(source ?? Buffer.alloc(0)) !== true)
        wrong.push(`extent ${extent} committed before it is durable`);
    }
    return txn(compares, operations);
  };
  return counter;
}

async function settledHoles(world: MoveWorld, member: WorldMember): Promise<number> {
  await until('the file is empty', () => member.file.ram.bytes.every((byte) => byte === 0));
  return member.file.dataRanges(0, world.sizeBytes).length;
}

for (const seed of SEEDS) {
  t.test(`seed ${seed}: a volume moves m1, m2, m3, m1 under load`, async (t) => {
    const world = new MoveWorld(seed);
    await world.start('m1', 'm2', 'm3');
    const [m1, m2, m3] = [world.member('m1'), world.member('m2'), world.member('m3')];
    const load = new Foreground(world, m1);
    load.start(6);
    const wrong: string[] = [];
    const counter = checkCommits(world, m1, m2, wrong);
    await m1.give('m2');
    t.ok(counter.commits >= world.extents, 'commits were seen');
    await m2.give('m3');
    load.through = m3; // another home, in the middle
    await m3.give('m1');
    await load.stop();
    await load.checkAll();
    t.same(wrong, []);
    t.same(load.wrong, [], `after ${load.operations} operations`);
    t.ok(load.operations > 50, `${load.operations} operations ran beside the moves`);
    t.equal(m1.stats.restarts + m2.stats.restarts + m3.stats.restarts, 0, 'nothing was restarted');
    t.equal(await settledHoles(world, m2), 0, 'm2 has given its space back');
    t.equal(await settledHoles(world, m3), 0, 'm3 has given its space back');
    t.ok(m1.file.ram.bytes.equals(load.model), 'the holder has every byte');
    await world.close();
  });

  for (const [what, status] of [
    ['fails writes', PeerStatus.IO_ERROR],
    ['loses its link', PeerStatus.LINK_LOST],
  ] as const) {
    t.test(`seed ${seed}: the destination ${what}, initiators see nothing (I6)`, async (t) => {
      const world = new MoveWorld(seed + 1000 + status);
      await world.start('m1', 'm2');
      const [m1, m2] = [world.member('m1'), world.member('m2')];
      const load = new Foreground(world, m1);
      load.start(6);
      let failed = 0;
      world.peers.fate = (_member, request) => {
        const mirrored = request.type === PeerType.MIRROR_WRITE || request.type === PeerType.MIRROR_DISCARD;
        if (!mirrored || failed >= 40 || randomBelow(world.random, 100) >= 20) return null;
        failed += 1;
        return status;
      };
      const wrong: string[] = [];
      checkCommits(world, m1, m2, wrong);
      await m1.give('m2');
      await load.stop();
      await load.checkAll();
      t.same(wrong, []);
      t.same(load.wrong, [], `after ${load.operations} operations and ${failed} failures`);
      t.ok(failed > 0 && m1.stats.restarts > 0, `${m1.stats.restarts} restarts were counted`);
      t.ok(m2.file.ram.bytes.equals(load.model), 'the destination holds every write');
      await world.close();
    });
  }

  t.test(`seed ${seed}: the destination's process dies again and again`, async (t) => {
    const world = new MoveWorld(seed + 2000, 10);
    await world.start('m1', 'm2');
    const [m1, m2] = [world.member('m1'), world.member('m2')];
    const load = new Foreground(world, m1);
    load.start(6);
    let done = false;
    const wrong: string[] = [];
    checkCommits(world, m1, m2, wrong);
    const giving = m1.give('m2').then(() => (done = true));
    for (let i = 0; i < 3 && !done; i++) {
      await new Promise((resolve) => setTimeout(resolve, randomBelow(world.random, 12)));
      await m2.restart();
    }
    await giving;
    await load.stop();
    await load.checkAll();
    t.same(wrong, []);
    t.same(load.wrong, [], `after ${load.operations} operations`);
    t.ok(m2.file.ram.bytes.equals(load.model), 'the destination holds every write');
    await world.close();
  });
}

t.test('the destination dies between its sync and the commit', async (t) => {
  const world = new MoveWorld(7, 2);
  await world.start('m1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  const data = Buffer.alloc(4096, 7);
  await submitAndWait(m1.volume, 'write', 0, data.length, data);
  const txn = world.store.txn.bind(world.store);
  let died = 0;
  world.store.txn = async (compares, operations) => {
    const isCommit = operations.some(
      (operation) => 'put' in operation && operation.put.startsWith('routes/'),
    );
    if (isCommit && died++ === 0) {
      world.store.txn = txn;
      await m2.restart(); // joins anew, then throws away what it does not hold
    }
    return txn(compares, operations);
  };
  await m1.give('m2');
  t.equal(died, 1);
  const read = Buffer.alloc(4096);
  await submitAndWait(m1.volume, 'read', 0, read.length, read);
  t.ok(read.equals(data), 'the write is there');
  t.ok(m1.stats.restarts > 0, 'the extents were moved again');
  await world.close();
});

t.test(
  'a failed write on the source fails the write, and the destination gets what the source has',
  async (t) => {
    const world = new MoveWorld(8, 1);
    await world.start('m1', 'm2');
    const [m1, m2] = [world.member('m1'), world.member('m2')];
    await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 1));
    let sync = 0;
    const mirrored: string[] = [];
    let outcome = '';
    world.peers.fate = (_member, request) => {
      if (request.type === PeerType.MIRROR_WRITE) mirrored.push(request.payload.toString('hex'));
      if (request.type === PeerType.MOVE_SYNC && sync++ === 0) {
        m1.file.fault = (io) => {
          if (io.op !== 'write') return null;
          io.data.subarray(0, 100).copy(m1.file.ram.bytes, io.offsetBytes); // torn
          return new IoError('medium-write', 'planted');
        };
        submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 2)).catch((error: IoError) => {
          outcome = error.code;
          m1.file.fault = () => null;
        });
      }
      return null;
    };
    await m1.give('m2');
    t.equal(outcome, 'medium-write');
    const held = '02'.repeat(100) + '01'.repeat(412);
    t.same(mirrored, [held], 'the destination was sent what the source holds, not the write (rule 4)');
    t.equal(m2.file.ram.bytes.subarray(0, 512).toString('hex'), held);
    await world.close();
  },
);

t.test('a source that fails every write gives its extents all the same', { timeout: 60_000 }, async (t) => {
  const world = new MoveWorld(12, 1);
  await world.start('m1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  await submitAndWait(m1.volume, 'write', 0, world.sizeBytes, Buffer.alloc(world.sizeBytes, 1));
  m1.file.fault = (io) => (io.op === 'write' ? new IoError('no-space', 'planted') : null);
  let stopped = false;
  let failures = 0;
  const insist = async (offsetBytes: number): Promise<void> => {
    while (!stopped) {
      await submitAndWait(m1.volume, 'write', offsetBytes, 4096, Buffer.alloc(4096, 2)).then(
        () => (stopped = true), // at the destination
        () => (failures += 1),
      );
    }
  };
  const initiators = [0, 4096, 8192, 65536].map(insist);
  await m1.give('m2');
  await Promise.all(initiators);
  t.ok(failures > 0, `${failures} writes failed at the source`);
  t.equal(m1.stats.restarts, 0);
  t.ok(m1.stats.bytesRecopied < world.sizeBytes, `${m1.stats.bytesRecopied} bytes were copied again`);
  t.equal(m2.file.ram.bytes[world.sizeBytes - 1], 1);
  await world.close();
});

t.test('a failed write that cannot be read back is left to the copy', async (t) => {
  const world = new MoveWorld(13, 1);
  await world.start('m1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 1));
  let syncs = 0;
  let written: Promise<void> = Promise.resolve();
  world.peers.fate = (_member, request) => {
    if (request.type === PeerType.MOVE_SYNC && syncs++ === 0) {
      let faults = 0;
      m1.file.fault = (io) => {
        if (faults++ > 1) return null;
        if (io.op === 'write') m1.file.ram.bytes.fill(2, 0, 100); // torn
        return new IoError(io.op === 'write' ? 'medium-write' : 'medium-read', 'planted');
      };
      written = submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 2));
      written.catch(() => undefined);
    }
    return null;
  };
  await m1.give('m2');
  await t.rejects(written, { code: 'medium-write' });
  t.equal(m2.file.ram.bytes.subarray(0, 512).toString('hex'), '02'.repeat(100) + '01'.repeat(412));
  t.ok(m1.stats.bytesRecopied > 0);
  await world.close();
});

t.test('a write that fails at the destination after everything was copied reaches it (I6)', async (t) => {
  const world = new MoveWorld(11, 1);
  await world.start('m1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 1));
  let syncs = 0;
  let written: Promise<void> = Promise.resolve();
  let failures = 0;
  world.peers.fate = (_member, request) => {
    if (request.type === PeerType.MOVE_SYNC && syncs++ === 0) {
      written = submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 2));
    }
    return request.type === PeerType.MIRROR_WRITE && failures++ < 2 ? PeerStatus.IO_ERROR : null;
  };
  await m1.give('m2');
  await t.resolves(written, 'the initiator sees no error');
  t.equal(failures, 1);
  t.equal(m1.stats.restarts, 1, 'one extent was restarted');
  t.equal(m2.file.ram.bytes[0], 2);
  await world.close();
});

t.test('a cancelled move leaves nothing behind (rule 9)', async (t) => {
  const world = new MoveWorld(9, 4);
  await world.start('m1', 'm2');
  const [m1, m2] = [world.member('m1'), world.member('m2')];
  await submitAndWait(m1.volume, 'write', 0, world.sizeBytes, Buffer.alloc(world.sizeBytes, 3));
  world.peers.fate = (_member, request) => {
    if (request.type === PeerType.COPY) m1.cancelled = true;
    return null;
  };
  await t.rejects(m1.give('m2'), /cancelled/);
  t.equal(m1.volume.moving.size, 0, 'no interceptor is left');
  t.equal(m1.table.get('v')?.route.epoch, 1, 'nothing was committed');
  t.equal(await settledHoles(world, m2), 0, 'the destination has given the bytes back');
  m1.cancelled = false;
  world.peers.fate = () => null;
  await m1.give('m2');
  t.ok(
    m2.file.ram.bytes.every((byte) => byte === 3),
    'a retry starts clean and succeeds',
  );
  await world.close();
});

t.test(
  'a destination that always says no ends the move, and the source serves on',
  { timeout: 60_000 },
  async (t) => {
    const world = new MoveWorld(10, 1);
    await world.start('m1', 'm2');
    const m1 = world.member('m1');
    await submitAndWait(m1.volume, 'write', 0, 512, Buffer.alloc(512, 1));
    world.peers.fate = (_member, request) => (request.type === PeerType.COPY ? PeerStatus.REFUSED : null);
    await t.rejects(m1.give('m2'), { code: 'IO', message: /m2 refused/ });
    const read = Buffer.alloc(512);
    await submitAndWait(m1.volume, 'read', 0, 512, read);
    t.ok(read.every((byte) => byte === 1));
    t.equal(m1.volume.moving.size, 0);
    await world.close();
  },
);
