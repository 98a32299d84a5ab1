/**
 * How commands and sessions end where somebody is slow, gone, or asks for it more often than anybody would: what is at the
 * device is waited for (I8), nobody who still listens is cut off (I7), and nothing grows with what a session asks (I11).
 */
import t from 'tap';
import { COMMAND_WINDOW, NOP_DEADLINE_MS, NOP_INTERVAL_MS } from '../../lib/base/limits.js';
import { MemoryBudget } from '../../lib/iscsi/target/memory-budget.js';
import {
  Opcode,
  TaskManagementFunction as Function,
  TaskManagementResponseCode as Response,
} from '../../lib/iscsi/wire/opcodes.js';
import { ONE_READ, READY, tmf } from '../support/target-answers.js';
import { read10, write10 } from '../support/target-initiator.js';
import { IQN, ManualClock, TargetRig } from '../support/target-rig.js';
import { until } from '../support/wait.js';

const MiB = 1024 * 1024;
const BLOCK = 512;
const ONE_WRITE = { cdb: write10(0, 1), write: true, expectedBytes: BLOCK, data: Buffer.alloc(BLOCK, 1) };

t.test(
  'a command that is aborted over and over ends once, and no more are kept in mind than commands',
  async (t) => {
    const rig = await TargetRig.start();
    t.teardown(() => rig.stop());
    const i = await rig.session();
    rig.device.holding = true;
    const tag = i.command(ONE_READ);
    const asked = 30_000;
    for (let n = 0; n < asked; n++) i.taskManagement(Function.ABORT_TASK, { tag, refCmdSN: 100 });
    for (let n = COMMAND_WINDOW; n < asked; n++)
      if ((await tmf(i)).response !== Response.REJECTED) throw new Error('one more was kept');
    rig.device.release();
    for (let n = 0; n < COMMAND_WINDOW; n++)
      if ((await tmf(i)).response !== Response.COMPLETE) throw new Error('one was forgotten');
    i.command(ONE_READ);
    await i.expect(Opcode.DATA_IN);
  },
);

t.test('reads that waited for memory follow each other, not each within the other', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session({ MaxRecvDataSegmentLength: '131072' });
  rig.device.holding = true;
  // Eight pieces in buffers of their own are all that a session may have: the others are not even asked for.
  const long = 8;
  const short = COMMAND_WINDOW - long;
  for (let n = 0; n < long; n++) i.command({ cdb: read10(0, MiB / BLOCK), read: true, expectedBytes: MiB });
  for (let n = 0; n < short; n++) i.command(ONE_READ);
  await until('a whole window is in flight', () => rig.registry.list()[0]?.inFlight === COMMAND_WINDOW);
  t.equal(rig.device.held.length, long);
  rig.device.release();
  let bytes = 0;
  while (bytes < long * MiB + short * BLOCK) bytes += (await i.expect(Opcode.DATA_IN)).data.length;
  t.ok(rig.device.deepest <= 2, `${rig.device.deepest} levels`);
});

t.test('a reset waits for what a session that is gone has at the device (I8)', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const mine = await rig.session({}, '800000000001');
  for (const asked of [Function.LOGICAL_UNIT_RESET, Function.CLEAR_TASK_SET]) {
    const theirs = await rig.session({}, '800000000002');
    rig.device.holding = true;
    theirs.command(ONE_WRITE);
    await until('the device holds one', () => rig.device.held.length === 1);
    theirs.close();
    await until('there is one session', () => rig.registry.sessionsOf(IQN).length === 1);
    mine.taskManagement(asked);
    t.ok(await mine.silence(), 'what it wrote would land over what comes after the answer');
    rig.device.release();
    t.equal((await tmf(mine)).response, Response.COMPLETE);
    mine.command({ cdb: READY });
    await mine.expect(Opcode.SCSI_RESPONSE); // the reset's unit attention
  }
});

t.test('who goes on reading, however slowly, is not taken for silent; who does not, is', async (t) => {
  const clock = new ManualClock();
  const rig = await TargetRig.start(clock);
  t.teardown(() => rig.stop());
  const i = await rig.session({ MaxRecvDataSegmentLength: '262144' });
  const { socket } = i;
  socket.pause();
  for (let n = 0; n < 64; n++) i.command({ cdb: read10(0, MiB / BLOCK), read: true, expectedBytes: MiB });
  await i.silence(100);
  for (let minutes = 0; minutes < 3; minutes++) {
    const before = socket.bytesRead;
    socket.resume();
    await until('two MiB are read', () => socket.bytesRead >= before + 2 * MiB);
    socket.pause();
    await i.silence(50);
    clock.move(NOP_INTERVAL_MS);
    clock.move(NOP_DEADLINE_MS);
  }
  t.equal(rig.registry.sessionsOf(IQN).length, 1);
  await i.silence(50);
  for (let looks = 0; looks < 3; looks++) clock.move(NOP_INTERVAL_MS);
  t.equal(rig.registry.sessionsOf(IQN).length, 0);
});

t.test('who is not listened to is not taken for silent', async (t) => {
  const clock = new ManualClock();
  const rig = await TargetRig.start(clock, new MemoryBudget(MiB / 2, 4 * MiB));
  t.teardown(() => rig.stop());
  const i = await rig.session();
  rig.device.holding = true;
  const data = Buffer.alloc(64 * 1024, 1);
  const commands = 40;
  for (let n = 0; n < commands; n++)
    i.command({ cdb: write10(0, data.length / BLOCK), write: true, expectedBytes: data.length, data });
  await until('it is not listened to', () => rig.registry.sessionsOf(IQN)[0]?.isUnheard === true);
  const heard = rig.device.held.length;
  t.ok(heard > 0 && heard < commands, `${heard} of ${commands} commands were heard`);
  for (let looks = 0; looks < 4; looks++) clock.move(NOP_INTERVAL_MS);
  t.equal(rig.registry.sessionsOf(IQN).length, 1);
  rig.device.release();
  for (let n = 0; n < commands; n++) await i.expect(Opcode.SCSI_RESPONSE);
});

t.test('a logout does not wait for what takes hours', async (t) => {
  const clock = new ManualClock();
  const rig = await TargetRig.start(clock);
  t.teardown(() => rig.stop());
  const i = await rig.session();
  rig.device.holding = true;
  const sanitize = Buffer.from('48020000000000000000'.padEnd(32, '0'), 'hex');
  i.command({ cdb: sanitize });
  await until('the device holds something', () => rig.device.held.length > 0);
  i.logout();
  await i.silence(20);
  clock.move(1_000);
  t.ok(await i.silence(20), 'what is soon done is waited for');
  clock.move(5_000);
  await i.expect(Opcode.LOGOUT_RESPONSE);
  clock.move(10_000);
  t.ok(await i.closes());
});
