/** Task Management Function Request and Response (RFC 7143 11.5, 11.6): layout only. */
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

const FUNCTION_MASK = 0x7f;

export const taskManagementField = {
  ...bhsField,
  response: 2,
  referencedTaskTag: 20,
  refCmdSN: 32,
  expDataSN: 36,
} as const;

export interface TaskManagementRequestPdu extends PduLengths, RawLun {
  immediate: boolean;
  /** TaskManagementFunction */
  function: number;
  initiatorTaskTag: number;
  /** The task meant, or RESERVED_TAG. */
  referencedTaskTag: number;
  cmdSN: number;
  expStatSN: number;
  /** The CmdSN of the task meant (ABORT TASK). */
  refCmdSN: number;
  expDataSN: number;
}

export function decodeTaskManagementRequest(bhs: Buffer, at = 0): TaskManagementRequestPdu {
  return {
    immediate: isImmediate(bhs, at),
    function: bhs.readUInt8(at + taskManagementField.flags) & FUNCTION_MASK,
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: bhs.readUInt32BE(at + taskManagementField.lunHigh),
    lunLow: bhs.readUInt32BE(at + taskManagementField.lunLow),
    initiatorTaskTag: bhs.readUInt32BE(at + taskManagementField.initiatorTaskTag),
    referencedTaskTag: bhs.readUInt32BE(at + taskManagementField.referencedTaskTag),
    cmdSN: bhs.readUInt32BE(at + taskManagementField.cmdSN),
    expStatSN: bhs.readUInt32BE(at + taskManagementField.expStatSN),
    refCmdSN: bhs.readUInt32BE(at + taskManagementField.refCmdSN),
    expDataSN: bhs.readUInt32BE(at + taskManagementField.expDataSN),
  };
}

export function encodeTaskManagementRequest(pdu: TaskManagementRequestPdu, into: Buffer, at = 0): void {
  const byte0 = Opcode.TASK_MANAGEMENT_REQUEST | (pdu.immediate ? IMMEDIATE_BIT : 0);
  beginBhs(into, at, byte0, FINAL_BIT | (pdu.function & FUNCTION_MASK), pdu);
  writeLun(into, at, pdu);
  into.writeUInt32BE(pdu.initiatorTaskTag, at + taskManagementField.initiatorTaskTag);
  into.writeUInt32BE(pdu.referencedTaskTag, at + taskManagementField.referencedTaskTag);
  into.writeUInt32BE(pdu.cmdSN, at + taskManagementField.cmdSN);
  into.writeUInt32BE(pdu.expStatSN, at + taskManagementField.expStatSN);
  into.writeUInt32BE(pdu.refCmdSN, at + taskManagementField.refCmdSN);
  into.writeUInt32BE(pdu.expDataSN, at + taskManagementField.expDataSN);
}

export interface TaskManagementResponsePdu extends PduLengths {
  /** TaskManagementResponseCode */
  response: number;
  initiatorTaskTag: number;
  statSN: number;
  expCmdSN: number;
  maxCmdSN: number;
}

export function decodeTaskManagementResponse(bhs: Buffer, at = 0): TaskManagementResponsePdu {
  return {
    response: bhs.readUInt8(at + taskManagementField.response),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    initiatorTaskTag: bhs.readUInt32BE(at + taskManagementField.initiatorTaskTag),
    statSN: bhs.readUInt32BE(at + taskManagementField.statSN),
    expCmdSN: bhs.readUInt32BE(at + taskManagementField.expCmdSN),
    maxCmdSN: bhs.readUInt32BE(at + taskManagementField.maxCmdSN),
  };
}

export function encodeTaskManagementResponse(pdu: TaskManagementResponsePdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.TASK_MANAGEMENT_RESPONSE, FINAL_BIT, pdu);
  into.writeUInt8(pdu.response, at + taskManagementField.response);
  into.writeUInt32BE(pdu.initiatorTaskTag, at + taskManagementField.initiatorTaskTag);
  into.writeUInt32BE(pdu.statSN, at + taskManagementField.statSN);
  into.writeUInt32BE(pdu.expCmdSN, at + taskManagementField.expCmdSN);
  into.writeUInt32BE(pdu.maxCmdSN, at + taskManagementField.maxCmdSN);
}
