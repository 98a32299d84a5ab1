/** Logout Request and Logout Response (RFC 7143 11.14, 11.15): the orderly end of a session or connection. */
import {
  FINAL_BIT,
  IMMEDIATE_BIT,
  beginBhs,
  bhsField,
  dataSegmentLengthOf,
  isImmediate,
  totalAHSLengthOf,
} from './bhs.js';
import type { PduLengths } from './bhs.js';
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
    reason: bhs.readUInt8(at + logoutField.flags) & REASON_MASK,
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    initiatorTaskTag: bhs.readUInt32BE(at + logoutField.initiatorTaskTag),
    cid: bhs.readUInt16BE(at + logoutField.cid),
    cmdSN: bhs.readUInt32BE(at + logoutField.cmdSN),
    expStatSN: bhs.readUInt32BE(at + logoutField.expStatSN),
  };
}

export function encodeLogoutRequest(pdu: LogoutRequestPdu, into: Buffer, at = 0): void {
  const byte0 = Opcode.LOGOUT_REQUEST | (pdu.immediate ? IMMEDIATE_BIT : 0);
  beginBhs(into, at, byte0, FINAL_BIT | (pdu.reason & REASON_MASK), pdu);
  into.writeUInt32BE(pdu.initiatorTaskTag, at + logoutField.initiatorTaskTag);
  into.writeUInt16BE(pdu.cid, at + logoutField.cid);
  into.writeUInt32BE(pdu.cmdSN, at + logoutField.cmdSN);
  into.writeUInt32BE(pdu.expStatSN, at + logoutField.expStatSN);
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
    response: bhs.readUInt8(at + logoutField.response),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    initiatorTaskTag: bhs.readUInt32BE(at + logoutField.initiatorTaskTag),
    statSN: bhs.readUInt32BE(at + logoutField.statSN),
    expCmdSN: bhs.readUInt32BE(at + logoutField.expCmdSN),
    maxCmdSN: bhs.readUInt32BE(at + logoutField.maxCmdSN),
    time2Wait: bhs.readUInt16BE(at + logoutField.time2Wait),
    time2Retain: bhs.readUInt16BE(at + logoutField.time2Retain),
  };
}

export function encodeLogoutResponse(pdu: LogoutResponsePdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.LOGOUT_RESPONSE, FINAL_BIT, pdu);
  into.writeUInt8(pdu.response, at + logoutField.response);
  into.writeUInt32BE(pdu.initiatorTaskTag, at + logoutField.initiatorTaskTag);
  into.writeUInt32BE(pdu.statSN, at + logoutField.statSN);
  into.writeUInt32BE(pdu.expCmdSN, at + logoutField.expCmdSN);
  into.writeUInt32BE(pdu.maxCmdSN, at + logoutField.maxCmdSN);
  into.writeUInt16BE(pdu.time2Wait, at + logoutField.time2Wait);
  into.writeUInt16BE(pdu.time2Retain, at + logoutField.time2Retain);
}
