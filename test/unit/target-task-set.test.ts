/** Task attributes (SAM-5 8.6): what waits for what in a session's task set, and what becomes of who waits. */
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { MemoryBudget } from '../../lib/iscsi/target/memory-budget.js';
import { Task } from '../../lib/iscsi/target/task.js';
import { TaskSet } from '../../lib/iscsi/target/task-set.js';
import {
  Opcode,
  TaskAttribute,
  TaskManagementFunction as Function,
  TaskManagementResponseCode as Response,
} from '../../lib/iscsi/wire/opcodes.js';
import { decodeR2t } from '../../lib/iscsi/wire/r2t.js';
import { decodeScsiResponse } from '../../lib/iscsi/wire/scsi.js';
import { decodeTaskManagementResponse } from '../../lib/iscsi/wire/task-management.js';
import { ScsiStatus } from '../../lib/scsi/task.js';
import { read10, type TargetInitiator, write10 } from '../support/target-initiator.js';
import { IQN, ManualClock, TargetRig } from '../support/target-rig.js';
import { until } from '../support/wait.js';

const { SIMPLE, ORDERED, HEAD_OF_QUEUE, ACA, UNTAGGED } = TaskAttribute;
const BLOCK = 512;

/** One block of `byte` at `lba`. */
const write = (lba: number, byte: number, attr: number = SIMPLE) =>
  ({
    cdb: write10(lba, 1),
    write: true,
    expectedBytes: BLOCK,
    data: Buffer.alloc(BLOCK, byte),
    attr,
  }) as const;
const read = (lba: number, attr: number = SIMPLE) =>
  ({ cdb: read10(lba, 1), read: true, expectedBytes: BLOCK, attr }) as const;

/** What is held at the device, as "write 3": in the order in which it began. */
const begun = (rig: TargetRig): string[] => rig.device.held.map((io) => `${io.op} ${io.offsetBytes / BLOCK}`);

/** The device does the first of what it holds. */
function doOne(rig: TargetRig): void {
  const io = rig.device.held.shift();
  if (io === undefined) throw new Error('nothing is at the device');
  rig.device.ram.submit(io);
}

async function answered(initiator: TargetInitiator): Promise<{ tag: number; status: number; asc: string }> {
  const { bhs, data } = await initiator.expect(Opcode.SCSI_RESPONSE);
  const { initiatorTaskTag: tag, status } = decodeScsiResponse(bhs);
  return { tag, status, asc: data.toString('hex', 2 + 12, 2 + 14) };
}

async function startHolding(t: Test): Promise<{ rig: TargetRig; mine: TargetInitiator }> {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const mine = await rig.session({ ImmediateData: 'Yes', InitialR2T: 'Yes' });
  rig.device.holding = true;
  return { rig, mine };
}

