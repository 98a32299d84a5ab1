/**
 * The memory that all sessions of a member share: it is never exceeded, slow initiators hold up nobody else, everybody
 * comes to an end, and all of it is given back.
 */
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import {
  OVERDUE_LOOK_MS,
  OVERDUE_LOOKS_MAX,
  READ_SHARE_BYTES,
  TRANSFER_BYTES_MAX,
} from '../../lib/base/limits.js';
import { type MemoryUser, MemoryBudget } from '../../lib/iscsi/target/memory-budget.js';
import { SessionMemory } from '../../lib/iscsi/target/session-memory.js';
import { decodeAsyncMessage } from '../../lib/iscsi/wire/async-message.js';
import { AsyncEvent, Opcode, RESERVED_TAG } from '../../lib/iscsi/wire/opcodes.js';
import { decodeR2t } from '../../lib/iscsi/wire/r2t.js';
import { decodeScsiResponse } from '../../lib/iscsi/wire/scsi.js';
import { ScsiStatus } from '../../lib/scsi/task.js';
import { read10, type TargetInitiator, write10 } from '../support/target-initiator.js';
import { ManualClock, TargetRig } from '../support/target-rig.js';
import { turn, until } from '../support/wait.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const BLOCK = 512;
const UNASKED = 8 * MiB;

interface Rig {
  readonly rig: TargetRig;
  readonly memory: MemoryBudget;
}

async function rigWith(t: Test, budgetBytes: number): Promise<Rig> {
  const memory = new MemoryBudget(budgetBytes, UNASKED);
  const rig = await TargetRig.start(systemClock, memory);
  t.teardown(() => rig.stop());
  return { rig, memory };
}

function sessions(rig: TargetRig, count: number, keys: Record<string, string>): Promise<TargetInitiator[]> {
  const isid = (i: number): string => (0x800000000100 + i).toString(16);
  return Promise.all(Array.from({ length: count }, (_, i) => rig.session(keys, isid(i))));
}

function read(initiator: TargetInitiator, bytes: number): void {
  initiator.command({ cdb: read10(0, bytes / BLOCK), read: true, expectedBytes: bytes });
}

/** Takes what comes until `bytes` of read data have, in commands whose status all is GOOD. */
async function takeReads(initiator: TargetInitiator, bytes: number): Promise<void> {
  for (let left = bytes; left > 0;) {
    const { data } = await initiator.expect(Opcode.DATA_IN);
    left -= data.length;
    if (left < 0) throw new Error('more data came than was asked for');
  }
}

/** Answers an R2T with all that it asks for. */
function sendAsked(initiator: TargetInitiator, bhs: Buffer): void {
  const { initiatorTaskTag, targetTransferTag, bufferOffset, desiredDataTransferLength } = decodeR2t(bhs);
  for (let sent = 0, dataSN = 0; sent < desiredDataTransferLength; dataSN++) {
    const data = Buffer.alloc(Math.min(256 * KiB, desiredDataTransferLength - sent), 1);
    const offset = bufferOffset + sent;
    sent += data.length;
    const final = sent === desiredDataTransferLength;
    initiator.dataOut({ tag: initiatorTaskTag, targetTransferTag, offset, dataSN, data, final });
  }
}

/** Serves R2Ts until `count` commands have ended; returns their statuses. */
async function serveWrites(initiator: TargetInitiator, count: number): Promise<number[]> {
  const statuses: number[] = [];
  while (statuses.length < count) {
    const received = await initiator.next();
    if (received === null) throw new Error('the session ended');
    if (received.opcode === Opcode.R2T) sendAsked(initiator, received.bhs);
    else if (received.opcode === Opcode.SCSI_RESPONSE) statuses.push(decodeScsiResponse(received.bhs).status);
    else if (received.opcode !== Opcode.NOP_IN) throw new Error(`opcode ${received.opcode} came`);
  }
  return statuses;
}

function write(initiator: TargetInitiator, bytes: number, data?: Buffer, final = true): void {
  const unasked = data === undefined ? {} : { data };
  initiator.command({ cdb: write10(0, bytes / BLOCK), write: true, expectedBytes: bytes, final, ...unasked });
}

