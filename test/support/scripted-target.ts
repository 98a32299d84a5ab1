/**
 * A tiny iSCSI target for tests of the initiator: a RAM disk behind a socket, with hooks to redirect, drop, ask for a
 * logout, withhold answers or lie. It shares the codecs with the product and nothing of its target.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { encodeAsyncMessage } from '../../lib/iscsi/wire/async-message.js';
import { BHS_BYTES, isFinal, opcodeOf, paddedLength } from '../../lib/iscsi/wire/bhs.js';
import { encodeDataIn } from '../../lib/iscsi/wire/data-in.js';
import { decodeDataOut } from '../../lib/iscsi/wire/data-out.js';
import { dataCrc32c, headerCrc32c, writeDigest } from '../../lib/iscsi/wire/digests.js';
import { Framer, type FramerSink } from '../../lib/iscsi/wire/framer.js';
import { decodeLoginRequest, encodeLoginResponse, type LoginRequestPdu } from '../../lib/iscsi/wire/login.js';
import { decodeLogoutRequest, encodeLogoutResponse } from '../../lib/iscsi/wire/logout.js';
import { DEFAULT_PARAMETERS, type NegotiationOffer } from '../../lib/iscsi/wire/negotiation-rules.js';
import { beginNegotiation, negotiate, type NegotiationState } from '../../lib/iscsi/wire/negotiation.js';
import { encodeNopIn } from '../../lib/iscsi/wire/nop.js';
import { Opcode, RESERVED_TAG } from '../../lib/iscsi/wire/opcodes.js';
import { encodeR2t } from '../../lib/iscsi/wire/r2t.js';
import { decodeScsiCommand, encodeScsiResponse, type ScsiCommandPdu } from '../../lib/iscsi/wire/scsi.js';
import { encodeTaskManagementResponse } from '../../lib/iscsi/wire/task-management.js';
import { formatText, parseText, type TextPair } from '../../lib/iscsi/wire/text-keys.js';
import { encodeTextResponse } from '../../lib/iscsi/wire/text.js';

export const SCRIPTED_OFFER: NegotiationOffer = {
  ...DEFAULT_PARAMETERS,
  headerDigest: ['CRC32C', 'None'],
  dataDigest: ['CRC32C', 'None'],
  authMethod: ['None'],
  taskReporting: ['RFC3720'],
  initialR2T: false,
};

export interface Received {
  readonly opcode: number;
  readonly bhs: Buffer;
  readonly data: Buffer;
}

/** A write whose data is still coming. */
interface Gathering {
  readonly command: ScsiCommandPdu;
  readonly data: Buffer;
  filled: number;
}

export class ScriptedTarget {
  readonly blockBytes = 512;
  readonly disk: Buffer;
  offer: NegotiationOffer = { ...SCRIPTED_OFFER };
  /** Commands beyond ExpCmdSN that the window allows. */
  window = 64;
  port = 0;
  readonly connections: ScriptedConnection[] = [];
  /** Answers a Login Request in place of the target: status and keys. */
  onLogin:
    ((pdu: LoginRequestPdu, keys: TextPair[]) => { status: number; keys: TextPair[] } | undefined) | null =
    null;
  /** True: the command is not answered. */
  onCommand: ((connection: ScriptedConnection, command: ScsiCommandPdu) => boolean) | null = null;
  /** False: the write is answered and forgotten. */
  onWrite: ((lba: number) => boolean) | null = null;
  sendTargets: TextPair[] = [];
  private server: Server | null = null;

  constructor(sizeBytes = 1024 * 1024) {
    this.disk = Buffer.alloc(sizeBytes);
  }

  async listen(port = 0, host = '127.0.0.1'): Promise<this> {
    const server = createServer({ noDelay: true }, (socket) => {
      this.connections.push(new ScriptedConnection(this, socket));
    });
    await new Promise<void>((resolve) => server.listen(port, host, resolve));
    const address = server.address();
    this.port = typeof address === 'object' && address !== null ? address.port : 0;
    this.server = server;
    return this;
  }

