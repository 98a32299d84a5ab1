/** NOP-Out and NOP-In (RFC 7143 11.18, 11.19): "are you there?", either way, with data to be echoed. */
import { putUint32, uint32 } from '../../base/bytes.js';
import {
  FINAL_BIT,
  IMMEDIATE_BIT,
  beginBhs,
  bhsField,
  dataSegmentLengthOf,
  isImmediate,
  totalAHSLengthOf,
  writeLun,
  type PduLengths,
  type RawLun,
} from './bhs.js';
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
    lunHigh: uint32(bhs, at + nopField.lunHigh),
    lunLow: uint32(bhs, at + nopField.lunLow),
    initiatorTaskTag: uint32(bhs, at + nopField.initiatorTaskTag),
    targetTransferTag: uint32(bhs, at + nopField.targetTransferTag),
    cmdSN: uint32(bhs, at + nopField.cmdSN),
    expStatSN: uint32(bhs, at + nopField.expStatSN),
  };
}

export function encodeNopOut(pdu: NopOutPdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.NOP_OUT | (pdu.immediate ? IMMEDIATE_BIT : 0), FINAL_BIT, pdu);
  writeLun(into, at, pdu);
  putUint32(into, pdu.initiatorTaskTag, at + nopField.initiatorTaskTag);
  putUint32(into, pdu.targetTransferTag, at + nopField.targetTransferTag);
  putUint32(into, pdu.cmdSN, at + nopField.cmdSN);
  putUint32(into, pdu.expStatSN, at + nopField.expStatSN);
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
    lunHigh: uint32(bhs, at + nopField.lunHigh),
    lunLow: uint32(bhs, at + nopField.lunLow),
    initiatorTaskTag: uint32(bhs, at + nopField.initiatorTaskTag),
    targetTransferTag: uint32(bhs, at + nopField.targetTransferTag),
    statSN: uint32(bhs, at + nopField.statSN),
    expCmdSN: uint32(bhs, at + nopField.expCmdSN),
    maxCmdSN: uint32(bhs, at + nopField.maxCmdSN),
  };
}

export function encodeNopIn(pdu: NopInPdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.NOP_IN, FINAL_BIT, pdu);
  writeLun(into, at, pdu);
  putUint32(into, pdu.initiatorTaskTag, at + nopField.initiatorTaskTag);
  putUint32(into, pdu.targetTransferTag, at + nopField.targetTransferTag);
  putUint32(into, pdu.statSN, at + nopField.statSN);
  putUint32(into, pdu.expCmdSN, at + nopField.expCmdSN);
  putUint32(into, pdu.maxCmdSN, at + nopField.maxCmdSN);
}
