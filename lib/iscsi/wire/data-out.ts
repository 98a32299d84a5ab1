/** SCSI Data-Out (RFC 7143 11.7): write data, solicited by an R2T or within the first burst. */
import { putUint32, uint32 } from '../../base/bytes.js';
import {
  FINAL_BIT,
  beginBhs,
  bhsField,
  dataSegmentLengthOf,
  isFinal,
  totalAHSLengthOf,
  writeLun,
  type PduLengths,
  type RawLun,
} from './bhs.js';
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
    lunHigh: uint32(bhs, at + dataOutField.lunHigh),
    lunLow: uint32(bhs, at + dataOutField.lunLow),
    initiatorTaskTag: uint32(bhs, at + dataOutField.initiatorTaskTag),
    targetTransferTag: uint32(bhs, at + dataOutField.targetTransferTag),
    expStatSN: uint32(bhs, at + dataOutField.expStatSN),
    dataSN: uint32(bhs, at + dataOutField.dataSN),
    bufferOffset: uint32(bhs, at + dataOutField.bufferOffset),
  };
}

export function encodeDataOut(pdu: DataOutPdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.DATA_OUT, pdu.final ? FINAL_BIT : 0, pdu);
  writeLun(into, at, pdu);
  putUint32(into, pdu.initiatorTaskTag, at + dataOutField.initiatorTaskTag);
  putUint32(into, pdu.targetTransferTag, at + dataOutField.targetTransferTag);
  putUint32(into, pdu.expStatSN, at + dataOutField.expStatSN);
  putUint32(into, pdu.dataSN, at + dataOutField.dataSN);
  putUint32(into, pdu.bufferOffset, at + dataOutField.bufferOffset);
}
