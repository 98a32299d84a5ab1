/** Asynchronous Message (RFC 7143 11.9): the target asks for a logout, or announces that it drops something. */
import { putUint16, putUint32, putUint8, uint16, uint32, uint8 } from '../../base/bytes.js';
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
    lunHigh: uint32(bhs, at + asyncMessageField.lunHigh),
    lunLow: uint32(bhs, at + asyncMessageField.lunLow),
    statSN: uint32(bhs, at + asyncMessageField.statSN),
    expCmdSN: uint32(bhs, at + asyncMessageField.expCmdSN),
    maxCmdSN: uint32(bhs, at + asyncMessageField.maxCmdSN),
    asyncEvent: uint8(bhs, at + asyncMessageField.asyncEvent),
    asyncVCode: uint8(bhs, at + asyncMessageField.asyncVCode),
    parameter1: uint16(bhs, at + asyncMessageField.parameter1),
    parameter2: uint16(bhs, at + asyncMessageField.parameter2),
    parameter3: uint16(bhs, at + asyncMessageField.parameter3),
  };
}

export function encodeAsyncMessage(pdu: AsyncMessagePdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.ASYNC_MESSAGE, FINAL_BIT, pdu);
  writeLun(into, at, pdu);
  putUint32(into, RESERVED_TAG, at + asyncMessageField.initiatorTaskTag);
  putUint32(into, pdu.statSN, at + asyncMessageField.statSN);
  putUint32(into, pdu.expCmdSN, at + asyncMessageField.expCmdSN);
  putUint32(into, pdu.maxCmdSN, at + asyncMessageField.maxCmdSN);
  putUint8(into, pdu.asyncEvent, at + asyncMessageField.asyncEvent);
  putUint8(into, pdu.asyncVCode, at + asyncMessageField.asyncVCode);
  putUint16(into, pdu.parameter1, at + asyncMessageField.parameter1);
  putUint16(into, pdu.parameter2, at + asyncMessageField.parameter2);
  putUint16(into, pdu.parameter3, at + asyncMessageField.parameter3);
}