  url(iqn = 'iqn.2026-01.test:disk'): string {
    return `iscsi://127.0.0.1:${this.port}/${iqn}/0`;
  }

  get last(): ScriptedConnection {
    const last = this.connections.at(-1);
    if (last === undefined) throw new Error('nobody connected');
    return last;
  }

  async close(): Promise<void> {
    for (const connection of this.connections) connection.drop();
    await new Promise<void>((resolve) => {
      if (this.server === null) resolve();
      else this.server.close(() => resolve());
    });
    this.server = null;
  }
}

export class ScriptedConnection implements FramerSink {
  readonly received: Received[] = [];
  /** What was wrong about the initiator. */
  readonly complaints: string[] = [];
  statSN = 1;
  expCmdSN = 1;
  private readonly framer = new Framer(this, 1 << 24);
  private state: NegotiationState;
  private inFullFeature = false;
  private digests = { header: false, data: false };
  private readonly gathering = new Map<number, Gathering>();

  constructor(
    private readonly target: ScriptedTarget,
    private readonly socket: Socket,
  ) {
    this.state = beginNegotiation(target.offer);
    socket.on('data', (chunk: Buffer) => this.framer.push(chunk));
    socket.on('error', () => undefined);
  }

  get opcodes(): number[] {
    return this.received.map((pdu) => pdu.opcode);
  }

  drop(): void {
    this.framer.stop();
    this.socket.destroy();
  }

  header(): Buffer | null {
    return null;
  }

  framingError(reason: string): void {
    this.complaints.push(reason);
    this.drop();
  }

  payload(bhs: Buffer, data: Buffer, digestOk: boolean): void {
    if (!digestOk) this.complaints.push('data digest error');
    this.received.push({ opcode: opcodeOf(bhs), bhs, data });
    switch (opcodeOf(bhs)) {
      case Opcode.LOGIN_REQUEST:
        return this.login(decodeLoginRequest(bhs), parseText(data));
      case Opcode.SCSI_COMMAND:
        return this.command(decodeScsiCommand(bhs), data);
      case Opcode.DATA_OUT:
        return this.dataOut(bhs, data);
      case Opcode.NOP_OUT:
        return this.nopOut(bhs, data);
      case Opcode.LOGOUT_REQUEST:
        return this.logout(bhs);
      case Opcode.TEXT_REQUEST:
        return this.text(bhs);
      case Opcode.TASK_MANAGEMENT_REQUEST: {
        const itt = bhs.readUInt32BE(16);
        return this.reply((into) =>
          encodeTaskManagementResponse({ ...this.common(itt, true), response: 0 }, into),
        );
      }
      default:
        this.complaints.push(`opcode ${opcodeOf(bhs)}`);
    }
  }

  /** Encodes a header, pads and digests, and sends. */
  reply(encode: (into: Buffer) => void, data: Buffer = Buffer.alloc(0)): void {
    const header = Buffer.alloc(BHS_BYTES);
    encode(header);
    const parts: Buffer[] = [header];
    if (this.digests.header) parts.push(digest(headerCrc32c(header, 0, BHS_BYTES)));
    if (data.length > 0) {
      const padded = Buffer.alloc(paddedLength(data.length));
      data.copy(padded);
      parts.push(padded);
      if (this.digests.data) parts.push(digest(dataCrc32c(padded)));
    }
    this.socket.write(Buffer.concat(parts));
  }

  /** The fields of every answer; `status` takes a StatSN. */
  common(initiatorTaskTag: number, status: boolean, dataSegmentLength = 0) {
    const statSN = this.statSN;
    if (status) this.statSN += 1;
    return {
      initiatorTaskTag,
      statSN,
      expCmdSN: this.expCmdSN,
      maxCmdSN: this.expCmdSN + this.target.window - 1,
      totalAHSLength: 0,
      dataSegmentLength,
      lunHigh: 0,
      lunLow: 0,
    };
  }

