/** Text Request and Text Response (RFC 7143 11.10, 11.11): key=value pairs in full feature phase; SendTargets. */
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
} from './bhs.js';
import type { PduLengths, RawLun } from './bhs.js';
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
    continues: (bhs.readUInt8(at + textField.flags) & CONTINUE_BIT) !== 0,
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: bhs.readUInt32BE(at + textField.lunHigh),
    lunLow: bhs.readUInt32BE(at + textField.lunLow),
    initiatorTaskTag: bhs.readUInt32BE(at + textField.initiatorTaskTag),
    targetTransferTag: bhs.readUInt32BE(at + textField.targetTransferTag),
    cmdSN: bhs.readUInt32BE(at + textField.cmdSN),
    expStatSN: bhs.readUInt32BE(at + textField.expStatSN),
  };
}

export function encodeTextRequest(pdu: TextRequestPdu, into: Buffer, at = 0): void {
  const flags = (pdu.final ? FINAL_BIT : 0) | (pdu.continues ? CONTINUE_BIT : 0);
  beginBhs(into, at, Opcode.TEXT_REQUEST | (pdu.immediate ? IMMEDIATE_BIT : 0), flags, pdu);
  writeLun(into, at, pdu);
  into.writeUInt32BE(pdu.initiatorTaskTag, at + textField.initiatorTaskTag);
  into.writeUInt32BE(pdu.targetTransferTag, at + textField.targetTransferTag);
  into.writeUInt32BE(pdu.cmdSN, at + textField.cmdSN);
  into.writeUInt32BE(pdu.expStatSN, at + textField.expStatSN);
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
    continues: (bhs.readUInt8(at + textField.flags) & CONTINUE_BIT) !== 0,
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: bhs.readUInt32BE(at + textField.lunHigh),
    lunLow: bhs.readUInt32BE(at + textField.lunLow),
    initiatorTaskTag: bhs.readUInt32BE(at + textField.initiatorTaskTag),
    targetTransferTag: bhs.readUInt32BE(at + textField.targetTransferTag),
    statSN: bhs.readUInt32BE(at + textField.statSN),
    expCmdSN: bhs.readUInt32BE(at + textField.expCmdSN),
    maxCmdSN: bhs.readUInt32BE(at + textField.maxCmdSN),
  };
}

export function encodeTextResponse(pdu: TextResponsePdu, into: Buffer, at = 0): void {
  const flags = (pdu.final ? FINAL_BIT : 0) | (pdu.continues ? CONTINUE_BIT : 0);
  beginBhs(into, at, Opcode.TEXT_RESPONSE, flags, pdu);
  writeLun(into, at, pdu);
  into.writeUInt32BE(pdu.initiatorTaskTag, at + textField.initiatorTaskTag);
  into.writeUInt32BE(pdu.targetTransferTag, at + textField.targetTransferTag);
  into.writeUInt32BE(pdu.statSN, at + textField.statSN);
  into.writeUInt32BE(pdu.expCmdSN, at + textField.expCmdSN);
  into.writeUInt32BE(pdu.maxCmdSN, at + textField.maxCmdSN);
}