t.test('any task set: nothing begins before what it has to wait for, and everything begins', (t) => {
  interface Model {
    task: Task;
    attribute: number;
    cameAt: number;
    waited: boolean;
    /** 0: aborted before its turn. */
    begunAt: number;
    endedAt: number;
  }
  const steps = fc.array(
    fc.oneof(
      { weight: 6, arbitrary: fc.constant(SIMPLE) },
      { weight: 1, arbitrary: fc.constantFrom(UNTAGGED, ORDERED, HEAD_OF_QUEUE) },
      { weight: 5, arbitrary: fc.record({ end: fc.nat(1000) }) },
      { weight: 1, arbitrary: fc.record({ abort: fc.nat(1000) }) },
      { weight: 1, arbitrary: fc.constant('abort all' as const) },
    ),
    { maxLength: 120 },
  );
  const property = fc.property(steps, fc.boolean(), (steps, endsAtOnce) => {
    let time = 0;
    const set = new TaskSet();
    const all: Model[] = [];
    const over = (one: Model): void => {
      one.endedAt = ++time;
      set.left(one.task);
      set.enableNext();
    };
    const begin = (one: Model): void => {
      one.begunAt = ++time;
      if (endsAtOnce) over(one); // within the call that lets it begin
    };
    const owner = {
      finished: () => undefined,
      ioCompleted: () => undefined,
      answers: () => true,
      turnCame: (task: Task) => begin(all.find((one) => one.task === task) as Model),
    };
    const pick = (from: Model[], n: number): Model | undefined => from[n % Math.max(from.length, 1)];
    for (const step of steps) {
      if (typeof step === 'number') {
        const task = new Task(owner);
        const one = { task, attribute: step, cameAt: ++time, waited: false, begunAt: 0, endedAt: 0 };
        all.push(one);
        set.enter(task, step);
        one.waited = task.isDormant;
        if (!one.waited) begin(one);
      } else if (step === 'abort all') {
        const before = all.filter((one) => one.begunAt > 0).length;
        set.together(() => all.filter((one) => one.endedAt === 0).forEach(over));
        if (all.filter((one) => one.begunAt > 0).length !== before) return false;
      } else {
        const open = all.filter((one) => one.endedAt === 0);
        const chosen =
          'end' in step
            ? pick(
                open.filter((one) => one.begunAt > 0),
                step.end,
              )
            : pick(open, step.abort);
        if (chosen !== undefined) over(chosen);
      }
    }
    for (let open: Model | undefined; (open = all.find((one) => one.begunAt > 0 && one.endedAt === 0));)
      over(open);
    if (set.hasDormant || all.some((one) => one.endedAt === 0)) return false;
    return all.every((one, index) => {
      if (one.attribute === HEAD_OF_QUEUE) return !one.waited;
      const isBarrier = ({ attribute }: Model): boolean =>
        attribute === ORDERED || attribute === HEAD_OF_QUEUE;
      const older = all.slice(0, index);
      const waitedFor = one.attribute === ORDERED ? older : older.filter(isBarrier);
      // Who waits has somebody to wait for, and who begins has nobody.
      if (one.waited !== waitedFor.some((other) => other.endedAt > one.cameAt)) return false;
      if (one.begunAt === 0) return true;
      return waitedFor.every((other) => other.endedAt < one.begunAt);
    });
  });
  fc.assert(property, { seed: 20261129, numRuns: 2000 });
  t.end();
});

t.test('an ORDERED command waits for what is older, and what is younger waits for it', async (t) => {
  const { rig, mine } = await startHolding(t);
  mine.command(write(1, 0x11));
  mine.command(write(2, 0x22));
  const ordered = mine.command(write(1, 0x33, ORDERED));
  mine.command(read(1));
  mine.command(read(1, UNTAGGED));
  await until('the device holds two', () => rig.device.held.length === 2);
  t.ok(await mine.silence());
  t.strictSame(begun(rig), ['write 1', 'write 2'], 'SIMPLE ones go side by side');
  doOne(rig);
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  t.strictSame(begun(rig), ['write 2']);
  doOne(rig);
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  t.strictSame(begun(rig), ['write 1'], 'alone');
  doOne(rig);
  t.match(await answered(mine), { tag: ordered, status: ScsiStatus.GOOD });
  await until('the device holds two', () => rig.device.held.length === 2);
  t.strictSame(begun(rig), ['read 1', 'read 1']);
  rig.device.release();
  for (let i = 0; i < 2; i++) {
    const { data } = await mine.expect(Opcode.DATA_IN);
    t.ok(data.equals(Buffer.alloc(BLOCK, 0x33)), 'what was written before it, not what was there');
  }
  rig.device.holding = true;
  mine.command(read(5));
  mine.command(read(6));
  await until('the device holds two', () => rig.device.held.length === 2);
  t.pass('then they go side by side again');
});

