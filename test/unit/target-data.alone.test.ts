/** Data in both directions, PDU by PDU: sequences, R2Ts, digests, residual counts, and what must not be accepted. */
import fc from 'fast-check';
import { promiseHooks } from 'node:v8';
import t from 'tap';
import { IoError } from '../../lib/block/device.js';
import { ScsiStatus } from '../../lib/scsi/task.js';
import { decodeDataIn } from '../../lib/iscsi/wire/data-in.js';
import { Opcode, RejectReason } from '../../lib/iscsi/wire/opcodes.js';
import { decodeR2t, type R2tPdu } from '../../lib/iscsi/wire/r2t.js';
import { decodeReject } from '../../lib/iscsi/wire/reject.js';
import { decodeScsiResponse, type ScsiResponsePdu } from '../../lib/iscsi/wire/scsi.js';
import { read10, type TargetInitiator, write10 } from '../support/target-initiator.js';
import { ManualClock, TargetRig } from '../support/target-rig.js';
import { sleepMs, until } from '../support/wait.js';

const BLOCK = 512;

/** Bytes that are nowhere the same. */
function pattern(lengthBytes: number, seed = 7): Buffer {
  const bytes = Buffer.alloc(lengthBytes);
  for (let i = 0, x = seed; i < lengthBytes; i++)
    bytes[i] = (x = (Math.imul(x, 1103515245) + 12345) >>> 0) >>> 16;
  return bytes;
}

async function response(initiator: TargetInitiator): Promise<ScsiResponsePdu & { sense: string }> {
  const { bhs, data } = await initiator.expect(Opcode.SCSI_RESPONSE);
  const sense =
    data.length === 0 ? '' : Buffer.of(data[4] ?? 0, data[14] ?? 0, data[15] ?? 0).toString('hex');
  return { ...decodeScsiResponse(bhs), sense };
}

async function r2t(initiator: TargetInitiator): Promise<R2tPdu> {
  return decodeR2t((await initiator.expect(Opcode.R2T)).bhs);
}

/** Reads with Data-In PDUs until one carries the status. */
async function readAll(
  initiator: TargetInitiator,
): Promise<{ data: Buffer; pdus: ReturnType<typeof decodeDataIn>[] }> {
  const parts: Buffer[] = [];
  const pdus: ReturnType<typeof decodeDataIn>[] = [];
  for (;;) {
    const { bhs, data } = await initiator.expect(Opcode.DATA_IN);
    const pdu = decodeDataIn(bhs);
    pdus.push(pdu);
    parts.push(data);
    if (pdu.hasStatus) return { data: Buffer.concat(parts), pdus };
  }
}

t.test('no command makes a promise', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.session({ ImmediateData: 'Yes', InitialR2T: 'Yes' });
  const BATCH = 20; // within the window
  const BYTES = 8 * BLOCK;
  const data = pattern(BYTES);
  const command = (kind: 'read' | 'write', lba: number): void => {
    if (kind === 'read') initiator.command({ cdb: read10(lba, 8), read: true, expectedBytes: BYTES });
    else initiator.command({ cdb: write10(lba, 8), write: true, expectedBytes: BYTES, data });
  };
  for (const [kind, answerBytes] of [
    ['read', 48 + BYTES],
    ['write', 48],
  ] as const) {
    let commands = 0;
    let promises = 0;
    await new Promise<void>((resolve) => {
      let awaited = 0;
      const sendBatch = (): void => {
        awaited = BATCH * answerBytes;
        for (let i = 0; i < BATCH; i++) command(kind, 8 * (commands++ % 1000));
      };
      let stopCounting: () => void;
      const onData = (chunk: Buffer): void => {
        awaited -= chunk.length;
        if (awaited > 0) return;
        if (commands < 1000) return sendBatch();
        stopCounting();
        initiator.socket.off('data', onData);
        resolve();
      };
      initiator.socket.on('data', onData);
      // Not in this turn: the await below makes promises of its own.
      setImmediate(() => {
        stopCounting = promiseHooks.onInit(() => (promises += 1)) as () => void;
        sendBatch();
      });
    });
    t.equal(promises, 0, `${commands} commands of kind ${kind}`);
  }
  t.match(rig.device.ram.counts, { read: 1000, write: 1000 }, 'all of them reached the device');
});