t.test('readers that do not read hold no more than the budget, and hold nobody up', async (t) => {
  const budgetBytes = 4 * MiB;
  const { rig, memory } = await rigWith(t, budgetBytes);
  const slow = await sessions(rig, 6, {});
  const readBytes = 512 * KiB;
  const reads = 32;
  for (const initiator of slow) {
    initiator.socket.pause();
    for (let n = 0; n < reads; n++) read(initiator, readBytes);
  }
  await until('half of the budget is held', () => memory.heldBytes > budgetBytes / 2);
  let before = -1;
  await until('no more memory is taken', () => before === (before = memory.heldBytes)); // their sockets take no more
  const { peakBytes } = memory.figures;
  const shares = slow.length * 2 * READ_SHARE_BYTES;
  t.ok(peakBytes <= budgetBytes + shares, `${peakBytes} bytes at most, of ${budgetBytes} and ${shares}`);

  const quick = await rig.session({ InitialR2T: 'Yes', ImmediateData: 'No' }, '800000000001');
  read(quick, 4 * MiB);
  await takeReads(quick, 4 * MiB);
  for (let n = 0; n < 3; n++) write(quick, TRANSFER_BYTES_MAX);
  t.strictSame(await serveWrites(quick, 3), [0, 0, 0], 'another session reads and writes meanwhile');
  t.ok(memory.heldBytes > 0);

  for (const initiator of slow) initiator.socket.resume();
  await Promise.all(slow.map((initiator) => takeReads(initiator, reads * readBytes)));
  await until('all memory is given back', () => memory.heldBytes === 0);
  t.pass('once they read they get all, and everything is given back');
});

t.test('many large writes: as much as fits at once, the others in the order they came', async (t) => {
  const budgetBytes = 3 * TRANSFER_BYTES_MAX;
  const { rig, memory } = await rigWith(t, budgetBytes);
  const all = await sessions(rig, 8, { InitialR2T: 'Yes', ImmediateData: 'No', MaxBurstLength: '1048576' });
  const asked: number[] = [];
  for (const initiator of all) {
    for (let n = 0; n < 2; n++) write(initiator, TRANSFER_BYTES_MAX);
    await initiator.silence(5);
  }
  await until('a session waits for memory', () => memory.figures.waitingSessions > 0);
  t.ok(memory.heldBytes <= budgetBytes + TRANSFER_BYTES_MAX, 'the budget, and the first in line beyond it');
  t.ok(memory.figures.waitingSessions >= 4, `${memory.figures.waitingSessions} sessions wait`);

  const statuses = await Promise.all(
    all.map(async (initiator, i) => {
      const first = await initiator.expect(Opcode.R2T);
      asked.push(i);
      sendAsked(initiator, first.bhs);
      return serveWrites(initiator, 2);
    }),
  );
  t.ok(statuses.flat().every((status) => status === 0));
  t.equal(statuses.flat().length, 16);
  const late = asked.filter((i) => i >= 4);
  t.strictSame(
    late,
    [...late].sort((a, b) => a - b),
    `first come, first served: ${asked.join(' ')}`,
  );
  const { peakBytes } = memory.figures;
  t.ok(peakBytes <= budgetBytes + TRANSFER_BYTES_MAX + 64 * KiB, `${peakBytes} bytes at most`);
  await until('all memory is given back', () => memory.heldBytes === 0);
  t.equal(memory.figures.waitingSessions, 0);
});

t.test('data that nobody asked for: read no further, then refused, never kept without end', async (t) => {
  const budgetBytes = 1 * MiB;
  const { rig, memory } = await rigWith(t, budgetBytes);
  rig.device.holding = true;
  const burst = Buffer.alloc(256 * KiB, 1);
  const keys = { ImmediateData: 'Yes', InitialR2T: 'No', FirstBurstLength: '262144' };
  const [patient, ...greedy] = (await sessions(rig, 3, keys)) as [TargetInitiator, ...TargetInitiator[]];
  for (let n = 0; n < 40; n++) write(patient, burst.length, burst);
  await until('the device holds something', () => rig.device.held.length > 0);
  let before = -1;
  await until('no more memory is taken', () => before === (before = memory.heldBytes));
  t.ok(
    memory.heldBytes <= 2 * MiB,
    `of 10 MiB ${memory.heldBytes} bytes are read while the disk stands still`,
  );
  rig.device.release();
  t.ok((await serveWrites(patient, 40)).every((status) => status === 0));

  const commands = 40;
  for (const initiator of greedy) {
    for (let n = 0; n < commands; n++) write(initiator, 2 * burst.length, burst);
  }
  await until('the budget is overrun', () => memory.isOverrun);
  const small = Buffer.alloc(4 * KiB, 2);
  write(patient, small.length, small);
  t.strictSame(await serveWrites(patient, 1), [0], 'a session within its share is served');
  const statuses = (await Promise.all(greedy.map((initiator) => serveWrites(initiator, commands)))).flat();
  const refused = statuses.filter((status) => status === ScsiStatus.TASK_SET_FULL).length;
  t.ok(refused > 0, `${refused} commands are told to come again`);
  t.ok(statuses.every((status) => status === 0 || status === ScsiStatus.TASK_SET_FULL));
  const limit = budgetBytes + UNASKED + TRANSFER_BYTES_MAX;
  t.ok(memory.figures.peakBytes <= limit, `${memory.figures.peakBytes} bytes at most`);
  await until('all memory is given back', () => memory.heldBytes === 0);
});

