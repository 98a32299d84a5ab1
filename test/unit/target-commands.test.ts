/** Commands of a session: their window and order, their tags, task management, and errors of ours on their way. */
import fc from 'fast-check';
import t from 'tap';
import { COMMAND_WINDOW } from '../../lib/base/limits.js';
import { serialAdd, serialDistance } from '../../lib/base/serial.js';
import { ScsiStatus } from '../../lib/scsi/task.js';
import { CommandWindow } from '../../lib/iscsi/target/window.js';
import { decodeDataIn } from '../../lib/iscsi/wire/data-in.js';
import { decodeNopIn } from '../../lib/iscsi/wire/nop.js';
import {
  Opcode,
  RejectReason,
  RESERVED_TAG,
  TaskManagementFunction as Function,
  TaskManagementResponseCode as Response,
} from '../../lib/iscsi/wire/opcodes.js';
import { decodeR2t } from '../../lib/iscsi/wire/r2t.js';
import { decodeReject } from '../../lib/iscsi/wire/reject.js';
import { ONE_READ, READY, ready, tmf } from '../support/target-answers.js';
import { read10, type TargetInitiator, write10 } from '../support/target-initiator.js';
import { IQN, TargetRig } from '../support/target-rig.js';
import { until } from '../support/wait.js';

t.test('the command window, whatever happens', (t) => {
  const seed = 20261125;
  const property = fc.property(
    fc.nat(0xffffffff),
    fc.array(fc.constantFrom('accept', 'end', 'hold', 'go'), { maxLength: 300 }),
    (first, steps) => {
      const window = new CommandWindow(first, 8);
      let max = window.maxCmdSN;
      for (const step of steps) {
        if (step === 'accept' && window.verdict(window.expCmdSN) === 'next') window.accept();
        else if (step === 'end' && window.outstanding > 0) window.ended();
        else if (step === 'hold') window.hold();
        else if (step === 'go') window.letGo();
        if (window.outstanding > 8) return false;
        if (serialDistance(max, window.maxCmdSN) < 0) return false; // it shrank
        if (window.held && window.maxCmdSN !== max) return false;
        max = window.maxCmdSN;
        if (window.verdict(serialAdd(window.expCmdSN, -1)) !== 'outside') return false;
        if (window.verdict(serialAdd(max, 1)) !== 'outside') return false;
        if (!window.held && serialDistance(window.expCmdSN, max) !== 7 - window.outstanding) return false;
      }
      return true;
    },
  );
  fc.assert(property, { seed, numRuns: 500 });
  t.pass(`seed ${seed}`);
  t.end();
});

t.test('commands are delivered in the order of CmdSN', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session();
  i.command({ cdb: READY, tag: 52, cmdSN: 102 });
  i.command({ cdb: READY, tag: 51, cmdSN: 101 });
  i.command({ cdb: READY, tag: 99, cmdSN: 102 });
  t.ok(await i.silence(), 'early ones wait');
  i.command({ cdb: READY, tag: 50, cmdSN: 100 });
  for (const tag of [50, 51, 52]) t.equal((await ready(i)).initiatorTaskTag, tag);
  for (const cmdSN of [102, 99, 103 + COMMAND_WINDOW, 50]) i.command({ cdb: READY, cmdSN });
  t.ok(await i.silence(), 'duplicates and what lies outside the window are ignored');
  i.command({ cdb: READY, tag: 60, cmdSN: 9, immediate: true });
  t.match(await ready(i), { initiatorTaskTag: 60, expCmdSN: 103 }, 'immediate: out of the order');
  i.command({ cdb: READY, tag: 61, cmdSN: 103 });
  t.match(await ready(i), { initiatorTaskTag: 61, expCmdSN: 104, maxCmdSN: 103 + COMMAND_WINDOW });
});

