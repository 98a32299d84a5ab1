/** I11: whatever comes in on the portal costs bounded memory and bounded time, and nobody else's session. */
import fc from 'fast-check';
import t from 'tap';
import {
  COMMAND_WINDOW,
  LOGIN_DEADLINE_MS,
  NOP_DEADLINE_MS,
  NOP_INTERVAL_MS,
  SESSION_WRITE_BYTES_MAX,
} from '../../lib/base/limits.js';
import { decodeNopIn } from '../../lib/iscsi/wire/nop.js';
import { Opcode, RESERVED_TAG } from '../../lib/iscsi/wire/opcodes.js';
import { decodeR2t } from '../../lib/iscsi/wire/r2t.js';
import { decodeScsiResponse } from '../../lib/iscsi/wire/scsi.js';
import { read10, type TargetInitiator, write10 } from '../support/target-initiator.js';
import { IQN, ManualClock, TargetRig } from '../support/target-rig.js';
import { until } from '../support/wait.js';

/** The witness: a session that must not notice anything. */
async function isFine(initiator: TargetInitiator): Promise<boolean> {
  initiator.command({ cdb: read10(0, 8), read: true, expectedBytes: 4096 });
  return (await initiator.expect(Opcode.DATA_IN)).data.length === 4096;
}

t.test('bytes that are no iSCSI', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const witness = await rig.session({}, '80ffffffffff');
  const seed = 20261126;
  const property = fc.asyncProperty(fc.uint8Array({ minLength: 48, maxLength: 4000 }), async (bytes) => {
    const i = await rig.connect();
    i.socket.write(bytes);
    await new Promise<void>((resolve) => setTimeout(resolve, 1));
    i.close();
  });
  await fc.assert(property, { seed, numRuns: 60 });
  t.ok(await isFine(witness), `seed ${seed}`);
});

t.test('PDUs that are nearly right, cut anywhere', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const witness = await rig.session({}, '80ffffffffff');
  const pdu = fc.record({
    opcode: fc.constantFrom(
      0x00,
      0x40,
      0x01,
      0x41,
      0x02,
      0x42,
      0x03,
      0x04,
      0x44,
      0x05,
      0x06,
      0x10,
      0x1c,
      0x3f,
    ),
    flags: fc.nat(255),
    ahs: fc.constantFrom(0, 0, 0, 1, 255),
    tag: fc.constantFrom(0, 1, 2, RESERVED_TAG),
    ttt: fc.constantFrom(0, 1, 2, 4096, RESERVED_TAG),
    cmdSN: fc.integer({ min: 96, max: 110 }),
    word: fc.array(fc.constantFrom(0, 1, 512, 0x28000000, 0x2a000000, 0x12000000, 0x00080000, 0xffffffff), {
      minLength: 4,
      maxLength: 4,
    }),
    data: fc.uint8Array({ maxLength: 1500 }),
  });
  const seed = 20261127;
  const property = fc.asyncProperty(
    fc.array(pdu, { minLength: 1, maxLength: 30 }),
    fc.integer({ min: 1, max: 3000 }),
    async (pdus, cut) => {
      const i = await rig.session({ ImmediateData: 'Yes', InitialR2T: 'No' }, '800000000001');
      const stream = Buffer.concat(
        pdus.map(({ opcode, flags, ahs, tag, ttt, cmdSN, word, data }) => {
          const bhs = Buffer.alloc(48 + ahs * 4);
          bhs[0] = opcode;
          // A cold reset would end the witness too, and rightly.
          bhs[1] = (opcode & 0x3f) === Opcode.TASK_MANAGEMENT_REQUEST && (flags & 0x7f) === 7 ? 0x80 : flags;
          bhs.writeUInt32BE(((ahs << 24) | data.length) >>> 0, 4);
          bhs.writeUInt32BE(tag, 16);
          bhs.writeUInt32BE(ttt, 20);
          bhs.writeUInt32BE(cmdSN, 24);
          word.forEach((value, index) => bhs.writeUInt32BE(value, 32 + 4 * index));
          return i.lay(bhs, Buffer.from(data));
        }),
      );
      for (let at = 0; at < stream.length; at += cut) i.socket.write(stream.subarray(at, at + cut));
      await i.silence(1);
      i.close();
    },
  );
  await fc.assert(property, { seed, numRuns: 150 });
  // Of a reset among them everybody is told once, and rightly (SAM-5 6.3.3).
  witness.command({ cdb: Buffer.alloc(16) });
  await witness.expect(Opcode.SCSI_RESPONSE);
  t.ok(await isFine(witness), `seed ${seed}`);
  await until('there is one session', () => rig.registry.list().length === 1);
  t.match(rig.registry.list(), [{ isid: '80ffffffffff', inFlight: 0 }], 'nothing is left of them');
});