t.test('a HEAD OF QUEUE command waits for nobody, and nobody passes it', async (t) => {
  const { rig, mine } = await startHolding(t);
  mine.command(write(1, 1));
  mine.command(write(2, 2, ORDERED));
  mine.command(read(3, HEAD_OF_QUEUE));
  mine.command(write(4, 4));
  await until('the device holds two', () => rig.device.held.length === 2);
  t.ok(await mine.silence());
  t.strictSame(begun(rig), ['write 1', 'read 3']);
  doOne(rig);
  await answered(mine);
  t.ok(await mine.silence());
  t.strictSame(begun(rig), ['read 3'], 'the ORDERED one waits for it too');
  doOne(rig);
  await mine.expect(Opcode.DATA_IN);
  t.strictSame(begun(rig), ['write 2']);
  doOne(rig);
  await answered(mine);
  t.strictSame(begun(rig), ['write 4']);
});

t.test('who waits is asked for no data, and keeps what comes unasked', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const mine = await rig.session({ ImmediateData: 'Yes', InitialR2T: 'No', FirstBurstLength: '1024' });
  rig.device.holding = true;
  const data = Buffer.concat([2, 3, 4, 5].map((byte) => Buffer.alloc(BLOCK, byte)));
  mine.command(write(1, 1));
  const tag = mine.command({
    ...{ cdb: write10(2, 4), write: true, expectedBytes: 4 * BLOCK, attr: ORDERED },
    ...{ data: data.subarray(0, BLOCK), final: false },
  });
  mine.dataOut({ tag, offset: BLOCK, data: data.subarray(BLOCK, 2 * BLOCK) });
  await until('the device holds one', () => rig.device.held.length === 1);
  t.ok(await mine.silence());
  t.equal(rig.memory.heldBytes, 3 * BLOCK);
  doOne(rig);
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  const { targetTransferTag, bufferOffset } = decodeR2t((await mine.expect(Opcode.R2T)).bhs);
  t.equal(bufferOffset, 2 * BLOCK);
  mine.dataOut({ tag, targetTransferTag, offset: 2 * BLOCK, data: data.subarray(2 * BLOCK) });
  await until('the device holds one', () => rig.device.held.length === 1);
  doOne(rig);
  t.match(await answered(mine), { tag, status: ScsiStatus.GOOD });
  t.ok(rig.device.ram.bytes.subarray(2 * BLOCK, 6 * BLOCK).equals(data));
});

t.test('a turn that comes before the last of what comes unasked', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const mine = await rig.session({ ImmediateData: 'Yes', InitialR2T: 'No' });
  rig.device.holding = true;
  mine.command(write(1, 1));
  const tag = mine.command({
    cdb: write10(2, 1),
    write: true,
    expectedBytes: BLOCK,
    attr: ORDERED,
    final: false,
  });
  await until('the device holds one', () => rig.device.held.length === 1);
  doOne(rig);
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  mine.dataOut({ tag, data: Buffer.alloc(BLOCK, 2) });
  await until('the device holds one', () => rig.device.held.length === 1);
  t.strictSame(begun(rig), ['write 2']);
});

