/** SCSI Command and SCSI Response (RFC 7143 11.3, 11.4): layout only, nothing of what a CDB means. */
import { assert } from '../../base/assert.js';
import { putUint32, putUint8, uint32, uint8 } from '../../base/bytes.js';
import {
  IMMEDIATE_BIT,
  FINAL_BIT,
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

export const CDB_BYTES = 16;

/** SCSI Command, byte 1 beside F. */
export const COMMAND_READ_BIT = 0x40;
export const COMMAND_WRITE_BIT = 0x20;
export const COMMAND_ATTR_MASK = 0x07;

export const scsiCommandField = {
  ...bhsField,
  expectedDataTransferLength: 20,
  cdb: 32,
} as const;

export interface ScsiCommandPdu extends PduLengths, RawLun {
  immediate: boolean;
  final: boolean;
  read: boolean;
  write: boolean;
  /** TaskAttribute */
  attr: number;
  initiatorTaskTag: number;
  expectedDataTransferLength: number;
  cmdSN: number;
  expStatSN: number;
  /** Exactly CDB_BYTES; when decoded, a view of the header. */
  cdb: Buffer;
}

export function decodeScsiCommand(bhs: Buffer, at = 0): ScsiCommandPdu {
  const flags = uint8(bhs, at + scsiCommandField.flags);
  return {
    immediate: isImmediate(bhs, at),
    final: isFinal(bhs, at),
    read: (flags & COMMAND_READ_BIT) !== 0,
    write: (flags & COMMAND_WRITE_BIT) !== 0,
    attr: flags & COMMAND_ATTR_MASK,
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: uint32(bhs, at + scsiCommandField.lunHigh),
    lunLow: uint32(bhs, at + scsiCommandField.lunLow),
    initiatorTaskTag: uint32(bhs, at + scsiCommandField.initiatorTaskTag),
    expectedDataTransferLength: uint32(bhs, at + scsiCommandField.expectedDataTransferLength),
    cmdSN: uint32(bhs, at + scsiCommandField.cmdSN),
    expStatSN: uint32(bhs, at + scsiCommandField.expStatSN),
    cdb: bhs.subarray(at + scsiCommandField.cdb, at + scsiCommandField.cdb + CDB_BYTES),
  };
}

export function encodeScsiCommand(pdu: ScsiCommandPdu, into: Buffer, at = 0): void {
  assert(pdu.cdb.length === CDB_BYTES, `CDB field of ${pdu.cdb.length} bytes`);
  const flags =
    (pdu.final ? FINAL_BIT : 0) |
    (pdu.read ? COMMAND_READ_BIT : 0) |
    (pdu.write ? COMMAND_WRITE_BIT : 0) |
    (pdu.attr & COMMAND_ATTR_MASK);
  beginBhs(into, at, Opcode.SCSI_COMMAND | (pdu.immediate ? IMMEDIATE_BIT : 0), flags, pdu);
  writeLun(into, at, pdu);
  putUint32(into, pdu.initiatorTaskTag, at + scsiCommandField.initiatorTaskTag);
  putUint32(into, pdu.expectedDataTransferLength, at + scsiCommandField.expectedDataTransferLength);
  putUint32(into, pdu.cmdSN, at + scsiCommandField.cmdSN);
  putUint32(into, pdu.expStatSN, at + scsiCommandField.expStatSN);
  pdu.cdb.copy(into, at + scsiCommandField.cdb);
}

/** SCSI Response, byte 1 (and, for O and U, Data-In). */
export const BIDI_OVERFLOW_BIT = 0x10;
export const BIDI_UNDERFLOW_BIT = 0x08;
export const OVERFLOW_BIT = 0x04;
export const UNDERFLOW_BIT = 0x02;

export const scsiResponseField = {
  ...bhsField,
  response: 2,
  status: 3,
  snackTag: 20,
  expDataSN: 36,
  bidirectionalReadResidualCount: 40,
  residualCount: 44,
} as const;

export interface ScsiResponsePdu extends PduLengths {
  bidirectionalOverflow: boolean;
  bidirectionalUnderflow: boolean;
  overflow: boolean;
  underflow: boolean;
  /** ScsiResponseCode */
  response: number;
  /** SCSI status; means something only when response is COMPLETED. */
  status: number;
  initiatorTaskTag: number;
  snackTag: number;
  statSN: number;
  expCmdSN: number;
  maxCmdSN: number;
  expDataSN: number;
  bidirectionalReadResidualCount: number;
  residualCount: number;
}

export function decodeScsiResponse(bhs: Buffer, at = 0): ScsiResponsePdu {
  const flags = uint8(bhs, at + scsiResponseField.flags);
  return {
    bidirectionalOverflow: (flags & BIDI_OVERFLOW_BIT) !== 0,
    bidirectionalUnderflow: (flags & BIDI_UNDERFLOW_BIT) !== 0,
    overflow: (flags & OVERFLOW_BIT) !== 0,
    underflow: (flags & UNDERFLOW_BIT) !== 0,
    response: uint8(bhs, at + scsiResponseField.response),
    status: uint8(bhs, at + scsiResponseField.status),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    initiatorTaskTag: uint32(bhs, at + scsiResponseField.initiatorTaskTag),
    snackTag: uint32(bhs, at + scsiResponseField.snackTag),
    statSN: uint32(bhs, at + scsiResponseField.statSN),
    expCmdSN: uint32(bhs, at + scsiResponseField.expCmdSN),
    maxCmdSN: uint32(bhs, at + scsiResponseField.maxCmdSN),
    expDataSN: uint32(bhs, at + scsiResponseField.expDataSN),
    bidirectionalReadResidualCount: uint32(bhs, at + scsiResponseField.bidirectionalReadResidualCount),
    residualCount: uint32(bhs, at + scsiResponseField.residualCount),
  };
}

export function encodeScsiResponse(pdu: ScsiResponsePdu, into: Buffer, at = 0): void {
  const flags =
    FINAL_BIT |
    (pdu.bidirectionalOverflow ? BIDI_OVERFLOW_BIT : 0) |
    (pdu.bidirectionalUnderflow ? BIDI_UNDERFLOW_BIT : 0) |
    (pdu.overflow ? OVERFLOW_BIT : 0) |
    (pdu.underflow ? UNDERFLOW_BIT : 0);
  beginBhs(into, at, Opcode.SCSI_RESPONSE, flags, pdu);
  putUint8(into, pdu.response, at + scsiResponseField.response);
  putUint8(into, pdu.status, at + scsiResponseField.status);
  putUint32(into, pdu.initiatorTaskTag, at + scsiResponseField.initiatorTaskTag);
  putUint32(into, pdu.snackTag, at + scsiResponseField.snackTag);
  putUint32(into, pdu.statSN, at + scsiResponseField.statSN);
  putUint32(into, pdu.expCmdSN, at + scsiResponseField.expCmdSN);
  putUint32(into, pdu.maxCmdSN, at + scsiResponseField.maxCmdSN);
  putUint32(into, pdu.expDataSN, at + scsiResponseField.expDataSN);
  putUint32(into, pdu.bidirectionalReadResidualCount, at + scsiResponseField.bidirectionalReadResidualCount);
  putUint32(into, pdu.residualCount, at + scsiResponseField.residualCount);
}