t.test('a data segment longer than we declared', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session();
  const bhs = Buffer.alloc(48);
  bhs.writeUInt32BE(262145, 4);
  i.send(bhs);
  t.ok(await i.closes(), 'is found before a byte of it is buffered');
  const early = await rig.connect();
  early.send(early.loginHeader({ dataSegmentLength: 8193 }));
  t.ok(await early.closes(), 'and 8 KiB hold before the login is over');
});

t.test('a refused header is returned as far as the initiator takes it (RFC 7143 13.12)', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session({ MaxRecvDataSegmentLength: '512' });
  for (const [ahsBytes, returnedBytes] of [
    [1020, 512],
    [8, 56],
  ] as const) {
    const bhs = Buffer.alloc(48 + ahsBytes);
    bhs[0] = 0x1c;
    bhs[4] = ahsBytes / 4;
    i.send(bhs);
    const { data } = await i.expect(Opcode.REJECT);
    t.same(data, bhs.subarray(0, returnedBytes), `${ahsBytes} bytes of AHS`);
  }
});

t.test('write data is bounded, and everybody’s turn comes', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session({ ImmediateData: 'No', InitialR2T: 'Yes', MaxBurstLength: '1048576' });
  const blocks = 16384;
  const commands = 20;
  for (let n = 0; n < commands; n++) {
    i.command({ cdb: write10(0, blocks), write: true, expectedBytes: blocks * 512 });
  }
  const asked: ReturnType<typeof decodeR2t>[] = [];
  const room = SESSION_WRITE_BYTES_MAX / (blocks * 512);
  for (let n = 0; n < room; n++) asked.push(decodeR2t((await i.expect(Opcode.R2T)).bhs));
  t.ok(await i.silence(), `only ${room} commands of 8 MiB are asked for data at once`);
  const megabyte = Buffer.alloc(1048576, 1);
  let done = 0;
  while (done < commands) {
    const r2t = asked.shift();
    if (r2t !== undefined) {
      const { initiatorTaskTag: tag, targetTransferTag, bufferOffset } = r2t;
      for (let part = 0; part < 4; part++) {
        const data = megabyte.subarray(0, 262144);
        const offset = bufferOffset + part * 262144;
        i.dataOut({ tag, targetTransferTag, offset, dataSN: part, data, final: part === 3 });
      }
    }
    const received = await i.next();
    if (received?.opcode === Opcode.R2T) asked.push(decodeR2t(received.bhs));
    else if (received?.opcode === Opcode.SCSI_RESPONSE) {
      done += 1;
      if (decodeScsiResponse(received.bhs).status !== 0) t.fail('a write failed');
    } else if (received?.opcode !== Opcode.NOP_IN) throw new Error('something else came');
  }
  t.equal(rig.device.ram.counts.write, commands);
});