t.test('those that wait hold no memory that those before them need', async (t) => {
  const MiB = 1024 * 1024;
  const memory = new MemoryBudget(2 * MiB);
  const rig = await TargetRig.start(systemClock, memory);
  t.teardown(() => rig.stop());
  const mine = await rig.session({ ImmediateData: 'Yes', InitialR2T: 'Yes' });
  const other = await rig.session({ InitialR2T: 'Yes' }, '800000000002');
  const large = { cdb: write10(0, 4096), write: true, expectedBytes: 2 * MiB } as const;
  const data = Buffer.alloc(256 * 1024, 9);
  /** Sends what is asked for, until all of a session's commands are answered. */
  const serve = async (host: TargetInitiator, answers: number): Promise<number[]> => {
    const tags: number[] = [];
    while (tags.length < answers) {
      const pdu = await host.next();
      if (pdu === null) throw new Error('the session has ended');
      if (pdu.opcode === Opcode.R2T) {
        const {
          initiatorTaskTag: tag,
          targetTransferTag,
          bufferOffset,
          desiredDataTransferLength,
        } = decodeR2t(pdu.bhs);
        const end = bufferOffset + desiredDataTransferLength;
        for (let at = bufferOffset, dataSN = 0; at < end; at += data.length, dataSN++) {
          const part = data.subarray(0, Math.min(data.length, end - at));
          const final = at + part.length === end;
          host.dataOut({ tag, targetTransferTag, offset: at, dataSN, data: part, final });
        }
      } else {
        const { initiatorTaskTag, status } = decodeScsiResponse(pdu.bhs);
        t.equal(status, ScsiStatus.GOOD);
        tags.push(initiatorTaskTag);
      }
    }
    return tags;
  };
  // Their first bursts alone are more than the budget.
  const first = data.subarray(0, 64 * 1024);
  const send = (host: TargetInitiator, attributes: number[]): number[] =>
    attributes.map((attr) => host.command({ ...large, attr, data: first }));
  const tags = send(mine, [SIMPLE, ORDERED, SIMPLE, ORDERED, ...new Array<number>(20).fill(SIMPLE)]);
  const others = send(other, [SIMPLE, ORDERED, SIMPLE, ORDERED, ...new Array<number>(20).fill(ORDERED)]);
  mine.command({ ...large, attr: HEAD_OF_QUEUE });
  const [ended, endedOthers] = await Promise.all([serve(mine, 25), serve(other, 24)]);
  t.strictSame(endedOthers, others);
  t.strictSame(
    ended.filter((tag) => tags.slice(0, 4).includes(tag)),
    tags.slice(0, 4),
  );
  t.equal(memory.heldBytes, 0);
});

t.test('an initiator with many that wait is still heard', async (t) => {
  const rig = await TargetRig.start(systemClock, new MemoryBudget(1024 * 1024));
  t.teardown(() => rig.stop());
  const mine = await rig.session({ ImmediateData: 'Yes' });
  rig.device.holding = true;
  const first = mine.command(write(1, 1));
  const blocks = 128;
  const data = Buffer.alloc(blocks * BLOCK, 2);
  const large = {
    cdb: write10(8, blocks),
    write: true,
    expectedBytes: data.length,
    data,
    attr: ORDERED,
  } as const;
  const waiting = Array.from({ length: 12 }, () => mine.command(large));
  await until('13 commands have come', () => rig.registry.list()[0]?.commands === 13);
  t.ok(rig.memory.heldBytes > 8 * data.length, 'they have spent the budget');
  mine.ping();
  await mine.expect(Opcode.NOP_IN);
  for (const tag of waiting) {
    mine.taskManagement(Function.ABORT_TASK, { tag });
    await mine.expect(Opcode.TASK_MANAGEMENT_RESPONSE);
  }
  rig.device.release();
  t.match(await answered(mine), { tag: first, status: ScsiStatus.GOOD });
});

t.test('a command that fails, or moves nothing, is answered in its turn', async (t) => {
  const { rig, mine } = await startHolding(t);
  const first = mine.command(write(1, 1));
  const failing = mine.command({ ...read(0, ORDERED), cdb: read10(0x7fffffff, 1) });
  const asking = mine.command({ cdb: Buffer.alloc(6), attr: ORDERED }); // TEST UNIT READY
  await until('the device holds one', () => rig.device.held.length === 1);
  t.ok(await mine.silence());
  rig.device.release();
  t.match(await answered(mine), { tag: first, status: ScsiStatus.GOOD });
  t.match(await answered(mine), { tag: failing, status: ScsiStatus.CHECK_CONDITION, asc: '2100' });
  t.match(await answered(mine), { tag: asking, status: ScsiStatus.GOOD });
});

