/** Asynchronous Message (RFC 7143 11.9): the target asks for a logout, or announces that it drops something. */
import { FINAL_BIT, beginBhs, bhsField, dataSegmentLengthOf, totalAHSLengthOf, writeLun } from './bhs.js';
import type { PduLengths, RawLun } from './bhs.js';
import { Opcode, RESERVED_TAG } from './opcodes.js';

export const asyncMessageField = {
  ...bhsField,
  asyncEvent: 36,
  asyncVCode: 37,
  parameter1: 38,
  parameter2: 40,
  parameter3: 42,
} as const;

export interface AsyncMessagePdu extends PduLengths, RawLun {
  /** Consumed: a message takes a StatSN of its own. */
  statSN: number;
  expCmdSN: number;
  maxCmdSN: number;
  /** AsyncEvent, which also says what the parameters mean. */
  asyncEvent: number;
  asyncVCode: number;
  parameter1: number;
  parameter2: number;
  parameter3: number;
}

export function decodeAsyncMessage(bhs: Buffer, at = 0): AsyncMessagePdu {
  return {
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: bhs.readUInt32BE(at + asyncMessageField.lunHigh),
    lunLow: bhs.readUInt32BE(at + asyncMessageField.lunLow),
    statSN: bhs.readUInt32BE(at + asyncMessageField.statSN),
    expCmdSN: bhs.readUInt32BE(at + asyncMessageField.expCmdSN),
    maxCmdSN: bhs.readUInt32BE(at + asyncMessageField.maxCmdSN),
    asyncEvent: bhs.readUInt8(at + asyncMessageField.asyncEvent),
    asyncVCode: bhs.readUInt8(at + asyncMessageField.asyncVCode),
    parameter1: bhs.readUInt16BE(at + asyncMessageField.parameter1),
    parameter2: bhs.readUInt16BE(at + asyncMessageField.parameter2),
    parameter3: bhs.readUInt16BE(at + asyncMessageField.parameter3),
  };
}

export function encodeAsyncMessage(pdu: AsyncMessagePdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.ASYNC_MESSAGE, FINAL_BIT, pdu);
  writeLun(into, at, pdu);
  into.writeUInt32BE(RESERVED_TAG, at + asyncMessageField.initiatorTaskTag);
  into.writeUInt32BE(pdu.statSN, at + asyncMessageField.statSN);
  into.writeUInt32BE(pdu.expCmdSN, at + asyncMessageField.expCmdSN);
  into.writeUInt32BE(pdu.maxCmdSN, at + asyncMessageField.maxCmdSN);
  into.writeUInt8(pdu.asyncEvent, at + asyncMessageField.asyncEvent);
  into.writeUInt8(pdu.asyncVCode, at + asyncMessageField.asyncVCode);
  into.writeUInt16BE(pdu.parameter1, at + asyncMessageField.parameter1);
  into.writeUInt16BE(pdu.parameter2, at + asyncMessageField.parameter2);
  into.writeUInt16BE(pdu.parameter3, at + asyncMessageField.parameter3);
}