t.test('a write that comes before its turn keeps the unsolicited data that follows it', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session({ ImmediateData: 'Yes', InitialR2T: 'No' });
  const data = Buffer.from(Array.from({ length: 1536 }, (_, n) => (n * 7) % 251));
  const write = { cdb: write10(8, 3), write: true, expectedBytes: 1536, final: false };
  const rest = (tag: number): void => {
    i.dataOut({ tag, offset: 512, data: data.subarray(512, 1024), final: false });
    i.dataOut({ tag, offset: 1024, dataSN: 1, data: data.subarray(1024) });
  };
  i.command({ ...write, data: data.subarray(0, 512), tag: 51, cmdSN: 101 });
  rest(51);
  i.command({ ...write, cdb: write10(16, 3), data: data.subarray(0, 512), tag: 52, cmdSN: 102 });
  rest(52);
  rest(77); // nobody's
  t.ok(await i.silence());
  i.taskManagement(Function.ABORT_TASK, { tag: 52, refCmdSN: 102, cmdSN: 103 });
  t.match(await tmf(i), { response: Response.COMPLETE });
  i.command({ cdb: READY, tag: 50, cmdSN: 100 });
  t.match(await ready(i), { initiatorTaskTag: 50 });
  t.match(await ready(i), { initiatorTaskTag: 51, status: ScsiStatus.GOOD });
  t.ok(rig.device.ram.bytes.subarray(8 * 512, 11 * 512).equals(data));
  t.notOk(
    rig.device.ram.bytes.subarray(16 * 512, 19 * 512).some((byte) => byte !== 0),
    'aborted',
  );
  t.ok(await i.silence());
  t.equal(rig.memory.heldBytes, 0);
});

const ENDS_SETS = [
  Function.ABORT_TASK_SET,
  Function.CLEAR_TASK_SET,
  Function.LOGICAL_UNIT_RESET,
  Function.TARGET_WARM_RESET,
];
const ONE_WRITE = { cdb: write10(0, 1), write: true, expectedBytes: 512, data: Buffer.alloc(512, 7) };

t.test('a function that ends all tasks ends those that came before their turn, and those due', async (t) => {
  for (const asked of ENDS_SETS) {
    const rig = await TargetRig.start();
    const i = await rig.session();
    i.command({ ...ONE_WRITE, tag: 51, cmdSN: 101 });
    i.command({ cdb: READY, tag: 53, cmdSN: 103 });
    i.taskManagement(asked, { cmdSN: 102 });
    t.match(await tmf(i), { response: Response.COMPLETE, expCmdSN: 102, maxCmdSN: 101 + COMMAND_WINDOW });
    i.command({ ...ONE_WRITE, tag: 50, cmdSN: 100 });
    i.command({ cdb: READY, tag: 52, cmdSN: 102 });
    for (const tag of [52, 53]) t.equal((await ready(i)).initiatorTaskTag, tag, 'later ones are served');
    t.notOk(rig.device.ram.bytes.subarray(0, 512).includes(7), 'nothing was written after the answer');
    t.ok(await i.silence(), 'nor answered');
    t.equal(rig.memory.heldBytes, 0);
    await rig.stop();
  }
});

t.test(
  'one that ends all tasks in its turn waits for what is due, and one that has no turn for nothing',
  async (t) => {
    const rig = await TargetRig.start();
    t.teardown(() => rig.stop());
    const i = await rig.session();
    i.taskManagement(Function.ABORT_TASK_SET, { immediate: false, cmdSN: 101 });
    t.ok(await i.silence());
    i.command({ ...ONE_WRITE, tag: 50, cmdSN: 100 });
    t.match(await ready(i), { initiatorTaskTag: 50, status: ScsiStatus.GOOD });
    t.match(await tmf(i), { response: Response.COMPLETE, expCmdSN: 102 });

    for (let cmdSN = 103; cmdSN < 102 + COMMAND_WINDOW; cmdSN++) i.command({ cdb: READY, cmdSN });
    i.taskManagement(Function.ABORT_TASK_SET, { cmdSN: 0x7fffffff });
    const [expCmdSN, maxCmdSN] = [102 + COMMAND_WINDOW, 101 + 2 * COMMAND_WINDOW];
    t.match(await tmf(i), { expCmdSN, maxCmdSN }, 'it tells that a window which was full is open');
    i.command({ cdb: READY, cmdSN: expCmdSN });
    t.match(await ready(i), { status: ScsiStatus.GOOD });
  },
);

