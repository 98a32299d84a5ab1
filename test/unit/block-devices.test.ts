/** The block layer: the contract suite on the RAM device, bare and through gate and filters, and what those add. */
import t from 'tap';
import type { Clock } from '../../lib/base/clock.js';
import { BlockIo, type BlockDevice, type IoError, submitAndWait } from '../../lib/block/device.js';
import { FaultDevice } from '../support/fault-device.js';
import { GateDevice } from '../support/gate-device.js';
import { deviceSuite, pattern } from '../support/device-suite.js';
import { RamDevice } from '../support/ram-device.js';

const SIZE = 1 << 20;

/** Time that stands still until the test moves it. */
class HandClock implements Clock {
  private now = 0;
  private waiting: { at: number; fire: () => void }[] = [];
  nowMs(): number {
    return this.now;
  }
  wallMs(): number {
    return this.now;
  }
  after(delayMs: number, fire: () => void): { cancel(): void } {
    const timer = { at: this.now + delayMs, fire };
    this.waiting.push(timer);
    return { cancel: () => (this.waiting = this.waiting.filter((other) => other !== timer)) };
  }
  advance(ms: number): void {
    this.now += ms;
    const due = this.waiting.filter(({ at }) => at <= this.now);
    this.waiting = this.waiting.filter(({ at }) => at > this.now);
    for (const { fire } of due) fire();
  }
}

class Recorded extends BlockIo {
  outcomes: (string | null)[] = [];
  protected override completed(error: IoError | null): void {
    this.outcomes.push(error === null ? null : error.code);
  }
}

const close = (): Promise<void> => Promise.resolve();
const opened = (device: BlockDevice): Promise<{ device: BlockDevice; close(): Promise<void> }> =>
  Promise.resolve({ device, close });

for (const blockBytes of [512, 4096]) {
  await deviceSuite(t, `RAM, blocks of ${blockBytes}`, () => opened(new RamDevice(SIZE, blockBytes)));
}
await deviceSuite(t, 'RAM behind the gate', () => opened(new GateDevice(new RamDevice(SIZE))));
await deviceSuite(t, 'RAM behind the gate and a filter without rules', () =>
  opened(new GateDevice(new FaultDevice(new RamDevice(SIZE), new HandClock()))),
);

t.test('the gate refuses requests that no layer may make', (t) => {
  const gate = new GateDevice(new RamDevice(SIZE));
  const data = Buffer.alloc(512);
  const wrong: readonly [string, BlockIo][] = [
    ['offset within a block', new Recorded().prepare('read', 100, 512, data)],
    ['length within a block', new Recorded().prepare('discard', 0, 100)],
    ['negative offset', new Recorded().prepare('read', -512, 512, data)],
    ['no length', new Recorded().prepare('zero', 0, 0)],
    ['offset that is no number', new Recorded().prepare('zero', NaN, 512)],
    ['too little data', new Recorded().prepare('write', 0, 1024, data)],
    ['data with a discard', new Recorded().prepare('discard', 0, 512, data)],
    ['flush of a range', new Recorded().prepare('flush', 0, 512)],
  ];
  for (const [name, io] of wrong) t.throws(() => gate.submit(io), { name: 'InvariantError' }, name);
  t.equal(gate.pending, 0);
  t.end();
});

t.test('the gate answers for a read-only device', async (t) => {
  const gate = new GateDevice(new RamDevice(SIZE, 512, true));
  for (const op of ['write', 'discard', 'zero'] as const) {
    const data = op === 'write' ? Buffer.alloc(512) : undefined;
    await t.rejects(submitAndWait(gate, op, 0, 512, data), { code: 'read-only' }, op);
  }
  await submitAndWait(gate, 'read', 0, 512, Buffer.alloc(512));
  await submitAndWait(gate, 'flush', 0, 0);
});

