/** What a holder may have lost: which writes count, what a flush covers, and when a home is told. */
import t from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import type { BlockOp } from '../../lib/block/device.js';
import { RemoteSlot } from '../../lib/peer/remote-slot.js';
import { UnflushedWrites } from '../../lib/peer/unflushed.js';
import { agreeingHub, echo, forward, makeHub, settledVolume, write } from '../support/peer-rig.js';
import { until } from '../support/wait.js';

/** A holder by its verifier alone. */
class Holder {
  verifier = 'a';
  losses = 0;
  readonly writes = new UnflushedWrites(
    () => this.verifier,
    () => (this.losses += 1),
  );

  /** A flush that is sent and answered now. */
  flush(): void {
    this.writes.flushed(this.writes.count);
  }
}

t.test('a loss is found by the next flush, once', async (t) => {
  const it = new Holder();
  it.writes.acknowledged();
  it.verifier = 'b';
  it.writes.acknowledged();
  t.equal(it.losses, 0);
  it.flush();
  it.flush();
  t.equal(it.losses, 1);
});

t.test('what was flushed cannot be lost', async (t) => {
  const it = new Holder();
  it.writes.acknowledged();
  it.flush();
  it.verifier = 'b';
  it.flush();
  it.writes.acknowledged();
  it.flush();
  t.equal(it.losses, 0, 'nor what was written after the restart');
});

t.test('a flush covers what was acknowledged when it was sent', async (t) => {
  const it = new Holder();
  it.writes.acknowledged();
  const { count } = it.writes;
  it.writes.acknowledged();
  it.writes.flushed(count);
  it.verifier = 'b';
  it.flush();
  t.equal(it.losses, 1);
});

t.test('of two flushes the older may be answered last', async (t) => {
  const it = new Holder();
  it.writes.acknowledged();
  const older = it.writes.count;
  it.writes.acknowledged();
  it.flush();
  it.writes.flushed(older);
  it.verifier = 'b';
  it.flush();
  t.equal(it.losses, 0);
});

t.test('who says nothing of his verifier has lost nothing that anybody knows of', async (t) => {
  const it = new Holder();
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
  const it = new Holder();
  it.verifier = '';
  it.writes.acknowledged();
  it.verifier = 'a';
  it.writes.acknowledged();
  it.verifier = 'b';
  it.flush();
  t.equal(it.losses, 1);
});

t.test('it can be found without a flush', async (t) => {
  const it = new Holder();
  it.writes.acknowledged();
  it.verifier = 'b';
  it.writes.compare();
  t.equal(it.losses, 1);
  it.flush();
  t.equal(it.losses, 1);
});

t.test('what another home knew of it is believed', async (t) => {
  for (const [before, losses] of [
    ['a', 1],
    ['b', 0],
  ] as const) {
    const it = new Holder();
    it.verifier = 'b';
    it.writes.inherited(before);
    t.equal(it.writes.oldestVerifier, before);
    it.writes.acknowledged();
    t.equal(it.losses, 0, 'found by a flush');
    it.flush();
    t.equal(it.losses, losses, before);
    t.equal(it.writes.oldestVerifier, 'b');
  }
});

t.test('a holder that leaves is asked a last time; one that is forgotten is not', async (t) => {
  for (const [end, losses] of [
    ['left', 1],
    ['forget', 0],
  ] as const) {
    const it = new Holder();
    it.writes.acknowledged();
    it.verifier = 'b';
    it.writes[end]();
    it.flush();
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
    const lost = (): number => (found += 1);
    const slot = new RemoteSlot(
      agreeingHub(() => verifier),
      'b',
      settledVolume(),
      systemClock,
      lost,
    );
    await forward(slot, op, fua);
    verifier = 'b';
    await forward(slot, 'flush');
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
    await request.through(b, 'a');
    t.equal(b.verifierOf('a'), 'of a');
    await until('its hello', () => a.verifierOf('b') === verifier);
    t.equal(a.verifierOf('b'), verifier);
  }
  await b.close();
  t.equal(a.verifierOf('b'), 'another', 'who is away may have unflushed writes still');
  await a.close();
});
