/** Task Management Function Request and Response (RFC 7143 11.5, 11.6): layout only. */
import { putUint32, putUint8, uint32, uint8 } from '../../base/bytes.js';
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
    function: uint8(bhs, at + taskManagementField.flags) & FUNCTION_MASK,
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: uint32(bhs, at + taskManagementField.lunHigh),
    lunLow: uint32(bhs, at + taskManagementField.lunLow),
    initiatorTaskTag: uint32(bhs, at + taskManagementField.initiatorTaskTag),
    referencedTaskTag: uint32(bhs, at + taskManagementField.referencedTaskTag),
    cmdSN: uint32(bhs, at + taskManagementField.cmdSN),
    expStatSN: uint32(bhs, at + taskManagementField.expStatSN),
    refCmdSN: uint32(bhs, at + taskManagementField.refCmdSN),
    expDataSN: uint32(bhs, at + taskManagementField.expDataSN),
  };
}

export function encodeTaskManagementRequest(pdu: TaskManagementRequestPdu, into: Buffer, at = 0): void {
  const byte0 = Opcode.TASK_MANAGEMENT_REQUEST | (pdu.immediate ? IMMEDIATE_BIT : 0);
  beginBhs(into, at, byte0, FINAL_BIT | (pdu.function & FUNCTION_MASK), pdu);
  writeLun(into, at, pdu);
  putUint32(into, pdu.initiatorTaskTag, at + taskManagementField.initiatorTaskTag);
  putUint32(into, pdu.referencedTaskTag, at + taskManagementField.referencedTaskTag);
  putUint32(into, pdu.cmdSN, at + taskManagementField.cmdSN);
  putUint32(into, pdu.expStatSN, at + taskManagementField.expStatSN);
  putUint32(into, pdu.refCmdSN, at + taskManagementField.refCmdSN);
  putUint32(into, pdu.expDataSN, at + taskManagementField.expDataSN);
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
    response: uint8(bhs, at + taskManagementField.response),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    initiatorTaskTag: uint32(bhs, at + taskManagementField.initiatorTaskTag),
    statSN: uint32(bhs, at + taskManagementField.statSN),
    expCmdSN: uint32(bhs, at + taskManagementField.expCmdSN),
    maxCmdSN: uint32(bhs, at + taskManagementField.maxCmdSN),
  };
}

export function encodeTaskManagementResponse(pdu: TaskManagementResponsePdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.TASK_MANAGEMENT_RESPONSE, FINAL_BIT, pdu);
  putUint8(into, pdu.response, at + taskManagementField.response);
  putUint32(into, pdu.initiatorTaskTag, at + taskManagementField.initiatorTaskTag);
  putUint32(into, pdu.statSN, at + taskManagementField.statSN);
  putUint32(into, pdu.expCmdSN, at + taskManagementField.expCmdSN);
  putUint32(into, pdu.maxCmdSN, at + taskManagementField.maxCmdSN);
}