t.test('a small read is one PDU with its status', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.session();
  const data = pattern(8 * BLOCK);
  data.copy(rig.device.ram.bytes, 3 * BLOCK);
  const tag = initiator.command({ cdb: read10(3, 8), read: true, expectedBytes: 8 * BLOCK });
  const { data: got, pdus } = await readAll(initiator);
  t.ok(got.equals(data));
  t.equal(pdus.length, 1);
  t.match(pdus[0], {
    final: true,
    hasStatus: true,
    status: ScsiStatus.GOOD,
    initiatorTaskTag: tag,
    targetTransferTag: 0xffffffff,
    statSN: initiator.expStatSN,
    expCmdSN: 101,
    dataSN: 0,
    bufferOffset: 0,
    residualCount: 0,
  });
});

t.test('any read is cut by MaxRecvDataSegmentLength, MaxBurstLength and what was expected', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  pattern(4 * 1024 * 1024).copy(rig.device.ram.bytes);
  const cases = fc.record({
    segment: fc.integer({ min: 512, max: 300_000 }),
    burst: fc.integer({ min: 512, max: 300_000 }),
    blocks: fc.integer({ min: 1, max: 5000 }),
    expected: fc.option(fc.integer({ min: 1, max: 2_000_000 }), { nil: undefined }),
    digests: fc.boolean(),
  });
  const seed = 20261123;
  const property = fc.asyncProperty(cases, async ({ segment, burst, blocks, expected, digests }) => {
    const initiator = await rig.session({
      MaxRecvDataSegmentLength: String(segment),
      MaxBurstLength: String(burst),
      HeaderDigest: digests ? 'CRC32C' : 'None',
      DataDigest: digests ? 'CRC32C' : 'None',
    });
    const wanted = blocks * BLOCK;
    const expectedBytes = expected ?? wanted;
    initiator.command({ cdb: read10(0, blocks), read: true, expectedBytes });
    const { data, pdus } = await readAll(initiator);
    const sent = Math.min(wanted, expectedBytes);
    t.ok(data.equals(rig.device.ram.bytes.subarray(0, sent)), `${sent} bytes, seed ${seed}`);
    let offset = 0;
    pdus.forEach((pdu, index) => {
      const end = offset + pdu.dataSegmentLength;
      if (pdu.dataSegmentLength > segment) t.fail('longer than MaxRecvDataSegmentLength');
      if (pdu.dataSN !== index || pdu.bufferOffset !== offset) t.fail('out of order');
      if (Math.floor(offset / burst) !== Math.floor((end - 1) / burst)) t.fail('longer than MaxBurstLength');
      if (pdu.final !== (end === sent || end % burst === 0)) t.fail('F is not where the sequence ends');
      offset = end;
    });
    const last = pdus[pdus.length - 1];
    t.equal(last?.overflow, wanted > expectedBytes);
    t.equal(last?.underflow, wanted < expectedBytes);
    t.equal(last?.residualCount, Math.abs(wanted - expectedBytes));
    initiator.close();
  });
  await fc.assert(property, { seed, numRuns: 40 });
});

t.test(
  'a read at the device is cut by the MaxRecvDataSegmentLength that was declared meanwhile',
  async (t) => {
    const rig = await TargetRig.start();
    t.teardown(() => rig.stop());
    const { device } = rig;
    pattern(1024 * 1024).copy(device.ram.bytes);
    for (const digest of ['None', 'CRC32C']) {
      const keys = { MaxRecvDataSegmentLength: '65536', HeaderDigest: digest, DataDigest: digest };
      const initiator = await rig.session(keys);
      device.holding = true;
      const lengths = [32 * BLOCK, 128 * BLOCK - 3, 256 * BLOCK]; // among others, alone, and in two PDUs
      for (const expectedBytes of lengths) {
        const blocks = Math.ceil(expectedBytes / BLOCK);
        initiator.command({ cdb: read10(blocks, blocks), read: true, expectedBytes });
      }
      await until('the device holds them', () => device.held.length === lengths.length);
      initiator.text([{ key: 'MaxRecvDataSegmentLength', value: '1000' }]);
      await initiator.expect(Opcode.TEXT_RESPONSE);
      device.release();
      for (const length of lengths) {
        const { data, pdus } = await readAll(initiator);
        const from = Math.ceil(length / BLOCK) * BLOCK;
        t.ok(
          data.equals(device.ram.bytes.subarray(from, from + length)),
          `${length} bytes, digests ${digest}`,
        );
        t.ok(pdus.every((pdu, n) => pdu.dataSegmentLength <= 1000 && pdu.dataSN === n));
      }
      await until('nothing is held', () => rig.memory.heldBytes === 0);
      initiator.close();
    }
  },
);

