/** Task attributes (SAM-5 8.6): what waits for what in a logical unit's task set, and what becomes of who waits. */
import fc from 'fast-check';
import t, { type Test } from 'tap';
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
import { TargetRig, until } from '../support/target-rig.js';

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
const READY = Buffer.alloc(16); // TEST UNIT READY

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
    begunAt: number;
    endedAt: number;
  }
  const steps = fc.array(
    fc.oneof(
      { weight: 6, arbitrary: fc.constant(SIMPLE) },
      { weight: 1, arbitrary: fc.constantFrom(UNTAGGED, ORDERED, HEAD_OF_QUEUE) },
      { weight: 5, arbitrary: fc.record({ end: fc.nat(1000) }) },
      { weight: 1, arbitrary: fc.record({ abort: fc.nat(1000) }) },
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
      // Some end within the call that lets them begin.
      if (endsAtOnce && one.attribute !== SIMPLE) over(one);
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
        const one = { task: new Task(owner), attribute: step, begunAt: 0, endedAt: 0 };
        all.push(one);
        set.enter(one.task, step);
        if (!one.task.isDormant) begin(one);
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
      if (one.begunAt === 0 || one.attribute === HEAD_OF_QUEUE) return true;
      const isBarrier = ({ attribute }: Model): boolean =>
        attribute === ORDERED || attribute === HEAD_OF_QUEUE;
      const older = all.slice(0, index);
      const waitedFor = one.attribute === ORDERED ? older : older.filter(isBarrier);
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
  await until(() => rig.device.held.length === 2);
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
  await until(() => rig.device.held.length === 2);
  t.strictSame(begun(rig), ['read 1', 'read 1']);
  rig.device.release();
  for (let i = 0; i < 2; i++) {
    const { data } = await mine.expect(Opcode.DATA_IN);
    t.ok(data.equals(Buffer.alloc(BLOCK, 0x33)), 'what was written before it, not what was there');
  }
  rig.device.holding = true;
  mine.command(read(5));
  mine.command(read(6));
  await until(() => rig.device.held.length === 2);
  t.pass('and order is forgotten with the last that asked for it');
});