t.test('the gate catches a device or submitter that breaks the contract', (t) => {
  const seen: BlockIo[] = [];
  const gate = new GateDevice({
    sizeBytes: SIZE,
    blockBytes: 512,
    readOnly: false,
    submit: (io) => seen.push(io),
  });
  const io = new Recorded().prepare('read', 512, 512, Buffer.alloc(512));
  gate.submit(io);
  t.throws(() => gate.submit(io), /while it was in flight/, 'submitted twice');
  t.equal(gate.pending, 1);
  seen[0]?.complete(null);
  t.same(io.outcomes, [null]);
  t.throws(() => seen[0]?.complete(null), /completed twice/);
  gate.submit(io);
  io.offsetBytes = 1024;
  t.throws(() => seen[1]?.complete(null), /changed while it was in flight/);
  t.end();
});

t.test('the gate keeps the pins of the layers above and below apart', (t) => {
  const below: BlockIo[] = [];
  const gate = new GateDevice({
    sizeBytes: SIZE,
    blockBytes: 512,
    readOnly: false,
    submit: (io) => below.push(io),
  });
  const order: string[] = [];
  const io = new Recorded().prepare('read', 0, 512, Buffer.alloc(512));
  io.pin = { unpin: () => order.push('above') };
  gate.submit(io);
  const inner = below[0];
  if (inner === undefined) throw new Error('nothing came through');
  inner.pin = { unpin: () => order.push('below') };
  inner.complete(null);
  t.same(order, ['below', 'above']);
  t.end();
});

t.test('faults fail what they choose and nothing else', async (t) => {
  const ram = new RamDevice(SIZE);
  const device = new FaultDevice(ram, new HandClock());
  const fault = device.add({
    ops: ['write'],
    fromBytes: 4096,
    toBytes: 8192,
    skip: 1,
    times: 2,
    action: { kind: 'fail', code: 'medium-write' },
  });
  const write = (at: number): Promise<void> => submitAndWait(device, 'write', at, 512, pattern(512, at));
  await write(4096 - 512);
  await write(8192);
  await submitAndWait(device, 'read', 4096, 512, Buffer.alloc(512));
  await submitAndWait(device, 'flush', 0, 0);
  t.equal(fault.hits, 0, 'beside the range, another operation');
  await write(4096);
  await t.rejects(write(8192 - 512), { code: 'medium-write' });
  t.ok(
    ram.bytes.subarray(8192 - 512, 8192).every((byte) => byte === 0),
    'without effect',
  );
  await t.rejects(
    submitAndWait(device, 'write', 0, 8192, Buffer.alloc(8192)),
    { code: 'medium-write' },
    'overlap',
  );
  await write(4096);
  t.equal(fault.hits, 2);
});

t.test('a failure can come after the effect', async (t) => {
  const ram = new RamDevice(SIZE);
  const device = new FaultDevice(ram, new HandClock());
  device.add({ action: { kind: 'fail', code: 'unavailable', afterEffect: true } });
  const data = pattern(512, 1);
  await t.rejects(submitAndWait(device, 'write', 0, 512, data), { code: 'unavailable' });
  t.ok(ram.bytes.subarray(0, 512).equals(data));
});

t.test('a delay takes its time, a pause until released', (t) => {
  const clock = new HandClock();
  const device = new FaultDevice(new RamDevice(SIZE), clock);
  const delay = device.add({ ops: ['flush'], action: { kind: 'delay', delayMs: 10 } });
  const flush = new Recorded().prepare('flush', 0, 0);
  device.submit(flush);
  clock.advance(9);
  t.same(flush.outcomes, []);
  clock.advance(1);
  t.same(flush.outcomes, [null]);
  delay.remove();

  const pause = device.add({ ops: ['zero'], action: { kind: 'pause' } });
  const zeros = [0, 512].map((at) => new Recorded().prepare('zero', at, 512));
  for (const io of zeros) device.submit(io);
  t.equal(pause.heldCount, 2);
  pause.release();
  t.same(
    zeros.map((io) => io.outcomes),
    [[null], [null]],
  );
  const late = new Recorded().prepare('zero', 0, 512);
  device.submit(late);
  t.same(late.outcomes, [], 'release() does not end the rule');
  pause.remove();
  t.same(late.outcomes, [null], 'remove() does');
  t.throws(() => pause.remove(), /removed once/);
  t.end();
});
