/** What a holder may have lost: which writes count, what a flush covers, and when a home is told. */
import t from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { submitAndWait, type BlockOp } from '../../lib/block/device.js';
import type { PeerHub, PeerRequest } from '../../lib/peer/contract.js';
import { PeerStatus, PeerType } from '../../lib/peer/contract.js';
import { RemoteSlot } from '../../lib/peer/remote-slot.js';
import { UnflushedWrites } from '../../lib/peer/unflushed.js';
import { until } from '../support/store-suite.js';
import { echo, makeHub, write } from '../support/peer-rig.js';

/** A holder by its verifier alone. */
function holder(): { verifier: string; losses: number; writes: UnflushedWrites } {
  const it = { verifier: 'a', losses: 0, writes: null as unknown as UnflushedWrites };
  it.writes = new UnflushedWrites(
    () => it.verifier,
    () => (it.losses += 1),
  );
  return it;
}

t.test('a loss is found by the next flush, once', async (t) => {
  const it = holder();
  it.writes.acknowledged();
  it.verifier = 'b';
  it.writes.acknowledged();
  t.equal(it.losses, 0);
  it.writes.flushed(it.writes.count);
  it.writes.flushed(it.writes.count);
  t.equal(it.losses, 1);
});

t.test('what was flushed cannot be lost', async (t) => {
  const it = holder();
  it.writes.acknowledged();
  it.writes.flushed(it.writes.count);
  it.verifier = 'b';
  it.writes.flushed(it.writes.count);
  it.writes.acknowledged();
  it.writes.flushed(it.writes.count);
  t.equal(it.losses, 0, 'nor what was written after the restart');
});

t.test('a flush covers what was acknowledged when it was sent', async (t) => {
  const it = holder();
  it.writes.acknowledged();
  const { count } = it.writes;
  it.writes.acknowledged();
  it.writes.flushed(count);
  it.verifier = 'b';
  it.writes.flushed(it.writes.count);
  t.equal(it.losses, 1);
});

t.test('of two flushes the older may be answered last', async (t) => {
  const it = holder();
  it.writes.acknowledged();
  const older = it.writes.count;
  it.writes.acknowledged();
  it.writes.flushed(it.writes.count);
  it.writes.flushed(older);
  it.verifier = 'b';
  it.writes.flushed(it.writes.count);
  t.equal(it.losses, 0);
});

t.test('who says nothing of his verifier has lost nothing that anybody knows of', async (t) => {
  const it = holder();
  it.verifier = '';
  it.writes.acknowledged();
  it.writes.flushed(0);
  it.verifier = 'a';
  it.writes.flushed(0);
  t.equal(it.losses, 0, 'the first that is heard of');
  it.verifier = '';
  it.writes.flushed(0);
  it.verifier = 'b';
  it.writes.flushed(0);
  t.equal(it.losses, 1);
});

t.test('writes that were acknowledged before its first word count from then on', async (t) => {
  const it = holder();
  it.verifier = '';
  it.writes.acknowledged();
  it.verifier = 'a';
  it.writes.acknowledged();
  it.verifier = 'b';
  it.writes.flushed(it.writes.count);
  t.equal(it.losses, 1);
});

t.test('it can be found without a flush', async (t) => {
  const it = holder();
  it.writes.acknowledged();
  it.verifier = 'b';
  it.writes.compare();
  t.equal(it.losses, 1);
  it.writes.flushed(it.writes.count);
  t.equal(it.losses, 1);
});

t.test('what another home knew of it is believed', async (t) => {
  for (const [before, losses] of [
    ['a', 1],
    ['b', 0],
  ] as const) {
    const it = holder();
    it.verifier = 'b';
    it.writes.inherited(before);
    t.equal(it.writes.oldestVerifier, before);
    it.writes.acknowledged();
    t.equal(it.losses, 0, 'found by a flush');
    it.writes.flushed(it.writes.count);
    t.equal(it.losses, losses, before);
    t.equal(it.writes.oldestVerifier, 'b');
  }
});

t.test('a holder that leaves is asked a last time; one that is forgotten is not', async (t) => {
  for (const [end, losses] of [
    ['left', 1],
    ['forget', 0],
  ] as const) {
    const it = holder();
    it.writes.acknowledged();
    it.verifier = 'b';
    it.writes[end]();
    it.writes.flushed(it.writes.count);
    t.equal(it.losses, losses, end);
  }
});

t.test('which I/O can be lost', async (t) => {
  const cases: readonly (readonly [BlockOp, boolean, number])[] = [
    ['write', false, 1],
    ['discard', false, 1],
    ['zero', false, 1],
    ['write', true, 0],
    ['zero', true, 0],
    ['read', false, 0],
  ];
  for (const [op, fua, losses] of cases) {
    let verifier = 'a';
    let found = 0;
    const hub = {
      send: (_member: string, request: PeerRequest) =>
        setImmediate(() => request.answered(PeerStatus.OK, Buffer.alloc(0), 1)),
      verifierOf: () => verifier,
    } as Partial<PeerHub> as PeerHub;
    const volume = {
      volumeId: 1,
      blockBytes: 512,
      epoch: () => 1,
      timesLeftBehind: () => 0,
      refresh: (_seen: number, done: () => void) => done(),
    };
    const slot = new RemoteSlot(hub, 'b', volume, systemClock, () => (found += 1));
    const origin = { again: () => t.fail('its route is the same') };
    const device = { submit: (io: Parameters<RemoteSlot['submit']>[0]) => slot.submit(io, 0, origin) };
    const data = op === 'write' || op === 'read' ? Buffer.alloc(512) : undefined;
    await submitAndWait(device, op, 0, 512, data, fua);
    verifier = 'b';
    await submitAndWait(device, 'flush', 0, 0);
    t.equal(found, losses, `${op}${fua ? ' with FUA' : ''}`);
  }
});

t.test('a hub knows the verifier of who answered last', async (t) => {
  const a = makeHub('a', echo, { verifier: 'of a' });
  const address = await a.listen('127.0.0.1', 0);
  let b = makeHub('b', echo, { verifier: 'one' });
  t.equal(a.verifierOf('b'), '', 'nobody was there yet');
  for (const [incarnation, verifier] of [
    ['b-1', 'one'],
    ['b-2', 'one'],
    ['b-3', 'another'],
  ] as const) {
    await b.close();
    b = makeHub('b', echo, { incarnation, verifier });
    b.setAddress('a', address);
    const request = write(8);
    request.type = PeerType.WRITE;
    await request.through(b, 'a');
    t.equal(b.verifierOf('a'), 'of a');
    await until(() => a.verifierOf('b') === verifier, 'its hello');
    t.equal(a.verifierOf('b'), verifier);
  }
  await b.close();
  t.equal(a.verifierOf('b'), 'another', 'who is away may have unflushed writes still');
  await a.close();
});