t.test('a HEAD OF QUEUE command waits for nobody, and nobody passes it', async (t) => {
  const { rig, mine } = await startHolding(t);
  mine.command(write(1, 1));
  mine.command(write(2, 2, ORDERED));
  mine.command(read(3, HEAD_OF_QUEUE));
  mine.command(write(4, 4));
  await until(() => rig.device.held.length === 2);
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

t.test('the data of who waits is asked for, and may come later than its turn', async (t) => {
  const { rig, mine } = await startHolding(t);
  mine.command(write(1, 1));
  const { data: _, ...asked } = write(2, 2, ORDERED);
  const early = mine.command(asked);
  const late = mine.command({ ...asked, cdb: write10(3, 1) });
  const tags = new Map<number, number>();
  for (let i = 0; i < 2; i++) {
    const { initiatorTaskTag, targetTransferTag } = decodeR2t((await mine.expect(Opcode.R2T)).bhs);
    tags.set(initiatorTaskTag, targetTransferTag);
  }
  mine.dataOut({ tag: early, targetTransferTag: tags.get(early) ?? 0, data: Buffer.alloc(BLOCK, 2) });
  t.ok(await mine.silence());
  t.strictSame(begun(rig), ['write 1']);
  doOne(rig);
  await answered(mine);
  t.strictSame(begun(rig), ['write 2']);
  doOne(rig);
  t.match(await answered(mine), { tag: early, status: ScsiStatus.GOOD });
  t.ok(await mine.silence());
  t.strictSame(begun(rig), []);
  mine.dataOut({ tag: late, targetTransferTag: tags.get(late) ?? 0, data: Buffer.alloc(BLOCK, 3) });
  await until(() => rig.device.held.length === 1);
  doOne(rig);
  t.match(await answered(mine), { tag: late, status: ScsiStatus.GOOD });
  t.equal(rig.device.ram.bytes[2 * BLOCK], 2);
  t.equal(rig.device.ram.bytes[3 * BLOCK], 3);
});

t.test('a command that fails, or moves nothing, is answered in its turn', async (t) => {
  const { rig, mine } = await startHolding(t);
  const first = mine.command(write(1, 1));
  const failing = mine.command({ ...read(0, ORDERED), cdb: read10(0x7fffffff, 1) });
  const asking = mine.command({ cdb: READY, attr: ORDERED });
  await until(() => rig.device.held.length === 1);
  t.ok(await mine.silence());
  rig.device.release();
  t.match(await answered(mine), { tag: first, status: ScsiStatus.GOOD });
  t.match(await answered(mine), { tag: failing, status: ScsiStatus.CHECK_CONDITION, asc: '2100' });
  t.match(await answered(mine), { tag: asking, status: ScsiStatus.GOOD });
});

t.test('what has changed by its turn counts', async (t) => {
  const { rig, mine } = await startHolding(t);
  mine.command(write(1, 1));
  const ordered = mine.command(read(1, ORDERED));
  await until(() => rig.device.held.length === 1);
  mine.command({ cdb: Buffer.from('48820000000000000000', 'hex'), attr: HEAD_OF_QUEUE }); // BLOCK ERASE, IMMED
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  doOne(rig);
  t.match(await answered(mine), { status: ScsiStatus.GOOD });
  t.match(await answered(mine), { tag: ordered, status: ScsiStatus.CHECK_CONDITION, asc: '041b' });
});

t.test('the task set is the unit’s: sessions wait for each other, and not for who is gone', async (t) => {
  const { rig, mine } = await startHolding(t);
  const other = await rig.session({}, '800000000002');
  other.command(write(1, 1));
  await until(() => rig.device.held.length === 1);
  mine.command(write(2, 2, ORDERED));
  mine.command(write(4, 4));
  await until(() => rig.registry.list().some(({ commands }) => commands === 2));
  t.ok(await mine.silence());
  other.command(write(3, 3));
  t.ok(await other.silence());
  t.strictSame(begun(rig), ['write 1']);
  mine.close();
  await until(() => rig.device.held.length === 2);
  t.strictSame(begun(rig), ['write 1', 'write 3']);
  await until(() => rig.registry.list().length === 1);
  rig.device.release();
  await answered(other);
  await answered(other);
  for (const lba of [2, 4]) t.equal(rig.device.ram.bytes[lba * BLOCK], 0, 'what had not begun never does');
});

t.test('one that waits can be aborted, and all of them', async (t) => {
  const { rig, mine } = await startHolding(t);
  mine.command(write(1, 1));
  const ordered = mine.command(write(2, 2, ORDERED));
  mine.command(write(3, 3));
  await until(() => rig.device.held.length === 1);
  mine.taskManagement(Function.ABORT_TASK, { tag: ordered });
  const { bhs } = await mine.expect(Opcode.TASK_MANAGEMENT_RESPONSE);
  t.match(decodeTaskManagementResponse(bhs), { response: Response.COMPLETE });
  await until(() => rig.device.held.length === 2);
  t.strictSame(begun(rig), ['write 1', 'write 3']);

  mine.command(write(4, 4, ORDERED));
  mine.command(write(5, 5, ORDERED));
  mine.command(write(6, 6));
  await until(() => rig.registry.list()[0]?.inFlight === 5);
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

t.test('I7: who logs out is answered what waits', async (t) => {
  const { rig, mine } = await startHolding(t);
  const tags = [mine.command(write(1, 1)), mine.command(write(2, 2, ORDERED)), mine.command(write(3, 3))];
  await until(() => rig.device.held.length === 1);
  mine.logout();
  t.ok(await mine.silence());
  rig.device.release();
  for (const tag of tags) t.match(await answered(mine), { tag, status: ScsiStatus.GOOD });
  await mine.expect(Opcode.LOGOUT_RESPONSE);
});

t.test('there is no ACA condition that a command could be sent in', async (t) => {
  const { rig, mine } = await startHolding(t);
  mine.command(write(1, 1, ACA));
  t.match(await answered(mine), { status: ScsiStatus.CHECK_CONDITION, asc: '4900' });
  t.strictSame(begun(rig), []);
  mine.command(write(1, 1));
  await until(() => rig.device.held.length === 1);
});
