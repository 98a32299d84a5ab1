/** Sessions of the target: what their ends wait for, logout, the hand-over and the fence (I7, I8), loss. */
import t from 'tap';
import { LOGOUT_FIN_AGE_MS } from '../../lib/base/limits.js';
import { serialAdd } from '../../lib/base/serial.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { ScsiStatus } from '../../lib/scsi/task.js';
import { decodeAsyncMessage } from '../../lib/iscsi/wire/async-message.js';
import { decodeLogoutResponse } from '../../lib/iscsi/wire/logout.js';
import {
  LogoutResponseCode,
  Opcode,
  RejectReason,
  TaskManagementFunction as Function,
  TaskManagementResponseCode as Response,
} from '../../lib/iscsi/wire/opcodes.js';
import { decodeR2t } from '../../lib/iscsi/wire/r2t.js';
import { decodeReject } from '../../lib/iscsi/wire/reject.js';
import { decodeScsiResponse } from '../../lib/iscsi/wire/scsi.js';
import { copyCdb, copyList, cscd, segment } from '../support/copy-rig.js';
import { RamDevice } from '../support/ram-device.js';
import { ONE_READ, READY, ready, tmf } from '../support/target-answers.js';
import { type TargetInitiator, write10 } from '../support/target-initiator.js';
import { IQN, ManualClock, MOVED, TargetRig } from '../support/target-rig.js';
import { until } from '../support/wait.js';

const SYNCHRONIZE_CACHE = Buffer.from('35000000000000000000000000000000', 'hex');
/** START STOP UNIT: what is cached is made durable first. */
const STOP = Buffer.from('1b000000000000000000000000000000', 'hex');

t.test('nobody waits for a long copy to its end', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const mine = await rig.session({}, '800000000001');
  const other = await rig.session({}, '800000000002');
  const whole = Array.from({ length: 8 }, () =>
    segment({ source: 0xffff, destination: 0xffff, to: 16384, blocks: 16384 }),
  );
  const data = copyList([], whole);
  const cdb = Buffer.from(copyCdb(data.length).replaceAll(' ', ''), 'hex');
  const begin = async (): Promise<number> => {
    rig.device.holding = true;
    const tag = mine.command({ cdb, write: true, expectedBytes: data.length, data });
    await until('the device holds one', () => rig.device.held.length === 1);
    return tag;
  };
  mine.taskManagement(Function.ABORT_TASK, { tag: await begin() });
  t.ok(await mine.silence(20), 'the answer waits for the I/O at the device');
  rig.device.release();
  t.match(await tmf(mine), { response: Response.COMPLETE });
  await begin();
  other.taskManagement(Function.LOGICAL_UNIT_RESET);
  t.ok(await other.silence(20));
  rig.device.release();
  t.match(await tmf(other), { response: Response.COMPLETE });
  t.match(await ready(mine), { status: ScsiStatus.TASK_ABORTED });
  mine.command({ cdb: READY });
  await mine.expect(Opcode.SCSI_RESPONSE); // what it is told of the reset
  await begin();
  mine.close();
  await until('a session is closing', () => rig.registry.list().some(({ state }) => state === 'closing'));
  rig.device.release();
  await until('there is one session', () => rig.registry.list().length === 1);
  t.equal(rig.device.ram.counts.write, 0, 'each of them ended with what was at the device');
});

t.test('a login waits for what is copied in the name of the session before (I8)', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const source = new DiskServer({
    device: new RamDevice(4 * 1024 * 1024),
    identity: { serial: 's', naa: '3000000000000002', iqn: MOVED },
    others: () => [rig.server.unit],
  });
  rig.answer = { kind: 'serve', target: { iqn: MOVED, server: source } };
  const copier = await rig.connect();
  await copier.login(MOVED);
  rig.answer = null;
  const mine = await rig.session();
  const list = copyList(
    [cscd('3000000000000001')],
    [segment({ source: 0xffff, destination: 0, blocks: 8192 })],
  );
  rig.device.holding = true;
  const cdb = Buffer.from(copyCdb(list.length).replaceAll(' ', ''), 'hex');
  copier.command({ cdb, write: true, expectedBytes: list.length, data: list });
  await until('the device holds one', () => rig.device.held.length === 1);
  mine.close();
  let isBack = false;
  const back = rig.session().then(() => (isBack = true));
  t.ok(await copier.silence(50));
  t.notOk(isBack, 'a write of the copy is at the device');
  rig.device.release();
  await back;
  const { data } = await copier.expect(Opcode.SCSI_RESPONSE);
  t.equal(data.toString('hex', 2 + 12, 2 + 14), '0d01', 'the copy has ended with the session');
  t.equal(rig.device.ram.counts.write, 1);
});