t.test('the window bounds what is outstanding', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session();
  rig.device.holding = true;
  for (let n = 0; n < COMMAND_WINDOW + 5; n++) i.command({ ...ONE_READ, cdb: read10(0, 1) });
  await until('the device holds a whole window', () => rig.device.held.length === COMMAND_WINDOW);
  t.ok(await i.silence());
  t.equal(rig.device.held.length, COMMAND_WINDOW, 'those beyond were ignored');
  rig.device.release();
  let last = decodeDataIn((await i.expect(Opcode.DATA_IN)).bhs);
  for (let n = 1; n < COMMAND_WINDOW; n++) last = decodeDataIn((await i.expect(Opcode.DATA_IN)).bhs);
  t.equal(last.expCmdSN, 100 + COMMAND_WINDOW);
  t.equal(last.maxCmdSN, 99 + 2 * COMMAND_WINDOW, 'all of it is open again');
});

t.test('a flush is aborted at once, and what its task does next is its own', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session();
  rig.device.holding = true;
  const tag = i.command({ cdb: Buffer.from('35000000000000000000000000000000', 'hex') });
  await until('the device holds it', () => rig.device.held.length === 1);
  i.taskManagement(Function.ABORT_TASK, { tag, refCmdSN: 100 });
  t.match(await tmf(i), { response: Response.COMPLETE });
  i.command(ONE_READ);
  await until('the device holds a read', () => rig.device.held.length === 2);
  rig.device.release();
  t.match(decodeDataIn((await i.expect(Opcode.DATA_IN)).bhs), { status: ScsiStatus.GOOD });
  t.ok(await i.silence());
});

t.test('a tag in use, and commands that cannot be', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session();
  const reason = async (): Promise<number> => decodeReject((await i.expect(Opcode.REJECT)).bhs).reason;
  rig.device.holding = true;
  const tag = i.command(ONE_READ);
  i.command({ ...ONE_READ, tag });
  t.equal(await reason(), RejectReason.TASK_IN_PROGRESS);
  i.command({ cdb: READY, tag: RESERVED_TAG });
  t.equal(await reason(), RejectReason.INVALID_PDU_FIELD);
  const snack = Buffer.alloc(48);
  snack[0] = Opcode.SNACK_REQUEST;
  i.send(snack);
  t.equal(await reason(), RejectReason.SNACK_REJECT);
  const odd = Buffer.alloc(48);
  odd[0] = 0x1c;
  i.send(odd);
  t.equal(await reason(), RejectReason.COMMAND_NOT_SUPPORTED);
  i.send(i.loginHeader({ dataSegmentLength: 0 }));
  t.equal(await reason(), RejectReason.PROTOCOL_ERROR);
  rig.device.release();
  await i.expect(Opcode.DATA_IN);
});

t.test('ping', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session({ MaxRecvDataSegmentLength: '512' });
  const tag = i.ping(Buffer.alloc(1000, 'x'), { lunHigh: 0x00010000 });
  const { bhs, data } = await i.expect(Opcode.NOP_IN);
  t.match(decodeNopIn(bhs), {
    initiatorTaskTag: tag,
    targetTransferTag: RESERVED_TAG,
    lunHigh: 0, // reserved where the tag is (RFC 7143 11.19)
    statSN: i.expStatSN,
  });
  t.ok(data.equals(Buffer.alloc(512, 'x')), 'the echo is cut to what the initiator takes');
  i.ping(Buffer.alloc(0), { tag: RESERVED_TAG });
  t.ok(await i.silence(), 'no tag, no answer');
  i.ping(Buffer.from('abc'), { immediate: false });
  const second = await i.expect(Opcode.NOP_IN);
  t.match(decodeNopIn(second.bhs), { expCmdSN: 101, statSN: serialAdd(i.expStatSN, 1) });
});