  asyncMessage(asyncEvent: number, parameter2 = 0, parameter3 = 1): void {
    const parameters = { asyncVCode: 0, parameter1: 0, parameter2, parameter3 };
    this.reply((into) =>
      encodeAsyncMessage({ ...this.common(RESERVED_TAG, true), asyncEvent, ...parameters }, into),
    );
  }

  nopIn(
    targetTransferTag: number,
    lun: { lunHigh: number; lunLow: number } = { lunHigh: 0, lunLow: 0 },
  ): void {
    this.reply((into) =>
      encodeNopIn({ ...this.common(RESERVED_TAG, false), ...lun, targetTransferTag }, into),
    );
  }

  private login(pdu: LoginRequestPdu, keys: TextPair[]): void {
    const scripted = this.target.onLogin?.(pdu, keys);
    const result = negotiate(keys, this.target.offer, { stage: pdu.csg, leading: true }, this.state);
    this.state = result.state;
    const status = scripted?.status ?? result.error?.status ?? 0;
    const text = formatText(scripted?.keys ?? result.answers);
    const answer = {
      continues: false,
      csg: pdu.csg,
      nsg: pdu.nsg,
      versionMax: 0,
      versionActive: 0,
      isid: pdu.isid,
      tsih: 1,
    };
    const transit = pdu.transit && status === 0;
    this.reply(
      (into) =>
        encodeLoginResponse(
          {
            ...this.common(pdu.initiatorTaskTag, true, text.length),
            ...answer,
            transit,
            nsg: transit ? pdu.nsg : 0,
            status,
          },
          into,
        ),
      text,
    );
    if (!transit || pdu.nsg !== 3) return;
    this.inFullFeature = true;
    const { headerDigest, dataDigest } = this.state.values;
    this.digests = { header: headerDigest, data: dataDigest };
    this.framer.setDigests(headerDigest, dataDigest);
  }

  private command(command: ScsiCommandPdu, data: Buffer): void {
    if (!this.inFullFeature) this.complaints.push('a command before full feature phase');
    if (command.cmdSN !== this.expCmdSN) this.complaints.push(`CmdSN ${command.cmdSN}, not ${this.expCmdSN}`);
    this.expCmdSN += 1;
    if (!command.write) return this.execute(command, data);
    const into = Buffer.alloc(command.expectedDataTransferLength);
    data.copy(into);
    const gathering = { command, data: into, filled: data.length };
    if (gathering.filled === into.length) return this.execute(command, into);
    this.gathering.set(command.initiatorTaskTag, gathering);
    if (command.final) this.askForData(gathering);
  }

  private askForData(gathering: Gathering): void {
    const { command, data, filled } = gathering;
    const length = Math.min(data.length - filled, this.state.values.maxBurstLength);
    const range = { r2tSN: this.r2tSN(gathering), bufferOffset: filled, desiredDataTransferLength: length };
    const tag = { targetTransferTag: command.initiatorTaskTag ^ 0xff };
    this.reply((into) =>
      encodeR2t({ ...this.common(command.initiatorTaskTag, false), ...tag, ...range }, into),
    );
  }

  private readonly r2tSNs = new Map<Gathering, number>();
  private r2tSN(gathering: Gathering): number {
    const next = this.r2tSNs.get(gathering) ?? 0;
    this.r2tSNs.set(gathering, next + 1);
    return next;
  }

  private dataOut(bhs: Buffer, data: Buffer): void {
    const pdu = decodeDataOut(bhs);
    const gathering = this.gathering.get(pdu.initiatorTaskTag);
    if (gathering === undefined) return void this.complaints.push('Data-Out for nothing');
    if (pdu.bufferOffset !== gathering.filled) this.complaints.push(`Data-Out at ${pdu.bufferOffset}`);
    if (data.length > this.state.values.maxRecvDataSegmentLength)
      this.complaints.push(`Data-Out of ${data.length}`);
    data.copy(gathering.data, pdu.bufferOffset);
    gathering.filled += data.length;
    if (!isFinal(bhs)) return;
    if (gathering.filled < gathering.data.length) return this.askForData(gathering);
    this.gathering.delete(pdu.initiatorTaskTag);
    this.execute(gathering.command, gathering.data);
  }