t.test('commands whose first bursts alone spend the budget still end', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session({ ImmediateData: 'Yes', InitialR2T: 'No', FirstBurstLength: '262144' });
  const whole = 8 * 1024 * 1024;
  const burst = Buffer.alloc(262144, 1);
  const room = SESSION_WRITE_BYTES_MAX / whole;
  const { bhs } = i.commandHeader({ cdb: write10(0, 16384), write: true, expectedBytes: whole, data: burst });
  for (let n = 0; n < COMMAND_WINDOW; n++) {
    const copy = Buffer.from(bhs);
    copy.writeUInt32BE(1000 + n, 16);
    copy.writeUInt32BE((100 + n) >>> 0, 24);
    i.send(copy, burst);
  }
  let ended = 0;
  let late = 0;
  while (late === 0) {
    const received = await i.next();
    if (received?.opcode === Opcode.SCSI_RESPONSE) ended += 1;
    if (received?.opcode !== Opcode.R2T) continue;
    const {
      initiatorTaskTag: tag,
      targetTransferTag,
      bufferOffset,
      desiredDataTransferLength,
    } = decodeR2t(received.bhs);
    if (tag >= 1000 + room) late = tag;
    else {
      for (let sent = 0; sent < desiredDataTransferLength; sent += burst.length) {
        const part = burst.subarray(0, Math.min(burst.length, desiredDataTransferLength - sent));
        const final = sent + part.length === desiredDataTransferLength;
        const dataSN = sent / burst.length;
        i.dataOut({ tag, targetTransferTag, offset: bufferOffset + sent, dataSN, data: part, final });
      }
    }
  }
  t.equal(ended, room, 'those that had their memory went first');
  t.equal(late, 1000 + room, 'then one that did not gets it, in its turn');
});

t.test('I11: of a command that is early no endless data is kept', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const i = await rig.session({ InitialR2T: 'No', FirstBurstLength: '16384' });
  const tag = i.command({ cdb: write10(0, 8), write: true, expectedBytes: 4096, final: false, cmdSN: 101 });
  for (let dataSN = 0; dataSN < 150; dataSN++)
    i.dataOut({ tag, dataSN, data: Buffer.alloc(0), final: false });
  t.ok(await i.closes());
  await until('nothing is held', () => rig.memory.heldBytes === 0);
});

t.test('silence', async (t) => {
  const clock = new ManualClock();
  const rig = await TargetRig.start(clock);
  t.teardown(() => rig.stop());

  const mute = await rig.connect();
  await mute.silence(20);
  clock.move(LOGIN_DEADLINE_MS - 1);
  t.ok(await mute.silence(20));
  clock.move(1);
  t.ok(await mute.closes(), 'without a login there is an end');

  const i = await rig.session();
  clock.move(NOP_INTERVAL_MS);
  const ping = decodeNopIn((await i.expect(Opcode.NOP_IN)).bhs);
  t.match(ping, { initiatorTaskTag: RESERVED_TAG, statSN: i.expStatSN }, 'a ping of ours takes no StatSN');
  t.not(ping.targetTransferTag, RESERVED_TAG);
  i.ping(Buffer.alloc(0), { tag: RESERVED_TAG });
  await i.silence(20);
  clock.move(NOP_DEADLINE_MS);
  t.ok(await i.silence(20), 'an answer keeps it');
  clock.move(NOP_INTERVAL_MS);
  await i.expect(Opcode.NOP_IN);
  clock.move(NOP_DEADLINE_MS);
  t.ok(await i.closes(), 'no answer ends it');
  t.same(rig.registry.list(), []);

  const loader = await rig.session();
  clock.move(NOP_INTERVAL_MS);
  await loader.expect(Opcode.NOP_IN);
  for (let minutes = 0; minutes < 10; minutes++) clock.move(60_000);
  t.ok(await loader.silence(20), 'who knows no NOP and wants nothing stays, and is not asked again');
  rig.device.holding = true;
  loader.command({ cdb: read10(0, 1), read: true, expectedBytes: 512 });
  await until('the device holds it', () => rig.device.held.length === 1);
  for (let looks = 0; looks < 3; looks++) clock.move(NOP_INTERVAL_MS);
  t.ok(await loader.closes(), 'not while it waits for an answer');
  rig.device.holding = false;
  rig.device.release();
  const again = await rig.session();
  t.ok(await isFine(again));
  t.equal((await rig.registry.fence({ iqn: IQN, initiatorName: 'iqn.x', isid: '0' })).fenced, 0);
});