t.test('where there is no unit there is no order', async (t) => {
  const { rig, mine } = await startHolding(t);
  mine.command(write(1, 1));
  mine.command(write(2, 2, ORDERED));
  await until('the device holds one', () => rig.device.held.length === 1);
  for (const attr of [SIMPLE, ORDERED, HEAD_OF_QUEUE]) {
    const tag = mine.command({ ...read(1, attr), lunHigh: 0x00050000 });
    t.match(await answered(mine), { tag, status: ScsiStatus.CHECK_CONDITION, asc: '2500' });
  }
  t.strictSame(begun(rig), ['write 1']);
  doOne(rig);
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  t.strictSame(begun(rig), ['write 2']);
});

t.test('data of a command that turns out to want less, or none', async (t) => {
  const { rig, mine } = await startHolding(t);
  const data = Buffer.alloc(2 * BLOCK, 7);
  mine.command(write(1, 1));
  const less = mine.command({
    cdb: write10(2, 1),
    write: true,
    expectedBytes: 2 * BLOCK,
    data,
    attr: ORDERED,
  });
  const none = mine.command({
    cdb: Buffer.alloc(6),
    write: true,
    expectedBytes: 2 * BLOCK,
    data,
    attr: ORDERED,
  });
  await until('the device holds one', () => rig.device.held.length === 1);
  rig.device.release();
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  const { bhs } = await mine.expect(Opcode.SCSI_RESPONSE);
  t.match(decodeScsiResponse(bhs), { initiatorTaskTag: less, status: ScsiStatus.GOOD, residualCount: BLOCK });
  t.equal(rig.device.ram.bytes[2 * BLOCK], 7);
  t.equal(rig.device.ram.bytes[3 * BLOCK], 0);
  const { bhs: last } = await mine.expect(Opcode.SCSI_RESPONSE);
  t.match(decodeScsiResponse(last), { initiatorTaskTag: none, residualCount: 2 * BLOCK });
  rig.device.holding = true;
  mine.command(write(1, 1));
  const nothing = mine.command({ cdb: Buffer.alloc(6), write: true, final: false, attr: ORDERED });
  await until('the device holds one', () => rig.device.held.length === 1);
  rig.device.release();
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  t.match(
    await answered(mine),
    { tag: nothing, status: ScsiStatus.GOOD },
    'where none is expected none is awaited',
  );
  rig.device.holding = true;
  mine.command(write(1, 1));
  const asking = { cdb: read10(1, 4), write: true, expectedBytes: 4 * BLOCK, attr: ORDERED } as const;
  const wrongWay = mine.command({ ...asking, data: data.subarray(0, BLOCK) });
  await until('the device holds one', () => rig.device.held.length === 1);
  rig.device.release();
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  t.match(await answered(mine), { tag: wrongWay, status: ScsiStatus.GOOD }, 'a read wants none of it');
});

t.test('what goes wrong in a turn costs its own session', async (t) => {
  const { rig, mine } = await startHolding(t);
  const other = await rig.session({}, '800000000002');
  const prepare = rig.server.prepare.bind(rig.server);
  rig.server.prepare = (task) => {
    if (task.cdb[0] === 0xff) throw new Error('on purpose');
    return prepare(task);
  };
  mine.command(write(1, 1));
  mine.command({ cdb: Buffer.from('ff', 'hex'), attr: ORDERED });
  mine.command(write(2, 2));
  await until('the device holds one', () => rig.device.held.length === 1);
  doOne(rig);
  await until('there is one session', () => rig.registry.list().length === 1);
  t.strictSame(begun(rig), []);
  other.command(write(3, 3));
  await until('the device holds one', () => rig.device.held.length === 1);
  doOne(rig);
  t.match(await answered(other), { status: ScsiStatus.GOOD });
});

