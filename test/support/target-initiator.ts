/**
 * An initiator that does as it is told, PDU by PDU, over a real socket: for tests that need to be wrong on purpose, or
 * exactly right. It keeps CmdSN and ExpStatSN only as far as its helpers use them.
 */
import { connect, type Socket } from 'node:net';
import { decodeBhs, opcodeOf, paddedLength, type Bhs } from '../../lib/iscsi/wire/bhs.js';
import { dataCrc32c, headerCrc32c } from '../../lib/iscsi/wire/digests.js';
import { encodeDataOut } from '../../lib/iscsi/wire/data-out.js';
import { Framer, type FramerSink } from '../../lib/iscsi/wire/framer.js';
import {
  decodeLoginResponse,
  encodeLoginRequest,
  type LoginRequestPdu,
  type LoginResponsePdu,
} from '../../lib/iscsi/wire/login.js';
import { encodeLogoutRequest } from '../../lib/iscsi/wire/logout.js';
import { encodeNopOut } from '../../lib/iscsi/wire/nop.js';
import { LoginStage, nameOf, Opcode, RESERVED_TAG, TaskAttribute } from '../../lib/iscsi/wire/opcodes.js';
import { encodeScsiCommand } from '../../lib/iscsi/wire/scsi.js';
import { encodeTaskManagementRequest } from '../../lib/iscsi/wire/task-management.js';
import { encodeTextRequest } from '../../lib/iscsi/wire/text.js';
import { formatText, parseText, type TextPair } from '../../lib/iscsi/wire/text-keys.js';

const NOTHING = Buffer.alloc(0);
const DEADLINE_MS = 5_000;

export interface Received {
  readonly opcode: number;
  readonly bhs: Buffer;
  readonly data: Buffer;
}

export interface CommandOptions {
  readonly cdb: Buffer;
  readonly tag?: number;
  readonly read?: boolean;
  readonly write?: boolean;
  readonly expectedBytes?: number;
  readonly data?: Buffer;
  readonly final?: boolean;
  readonly immediate?: boolean;
  /** TaskAttribute; SIMPLE by default. */
  readonly attr?: number;
  /** The first half of the LUN field; 0 by default. */
  readonly lunHigh?: number;
  readonly cmdSN?: number;
}

export interface DataOutOptions {
  readonly tag: number;
  readonly targetTransferTag?: number;
  readonly dataSN?: number;
  readonly offset?: number;
  readonly data: Buffer;
  readonly final?: boolean;
}

export class TargetInitiator implements FramerSink {
  cmdSN = 100;
  expStatSN = 0;
  nextTag = 1;
  private readonly framer = new Framer(this, 16 * 1024 * 1024);
  private readonly queue: Received[] = [];
  private wake: (() => void) | null = null;
  private ended = false;
  private headerDigest = false;
  private dataDigest = false;

  private constructor(readonly socket: Socket) {
    socket.on('data', (chunk) => this.framer.push(chunk));
    const end = (): void => {
      this.ended = true;
      this.wake?.();
    };
    socket.on('close', end);
    socket.on('end', end);
    socket.on('error', end);
  }