t.test('a write whose data comes while the unit is sanitized is not carried out', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const mine = await rig.session({ ImmediateData: 'No', InitialR2T: 'Yes' }, '800000000001');
  const other = await rig.session({}, '800000000002');
  const tag = mine.command({ cdb: write10(0, 1), write: true, expectedBytes: 512 });
  const { targetTransferTag } = decodeR2t((await mine.expect(Opcode.R2T)).bhs);
  rig.device.holding = true;
  other.command({ cdb: Buffer.from('48820000000000000000', 'hex') }); // BLOCK ERASE, IMMED
  t.match(await ready(other), { status: ScsiStatus.GOOD });
  mine.dataOut({ tag, targetTransferTag, data: Buffer.alloc(512, 7) });
  const { bhs, data } = await mine.expect(Opcode.SCSI_RESPONSE);
  t.match(decodeScsiResponse(bhs), {
    initiatorTaskTag: tag,
    status: ScsiStatus.CHECK_CONDITION,
    residualCount: 512,
  });
  t.equal(data.toString('hex', 2 + 12, 2 + 14), '041b');
  rig.device.release();
  for (let status = -1; status !== ScsiStatus.GOOD;) {
    mine.command({ cdb: READY });
    ({ status } = await ready(mine));
  }
  t.equal(rig.device.ram.counts.write, 0);
});

t.test('nobody waits for a sanitize operation to its end', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const mine = await rig.session({}, '800000000001');
  const other = await rig.session({}, '800000000002');
  const erase = { cdb: Buffer.from('48020000000000000000', 'hex') };
  rig.device.holding = true;
  const tag = mine.command(erase);
  await until('the device holds one', () => rig.device.held.length === 1);
  mine.taskManagement(Function.ABORT_TASK, { tag });
  t.match(await tmf(mine), { response: Response.COMPLETE }, 'it is aborted for its initiator');
  other.command({ cdb: READY });
  t.equal(
    (await other.expect(Opcode.SCSI_RESPONSE)).data.toString('hex', 2 + 12, 2 + 14),
    '041b',
    'it goes on',
  );
  rig.device.release();
  for (let status = -1; status !== ScsiStatus.GOOD;) {
    other.command({ cdb: READY });
    ({ status } = await ready(other));
  }
  t.ok(await mine.silence(20), 'and nothing more is said of it');

  rig.device.holding = true;
  mine.command(erase);
  await until('the device holds one', () => rig.device.held.length === 1);
  mine.close();
  await until('there is one session', () => rig.registry.list().length === 1);
  t.equal(rig.device.held.length, 1, 'a lost session is gone before it, too');
  rig.device.release();
});

t.test('logout', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());

  t.comment('I7: what is in flight is answered, then the Logout Response, then the FIN');
  const i = await rig.session();
  rig.device.holding = true;
  i.command(ONE_READ);
  await until('the device holds one', () => rig.device.held.length === 1);
  i.logout(0, { cmdSN: 7 });
  i.command({ cdb: READY });
  t.ok(await i.silence());
  t.match(rig.registry.list(), [{ state: 'leaving' }]);
  rig.device.release();
  await i.expect(Opcode.DATA_IN);
  const answer = decodeLogoutResponse((await i.expect(Opcode.LOGOUT_RESPONSE)).bhs);
  t.match(answer, { response: LogoutResponseCode.CLOSED, time2Wait: 0, statSN: serialAdd(i.expStatSN, 1) });
  await until('no session is left', () => rig.registry.list().length === 0);
  i.command({ cdb: READY });
  t.ok(await i.closes(), 'what comes after it is dropped');

  t.comment('data that is still to come gets a moment, and no more');
  const writer = await rig.session({ ImmediateData: 'No' });
  const tag = writer.command({ cdb: write10(0, 1), write: true, expectedBytes: 512 });
  const { targetTransferTag } = decodeR2t((await writer.expect(Opcode.R2T)).bhs);
  writer.logout(1);
  writer.dataOut({ tag, targetTransferTag, data: Buffer.alloc(512, 5) });
  t.equal((await ready(writer)).status, ScsiStatus.GOOD);
  await writer.expect(Opcode.LOGOUT_RESPONSE);
  const silent = await rig.session({ ImmediateData: 'No' });
  silent.command({ cdb: write10(0, 1), write: true, expectedBytes: 512 });
  await silent.expect(Opcode.R2T);
  silent.logout(0);
  await silent.expect(Opcode.LOGOUT_RESPONSE);
  t.ok(await silent.closes());
  await until('no session is left', () => rig.registry.list().length === 0);

  t.comment('what is not ours to end');
  const stays = await rig.session();
  stays.logout(1, { cid: 9 });
  const noCid = decodeLogoutResponse((await stays.expect(Opcode.LOGOUT_RESPONSE)).bhs);
  t.equal(noCid.response, LogoutResponseCode.CID_NOT_FOUND);
  stays.logout(2);
  const recovery = decodeLogoutResponse((await stays.expect(Opcode.LOGOUT_RESPONSE)).bhs);
  t.equal(recovery.response, LogoutResponseCode.RECOVERY_NOT_SUPPORTED);
  stays.logout(3);
  t.equal(decodeReject((await stays.expect(Opcode.REJECT)).bhs).reason, RejectReason.INVALID_PDU_FIELD);
  stays.command({ cdb: READY });
  t.equal((await ready(stays)).status, ScsiStatus.GOOD);
});

