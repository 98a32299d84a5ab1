/** Ready To Transfer (RFC 7143 11.8): the target asks for a range of write data. */
import { putUint32, uint32 } from '../../base/bytes.js';
import {
  FINAL_BIT,
  beginBhs,
  bhsField,
  dataSegmentLengthOf,
  totalAHSLengthOf,
  writeLun,
  type PduLengths,
  type RawLun,
} from './bhs.js';
import { Opcode } from './opcodes.js';

export const r2tField = {
  ...bhsField,
  r2tSN: 36,
  bufferOffset: 40,
  desiredDataTransferLength: 44,
} as const;

export interface R2tPdu extends PduLengths, RawLun {
  initiatorTaskTag: number;
  targetTransferTag: number;
  /** The next StatSN; an R2T does not consume one. */
  statSN: number;
  expCmdSN: number;
  maxCmdSN: number;
  r2tSN: number;
  bufferOffset: number;
  desiredDataTransferLength: number;
}

export function decodeR2t(bhs: Buffer, at = 0): R2tPdu {
  return {
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: uint32(bhs, at + r2tField.lunHigh),
    lunLow: uint32(bhs, at + r2tField.lunLow),
    initiatorTaskTag: uint32(bhs, at + r2tField.initiatorTaskTag),
    targetTransferTag: uint32(bhs, at + r2tField.targetTransferTag),
    statSN: uint32(bhs, at + r2tField.statSN),
    expCmdSN: uint32(bhs, at + r2tField.expCmdSN),
    maxCmdSN: uint32(bhs, at + r2tField.maxCmdSN),
    r2tSN: uint32(bhs, at + r2tField.r2tSN),
    bufferOffset: uint32(bhs, at + r2tField.bufferOffset),
    desiredDataTransferLength: uint32(bhs, at + r2tField.desiredDataTransferLength),
  };
}

export function encodeR2t(pdu: R2tPdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.R2T, FINAL_BIT, pdu);
  writeLun(into, at, pdu);
  putUint32(into, pdu.initiatorTaskTag, at + r2tField.initiatorTaskTag);
  putUint32(into, pdu.targetTransferTag, at + r2tField.targetTransferTag);
  putUint32(into, pdu.statSN, at + r2tField.statSN);
  putUint32(into, pdu.expCmdSN, at + r2tField.expCmdSN);
  putUint32(into, pdu.maxCmdSN, at + r2tField.maxCmdSN);
  putUint32(into, pdu.r2tSN, at + r2tField.r2tSN);
  putUint32(into, pdu.bufferOffset, at + r2tField.bufferOffset);
  putUint32(into, pdu.desiredDataTransferLength, at + r2tField.desiredDataTransferLength);
}