t.test('a write with immediate data', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.session({ ImmediateData: 'Yes', FirstBurstLength: '262144' });
  for (const blocks of [1, 8, 128, 512]) {
    const data = pattern(blocks * BLOCK, blocks);
    initiator.command({ cdb: write10(blocks, blocks), write: true, data });
    t.match(await response(initiator), { status: ScsiStatus.GOOD, residualCount: 0, expDataSN: 0 });
    const from = blocks * BLOCK;
    t.ok(rig.device.ram.bytes.subarray(from, from + data.length).equals(data), `${blocks} blocks`);
  }
  t.match(rig.registry.list(), [{ commands: 4, bytesWritten: (1 + 8 + 128 + 512) * BLOCK, inFlight: 0 }]);
});

t.test('any write arrives whole, by whatever way it is sent', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const cases = fc.record({
    firstBurst: fc.integer({ min: 512, max: 100_000 }),
    burst: fc.integer({ min: 512, max: 150_000 }),
    outstanding: fc.integer({ min: 1, max: 4 }),
    segment: fc.integer({ min: 512, max: 60_000 }),
    blocks: fc.integer({ min: 1, max: 1500 }),
    immediate: fc.integer({ min: 0, max: 60_000 }),
    unsolicited: fc.boolean(),
    extra: fc.integer({ min: 0, max: 3000 }),
    digests: fc.boolean(),
  });
  const seed = 20261124;
  const property = fc.asyncProperty(cases, async (how) => {
    const initiator = await rig.session({
      FirstBurstLength: String(Math.min(how.firstBurst, how.burst)),
      MaxBurstLength: String(how.burst),
      MaxOutstandingR2T: String(how.outstanding),
      InitialR2T: how.unsolicited ? 'No' : 'Yes',
      ImmediateData: 'Yes',
      HeaderDigest: how.digests ? 'CRC32C' : 'None',
      DataDigest: how.digests ? 'CRC32C' : 'None',
    });
    const wanted = how.blocks * BLOCK;
    const data = pattern(wanted + how.extra, how.blocks);
    const firstBurst = Math.min(how.firstBurst, how.burst, data.length);
    let sent = Math.min(how.immediate, firstBurst);
    const tag = initiator.command({
      cdb: write10(0, how.blocks),
      write: true,
      expectedBytes: data.length,
      data: data.subarray(0, sent),
      final: !(how.unsolicited && sent < firstBurst),
    });
    const sendUpTo = (end: number, targetTransferTag?: number): void => {
      for (let dataSN = 0; sent < end; dataSN++) {
        const next = Math.min(sent + how.segment, end);
        const ttt = targetTransferTag === undefined ? {} : { targetTransferTag };
        const part = data.subarray(sent, next);
        initiator.dataOut({ tag, dataSN, offset: sent, data: part, final: next === end, ...ttt });
        sent = next;
      }
    };
    if (how.unsolicited && sent < firstBurst) sendUpTo(firstBurst);
    for (let r2tSN = 0; sent < wanted; r2tSN++) {
      const asked = await r2t(initiator);
      t.match(asked, { initiatorTaskTag: tag, r2tSN, bufferOffset: sent, statSN: initiator.expStatSN });
      if (asked.desiredDataTransferLength > how.burst) t.fail('longer than MaxBurstLength');
      sendUpTo(sent + asked.desiredDataTransferLength, asked.targetTransferTag);
    }
    const answer = await response(initiator);
    t.equal(answer.status, ScsiStatus.GOOD);
    t.equal(answer.statSN, initiator.expStatSN, 'R2Ts take no StatSN');
    t.equal(answer.residualCount, how.extra);
    t.equal(answer.underflow, how.extra > 0);
    t.ok(rig.device.ram.bytes.subarray(0, wanted).equals(data.subarray(0, wanted)), `seed ${seed}`);
    initiator.close();
  });
  await fc.assert(property, { seed, numRuns: 40 });
});

