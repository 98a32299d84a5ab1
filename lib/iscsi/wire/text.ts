/** Text Request and Text Response (RFC 7143 11.10, 11.11): key=value pairs in full feature phase; SendTargets. */
import { putUint32, uint32, uint8 } from '../../base/bytes.js';
import {
  FINAL_BIT,
  IMMEDIATE_BIT,
  beginBhs,
  bhsField,
  dataSegmentLengthOf,
  isFinal,
  isImmediate,
  totalAHSLengthOf,
  writeLun,
  type PduLengths,
  type RawLun,
} from './bhs.js';
import { Opcode } from './opcodes.js';

/** C: the text goes on in the next PDU (byte 1 of Text and Login PDUs). */
export const CONTINUE_BIT = 0x40;

export const textField = bhsField;

export interface TextRequestPdu extends PduLengths, RawLun {
  immediate: boolean;
  final: boolean;
  continues: boolean;
  initiatorTaskTag: number;
  /** From the response this continues, or RESERVED_TAG to begin. */
  targetTransferTag: number;
  cmdSN: number;
  expStatSN: number;
}

export function decodeTextRequest(bhs: Buffer, at = 0): TextRequestPdu {
  return {
    immediate: isImmediate(bhs, at),
    final: isFinal(bhs, at),
    continues: (uint8(bhs, at + textField.flags) & CONTINUE_BIT) !== 0,
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: uint32(bhs, at + textField.lunHigh),
    lunLow: uint32(bhs, at + textField.lunLow),
    initiatorTaskTag: uint32(bhs, at + textField.initiatorTaskTag),
    targetTransferTag: uint32(bhs, at + textField.targetTransferTag),
    cmdSN: uint32(bhs, at + textField.cmdSN),
    expStatSN: uint32(bhs, at + textField.expStatSN),
  };
}

export function encodeTextRequest(pdu: TextRequestPdu, into: Buffer, at = 0): void {
  const flags = (pdu.final ? FINAL_BIT : 0) | (pdu.continues ? CONTINUE_BIT : 0);
  beginBhs(into, at, Opcode.TEXT_REQUEST | (pdu.immediate ? IMMEDIATE_BIT : 0), flags, pdu);
  writeLun(into, at, pdu);
  putUint32(into, pdu.initiatorTaskTag, at + textField.initiatorTaskTag);
  putUint32(into, pdu.targetTransferTag, at + textField.targetTransferTag);
  putUint32(into, pdu.cmdSN, at + textField.cmdSN);
  putUint32(into, pdu.expStatSN, at + textField.expStatSN);
}

export interface TextResponsePdu extends PduLengths, RawLun {
  final: boolean;
  continues: boolean;
  initiatorTaskTag: number;
  /** Anything but RESERVED_TAG: the exchange goes on, with this tag. */
  targetTransferTag: number;
  statSN: number;
  expCmdSN: number;
  maxCmdSN: number;
}

export function decodeTextResponse(bhs: Buffer, at = 0): TextResponsePdu {
  return {
    final: isFinal(bhs, at),
    continues: (uint8(bhs, at + textField.flags) & CONTINUE_BIT) !== 0,
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: uint32(bhs, at + textField.lunHigh),
    lunLow: uint32(bhs, at + textField.lunLow),
    initiatorTaskTag: uint32(bhs, at + textField.initiatorTaskTag),
    targetTransferTag: uint32(bhs, at + textField.targetTransferTag),
    statSN: uint32(bhs, at + textField.statSN),
    expCmdSN: uint32(bhs, at + textField.expCmdSN),
    maxCmdSN: uint32(bhs, at + textField.maxCmdSN),
  };
}

export function encodeTextResponse(pdu: TextResponsePdu, into: Buffer, at = 0): void {
  const flags = (pdu.final ? FINAL_BIT : 0) | (pdu.continues ? CONTINUE_BIT : 0);
  beginBhs(into, at, Opcode.TEXT_RESPONSE, flags, pdu);
  writeLun(into, at, pdu);
  putUint32(into, pdu.initiatorTaskTag, at + textField.initiatorTaskTag);
  putUint32(into, pdu.targetTransferTag, at + textField.targetTransferTag);
  putUint32(into, pdu.statSN, at + textField.statSN);
  putUint32(into, pdu.expCmdSN, at + textField.expCmdSN);
  putUint32(into, pdu.maxCmdSN, at + textField.maxCmdSN);
}