t.test('ABORT TASK', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session({ ImmediateData: 'No' });

  rig.device.holding = true;
  const tag = i.command(ONE_READ);
  i.taskManagement(Function.ABORT_TASK, { tag, refCmdSN: 100 });
  t.ok(await i.silence(), 'the answer waits for the I/O at the device');
  rig.device.release();
  t.match(await tmf(i), { response: Response.COMPLETE });
  t.ok(await i.silence(), 'and the task is never answered');

  const writing = i.command({ cdb: write10(0, 1), write: true, expectedBytes: 512 });
  const { targetTransferTag } = decodeR2t((await i.expect(Opcode.R2T)).bhs);
  i.taskManagement(Function.ABORT_TASK, { tag: writing, refCmdSN: 101 });
  t.match(await tmf(i), { response: Response.COMPLETE });
  i.dataOut({ tag: writing, targetTransferTag, data: Buffer.alloc(512, 1) });
  t.ok(await i.silence(), 'its data may still come, and is nobody’s');
  t.equal(rig.device.ram.counts.write, 0);

  i.taskManagement(Function.ABORT_TASK, { tag: 4711, refCmdSN: 100 });
  t.match(await tmf(i), { response: Response.NO_TASK });

  // 11.6.1: a command that has not come, but has a CmdSN before the request's, counts as received.
  const lost = i.cmdSN++;
  i.taskManagement(Function.ABORT_TASK, { tag: 4712, refCmdSN: lost });
  t.match(await tmf(i), { response: Response.COMPLETE });
  i.command({ cdb: READY });
  t.equal((await ready(i)).status, ScsiStatus.GOOD, 'the gap is closed');
});

t.test('ABORT TASK and the end of a session end a long command behind the piece under way', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const { ram } = rig.device;
  /** WRITE SAME (16) of the whole medium, and its first piece at the device. */
  const begin = async (i: TargetInitiator): Promise<number> => {
    rig.device.holding = true;
    const data = Buffer.alloc(512, 7);
    const cdb = Buffer.from(`9300${'00'.repeat(14)}`, 'hex');
    const tag = i.command({ cdb, write: true, expectedBytes: data.length, data });
    await until('the device holds one', () => rig.device.held.length === 1);
    return tag;
  };
  const i = await rig.session();
  i.taskManagement(Function.ABORT_TASK, { tag: await begin(i), refCmdSN: 100 });
  t.ok(await i.silence());
  rig.device.release();
  t.match(await tmf(i), { response: Response.COMPLETE });
  t.equal(ram.counts.write, 1, 'sixteen are the whole');

  await begin(i);
  i.close();
  await until('no session answers', () =>
    rig.registry.sessionsOf(IQN).every((session) => !session.answering),
  );
  rig.device.release();
  await until('no session is left', () => rig.registry.sessionsOf(IQN).length === 0);
  t.equal(ram.counts.write, 2);
});

t.test('functions on many tasks', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const mine = await rig.session({}, '800000000001');
  const other = await rig.session({}, '800000000002');
  for (const asked of ENDS_SETS) {
    rig.device.holding = true;
    mine.command(ONE_READ);
    mine.command(ONE_READ);
    const theirs = other.command(ONE_READ);
    await until('the device holds three', () => rig.device.held.length === 3);
    mine.taskManagement(asked);
    t.ok(await mine.silence(20));
    rig.device.release();
    t.match(await tmf(mine), { response: Response.COMPLETE });
    if (asked === Function.ABORT_TASK_SET) await other.expect(Opcode.DATA_IN);
    else t.match(await ready(other), { initiatorTaskTag: theirs, status: ScsiStatus.TASK_ABORTED });
    const isReset = asked === Function.LOGICAL_UNIT_RESET || asked === Function.TARGET_WARM_RESET;
    for (const initiator of isReset ? [mine, other] : []) {
      initiator.command({ cdb: READY });
      const { data } = await initiator.expect(Opcode.SCSI_RESPONSE);
      t.equal(data.toString('hex', 2 + 2, 2 + 3), '06', 'UNIT ATTENTION');
      t.equal(data.toString('hex', 2 + 12, 2 + 14), '2903', 'everybody is told of a reset (SAM-5 6.3.3)');
    }
  }
  mine.taskManagement(Function.LOGICAL_UNIT_RESET, { lunHigh: 0x00010000 });
  t.match(await tmf(mine), { response: Response.NO_LUN });
  mine.taskManagement(Function.TASK_REASSIGN);
  t.match(await tmf(mine), { response: Response.NO_REASSIGN });
  mine.taskManagement(Function.CLEAR_ACA);
  t.match(await tmf(mine), { response: Response.NOT_SUPPORTED });
  mine.taskManagement(Function.TARGET_COLD_RESET);
  t.match(await tmf(mine), { response: Response.COMPLETE });
  for (const initiator of [mine, other]) {
    await initiator.expect(Opcode.ASYNC_MESSAGE);
    t.ok(await initiator.closes());
  }
});