  private execute(command: ScsiCommandPdu, data: Buffer): void {
    if (this.target.onCommand?.(this, command) === true) return;
    const { cdb, initiatorTaskTag: itt, expectedDataTransferLength: expected } = command;
    const { disk, blockBytes } = this.target;
    const at = cdb.readUInt32BE(6) * blockBytes;
    switch (cdb[0]) {
      case 0x88:
        return this.dataIn(itt, disk.subarray(at, at + cdb.readUInt32BE(10) * blockBytes), expected);
      case 0x8a:
        if (this.target.onWrite?.(at / blockBytes) !== false) data.copy(disk, at);
        return this.status(itt, 0);
      case 0x9e: {
        const capacity = Buffer.alloc(32);
        capacity.writeUInt32BE(disk.length / blockBytes - 1, 4);
        capacity.writeUInt32BE(blockBytes, 8);
        return this.dataIn(itt, capacity, expected);
      }
      default:
        return this.status(itt, 0);
    }
  }

  /** Read data in PDUs of what the initiator takes, status in the last. */
  dataIn(itt: number, data: Buffer, expected: number): void {
    const most = this.state.values.peerMaxRecvDataSegmentLength;
    for (let at = 0, dataSN = 0; at < data.length; dataSN++) {
      const part = data.subarray(at, at + most);
      const last = at + part.length === data.length;
      const flags = {
        final: last,
        acknowledge: false,
        overflow: false,
        underflow: last && data.length < expected,
      };
      const place = { targetTransferTag: RESERVED_TAG, dataSN, bufferOffset: at, hasStatus: last, status: 0 };
      const residualCount = last ? expected - data.length : 0;
      const common = this.common(itt, last, part.length);
      this.reply((into) => encodeDataIn({ ...common, ...flags, ...place, residualCount }, into), part);
      at += part.length;
    }
  }

  status(itt: number, status: number, sense: Buffer = Buffer.alloc(0)): void {
    const flags = {
      bidirectionalOverflow: false,
      bidirectionalUnderflow: false,
      overflow: false,
      underflow: false,
    };
    const counts = { snackTag: 0, expDataSN: 0, bidirectionalReadResidualCount: 0, residualCount: 0 };
    const common = this.common(itt, true, sense.length);
    this.reply(
      (into) => encodeScsiResponse({ ...common, ...flags, ...counts, response: 0, status }, into),
      sense,
    );
  }

  private nopOut(bhs: Buffer, data: Buffer): void {
    const itt = bhs.readUInt32BE(16);
    if (itt === RESERVED_TAG) return;
    const common = this.common(itt, true, data.length);
    this.reply((into) => encodeNopIn({ ...common, targetTransferTag: RESERVED_TAG }, into), data);
  }

  private logout(bhs: Buffer): void {
    const { initiatorTaskTag } = decodeLogoutRequest(bhs);
    const times = { response: 0, time2Wait: 0, time2Retain: 0 };
    this.reply((into) => encodeLogoutResponse({ ...this.common(initiatorTaskTag, true), ...times }, into));
    this.socket.end();
  }

  private text(bhs: Buffer): void {
    const text = formatText(this.target.sendTargets);
    const common = this.common(bhs.readUInt32BE(16), true, text.length);
    const flags = { final: true, continues: false, targetTransferTag: RESERVED_TAG };
    this.reply((into) => encodeTextResponse({ ...common, ...flags }, into), text);
  }
}

function digest(crc: number): Buffer {
  const bytes = Buffer.alloc(4);
  writeDigest(bytes, 0, crc);
  return bytes;
}
