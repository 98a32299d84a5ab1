/** Logout Request and Logout Response (RFC 7143 11.14, 11.15): the orderly end of a session or connection. */
import { putUint16, putUint32, putUint8, uint16, uint32, uint8 } from '../../base/bytes.js';
import {
  FINAL_BIT,
  IMMEDIATE_BIT,
  beginBhs,
  bhsField,
  dataSegmentLengthOf,
  isImmediate,
  totalAHSLengthOf,
  type PduLengths,
} from './bhs.js';
import { Opcode } from './opcodes.js';

const REASON_MASK = 0x7f;

export const logoutField = {
  ...bhsField,
  response: 2,
  cid: 20,
  time2Wait: 40,
  time2Retain: 42,
} as const;

export interface LogoutRequestPdu extends PduLengths {
  immediate: boolean;
  /** LogoutReason */
  reason: number;
  initiatorTaskTag: number;
  /** Means nothing when the whole session is closed. */
  cid: number;
  cmdSN: number;
  expStatSN: number;
}

export function decodeLogoutRequest(bhs: Buffer, at = 0): LogoutRequestPdu {
  return {
    immediate: isImmediate(bhs, at),
    reason: uint8(bhs, at + logoutField.flags) & REASON_MASK,
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    initiatorTaskTag: uint32(bhs, at + logoutField.initiatorTaskTag),
    cid: uint16(bhs, at + logoutField.cid),
    cmdSN: uint32(bhs, at + logoutField.cmdSN),
    expStatSN: uint32(bhs, at + logoutField.expStatSN),
  };
}

export function encodeLogoutRequest(pdu: LogoutRequestPdu, into: Buffer, at = 0): void {
  const byte0 = Opcode.LOGOUT_REQUEST | (pdu.immediate ? IMMEDIATE_BIT : 0);
  beginBhs(into, at, byte0, FINAL_BIT | (pdu.reason & REASON_MASK), pdu);
  putUint32(into, pdu.initiatorTaskTag, at + logoutField.initiatorTaskTag);
  putUint16(into, pdu.cid, at + logoutField.cid);
  putUint32(into, pdu.cmdSN, at + logoutField.cmdSN);
  putUint32(into, pdu.expStatSN, at + logoutField.expStatSN);
}

export interface LogoutResponsePdu extends PduLengths {
  /** LogoutResponseCode */
  response: number;
  initiatorTaskTag: number;
  statSN: number;
  expCmdSN: number;
  maxCmdSN: number;
  /** Seconds. */
  time2Wait: number;
  /** Seconds. */
  time2Retain: number;
}

export function decodeLogoutResponse(bhs: Buffer, at = 0): LogoutResponsePdu {
  return {
    response: uint8(bhs, at + logoutField.response),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    initiatorTaskTag: uint32(bhs, at + logoutField.initiatorTaskTag),
    statSN: uint32(bhs, at + logoutField.statSN),
    expCmdSN: uint32(bhs, at + logoutField.expCmdSN),
    maxCmdSN: uint32(bhs, at + logoutField.maxCmdSN),
    time2Wait: uint16(bhs, at + logoutField.time2Wait),
    time2Retain: uint16(bhs, at + logoutField.time2Retain),
  };
}

export function encodeLogoutResponse(pdu: LogoutResponsePdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.LOGOUT_RESPONSE, FINAL_BIT, pdu);
  putUint8(into, pdu.response, at + logoutField.response);
  putUint32(into, pdu.initiatorTaskTag, at + logoutField.initiatorTaskTag);
  putUint32(into, pdu.statSN, at + logoutField.statSN);
  putUint32(into, pdu.expCmdSN, at + logoutField.expCmdSN);
  putUint32(into, pdu.maxCmdSN, at + logoutField.maxCmdSN);
  putUint16(into, pdu.time2Wait, at + logoutField.time2Wait);
  putUint16(into, pdu.time2Retain, at + logoutField.time2Retain);
}
