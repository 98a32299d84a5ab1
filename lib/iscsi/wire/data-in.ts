/** SCSI Data-In (RFC 7143 11.7): read data, and with S set the status that ends the command. */
import { putUint32, putUint8, uint32, uint8 } from '../../base/bytes.js';
import {
  FINAL_BIT,
  beginBhs,
  bhsField,
  dataSegmentLengthOf,
  isFinal,
  totalAHSLengthOf,
  writeLun,
  type PduLengths,
  type RawLun,
} from './bhs.js';
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
  const flags = uint8(bhs, at + dataInField.flags);
  return {
    final: isFinal(bhs, at),
    acknowledge: (flags & DATA_IN_ACKNOWLEDGE_BIT) !== 0,
    overflow: (flags & OVERFLOW_BIT) !== 0,
    underflow: (flags & UNDERFLOW_BIT) !== 0,
    hasStatus: (flags & DATA_IN_STATUS_BIT) !== 0,
    status: uint8(bhs, at + dataInField.status),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: uint32(bhs, at + dataInField.lunHigh),
    lunLow: uint32(bhs, at + dataInField.lunLow),
    initiatorTaskTag: uint32(bhs, at + dataInField.initiatorTaskTag),
    targetTransferTag: uint32(bhs, at + dataInField.targetTransferTag),
    statSN: uint32(bhs, at + dataInField.statSN),
    expCmdSN: uint32(bhs, at + dataInField.expCmdSN),
    maxCmdSN: uint32(bhs, at + dataInField.maxCmdSN),
    dataSN: uint32(bhs, at + dataInField.dataSN),
    bufferOffset: uint32(bhs, at + dataInField.bufferOffset),
    residualCount: uint32(bhs, at + dataInField.residualCount),
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
  putUint8(into, pdu.status, at + dataInField.status);
  writeLun(into, at, pdu);
  putUint32(into, pdu.initiatorTaskTag, at + dataInField.initiatorTaskTag);
  putUint32(into, pdu.targetTransferTag, at + dataInField.targetTransferTag);
  putUint32(into, pdu.statSN, at + dataInField.statSN);
  putUint32(into, pdu.expCmdSN, at + dataInField.expCmdSN);
  putUint32(into, pdu.maxCmdSN, at + dataInField.maxCmdSN);
  putUint32(into, pdu.dataSN, at + dataInField.dataSN);
  putUint32(into, pdu.bufferOffset, at + dataInField.bufferOffset);
  putUint32(into, pdu.residualCount, at + dataInField.residualCount);
}
