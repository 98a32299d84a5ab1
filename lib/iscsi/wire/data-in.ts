/** SCSI Data-In (RFC 7143 11.7): read data, and with S set the status that ends the command. */
import {
  FINAL_BIT,
  beginBhs,
  bhsField,
  dataSegmentLengthOf,
  isFinal,
  totalAHSLengthOf,
  writeLun,
} from './bhs.js';
import type { PduLengths, RawLun } from './bhs.js';
import { Opcode } from './opcodes.js';
import { OVERFLOW_BIT, UNDERFLOW_BIT } from './scsi.js';

/** Byte 1 beside F, O and U. */
export const DATA_IN_ACKNOWLEDGE_BIT = 0x40;
export const DATA_IN_STATUS_BIT = 0x01;

export const dataInField = {
  ...bhsField,
  status: 3,
  dataSN: 36,
  bufferOffset: 40,
  residualCount: 44,
} as const;

export interface DataInPdu extends PduLengths, RawLun {
  final: boolean;
  acknowledge: boolean;
  overflow: boolean;
  underflow: boolean;
  /** S: status, statSN and residualCount mean something. */
  hasStatus: boolean;
  status: number;
  initiatorTaskTag: number;
  targetTransferTag: number;
  statSN: number;
  expCmdSN: number;
  maxCmdSN: number;
  dataSN: number;
  bufferOffset: number;
  residualCount: number;
}

export function decodeDataIn(bhs: Buffer, at = 0): DataInPdu {
  const flags = bhs.readUInt8(at + dataInField.flags);
  return {
    final: isFinal(bhs, at),
    acknowledge: (flags & DATA_IN_ACKNOWLEDGE_BIT) !== 0,
    overflow: (flags & OVERFLOW_BIT) !== 0,
    underflow: (flags & UNDERFLOW_BIT) !== 0,
    hasStatus: (flags & DATA_IN_STATUS_BIT) !== 0,
    status: bhs.readUInt8(at + dataInField.status),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: bhs.readUInt32BE(at + dataInField.lunHigh),
    lunLow: bhs.readUInt32BE(at + dataInField.lunLow),
    initiatorTaskTag: bhs.readUInt32BE(at + dataInField.initiatorTaskTag),
    targetTransferTag: bhs.readUInt32BE(at + dataInField.targetTransferTag),
    statSN: bhs.readUInt32BE(at + dataInField.statSN),
    expCmdSN: bhs.readUInt32BE(at + dataInField.expCmdSN),
    maxCmdSN: bhs.readUInt32BE(at + dataInField.maxCmdSN),
    dataSN: bhs.readUInt32BE(at + dataInField.dataSN),
    bufferOffset: bhs.readUInt32BE(at + dataInField.bufferOffset),
    residualCount: bhs.readUInt32BE(at + dataInField.residualCount),
  };
}

export function encodeDataIn(pdu: DataInPdu, into: Buffer, at = 0): void {
  const flags =
    (pdu.final ? FINAL_BIT : 0) |
    (pdu.acknowledge ? DATA_IN_ACKNOWLEDGE_BIT : 0) |
    (pdu.overflow ? OVERFLOW_BIT : 0) |
    (pdu.underflow ? UNDERFLOW_BIT : 0) |
    (pdu.hasStatus ? DATA_IN_STATUS_BIT : 0);
  beginBhs(into, at, Opcode.DATA_IN, flags, pdu);
  into.writeUInt8(pdu.status, at + dataInField.status);
  writeLun(into, at, pdu);
  into.writeUInt32BE(pdu.initiatorTaskTag, at + dataInField.initiatorTaskTag);
  into.writeUInt32BE(pdu.targetTransferTag, at + dataInField.targetTransferTag);
  into.writeUInt32BE(pdu.statSN, at + dataInField.statSN);
  into.writeUInt32BE(pdu.expCmdSN, at + dataInField.expCmdSN);
  into.writeUInt32BE(pdu.maxCmdSN, at + dataInField.maxCmdSN);
  into.writeUInt32BE(pdu.dataSN, at + dataInField.dataSN);
  into.writeUInt32BE(pdu.bufferOffset, at + dataInField.bufferOffset);
  into.writeUInt32BE(pdu.residualCount, at + dataInField.residualCount);
}
