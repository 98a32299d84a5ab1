/** Digests in full feature phase (RFC 7143 7.8): any flipped bit is found, by either end, and does no harm. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { Initiator } from '../../lib/iscsi/initiator/initiator.js';
import { encodeDataOut } from '../../lib/iscsi/wire/data-out.js';
import {
  Opcode,
  RejectReason,
  RESERVED_TAG,
  TaskManagementFunction,
  TaskManagementResponseCode,
} from '../../lib/iscsi/wire/opcodes.js';
import { decodeR2t, type R2tPdu } from '../../lib/iscsi/wire/r2t.js';
import { decodeReject } from '../../lib/iscsi/wire/reject.js';
import { decodeScsiResponse } from '../../lib/iscsi/wire/scsi.js';
import { ScsiStatus } from '../../lib/scsi/task.js';
import { tmf } from '../support/target-answers.js';
import { type TargetInitiator, write10 } from '../support/target-initiator.js';
import { IQN, TargetRig } from '../support/target-rig.js';

const BLOCK = 512;
const HEADER_BYTES = 48 + 4;
const NOTHING = Buffer.alloc(0);
const DIGESTS = { HeaderDigest: 'CRC32C', DataDigest: 'CRC32C' };
/** Three bytes of padding come with it. */
const DATA = Buffer.alloc(2 * BLOCK + 1, 'data of a write ');

async function startRig(t: Test): Promise<TargetRig> {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  return rig;
}

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
  return copy;
}

async function rejected(initiator: TargetInitiator): Promise<number> {
  return decodeReject((await initiator.expect(Opcode.REJECT)).bhs).reason;
}

/** What the answer to a command says: "status sense". */
async function outcome(initiator: TargetInitiator): Promise<string> {
  const { bhs, data } = await initiator.expect(Opcode.SCSI_RESPONSE);
  return `${decodeScsiResponse(bhs).status} ${data.subarray(4, 5).toString('hex')}${data.subarray(14, 16).toString('hex')}`;
}

/** ABORTED COMMAND, CRC error detected (11.4.7.2). */
const CRC_ERROR = `${ScsiStatus.CHECK_CONDITION} 0b4705`;

t.test('any bit of a header, or of its digest: the connection ends, nothing is done', async (t) => {
  const rig = await startRig(t);
  for (let bit = 0; bit < HEADER_BYTES * 8; bit += 9) {
    const initiator = await rig.session(DIGESTS);
    const { bhs } = initiator.commandHeader({ cdb: write10(0, 1), write: true, expectedBytes: BLOCK });
    // What follows is there for a TotalAHSLength that has become longer.
    initiator.socket.write(Buffer.concat([flipped(initiator.lay(bhs, NOTHING), bit), Buffer.alloc(1024)]));
    t.ok(await initiator.closes(), `bit ${bit}`);
  }
  t.equal(rig.device.ram.counts.write, 0);
});

t.test('any bit of data, padding or their digest: the write fails, nothing is written', async (t) => {
  const rig = await startRig(t);
  const initiator = await rig.session({ ...DIGESTS, ImmediateData: 'Yes', InitialR2T: 'No' });
  const laid = HEADER_BYTES + 1028 + 4;
  for (let bit = HEADER_BYTES * 8; bit < laid * 8; bit += 257) {
    const cdb = write10(0, 4);
    const tag = initiator.command({
      cdb,
      write: true,
      final: false,
      expectedBytes: 4 * BLOCK,
      data: NOTHING,
    });
    const bytes = layDataOut(initiator, tag);
    t.equal(bytes.length, laid);
    initiator.socket.write(flipped(bytes, bit));
    t.equal(await rejected(initiator), RejectReason.DATA_DIGEST_ERROR, `bit ${bit}`);
    t.equal(await outcome(initiator), CRC_ERROR, `bit ${bit}`);
  }
  t.equal(rig.device.ram.counts.write, 0);
});

/** One unsolicited Data-Out of DATA, as it is sent. */
function layDataOut(initiator: TargetInitiator, initiatorTaskTag: number): Buffer {
  const bhs = Buffer.alloc(48);
  encodeDataOut(
    {
      ...{ final: true, lunHigh: 0, lunLow: 0, totalAHSLength: 0, dataSegmentLength: DATA.length },
      ...{ initiatorTaskTag, targetTransferTag: RESERVED_TAG, expStatSN: 0, dataSN: 0, bufferOffset: 0 },
    },
    bhs,
  );
  return initiator.lay(bhs, DATA);
}

t.test('a command that fails so is answered when all that was asked for has come', async (t) => {
  const rig = await startRig(t);
  const keys = { ...DIGESTS, ImmediateData: 'No', InitialR2T: 'Yes', MaxBurstLength: '512' };
  const initiator = await rig.session({ ...keys, MaxOutstandingR2T: '3' });
  const tag = initiator.command({ cdb: write10(0, 3), write: true, expectedBytes: 3 * BLOCK });
  const asked: R2tPdu[] = [];
  for (let n = 0; n < 3; n++) asked.push(decodeR2t((await initiator.expect(Opcode.R2T)).bhs));
  const send = (n: number, spoil?: 'data'): void => {
    const { targetTransferTag = 0, bufferOffset: offset = 0 } = asked[n] ?? {};
    initiator.dataOut({ tag, targetTransferTag, offset, data: DATA.subarray(0, BLOCK) }, spoil);
  };
  send(0, 'data');
  t.equal(await rejected(initiator), RejectReason.DATA_DIGEST_ERROR);
  send(1);
  t.ok(await initiator.silence(), 'two of three have come');
  send(2);
  t.equal(await outcome(initiator), CRC_ERROR);
  t.equal(rig.device.ram.counts.write, 0);
});