t.test('asked to log out, an old session is closed at once, a young one when it is older', async (t) => {
  const clock = new ManualClock();
  const rig = await TargetRig.start(clock);
  t.teardown(() => rig.stop());
  const leaves = async (i: TargetInitiator, isAsked: boolean): Promise<void> => {
    if (isAsked) {
      rig.registry.requestLogout(IQN, 60, 'ask');
      await i.expect(Opcode.ASYNC_MESSAGE);
    }
    i.logout(0);
    await i.expect(Opcode.LOGOUT_RESPONSE);
  };
  const old = await rig.session();
  clock.move(LOGOUT_FIN_AGE_MS);
  await leaves(old, true);
  t.ok(await old.closes());
  const unasked = await rig.session();
  await leaves(unasked, false);
  t.ok(await unasked.closes(), 'who leaves by itself gets the FIN behind the response (RFC 7143 11.14)');
  const young = await rig.session();
  await leaves(young, true);
  clock.move(LOGOUT_FIN_AGE_MS - 1);
  t.ok(await young.silence());
  clock.move(1);
  t.ok(await young.closes());
});

t.test('I7: asked to leave, served until the deadline, then dropped', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session();
  let gone = 0;
  const countWhenGone = (): void =>
    rig.registry.sessionsOf(IQN).forEach((session) => session.whenGone(() => (gone += 1)));
  countWhenGone();
  t.equal(rig.registry.requestLogout(IQN, 0.15, 'ask'), 1);
  const asked = decodeAsyncMessage((await i.expect(Opcode.ASYNC_MESSAGE)).bhs);
  t.match(asked, { asyncEvent: 1, statSN: i.expStatSN });
  t.match(rig.registry.list(), [{ state: 'told' }]);
  i.command({ cdb: READY });
  t.match(await ready(i), { status: ScsiStatus.GOOD, statSN: serialAdd(i.expStatSN, 1) }, 'it took a StatSN');
  rig.device.holding = true;
  i.command(ONE_READ);
  await until('the device holds one', () => rig.device.held.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.ok(await i.silence(), 'at the deadline the I/O in flight is waited for');
  rig.device.release();
  await i.expect(Opcode.DATA_IN);
  const dropped = decodeAsyncMessage((await i.expect(Opcode.ASYNC_MESSAGE)).bhs);
  t.match(dropped, { asyncEvent: 2, parameter1: 1, parameter2: 0, parameter3: 0 });
  t.ok(await i.closes());
  await until('one has gone', () => gone === 1);
  t.equal(rig.registry.requestLogout(IQN, 1, 'ask'), 0, 'with nobody there');

  const second = await rig.session();
  countWhenGone();
  rig.registry.requestLogout(IQN, 1, 'drop');
  t.equal(decodeAsyncMessage((await second.expect(Opcode.ASYNC_MESSAGE)).bhs).asyncEvent, 2);
  t.ok(await second.closes());
  await until('both have gone', () => gone === 2);
});

