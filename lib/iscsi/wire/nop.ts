/** NOP-Out and NOP-In (RFC 7143 11.18, 11.19): "are you there?", either way, with data to be echoed. */
import {
  FINAL_BIT,
  IMMEDIATE_BIT,
  beginBhs,
  bhsField,
  dataSegmentLengthOf,
  isImmediate,
  totalAHSLengthOf,
  writeLun,
} from './bhs.js';
import type { PduLengths, RawLun } from './bhs.js';
import { Opcode } from './opcodes.js';

export const nopField = bhsField;

export interface NopOutPdu extends PduLengths, RawLun {
  immediate: boolean;
  /** RESERVED_TAG: no answer is wanted, or this is one. */
  initiatorTaskTag: number;
  /** Of the NOP-In this answers, or RESERVED_TAG. */
  targetTransferTag: number;
  cmdSN: number;
  expStatSN: number;
}

export function decodeNopOut(bhs: Buffer, at = 0): NopOutPdu {
  return {
    immediate: isImmediate(bhs, at),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: bhs.readUInt32BE(at + nopField.lunHigh),
    lunLow: bhs.readUInt32BE(at + nopField.lunLow),
    initiatorTaskTag: bhs.readUInt32BE(at + nopField.initiatorTaskTag),
    targetTransferTag: bhs.readUInt32BE(at + nopField.targetTransferTag),
    cmdSN: bhs.readUInt32BE(at + nopField.cmdSN),
    expStatSN: bhs.readUInt32BE(at + nopField.expStatSN),
  };
}

export function encodeNopOut(pdu: NopOutPdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.NOP_OUT | (pdu.immediate ? IMMEDIATE_BIT : 0), FINAL_BIT, pdu);
  writeLun(into, at, pdu);
  into.writeUInt32BE(pdu.initiatorTaskTag, at + nopField.initiatorTaskTag);
  into.writeUInt32BE(pdu.targetTransferTag, at + nopField.targetTransferTag);
  into.writeUInt32BE(pdu.cmdSN, at + nopField.cmdSN);
  into.writeUInt32BE(pdu.expStatSN, at + nopField.expStatSN);
}

export interface NopInPdu extends PduLengths, RawLun {
  /** Of the NOP-Out this answers, or RESERVED_TAG. */
  initiatorTaskTag: number;
  /** RESERVED_TAG: no answer is wanted. */
  targetTransferTag: number;
  /** Consumed only when it answers a NOP-Out. */
  statSN: number;
  expCmdSN: number;
  maxCmdSN: number;
}

export function decodeNopIn(bhs: Buffer, at = 0): NopInPdu {
  return {
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: bhs.readUInt32BE(at + nopField.lunHigh),
    lunLow: bhs.readUInt32BE(at + nopField.lunLow),
    initiatorTaskTag: bhs.readUInt32BE(at + nopField.initiatorTaskTag),
    targetTransferTag: bhs.readUInt32BE(at + nopField.targetTransferTag),
    statSN: bhs.readUInt32BE(at + nopField.statSN),
    expCmdSN: bhs.readUInt32BE(at + nopField.expCmdSN),
    maxCmdSN: bhs.readUInt32BE(at + nopField.maxCmdSN),
  };
}

export function encodeNopIn(pdu: NopInPdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.NOP_IN, FINAL_BIT, pdu);
  writeLun(into, at, pdu);
  into.writeUInt32BE(pdu.initiatorTaskTag, at + nopField.initiatorTaskTag);
  into.writeUInt32BE(pdu.targetTransferTag, at + nopField.targetTransferTag);
  into.writeUInt32BE(pdu.statSN, at + nopField.statSN);
  into.writeUInt32BE(pdu.expCmdSN, at + nopField.expCmdSN);
  into.writeUInt32BE(pdu.maxCmdSN, at + nopField.maxCmdSN);
}