t.test('several R2Ts are outstanding where both sides allow it', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.session({
    MaxOutstandingR2T: '2',
    MaxBurstLength: '1024',
    ImmediateData: 'No',
  });
  const data = pattern(8 * BLOCK);
  const tag = initiator.command({ cdb: write10(0, 8), write: true, expectedBytes: data.length });
  const first = await r2t(initiator);
  const second = await r2t(initiator);
  t.ok(await initiator.silence(), 'and no more');
  t.same([first.bufferOffset, second.bufferOffset], [0, 1024]);
  t.not(first.targetTransferTag, second.targetTransferTag);
  for (const asked of [first, second]) {
    const from = asked.bufferOffset;
    const part = data.subarray(from, from + asked.desiredDataTransferLength);
    initiator.dataOut({ tag, targetTransferTag: asked.targetTransferTag, offset: from, data: part });
  }
  t.equal((await r2t(initiator)).bufferOffset, 2048);
});

t.test('data that is not as it should be fails the command, and only it', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const data = pattern(4 * BLOCK);
  const solicited = async (
    initiator: TargetInitiator,
  ): Promise<{ tag: number; targetTransferTag: number }> => {
    const tag = initiator.command({ cdb: write10(0, 4), write: true, expectedBytes: data.length });
    return { tag, targetTransferTag: (await r2t(initiator)).targetTransferTag };
  };
  const crc = '0b4705';
  const incorrectAmount = '0b0c0d';
  const unexpected = '0b0c0c';
  const cases: [string, string, (initiator: TargetInitiator) => Promise<void>][] = [
    ['a DataSN that skips', crc, async (i) => i.dataOut({ ...(await solicited(i)), data, dataSN: 1 })],
    [
      'DataSN 0 twice',
      crc,
      async (i) => {
        const tags = await solicited(i);
        i.dataOut({ ...tags, data: data.subarray(0, BLOCK), final: false });
        i.dataOut({ ...tags, data: data.subarray(BLOCK), offset: BLOCK, dataSN: 0 });
      },
    ],
    [
      'an offset that leaves a gap',
      crc,
      async (i) => i.dataOut({ ...(await solicited(i)), data: data.subarray(BLOCK), offset: BLOCK }),
    ],
    [
      'less than was asked for',
      incorrectAmount,
      async (i) => i.dataOut({ ...(await solicited(i)), data: data.subarray(0, BLOCK) }),
    ],
    [
      'more than was asked for',
      incorrectAmount,
      async (i) => i.dataOut({ ...(await solicited(i)), data: pattern(5 * BLOCK) }),
    ],
    [
      'unsolicited data where InitialR2T=Yes',
      unexpected,
      async (i) => {
        const tag = i.command({ cdb: write10(0, 4), write: true, expectedBytes: data.length, final: false });
        i.dataOut({ tag, data });
        await Promise.resolve();
      },
    ],
    [
      'unsolicited data after a command that announced none',
      unexpected,
      async (i) => {
        const tags = await solicited(i);
        i.dataOut({ tag: tags.tag, data });
        i.dataOut({ ...tags, data });
      },
    ],
    [
      'immediate data where ImmediateData=No',
      unexpected,
      async (i) => {
        i.command({ cdb: write10(0, 4), write: true, data });
        await Promise.resolve();
      },
    ],
  ];
  for (const [what, sense, act] of cases) {
    const initiator = await rig.session({ ImmediateData: 'No', InitialR2T: 'Yes', MaxOutstandingR2T: '1' });
    await act(initiator);
    t.match(await response(initiator), { status: ScsiStatus.CHECK_CONDITION, sense }, what);
    initiator.command({ cdb: Buffer.alloc(16) });
    t.match(await response(initiator), { status: ScsiStatus.GOOD }, 'the session goes on');
    initiator.close();
  }
  t.ok(rig.device.ram.bytes.subarray(0, 8 * BLOCK).equals(Buffer.alloc(8 * BLOCK)), 'nothing was written');
  t.same(rig.device.ram.counts.write, 0);
});

