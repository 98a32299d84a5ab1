/** SCSI Data-Out (RFC 7143 11.7): write data, solicited by an R2T or within the first burst. */
import {
  FINAL_BIT,
  beginBhs,
  bhsField,
  dataSegmentLengthOf,
  isFinal,
  totalAHSLengthOf,
  writeLun,
} from './bhs.js';
import type { PduLengths, RawLun } from './bhs.js';
import { Opcode } from './opcodes.js';

export const dataOutField = {
  ...bhsField,
  dataSN: 36,
  bufferOffset: 40,
} as const;

export interface DataOutPdu extends PduLengths, RawLun {
  final: boolean;
  initiatorTaskTag: number;
  /** The R2T's, or RESERVED_TAG for unsolicited data. */
  targetTransferTag: number;
  expStatSN: number;
  dataSN: number;
  bufferOffset: number;
}

export function decodeDataOut(bhs: Buffer, at = 0): DataOutPdu {
  return {
    final: isFinal(bhs, at),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: bhs.readUInt32BE(at + dataOutField.lunHigh),
    lunLow: bhs.readUInt32BE(at + dataOutField.lunLow),
    initiatorTaskTag: bhs.readUInt32BE(at + dataOutField.initiatorTaskTag),
    targetTransferTag: bhs.readUInt32BE(at + dataOutField.targetTransferTag),
    expStatSN: bhs.readUInt32BE(at + dataOutField.expStatSN),
    dataSN: bhs.readUInt32BE(at + dataOutField.dataSN),
    bufferOffset: bhs.readUInt32BE(at + dataOutField.bufferOffset),
  };
}

export function encodeDataOut(pdu: DataOutPdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.DATA_OUT, pdu.final ? FINAL_BIT : 0, pdu);
  writeLun(into, at, pdu);
  into.writeUInt32BE(pdu.initiatorTaskTag, at + dataOutField.initiatorTaskTag);
  into.writeUInt32BE(pdu.targetTransferTag, at + dataOutField.targetTransferTag);
  into.writeUInt32BE(pdu.expStatSN, at + dataOutField.expStatSN);
  into.writeUInt32BE(pdu.dataSN, at + dataOutField.dataSN);
  into.writeUInt32BE(pdu.bufferOffset, at + dataOutField.bufferOffset);
}