t.test('I7: who would log out for good is dropped, and comes back', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const eventOf = async (initiatorName: string): Promise<number> => {
    const i = await rig.session({ InitiatorName: initiatorName });
    rig.registry.requestLogout(IQN, 1, 'ask');
    const { asyncEvent } = decodeAsyncMessage((await i.expect(Opcode.ASYNC_MESSAGE)).bhs);
    i.socket.destroy();
    await until('it has gone', () => rig.registry.list().length === 0);
    return asyncEvent;
  };
  t.equal(await eventOf('iqn.1994-09.org.freebsd:a-host'), 2, 'FreeBSD');
  t.equal(await eventOf('iqn.1994-04.org.netbsd:iscsi.a-host:0'), 2, 'NetBSD');
  t.equal(await eventOf('iqn.1993-08.org.debian:01:a-host'), 1, 'others are asked');
});

t.test('I8: a session that is cut off hears nothing more, and is gone when its I/O is', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session();
  rig.device.holding = true;
  i.command(ONE_READ);
  await until('the device holds one', () => rig.device.held.length === 1);
  await rig.registry.cutOff('iqn.2026-11.org.example:another');
  t.equal(rig.registry.sessionsOf(IQN).length, 1, 'another volume');
  let isOver = false;
  const over = rig.registry.cutOff(IQN).then(() => (isOver = true));
  t.ok(await i.closes(), 'closed without a word');
  t.equal(rig.registry.list().length, 1, 'its I/O is still at the device');
  t.equal(isOver, false);
  rig.device.release();
  await over;
  t.equal(rig.registry.list().length, 0);
});

t.test('a flush that its disk does not end keeps no session that is cut off', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session();
  rig.device.holding = true;
  for (const cdb of [SYNCHRONIZE_CACHE, STOP]) i.command({ cdb });
  await until('the device holds both flushes', () => rig.device.held.length === 2);
  await rig.registry.cutOff(IQN);
  t.equal(rig.registry.list().length, 0);
  rig.device.release();
  const next = await rig.session();
  next.command({ cdb: SYNCHRONIZE_CACHE });
  t.match(await ready(next), { status: ScsiStatus.GOOD });
});

t.test('I7: whole seconds go out as they are', async (t) => {
  const clock = new ManualClock();
  const rig = await TargetRig.start(clock);
  t.teardown(() => rig.stop());
  const i = await rig.session();
  rig.registry.requestLogout(IQN, 3, 'ask');
  t.match(decodeAsyncMessage((await i.expect(Opcode.ASYNC_MESSAGE)).bhs), { asyncEvent: 1, parameter3: 3 });
  i.logout(0);
  await i.expect(Opcode.LOGOUT_RESPONSE);
  clock.move(LOGOUT_FIN_AGE_MS);
  t.ok(await i.closes());
});

t.test('I8: the fence waits for the device', async (t) => {
  const clock = new ManualClock();
  const rig = await TargetRig.start(clock);
  t.teardown(() => rig.stop());
  const login = { iqn: IQN, initiatorName: 'iqn.2026-11.test:host', isid: '800000000009' };
  const left = await rig.session({ ImmediateData: 'Yes' });
  rig.device.holding = true;
  left.command({ cdb: write10(0, 1), write: true, data: Buffer.alloc(512, 1) });
  await until('the device holds one', () => rig.device.held.length === 1);
  t.same(await rig.registry.fence(login), { fenced: 0, stallMs: 0 }, 'another ISID, never told: not meant');
  left.close();
  await until('the session is closing', () => rig.registry.list()[0]?.state === 'closing');
  const other = { ...login, initiatorName: 'iqn.2026-11.test:other' };
  t.same(await rig.registry.fence(other), { fenced: 0, stallMs: 0 }, 'nor is it of another initiator');

  // Closed, it is: what it had not answered is sent again, and libiscsi is back under another ISID.
  let answered = 0;
  clock.move(40);
  const waiting = rig.registry.fence({ ...login, isid: '800000000001' }).finally(() => (answered += 1));
  const anew = rig.registry.fence(login).finally(() => (answered += 1));
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.equal(answered, 0, 'its write is still at the device');
  rig.device.release();
  t.same(await waiting, { fenced: 1, stallMs: 40 });
  t.same(await anew, { fenced: 1, stallMs: 0 }, 'it counts once');
  t.same(rig.registry.list(), []);
  t.same(await rig.registry.fence({ ...login, isid: '800000000001' }), { fenced: 0, stallMs: 0 }, 'once');
});

