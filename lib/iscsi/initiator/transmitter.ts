/** How a session's commands and write data are laid into PDUs; which task, and when, is the session's affair. */
import { putUint32 } from '../../base/bytes.js';
import { BHS_BYTES, FINAL_BIT, bhsField, writeLengths } from '../wire/bhs.js';
import { dataOutField } from '../wire/data-out.js';
import type { OperationalParameters } from '../wire/negotiation-rules.js';
import { encodeNopOut, type NopInPdu } from '../wire/nop.js';
import { Opcode, RESERVED_TAG, TaskAttribute } from '../wire/opcodes.js';
import { COMMAND_READ_BIT, COMMAND_WRITE_BIT, scsiCommandField } from '../wire/scsi.js';
import type { InitiatorTask } from './command.js';
import type { Outbox } from './outbox.js';

const BARE_NOP = { immediate: true, totalAHSLength: 0, dataSegmentLength: 0 };

/** The first word of a LUN (SAM-5 4.7): peripheral addressing below 256, flat space above. The second is zero. */
export function lunHighOf(lun: number): number {
  return ((lun < 256 ? lun : 0x4000 | lun) << 16) >>> 0;
}

export class Transmitter {
  constructor(
    private readonly outbox: Outbox,
    private readonly parameters: OperationalParameters,
    private readonly lunHigh: number,
  ) {}

  /** The command with its immediate data, and whatever data may follow unasked. */
  sendCommand(task: InitiatorTask, expStatSN: number): void {
    const { dataOut, dataIn, bhs } = task;
    const immediate = this.immediateBytes(dataOut.length);
    const unsolicited = this.unsolicitedBytes(dataOut.length);
    bhs[0] = Opcode.SCSI_COMMAND;
    bhs[bhsField.flags] =
      (unsolicited > immediate ? 0 : FINAL_BIT) |
      (dataIn.length > 0 ? COMMAND_READ_BIT : 0) |
      (dataOut.length > 0 ? COMMAND_WRITE_BIT : 0) |
      TaskAttribute.SIMPLE;
    writeLengths(bhs, 0, 0, immediate);
    const expected = dataOut.length > 0 ? dataOut.length : dataIn.length;
    putUint32(bhs, this.lunHigh, bhsField.lunHigh);
    putUint32(bhs, task.initiatorTaskTag, bhsField.initiatorTaskTag);
    putUint32(bhs, expected, scsiCommandField.expectedDataTransferLength);
    putUint32(bhs, task.cmdSN, bhsField.cmdSN);
    putUint32(bhs, expStatSN, bhsField.expStatSN);
    const at = this.outbox.headerAt();
    bhs.copy(this.outbox.buffer, at);
    this.outbox.addPdu(immediate === dataOut.length ? dataOut : dataOut.subarray(0, immediate));
    if (unsolicited > immediate) {
      this.sendData(task, RESERVED_TAG, immediate, unsolicited - immediate, expStatSN);
    }
  }

  private immediateBytes(length: number): number {
    if (!this.parameters.immediateData) return 0;
    return Math.min(length, this.parameters.firstBurstLength, this.parameters.peerMaxRecvDataSegmentLength);
  }

  /** How much goes out unasked, immediate data included (RFC 7143 13.10, 13.14). */
  private unsolicitedBytes(length: number): number {
    if (this.parameters.initialR2T) return this.immediateBytes(length);
    return Math.min(length, this.parameters.firstBurstLength);
  }

  /** One sequence of Data-Out PDUs (RFC 7143 11.7), F on the last. */
  sendData(
    task: InitiatorTask,
    targetTransferTag: number,
    offset: number,
    length: number,
    expStatSN: number,
  ): void {
    const end = offset + length;
    for (let dataSN = 0, at = offset; at < end; dataSN++) {
      const bytes = Math.min(end - at, this.parameters.peerMaxRecvDataSegmentLength);
      const header = this.outbox.headerAt();
      const into = this.outbox.buffer;
      into.fill(0, header, header + BHS_BYTES);
      into[header] = Opcode.DATA_OUT;
      into[header + bhsField.flags] = at + bytes === end ? FINAL_BIT : 0;
      writeLengths(into, header, 0, bytes);
      if (targetTransferTag !== RESERVED_TAG) putUint32(into, this.lunHigh, header + bhsField.lunHigh);
      putUint32(into, task.initiatorTaskTag, header + bhsField.initiatorTaskTag);
      putUint32(into, targetTransferTag, header + bhsField.targetTransferTag);
      putUint32(into, expStatSN, header + bhsField.expStatSN);
      putUint32(into, dataSN, header + dataOutField.dataSN);
      putUint32(into, at, header + dataOutField.bufferOffset);
      this.outbox.addPdu(task.dataOut.subarray(at, at + bytes));
      at += bytes;
    }
  }

  /** A NOP-Out that asks, of our unit. */
  encodePing(into: Buffer, at: number, initiatorTaskTag: number, cmdSN: number, expStatSN: number): void {
    const tags = { initiatorTaskTag, targetTransferTag: RESERVED_TAG, lunHigh: this.lunHigh, lunLow: 0 };
    encodeNopOut({ ...BARE_NOP, ...tags, cmdSN, expStatSN }, into, at);
  }

  /** One that answers: with the tag of the question, and its LUN (RFC 7143 11.18). */
  encodePong(into: Buffer, at: number, asked: NopInPdu, cmdSN: number, expStatSN: number): void {
    const { targetTransferTag, lunHigh, lunLow } = asked;
    const tags = { initiatorTaskTag: RESERVED_TAG, targetTransferTag, lunHigh, lunLow };
    encodeNopOut({ ...BARE_NOP, ...tags, cmdSN, expStatSN }, into, at);
  }
}
