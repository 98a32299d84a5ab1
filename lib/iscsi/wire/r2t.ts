/** Ready To Transfer (RFC 7143 11.8): the target asks for a range of write data. */
import { FINAL_BIT, beginBhs, bhsField, dataSegmentLengthOf, totalAHSLengthOf, writeLun } from './bhs.js';
import type { PduLengths, RawLun } from './bhs.js';
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
    lunHigh: bhs.readUInt32BE(at + r2tField.lunHigh),
    lunLow: bhs.readUInt32BE(at + r2tField.lunLow),
    initiatorTaskTag: bhs.readUInt32BE(at + r2tField.initiatorTaskTag),
    targetTransferTag: bhs.readUInt32BE(at + r2tField.targetTransferTag),
    statSN: bhs.readUInt32BE(at + r2tField.statSN),
    expCmdSN: bhs.readUInt32BE(at + r2tField.expCmdSN),
    maxCmdSN: bhs.readUInt32BE(at + r2tField.maxCmdSN),
    r2tSN: bhs.readUInt32BE(at + r2tField.r2tSN),
    bufferOffset: bhs.readUInt32BE(at + r2tField.bufferOffset),
    desiredDataTransferLength: bhs.readUInt32BE(at + r2tField.desiredDataTransferLength),
  };
}

export function encodeR2t(pdu: R2tPdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.R2T, FINAL_BIT, pdu);
  writeLun(into, at, pdu);
  into.writeUInt32BE(pdu.initiatorTaskTag, at + r2tField.initiatorTaskTag);
  into.writeUInt32BE(pdu.targetTransferTag, at + r2tField.targetTransferTag);
  into.writeUInt32BE(pdu.statSN, at + r2tField.statSN);
  into.writeUInt32BE(pdu.expCmdSN, at + r2tField.expCmdSN);
  into.writeUInt32BE(pdu.maxCmdSN, at + r2tField.maxCmdSN);
  into.writeUInt32BE(pdu.r2tSN, at + r2tField.r2tSN);
  into.writeUInt32BE(pdu.bufferOffset, at + r2tField.bufferOffset);
  into.writeUInt32BE(pdu.desiredDataTransferLength, at + r2tField.desiredDataTransferLength);
}