t.test('TASK ABORTED says how much was not transferred', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const mine = await rig.session({}, '800000000001');
  const other = await rig.session(
    { ImmediateData: 'No', MaxRecvDataSegmentLength: '1048576' },
    '800000000002',
  );
  const { device } = rig;
  device.holding = true;
  const MiB = 1024 * 1024;
  const half = other.command({ cdb: read10(0, 4096), read: true, expectedBytes: 2 * MiB });
  await until('the device holds its first piece', () => device.held.length === 1);
  for (const io of device.held.splice(0)) device.ram.submit(io);
  t.equal((await other.expect(Opcode.DATA_IN)).data.length, 256 * 1024);
  const none = other.command({ cdb: read10(0, 8), read: true, expectedBytes: 4096 });
  const writing = other.command({ cdb: write10(0, 8), write: true, expectedBytes: 4096 });
  for (let sent = 256 * 1024; sent < MiB;) sent += (await other.expect(Opcode.DATA_IN)).data.length;
  await other.expect(Opcode.R2T);
  mine.taskManagement(Function.LOGICAL_UNIT_RESET);
  const told = [await ready(other)];
  device.release();
  told.push(await ready(other), await ready(other));
  t.match(told, [
    { initiatorTaskTag: writing, residualCount: 4096 },
    { initiatorTaskTag: half, residualCount: MiB },
    { initiatorTaskTag: none, residualCount: 4096 },
  ]);
  for (const pdu of told) t.match(pdu, { status: ScsiStatus.TASK_ABORTED, underflow: true, overflow: false });
});

t.test('who is preempted hears of its commands: TASK ABORTED, as TAS 1 says', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const mine = await rig.session({}, '800000000001');
  const other = await rig.session({}, '800000000002');
  const reserveOut = async (who: TargetInitiator, action: number, keys: string): Promise<number> => {
    const data = Buffer.from(keys.padEnd(48, '0'), 'hex');
    const cdb = Buffer.from(
      `5f${action.toString(16).padStart(2, '0')}0100000000001800`.padEnd(32, '0'),
      'hex',
    );
    who.command({ cdb, write: true, expectedBytes: 24, data });
    return (await ready(who)).status;
  };
  const [A, B, NONE] = ['a'.repeat(16), 'b'.repeat(16), '0'.repeat(16)];
  t.equal(await reserveOut(mine, 0, NONE + A), ScsiStatus.GOOD);
  t.equal(await reserveOut(other, 0, NONE + B), ScsiStatus.GOOD);
  rig.device.holding = true;
  const initiatorTaskTag = mine.command(ONE_READ);
  await until('the device holds one', () => rig.device.held.length === 1);
  const preempted = reserveOut(other, 5, B + A);
  t.ok(await other.silence(20), 'not before it has ended');
  rig.device.release();
  t.match(await ready(mine), { initiatorTaskTag, status: ScsiStatus.TASK_ABORTED });
  t.equal(await preempted, ScsiStatus.GOOD);
});

t.test('an error of ours on the way of a command costs its connection, and leaves nothing', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session();
  rig.server.prepare = () => {
    throw new Error('planted');
  };
  i.command(ONE_READ);
  t.ok(await i.closes());
  await until('no session is left', () => rig.registry.list().length === 0);
  Reflect.deleteProperty(rig.server, 'prepare');
  const other = await rig.session();
  rig.server.encodeSense = () => {
    throw new Error('planted');
  };
  other.command({ cdb: Buffer.from(`9100${'ff'.repeat(8)}`.padEnd(32, '0'), 'hex') });
  t.ok(await other.closes(), 'where it is answered, too');
  await until('no session is left', () => rig.registry.list().length === 0);
  Reflect.deleteProperty(rig.server, 'encodeSense');
  const again = await rig.session();
  again.command(ONE_READ);
  t.equal((await again.expect(Opcode.DATA_IN)).data.length, 512, 'the initiator comes back');
});