t.test('unsolicited data of the wrong amount fails its command (RFC 7143 11.4.7.2)', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const data = pattern(4 * BLOCK);
  const bounds = { InitialR2T: 'No', ImmediateData: 'Yes', FirstBurstLength: '1024', MaxBurstLength: '4096' };
  const initiator = await rig.session(bounds);
  const begin = (blocks: number, final: boolean): number => {
    const expectedBytes = blocks * BLOCK;
    const first = data.subarray(0, BLOCK);
    return initiator.command({ cdb: write10(0, blocks), write: true, expectedBytes, data: first, final });
  };
  const incorrectAmount = { status: ScsiStatus.CHECK_CONDITION, sense: '0b0c0d' };
  for (const end of [BLOCK, BLOCK + 256, 3 * BLOCK]) {
    initiator.dataOut({ tag: begin(4, false), offset: BLOCK, data: data.subarray(BLOCK, end) });
    t.match(await response(initiator), incorrectAmount, `up to ${end} of FirstBurstLength 1024`);
  }
  initiator.dataOut({ tag: begin(2, false), offset: BLOCK, data: data.subarray(BLOCK, 3 * BLOCK) });
  t.match(await response(initiator), incorrectAmount, 'more than was announced');
  t.equal(rig.device.ram.counts.write, 0);

  // What is as long as all of it or less may end at will, and so may immediate data.
  for (const isImmediate of [false, true]) {
    const blocks = isImmediate ? 4 : 2;
    const tag = begin(blocks, isImmediate);
    if (!isImmediate) initiator.dataOut({ tag, offset: BLOCK, data: data.subarray(BLOCK, BLOCK + 256) });
    const { targetTransferTag, bufferOffset } = await r2t(initiator);
    const rest = data.subarray(bufferOffset, blocks * BLOCK);
    initiator.dataOut({ tag, targetTransferTag, offset: bufferOffset, data: rest });
    t.match(await response(initiator), { status: ScsiStatus.GOOD });
    t.ok(rig.device.ram.bytes.subarray(0, blocks * BLOCK).equals(data.subarray(0, blocks * BLOCK)));
  }
});

t.test('a data digest error', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const keys = { HeaderDigest: 'CRC32C', DataDigest: 'CRC32C', ImmediateData: 'Yes', InitialR2T: 'Yes' };
  const initiator = await rig.session(keys);
  const data = pattern(2 * BLOCK);

  const tag = initiator.command({ cdb: write10(0, 2), write: true, expectedBytes: data.length });
  const { targetTransferTag } = await r2t(initiator);
  initiator.dataOut({ tag, targetTransferTag, data }, 'data');
  const rejected = await initiator.expect(Opcode.REJECT);
  t.equal(decodeReject(rejected.bhs).reason, RejectReason.DATA_DIGEST_ERROR);
  t.equal(rejected.data.length, 48);
  t.equal(rejected.data.readUInt32BE(16), tag, 'the offending header comes back');
  t.match(await response(initiator), { status: ScsiStatus.CHECK_CONDITION, sense: '0b4705' });

  const { bhs } = initiator.commandHeader({ cdb: write10(0, 2), write: true, data });
  initiator.send(bhs, data, 'data');
  const second = decodeReject((await initiator.expect(Opcode.REJECT)).bhs);
  t.equal(second.reason, RejectReason.DATA_DIGEST_ERROR);
  t.equal(second.expCmdSN, (initiator.cmdSN - 1) >>> 0, 'the command counts as not received');
  initiator.send(bhs, data);
  t.match(await response(initiator), { status: ScsiStatus.GOOD }, 'and may be sent again');
  t.ok(rig.device.ram.bytes.subarray(0, data.length).equals(data));

  initiator.send(initiator.commandHeader({ cdb: Buffer.alloc(16) }).bhs, undefined, 'header');
  t.ok(await initiator.closes(), 'a header digest error ends the connection');
});

t.test('residual counts of writes (RFC 7143 11.4.5)', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.session({ ImmediateData: 'Yes', InitialR2T: 'No' });
  const cases: [string, number, number, Partial<ScsiResponsePdu>][] = [
    ['nothing expected', 1, 0, { status: 0, overflow: true, residualCount: 512 }],
    ['more expected', 1, 1500, { status: 0, underflow: true, residualCount: 988 }],
    ['part of a block expected', 1, 200, { status: 2, overflow: true, residualCount: 312 }],
    ['one of two blocks expected', 2, 512, { status: 0, overflow: true, residualCount: 512 }],
  ];
  for (const [what, blocks, expectedBytes, wanted] of cases) {
    rig.device.ram.bytes.fill(0);
    initiator.command({ cdb: write10(0, blocks), write: true, data: Buffer.alloc(expectedBytes, 0xbb) });
    t.match(await response(initiator), wanted, what);
    const blocksWritten = Math.min(blocks, Math.floor(expectedBytes / BLOCK));
    t.equal(rig.device.ram.bytes.lastIndexOf(0xbb), blocksWritten * BLOCK - 1, 'no byte more or less');
  }
});