t.test('what has changed by its turn counts', async (t) => {
  const { rig, mine } = await startHolding(t);
  const caching = (writeCache: boolean): Buffer =>
    Buffer.from(`000000000812${writeCache ? '04' : '00'}${'00'.repeat(17)}`, 'hex').subarray(0, 24);
  const select = (data: Buffer) =>
    ({
      cdb: Buffer.from('151000001800', 'hex'),
      write: true,
      expectedBytes: 24,
      data,
      attr: ORDERED,
    }) as const;
  mine.command(write(1, 1));
  mine.command(select(caching(false)));
  mine.command(write(2, 2));
  await until('the device holds one', () => rig.device.held.length === 1);
  doOne(rig);
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  await until('the device holds one', () => rig.device.held.length === 1);
  t.equal(rig.device.held[0]?.op, 'flush', 'the cache is emptied as it is turned off');
  doOne(rig);
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  await until('the device holds one', () => rig.device.held.length === 1);
  t.match(rig.device.held[0], { op: 'write', fua: true }, 'and what waited for that is durable');
  doOne(rig);
  t.match(await answered(mine), { status: ScsiStatus.GOOD });

  mine.command(write(1, 1));
  const ordered = mine.command(write(3, 3, ORDERED));
  await until('the device holds one', () => rig.device.held.length === 1);
  mine.command({ cdb: Buffer.from('48820000000000000000', 'hex'), attr: HEAD_OF_QUEUE }); // BLOCK ERASE, IMMED
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  doOne(rig);
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  const { bhs, data } = await mine.expect(Opcode.SCSI_RESPONSE);
  t.match(decodeScsiResponse(bhs), { initiatorTaskTag: ordered, residualCount: BLOCK });
  t.equal(data.toString('hex', 2 + 12, 2 + 14), '041b');
});

t.test('sessions do not wait for each other, and nothing that waits outlives its own', async (t) => {
  const { rig, mine } = await startHolding(t);
  const other = await rig.session({}, '800000000002');
  other.command(write(1, 1));
  mine.command(write(2, 2));
  mine.command(write(3, 3, ORDERED));
  mine.command(write(4, 4));
  await until('the device holds two', () => rig.device.held.length === 2);
  other.command(write(5, 5));
  await until('the device holds three', () => rig.device.held.length === 3);
  t.same(begun(rig).sort(), ['write 1', 'write 2', 'write 5']);
  mine.close();
  await until('a session is closing', () => rig.registry.list().some(({ state }) => state === 'closing'));
  rig.device.release();
  await until('there is one session', () => rig.registry.list().length === 1);
  await answered(other);
  await answered(other);
  for (const lba of [3, 4]) t.equal(rig.device.ram.bytes[lba * BLOCK], 0, 'what had not begun never does');
});

t.test('I7: who is dropped sends again what waited, in its order', async (t) => {
  const { rig, mine } = await startHolding(t);
  const first = mine.command(write(1, 1));
  const asked = mine.command({ cdb: write10(2, 1), write: true, expectedBytes: BLOCK, attr: ORDERED });
  mine.command(write(2, 0x77));
  mine.command(read(3));
  await until('the device holds one', () => rig.device.held.length === 1);
  t.ok(await mine.silence());
  doOne(rig);
  t.match(await answered(mine), { tag: first, status: ScsiStatus.GOOD });
  t.match(decodeR2t((await mine.expect(Opcode.R2T)).bhs), { initiatorTaskTag: asked });
  rig.registry.requestLogout(IQN, 1, 'drop');
  await mine.expect(Opcode.ASYNC_MESSAGE);
  t.ok(await mine.closes(), 'nothing else is answered');
  await until('no session is left', () => rig.registry.list().length === 0);
  t.equal(rig.device.ram.bytes[2 * BLOCK], 0, 'nor done: its elder would come after it');
});