t.test('sessions that die in the middle give everything back, and others go on', async (t) => {
  const { rig, memory } = await rigWith(t, TRANSFER_BYTES_MAX);
  const all = await sessions(rig, 6, { InitialR2T: 'Yes', ImmediateData: 'No' });
  const [reader, ...writers] = all as [TargetInitiator, ...TargetInitiator[]];
  reader.socket.pause();
  for (let n = 0; n < 40; n++) read(reader, 512 * KiB);
  for (const writer of writers) write(writer, TRANSFER_BYTES_MAX);
  await until('a session waits for memory', () => memory.figures.waitingSessions > 0);
  rig.device.holding = true;
  const last = await rig.session({ InitialR2T: 'Yes', ImmediateData: 'No' }, '800000000001');
  write(last, TRANSFER_BYTES_MAX);
  read(last, MiB);
  for (const initiator of all) initiator.close();
  const states = (): string[] => rig.registry.list().map((session) => session.state);
  await until('one session is active', () => states().filter((state) => state === 'active').length === 1);
  rig.device.release();
  const r2t = async (): Promise<Buffer> => {
    for (;;) {
      const received = await last.next();
      if (received?.opcode === Opcode.R2T) return received.bhs;
    }
  };
  sendAsked(last, await r2t());
  t.pass('the one that is left has its turn');
  last.close();
  await until('no session is left', () => states().length === 0);
  t.equal(memory.heldBytes, 0);
  t.equal(memory.figures.waitingSessions, 0);
  const none = new MemoryBudget(TRANSFER_BYTES_MAX, UNASKED).limitBytes;
  t.equal(memory.limitBytes, none, 'no session is counted any more');
});

/** A session that wants so much at once. */
class Wanting implements MemoryUser {
  held = 0;
  overdrew = false;
  constructor(
    private readonly memory: MemoryBudget,
    private readonly name: string,
    private wanted: number,
    private readonly served: string[],
  ) {}

  readonly goOn = (): void => {
    if (this.wanted === 0) return;
    if (!this.memory.affords(this, this.held, this.wanted)) {
      this.memory.wait(this);
      if (!this.memory.overdraw(this)) return;
      this.overdrew = true;
    }
    this.held += this.wanted;
    this.memory.changed(this.wanted);
    this.wanted = 0;
    this.served.push(this.name);
  };

  giveBack(): void {
    this.memory.changed(-this.held);
    this.held = 0;
    if (this.overdrew) this.memory.overdraftEnded();
    this.overdrew = false;
  }
}

t.test('data that comes unasked is judged by all that is held, told or not', (t) => {
  const budget = new MemoryBudget(MiB, 0);
  const memory = new SessionMemory(budget, { heldBytes: 0 }, () => undefined);
  t.ok(memory.mayKeepUnasked(256 * KiB));
  memory.writeBytes = 2 * MiB; // a window of commands that came to their turn together
  t.notOk(memory.mayKeepUnasked(256 * KiB));
  t.equal(budget.heldBytes, 2 * MiB);
  t.end();
});

t.test('the line: first come, one beyond the budget, nobody passes', async (t) => {
  const memory = new MemoryBudget(100);
  const served: string[] = [];
  const users = [50, 40, 60, 1].map((wanted, i) => new Wanting(memory, 'abcd'.charAt(i), wanted, served));
  const [a, b, c, d] = users as [Wanting, Wanting, Wanting, Wanting];
  for (const user of users) {
    memory.join();
    user.goOn();
  }
  t.strictSame(served, ['a', 'b', 'c'], 'what fits is had at once, and one command that does not');
  t.ok(c.overdrew && memory.heldBytes === 150);
  const more = [30, 30, 1].map((wanted, i) => new Wanting(memory, 'efg'.charAt(i), wanted, served));
  for (const user of more) user.goOn();
  await turn();
  await turn();
  t.equal(memory.figures.waitingSessions, 4, 'the next have to wait, small ones too');
  a.giveBack();
  await turn();
  t.equal(served.length, 3, 'what comes back first pays for the one beyond');
  b.giveBack();
  await turn();
  t.strictSame(served.slice(3), ['d', 'e'], 'then they have their turns; g would fit, but does not pass f');
  c.giveBack();
  await turn();
  t.strictSame(served.slice(3), ['d', 'e', 'f', 'g']);
  t.equal(memory.figures.waitingSessions, 0);
  for (const user of [d, ...more]) user.giveBack();
  t.equal(memory.heldBytes, 0);
  t.throws(() => memory.changed(-1), /given back than taken/);
});