t.test('I8: told to leave, back under another ISID', async (t) => {
  const clock = new ManualClock();
  const rig = await TargetRig.start(clock);
  t.teardown(() => rig.stop());
  const login = { iqn: IQN, initiatorName: 'iqn.2026-11.test:host', isid: '80aaaaaaaaaa' };
  const told = await rig.session({}, '800000000001');
  const leaver = await rig.session({}, '800000000002');
  rig.registry.requestLogout(IQN, 5, 'ask');
  await told.expect(Opcode.ASYNC_MESSAGE);
  await leaver.expect(Opcode.ASYNC_MESSAGE);
  leaver.logout();
  await leaver.expect(Opcode.LOGOUT_RESPONSE);
  clock.move(LOGOUT_FIN_AGE_MS);
  await leaver.closes();
  const untold = await rig.session({}, '800000000003');
  clock.move(40);
  rig.device.holding = true;
  told.command(ONE_READ);
  await until('the device holds one', () => rig.device.held.length === 1);
  const fence = rig.registry.fence(login);
  t.ok(await told.silence(30));
  rig.device.release();
  const { fenced, stallMs } = await fence;
  t.equal(fenced, 1);
  t.equal(stallMs, LOGOUT_FIN_AGE_MS + 40, 'since the one that logged out');
  await told.expect(Opcode.DATA_IN);
  t.ok(await told.closes(), 'what was taken up was answered first');
  untold.command({ cdb: READY });
  t.equal((await ready(untold)).status, ScsiStatus.GOOD, 'a session that came later stays');
  const stranger = await rig.registry.fence({ ...login, initiatorName: 'iqn.2026-11.test:stranger' });
  t.same(stranger, { fenced: 0, stallMs: 0 });
});

t.test('session reinstatement drains the old session first (RFC 7143 6.3.5)', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const old = await rig.session({ ImmediateData: 'Yes' });
  rig.device.holding = true;
  old.command({ cdb: write10(0, 1), write: true, data: Buffer.alloc(512, 1) });
  await until('the device holds one', () => rig.device.held.length === 1);
  const fresh = await rig.connect();
  const login = fresh.login(IQN);
  t.ok(await fresh.silence(), 'the new one waits for the write of the old one');
  rig.device.release();
  const { pdu } = await login;
  t.equal((await ready(old)).status, ScsiStatus.GOOD);
  t.ok(await old.closes());
  t.match(rig.registry.list(), [{ tsih: pdu.tsih, state: 'active' }]);
  t.equal(rig.registry.list().length, 1);
});

t.test('a lost connection', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session({ ImmediateData: 'No' });
  i.command({ cdb: write10(0, 1), write: true, expectedBytes: 512 });
  await i.expect(Opcode.R2T);
  rig.device.holding = true;
  for (let n = 0; n < 3; n++) i.command(ONE_READ);
  await until('the device holds three', () => rig.device.held.length === 3);
  i.socket.resetAndDestroy();
  await until('the session is closing', () => rig.registry.list()[0]?.state === 'closing');
  t.match(rig.registry.list(), [{ inFlight: 3 }], 'the write that waited for data is dropped');
  rig.device.release();
  await until('no session is left', () => rig.registry.list().length === 0);
  const next = await rig.session();
  next.command(ONE_READ);
  t.equal((await next.expect(Opcode.DATA_IN)).data.length, 512);
});

t.test('the portal closes in order, and its address is somebody’s', async (t) => {
  const rig = await TargetRig.start();
  const i = await rig.session();
  const { Portal } = await import('../../lib/iscsi/target/portal.js');
  const { systemClock } = await import('../../lib/base/clock.js');
  const { silentLog } = await import('../../lib/base/log.js');
  const { systemRandom } = await import('../../lib/base/random.js');
  const second = new Portal({
    directory: rig,
    registry: rig.registry,
    log: silentLog,
    clock: systemClock,
    random: systemRandom,
  });
  await t.rejects(second.listen('127.0.0.1', rig.port), { code: 'BUSY' });
  await t.rejects(second.listen('192.0.2.1', 0), { code: 'IO' });
  rig.device.holding = true;
  i.command(ONE_READ);
  await until('the device holds one', () => rig.device.held.length === 1);
  const stopped = rig.stop;
  setTimeout(() => rig.device.release(), 30);
  const closed = rig.close();
  t.equal((await i.expect(Opcode.DATA_IN)).data.length, 512, 'what was in flight is answered');
  await closed;
  t.ok(await i.closes());
  t.same(rig.registry.list(), []);
  await stopped.call(rig);
});