t.test('one that waits can be aborted, and all of them', async (t) => {
  const { rig, mine } = await startHolding(t);
  mine.command(write(1, 1));
  const ordered = mine.command(write(2, 2, ORDERED));
  mine.command(write(3, 3));
  await until('the device holds one', () => rig.device.held.length === 1);
  mine.taskManagement(Function.ABORT_TASK, { tag: ordered });
  const { bhs } = await mine.expect(Opcode.TASK_MANAGEMENT_RESPONSE);
  t.match(decodeTaskManagementResponse(bhs), { response: Response.COMPLETE });
  await until('the device holds two', () => rig.device.held.length === 2);
  t.strictSame(begun(rig), ['write 1', 'write 3']);

  mine.command(write(4, 4, ORDERED));
  mine.command(write(5, 5, ORDERED));
  mine.command(write(6, 6));
  await until('five commands are in flight', () => rig.registry.list()[0]?.inFlight === 5);
  mine.taskManagement(Function.ABORT_TASK_SET);
  t.ok(await mine.silence(), 'what is at the device ends first');
  rig.device.release();
  const ended = await mine.expect(Opcode.TASK_MANAGEMENT_RESPONSE);
  t.match(decodeTaskManagementResponse(ended.bhs), { response: Response.COMPLETE });
  for (const lba of [2, 4, 5, 6]) t.equal(rig.device.ram.bytes[lba * BLOCK], 0, `block ${lba}`);
  t.match(rig.registry.list(), [{ inFlight: 0 }]);
  mine.command(write(7, 7, ORDERED));
  t.match(await answered(mine), { status: ScsiStatus.GOOD }, 'and it goes on');
});

t.test('I7: who logs out is answered what waits, but for data that never comes', async (t) => {
  const clock = new ManualClock();
  const rig = await TargetRig.start(clock);
  t.teardown(() => rig.stop());
  const mine = await rig.session({ ImmediateData: 'Yes', InitialR2T: 'Yes' });
  const isLeaving = (): boolean => rig.registry.list().some(({ state }) => state === 'leaving');
  rig.device.holding = true;
  const { data, ...asked } = write(2, 2, ORDERED);
  const tags = [mine.command(write(1, 1)), mine.command(asked), mine.command(write(3, 3))];
  await until('the device holds one', () => rig.device.held.length === 1);
  mine.logout();
  await until('the session is leaving', isLeaving);
  for (let i = 0; i < 5; i++) clock.move(200);
  t.ok(await mine.silence());
  t.equal(rig.memory.heldBytes, 2 * BLOCK, 'what came with the first and the last');
  clock.move(190);
  doOne(rig);
  t.match(await answered(mine), { tag: tags[0], status: ScsiStatus.GOOD });
  const { targetTransferTag } = decodeR2t((await mine.expect(Opcode.R2T)).bhs);
  clock.move(20); // its time is from here
  mine.dataOut({ tag: tags[1] as number, targetTransferTag, data });
  await until('the device holds one', () => rig.device.held.length === 1);
  rig.device.release();
  for (const tag of tags.slice(1)) t.match(await answered(mine), { tag, status: ScsiStatus.GOOD });
  await mine.expect(Opcode.LOGOUT_RESPONSE);

  const again = await rig.session({ ImmediateData: 'Yes', InitialR2T: 'Yes' }, '800000000003');
  again.command(asked);
  again.command(write(3, 0x33));
  await again.expect(Opcode.R2T);
  again.logout();
  await until('the session is leaving', isLeaving);
  for (let i = 0; i < 3; i++) clock.move(200);
  await again.expect(Opcode.LOGOUT_RESPONSE);
  t.equal(rig.device.ram.bytes[3 * BLOCK], 3);
});

t.test('there is no ACA condition that a command could be sent in', async (t) => {
  const { rig, mine } = await startHolding(t);
  mine.command(write(1, 1, ACA));
  t.match(await answered(mine), { status: ScsiStatus.CHECK_CONDITION, asc: '4900' });
  t.strictSame(begun(rig), []);
  mine.command(write(1, 1));
  await until('the device holds one', () => rig.device.held.length === 1);
});