/** Lives, and asks for nothing. */
async function ping(initiator: TargetInitiator): Promise<void> {
  initiator.ping(Buffer.alloc(0), { tag: RESERVED_TAG });
  await initiator.silence(5);
}

async function endsTold(t: Test, initiator: TargetInitiator): Promise<void> {
  let last = await initiator.next();
  while (last !== null && last.opcode === Opcode.NOP_IN) last = await initiator.next();
  t.equal(last?.opcode, Opcode.ASYNC_MESSAGE, 'told');
  const { asyncEvent, parameter2 } = decodeAsyncMessage(last?.bhs ?? Buffer.alloc(48));
  t.same([asyncEvent, parameter2], [AsyncEvent.CONNECTION_DROP, 0], 'it may be back at once');
  t.ok(await initiator.closes(), 'and closed');
}

t.test(
  'data that was asked for, or announced, and does not come: the session ends, its memory is free',
  async (t) => {
    const clock = new ManualClock();
    const memory = new MemoryBudget(16 * MiB, UNASKED);
    const rig = await TargetRig.start(clock, memory);
    t.teardown(() => rig.stop());
    const keys = { ImmediateData: 'No', InitialR2T: 'No', FirstBurstLength: '65536' };
    const [owing = null, silent = null, slow = null] = await sessions(rig, 3, keys);
    if (owing === null || silent === null || slow === null) throw new Error('no sessions');
    write(owing, 4 * MiB);
    await owing.expect(Opcode.R2T);
    write(silent, 64 * KiB, undefined, false); // its Data-Out is to come unasked
    write(slow, 1 * MiB);
    const asked = decodeR2t((await slow.expect(Opcode.R2T)).bhs);
    const { initiatorTaskTag: tag, targetTransferTag } = asked;
    for (let look = 0; look <= OVERDUE_LOOKS_MAX; look++) {
      t.ok(memory.heldBytes >= 5 * MiB, `look ${look}: ${memory.heldBytes} bytes are held`);
      // A little at a time is enough.
      slow.dataOut({
        tag,
        targetTransferTag,
        offset: 512 * look,
        dataSN: look,
        data: Buffer.alloc(512),
        final: false,
      });
      await Promise.all([owing, silent, slow].map(ping));
      for (let step = 0; step < 3; step++) {
        clock.move(OVERDUE_LOOK_MS / 3);
        await Promise.all([owing, silent, slow].map(ping));
      }
    }
    for (const initiator of [owing, silent]) await endsTold(t, initiator);
    await until('there is one session', () => rig.registry.list().length === 1);
    t.ok(
      memory.heldBytes <= 1 * MiB + 64 * KiB,
      `${memory.heldBytes} bytes are held, by the one that goes on`,
    );
  },
);

t.test('a command that is left out, others behind it: the session ends, its memory is free', async (t) => {
  const clock = new ManualClock();
  const memory = new MemoryBudget(16 * MiB, UNASKED);
  const rig = await TargetRig.start(clock, memory);
  t.teardown(() => rig.stop());
  const [owing = null, late = null, moving = null] = await sessions(rig, 3, { ImmediateData: 'Yes' });
  if (owing === null || late === null || moving === null) throw new Error('no sessions');
  const data = Buffer.alloc(64 * KiB);
  const first = owing.cmdSN;
  const send = (initiator: TargetInitiator, nth: number): void => {
    const cdb = write10(0, data.length / BLOCK);
    initiator.command({ cdb, write: true, data, cmdSN: first + nth });
  };
  for (let nth = 1; nth <= 16; nth++) for (const initiator of [owing, late]) send(initiator, nth);
  for (let look = 0; look <= OVERDUE_LOOKS_MAX + 1; look++) send(moving, 2 * look + 1);
  const heldBytes = (32 + OVERDUE_LOOKS_MAX + 2) * data.length;
  await until('all have come', () => memory.heldBytes === heldBytes);
  for (let look = 0; look <= OVERDUE_LOOKS_MAX; look++) {
    t.equal(rig.registry.list().length, 3, `look ${look}`);
    send(moving, 2 * look); // there is a gap at every look, and never the same
    if (look === OVERDUE_LOOKS_MAX) {
      const before = memory.heldBytes;
      send(late, 0);
      await until('all of that one are served', () => memory.heldBytes <= before - 16 * data.length);
    }
    for (let step = 0; step < 3; step++) {
      await Promise.all([owing, late, moving].map(ping));
      clock.move(OVERDUE_LOOK_MS / 3);
    }
  }
  await endsTold(t, owing);
  await until('there are two sessions', () => rig.registry.list().length === 2);
  await until('the last of the one that moves is all', () => memory.heldBytes === data.length);
  t.same(await serveWrites(late, 17), Array(17).fill(ScsiStatus.GOOD));
});