  static async connect(port: number): Promise<TargetInitiator> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new TargetInitiator(socket);
  }

  // ---- FramerSink

  header(): Buffer | null {
    return null;
  }

  payload(bhs: Buffer, data: Buffer, digestOk: boolean): void {
    if (!digestOk) throw new Error('data digest error at the initiator');
    this.queue.push({ opcode: opcodeOf(bhs), bhs, data });
    this.wake?.();
  }

  framingError(reason: string): void {
    throw new Error(`framing error at the initiator: ${reason}`);
  }

  // ---- receiving

  /** The next PDU, whatever it is; null when the target closed the connection. */
  async next(): Promise<Received | null> {
    const deadline = Date.now() + DEADLINE_MS;
    while (this.queue.length === 0 && !this.ended) {
      if (Date.now() > deadline) throw new Error('the target does not answer');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.queue.shift() ?? null;
  }

  /** The next PDU, which has to be of this kind. */
  async expect(opcode: number): Promise<Received> {
    const received = await this.next();
    const name = received === null ? 'the end' : nameOf(Opcode, received.opcode);
    if (received === null || received.opcode !== opcode) {
      throw new Error(`expected ${nameOf(Opcode, opcode)}, got ${name}`);
    }
    return received;
  }

  /** Resolves true when the target closes without another PDU. */
  async closes(): Promise<boolean> {
    return (await this.next()) === null;
  }

  /** Nothing arrives for a little while. */
  async silence(forMs = 60): Promise<boolean> {
    await new Promise((resolve) => setTimeout(resolve, forMs));
    return this.queue.length === 0 && !this.ended;
  }

  // ---- sending

  setDigests(header: boolean, data: boolean): void {
    this.headerDigest = header;
    this.dataDigest = data;
    this.framer.setDigests(header, data);
  }

  /** Sends a header of 48 bytes and its data, with padding and digests. `spoil` breaks a digest on purpose. */
  send(bhs: Buffer, data: Buffer = NOTHING, spoil?: 'header' | 'data'): void {
    this.socket.write(this.lay(bhs, data, spoil));
  }

  lay(bhs: Buffer, data: Buffer, spoil?: 'header' | 'data'): Buffer {
    const parts = [bhs];
    const digest = (crc: number, wrong: boolean): Buffer => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE((wrong ? crc ^ 1 : crc) >>> 0);
      return bytes;
    };
    if (this.headerDigest) parts.push(digest(headerCrc32c(bhs, 0, bhs.length), spoil === 'header'));
    if (data.length > 0) {
      const padded = Buffer.alloc(paddedLength(data.length));
      data.copy(padded);
      parts.push(padded);
      if (this.dataDigest) parts.push(digest(dataCrc32c(padded), spoil === 'data'));
    }
    return Buffer.concat(parts);
  }

  loginHeader(fields: Partial<LoginRequestPdu> & { dataSegmentLength: number }): Buffer {
    const bhs = Buffer.alloc(48);
    encodeLoginRequest(
      {
        transit: true,
        continues: false,
        csg: LoginStage.OPERATIONAL,
        nsg: LoginStage.FULL_FEATURE,
        versionMax: 0,
        versionMin: 0,
        totalAHSLength: 0,
        isid: '800000000001',
        tsih: 0,
        initiatorTaskTag: 0,
        cid: 1,
        cmdSN: this.cmdSN,
        expStatSN: this.expStatSN,
        ...fields,
      },
      bhs,
    );
    return bhs;
  }

  /** One Login Request and its response. */
  async loginStep(
    pairs: readonly TextPair[],
    fields: Partial<LoginRequestPdu> = {},
  ): Promise<{ pdu: LoginResponsePdu; keys: TextPair[] }> {
    const text = formatText(pairs);
    this.send(this.loginHeader({ ...fields, dataSegmentLength: text.length }), text);
    const { bhs, data } = await this.expect(Opcode.LOGIN_RESPONSE);
    const pdu = decodeLoginResponse(bhs);
    this.expStatSN = (pdu.statSN + 1) >>> 0;
    return { pdu, keys: parseText(data, 'allow') };
  }

  /** A whole login in one step. Throws when it is refused. */
  async login(
    iqn: string,
    keys: Record<string, string> = {},
    fields: Partial<LoginRequestPdu> = {},
    initiatorName = 'iqn.2026-11.test:host',
  ): Promise<{ pdu: LoginResponsePdu; keys: TextPair[] }> {
    const names = { InitiatorName: initiatorName, TargetName: iqn, SessionType: 'Normal' };
    const pairs = Object.entries({ ...names, ...keys }).map(([key, value]) => ({ key, value }));
    const answer = await this.loginStep(pairs, fields);
    if (answer.pdu.status !== 0) throw new Error(`login refused with ${answer.pdu.status.toString(16)}`);
    const value = (key: string): string | undefined => answer.keys.find((pair) => pair.key === key)?.value;
    this.setDigests(value('HeaderDigest') === 'CRC32C', value('DataDigest') === 'CRC32C');
    return answer;
  }

  private takeCmdSN(immediate: boolean, given: number | undefined): number {
    if (given !== undefined) return given;
    const cmdSN = this.cmdSN;
    if (!immediate) this.cmdSN = (cmdSN + 1) >>> 0;
    return cmdSN;
  }

  /** The header of a SCSI Command; returns it with its tag. */
  commandHeader(options: CommandOptions): { bhs: Buffer; tag: number } {
    const { cdb, read = false, write = false, data = NOTHING, immediate = false } = options;
    const tag = options.tag ?? this.nextTag++;
    const bhs = Buffer.alloc(48);
    const padded = Buffer.alloc(16);
    cdb.copy(padded);
    encodeScsiCommand(
      {
        immediate,
        final: options.final ?? true,
        read,
        write,
        attr: options.attr ?? TaskAttribute.SIMPLE,
        totalAHSLength: 0,
        dataSegmentLength: data.length,
        lunHigh: options.lunHigh ?? 0,
        lunLow: 0,
        initiatorTaskTag: tag,
        expectedDataTransferLength: options.expectedBytes ?? data.length,
        cmdSN: this.takeCmdSN(immediate, options.cmdSN),
        expStatSN: this.expStatSN,
        cdb: padded,
      },
      bhs,
    );
    return { bhs, tag };
  }

  command(options: CommandOptions): number {
    const { bhs, tag } = this.commandHeader(options);
    this.send(bhs, options.data);
    return tag;
  }

  dataOut(options: DataOutOptions, spoil?: 'data'): void {
    const bhs = Buffer.alloc(48);
    encodeDataOut(
      {
        final: options.final ?? true,
        totalAHSLength: 0,
        dataSegmentLength: options.data.length,
        lunHigh: 0,
        lunLow: 0,
        initiatorTaskTag: options.tag,
        targetTransferTag: options.targetTransferTag ?? RESERVED_TAG,
        expStatSN: this.expStatSN,
        dataSN: options.dataSN ?? 0,
        bufferOffset: options.offset ?? 0,
      },
      bhs,
    );
    this.send(bhs, options.data, spoil);
  }

  ping(
    data: Buffer = NOTHING,
    fields: { immediate?: boolean; cmdSN?: number; tag?: number; lunHigh?: number } = {},
  ): number {
    const bhs = Buffer.alloc(48);
    const tag = fields.tag ?? this.nextTag++;
    const immediate = fields.immediate ?? true;
    encodeNopOut(
      {
        immediate,
        totalAHSLength: 0,
        dataSegmentLength: data.length,
        lunHigh: fields.lunHigh ?? 0,
        lunLow: 0,
        initiatorTaskTag: tag,
        targetTransferTag: RESERVED_TAG,
        cmdSN: this.takeCmdSN(immediate, fields.cmdSN),
        expStatSN: this.expStatSN,
      },
      bhs,
    );
    this.send(bhs, data);
    return tag;
  }

  text(pairs: readonly TextPair[] | Buffer, fields: { continues?: boolean; ttt?: number } = {}): number {
    const data = Buffer.isBuffer(pairs) ? pairs : formatText(pairs);
    const bhs = Buffer.alloc(48);
    const tag = this.nextTag++;
    encodeTextRequest(
      {
        immediate: true,
        final: !(fields.continues ?? false),
        continues: fields.continues ?? false,
        totalAHSLength: 0,
        dataSegmentLength: data.length,
        lunHigh: 0,
        lunLow: 0,
        initiatorTaskTag: tag,
        targetTransferTag: fields.ttt ?? RESERVED_TAG,
        cmdSN: this.cmdSN,
        expStatSN: this.expStatSN,
      },
      bhs,
    );
    this.send(bhs, data);
    return tag;
  }

  taskManagement(
    asked: number,
    fields: { immediate?: boolean; tag?: number; cmdSN?: number; refCmdSN?: number; lunHigh?: number } = {},
  ): number {
    const bhs = Buffer.alloc(48);
    const initiatorTaskTag = this.nextTag++;
    const immediate = fields.immediate ?? true;
    encodeTaskManagementRequest(
      {
        immediate,
        function: asked,
        totalAHSLength: 0,
        dataSegmentLength: 0,
        lunHigh: fields.lunHigh ?? 0,
        lunLow: 0,
        initiatorTaskTag,
        referencedTaskTag: fields.tag ?? RESERVED_TAG,
        cmdSN: this.takeCmdSN(immediate, fields.cmdSN),
        expStatSN: this.expStatSN,
        refCmdSN: fields.refCmdSN ?? 0,
        expDataSN: 0,
      },
      bhs,
    );
    this.send(bhs);
    return initiatorTaskTag;
  }

  logout(reason = 0, fields: { cid?: number; cmdSN?: number } = {}): number {
    const bhs = Buffer.alloc(48);
    const tag = this.nextTag++;
    encodeLogoutRequest(
      {
        immediate: true,
        reason,
        totalAHSLength: 0,
        dataSegmentLength: 0,
        initiatorTaskTag: tag,
        cid: fields.cid ?? 1,
        cmdSN: fields.cmdSN ?? this.cmdSN,
        expStatSN: this.expStatSN,
      },
      bhs,
    );
    this.send(bhs);
    return tag;
  }

  close(): void {
    this.socket.destroy();
  }
}

/** READ(10) and WRITE(10) in blocks of 512. */
export function read10(lba: number, blocks: number): Buffer {
  return cdb10(0x28, lba, blocks);
}

export function write10(lba: number, blocks: number): Buffer {
  return cdb10(0x2a, lba, blocks);
}

function cdb10(opcode: number, lba: number, blocks: number): Buffer {
  const cdb = Buffer.alloc(16);
  cdb[0] = opcode;
  cdb.writeUInt32BE(lba, 2);
  cdb.writeUInt16BE(blocks, 7);
  return cdb;
}

export function headerOf(received: Received): Bhs {
  return decodeBhs(received.bhs);
}
