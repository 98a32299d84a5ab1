/** Login Request and Login Response (RFC 7143 11.12, 11.13): layout only; the keys they carry are text-keys.ts's. */
import { assert } from '../../base/assert.js';
import { putUint16, putUint32, putUint8, uint16, uint32, uint8 } from '../../base/bytes.js';
import {
  FINAL_BIT,
  IMMEDIATE_BIT,
  beginBhs,
  bhsField,
  dataSegmentLengthOf,
  totalAHSLengthOf,
  type PduLengths,
} from './bhs.js';
import { Opcode } from './opcodes.js';
import { CONTINUE_BIT } from './text.js';

export const ISID_BYTES = 6;

/** T stands where F stands in others. */
export const TRANSIT_BIT = FINAL_BIT;

export const loginField = {
  opcode: bhsField.opcode,
  flags: bhsField.flags,
  versionMax: 2,
  versionMin: 3,
  versionActive: 3,
  isid: 8,
  tsih: 14,
  initiatorTaskTag: bhsField.initiatorTaskTag,
  cid: 20,
  cmdSN: bhsField.cmdSN,
  expStatSN: bhsField.expStatSN,
  statSN: bhsField.statSN,
  expCmdSN: bhsField.expCmdSN,
  maxCmdSN: bhsField.maxCmdSN,
  status: 36,
} as const;

/** What both directions share. */
interface LoginCommon extends PduLengths {
  transit: boolean;
  continues: boolean;
  /** Current and next stage: LoginStage, but any of 0–3 may stand on the wire. nsg counts only with transit. */
  csg: number;
  nsg: number;
  versionMax: number;
  /** ISID_BYTES as twelve hexadecimal digits. */
  isid: string;
  tsih: number;
  initiatorTaskTag: number;
}

export interface LoginRequestPdu extends LoginCommon {
  versionMin: number;
  cid: number;
  cmdSN: number;
  expStatSN: number;
}

function decodeCommon(bhs: Buffer, at: number): LoginCommon {
  const flags = uint8(bhs, at + loginField.flags);
  return {
    transit: (flags & TRANSIT_BIT) !== 0,
    continues: (flags & CONTINUE_BIT) !== 0,
    csg: (flags >> 2) & 3,
    nsg: flags & 3,
    versionMax: uint8(bhs, at + loginField.versionMax),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    isid: bhs.toString('hex', at + loginField.isid, at + loginField.isid + ISID_BYTES),
    tsih: uint16(bhs, at + loginField.tsih),
    initiatorTaskTag: uint32(bhs, at + loginField.initiatorTaskTag),
  };
}

function encodeCommon(pdu: LoginCommon, byte0: number, into: Buffer, at: number): void {
  assert(/^[0-9a-f]{12}$/.test(pdu.isid), `ISID ${pdu.isid}`);
  const flags =
    (pdu.transit ? TRANSIT_BIT : 0) |
    (pdu.continues ? CONTINUE_BIT : 0) |
    ((pdu.csg & 3) << 2) |
    (pdu.nsg & 3);
  beginBhs(into, at, byte0, flags, pdu);
  putUint8(into, pdu.versionMax, at + loginField.versionMax);
  into.write(pdu.isid, at + loginField.isid, ISID_BYTES, 'hex');
  putUint16(into, pdu.tsih, at + loginField.tsih);
  putUint32(into, pdu.initiatorTaskTag, at + loginField.initiatorTaskTag);
}

export function decodeLoginRequest(bhs: Buffer, at = 0): LoginRequestPdu {
  return {
    ...decodeCommon(bhs, at),
    versionMin: uint8(bhs, at + loginField.versionMin),
    cid: uint16(bhs, at + loginField.cid),
    cmdSN: uint32(bhs, at + loginField.cmdSN),
    expStatSN: uint32(bhs, at + loginField.expStatSN),
  };
}

/** A Login Request is always immediate. */
export function encodeLoginRequest(pdu: LoginRequestPdu, into: Buffer, at = 0): void {
  encodeCommon(pdu, Opcode.LOGIN_REQUEST | IMMEDIATE_BIT, into, at);
  putUint8(into, pdu.versionMin, at + loginField.versionMin);
  putUint16(into, pdu.cid, at + loginField.cid);
  putUint32(into, pdu.cmdSN, at + loginField.cmdSN);
  putUint32(into, pdu.expStatSN, at + loginField.expStatSN);
}

export interface LoginResponsePdu extends LoginCommon {
  versionActive: number;
  statSN: number;
  expCmdSN: number;
  maxCmdSN: number;
  /** Status-Class and Status-Detail as one number: LoginStatus. */
  status: number;
}

export function decodeLoginResponse(bhs: Buffer, at = 0): LoginResponsePdu {
  return {
    ...decodeCommon(bhs, at),
    versionActive: uint8(bhs, at + loginField.versionActive),
    statSN: uint32(bhs, at + loginField.statSN),
    expCmdSN: uint32(bhs, at + loginField.expCmdSN),
    maxCmdSN: uint32(bhs, at + loginField.maxCmdSN),
    status: uint16(bhs, at + loginField.status),
  };
}

export function encodeLoginResponse(pdu: LoginResponsePdu, into: Buffer, at = 0): void {
  encodeCommon(pdu, Opcode.LOGIN_RESPONSE, into, at);
  putUint8(into, pdu.versionActive, at + loginField.versionActive);
  putUint32(into, pdu.statSN, at + loginField.statSN);
  putUint32(into, pdu.expCmdSN, at + loginField.expCmdSN);
  putUint32(into, pdu.maxCmdSN, at + loginField.maxCmdSN);
  putUint16(into, pdu.status, at + loginField.status);
}