t.test('what takes a CmdSN leaves it due, and may be sent again', async (t) => {
  const rig = await startRig(t);
  const initiator = await rig.session({ ...DIGESTS, ImmediateData: 'Yes' });
  const bhs = initiator.commandHeader({ cdb: write10(0, 2), write: true, data: DATA.subarray(0, 1024) }).bhs;
  initiator.send(bhs, DATA.subarray(0, 1024), 'data');
  const reject = decodeReject((await initiator.expect(Opcode.REJECT)).bhs);
  t.match(reject, { reason: RejectReason.DATA_DIGEST_ERROR, expCmdSN: initiator.cmdSN - 1 });
  initiator.ping(DATA, { immediate: false });
  t.ok(await initiator.silence(), 'what comes after it waits');
  initiator.send(bhs, DATA.subarray(0, 1024));
  t.equal(await outcome(initiator), `${ScsiStatus.GOOD} `);
  t.same((await initiator.expect(Opcode.NOP_IN)).data, DATA);
});

t.test('a function that ends all tasks ends what is due after a wrong digest', async (t) => {
  const rig = await startRig(t);
  const initiator = await rig.session({ ...DIGESTS, ImmediateData: 'Yes' });
  const data = DATA.subarray(0, BLOCK);
  const { bhs } = initiator.commandHeader({ cdb: write10(0, 1), write: true, data });
  initiator.send(bhs, data, 'data');
  t.equal(await rejected(initiator), RejectReason.DATA_DIGEST_ERROR);
  initiator.taskManagement(TaskManagementFunction.ABORT_TASK_SET);
  t.equal((await tmf(initiator)).response, TaskManagementResponseCode.COMPLETE);
  initiator.send(bhs, data);
  initiator.ping(DATA, { immediate: false });
  t.same((await initiator.expect(Opcode.NOP_IN)).data, DATA, 'nothing is waited for');
  t.equal(rig.device.ram.counts.write, 0, 'nor written after the answer');
});

/** Between an initiator and the rig; flips one bit of what goes either way. */
class FlippingProxy {
  port = 0;
  private readonly due = { toTarget: -1, toInitiator: -1 };
  private readonly sockets: Socket[] = [];
  private readonly server = createServer((socket) => this.accept(socket));

  constructor(private readonly targetPort: number) {}

  async start(t: Test): Promise<void> {
    t.teardown(() => this.stop());
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.port = (this.server.address() as AddressInfo).port;
  }

  /** @param at which of the bytes that come from now on */
  flip(way: 'toTarget' | 'toInitiator', at: number): void {
    this.due[way] = at;
  }

  private accept(near: Socket): void {
    const far = connect(this.targetPort, '127.0.0.1');
    this.sockets.push(near, far);
    this.pass(near, far, 'toTarget');
    this.pass(far, near, 'toInitiator');
  }

  private pass(from: Socket, to: Socket, way: 'toTarget' | 'toInitiator'): void {
    from.on('data', (chunk) => {
      const at = this.due[way];
      const hits = at >= 0 && at < chunk.length;
      if (at >= 0) this.due[way] = hits ? -1 : at - chunk.length;
      to.write(hits ? flipped(chunk, at * 8 + 3) : chunk);
    });
    from.on('close', () => to.destroy());
    from.on('error', () => to.destroy());
  }

  private stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    return new Promise((resolve) => void this.server.close(() => resolve()));
  }
}

t.test('our initiator and a wire that flips bits: nothing wrong is read or written', async (t) => {
  const rig = await startRig(t);
  const proxy = new FlippingProxy(rig.port);
  await proxy.start(t);
  const initiator = await Initiator.connect(`iscsi://127.0.0.1:${proxy.port}/${IQN}/0`, {
    offer: { headerDigest: ['CRC32C'], dataDigest: ['CRC32C'], immediateData: false, initialR2T: true },
  });
  t.teardown(() => initiator.close());
  const before = Buffer.alloc(8 * BLOCK, 'what was there before');
  const after = Buffer.alloc(8 * BLOCK, 'what comes after');
  await initiator.write(0, before);

  proxy.flip('toInitiator', HEADER_BYTES + 700);
  t.ok((await initiator.read(0, 8)).equals(before), 'Data-In is read again');
  t.match(initiator.recoveries.at(-1)?.reason, /data digest error: DATA_IN/);
  proxy.flip('toInitiator', 20);
  t.ok((await initiator.read(0, 8)).equals(before), 'and so where its header was hit');
  t.match(initiator.recoveries.at(-1)?.reason, /header digest error/);

  proxy.flip('toTarget', HEADER_BYTES + 8);
  await initiator.write(0, before);
  t.ok((await initiator.read(0, 8)).equals(before));
  t.equal(initiator.recoveries.length, 3, 'the target ends the session over the header of a Data-Out');
  proxy.flip('toTarget', 2 * HEADER_BYTES + 700);
  await initiator.write(0, after);
  t.match(initiator.recoveries.at(-1)?.reason, /the target rejected DATA_OUT .*DATA_DIGEST_ERROR/);
  t.ok((await initiator.read(0, 8)).equals(after), 'a write whose data was hit is written again, whole');
  t.equal(initiator.recoveries.length, 4);
  t.strictSame(initiator.violations, []);
});