t.test('flags that contradict the CDB', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.session({ ImmediateData: 'Yes' });
  initiator.command({ cdb: read10(0, 1), write: true, data: Buffer.alloc(512, 1) });
  t.match(await response(initiator), { status: ScsiStatus.GOOD, overflow: true, residualCount: 512 });
  initiator.command({ cdb: write10(0, 1), read: true, expectedBytes: 512 });
  t.match(await response(initiator), { status: ScsiStatus.GOOD, overflow: true, residualCount: 512 });
  initiator.command({ cdb: read10(0, 1), read: true, write: true, expectedBytes: 512 });
  t.match(
    await response(initiator),
    { status: ScsiStatus.CHECK_CONDITION, sense: '052400' },
    'bidirectional',
  );
  initiator.command({ cdb: Buffer.alloc(16), read: true, write: true, expectedBytes: 0 });
  t.match(await response(initiator), { status: ScsiStatus.GOOD }, 'without data both bits may be set');
  t.equal(rig.device.ram.counts.write, 0);
});

t.test('an error at the device', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.session({ ImmediateData: 'Yes' });
  rig.device.failure = new IoError('medium-read', 'a test');
  initiator.command({ cdb: read10(0, 8), read: true, expectedBytes: 4096 });
  t.match(await response(initiator), { status: 2, sense: '031100', underflow: true, residualCount: 4096 });
  rig.device.failure = new IoError('no-space', 'a test');
  initiator.command({ cdb: write10(0, 1), write: true, data: Buffer.alloc(512) });
  t.match(await response(initiator), { status: 2, sense: '072707' });
});

t.test('answers of what completes later go out by themselves, in order of completion', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.session({ ImmediateData: 'Yes' });
  pattern(64 * BLOCK).copy(rig.device.ram.bytes);
  rig.device.holding = true;
  const tags = [0, 1, 2, 3].map((lba) =>
    initiator.command({ cdb: read10(lba, 1), read: true, expectedBytes: 512 }),
  );
  t.ok(await initiator.silence());
  t.match(rig.registry.list(), [{ inFlight: 4 }]);
  rig.device.held.reverse();
  rig.device.release();
  for (const [index, tag] of [...tags].reverse().entries()) {
    const { bhs, data } = await initiator.expect(Opcode.DATA_IN);
    t.match(decodeDataIn(bhs), {
      initiatorTaskTag: tag,
      hasStatus: true,
      statSN: (initiator.expStatSN + index) >>> 0,
    });
    const lba = 3 - index;
    t.ok(data.equals(rig.device.ram.bytes.subarray(lba * BLOCK, (lba + 1) * BLOCK)));
  }
});

t.test('an initiator that does not read is not read from', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.session({ MaxRecvDataSegmentLength: '262144' });
  initiator.socket.pause();
  const blocks = 2048;
  const commands = 64;
  for (let i = 0; i < commands; i++) {
    initiator.command({ cdb: read10(0, blocks), read: true, expectedBytes: blocks * BLOCK });
  }
  await new Promise((resolve) => setTimeout(resolve, 150));
  const { commands: taken } = rig.registry.list()[0] ?? { commands: -1 };
  t.ok(taken > 0 && taken < commands, `${taken} of ${commands} commands of 1 MiB were taken up`);
  initiator.socket.resume();
  for (let i = 0; i < commands; i++) t.equal((await readAll(initiator)).data.length, blocks * BLOCK);
});

t.test('who logs out and reads slowly gets all that was queued, and the Logout Response (I7)', async (t) => {
  const clock = new ManualClock();
  const rig = await TargetRig.start(clock);
  t.teardown(() => rig.stop());
  const initiator = await rig.session({ MaxRecvDataSegmentLength: '262144' });
  const { socket } = initiator;
  const blocks = 2048;
  const commands = 16;
  socket.pause();
  for (let i = 0; i < commands; i++)
    initiator.command({ cdb: read10(0, blocks), read: true, expectedBytes: blocks * BLOCK });
  initiator.logout();
  await sleepMs(100);
  for (let seconds = 0; seconds < 3; seconds++) {
    const before = socket.bytesRead;
    socket.resume();
    await until('both answers are read', () => socket.bytesRead >= before + 2 * blocks * BLOCK);
    socket.pause();
    await sleepMs(50);
    clock.move(1_000);
  }
  socket.resume();
  for (let i = 0; i < commands; i++) t.equal((await readAll(initiator)).data.length, blocks * BLOCK);
  await initiator.expect(Opcode.LOGOUT_RESPONSE);
  t.ok(await initiator.closes());
});
