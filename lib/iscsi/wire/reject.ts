/** Reject (RFC 7143 11.17): the target refuses a PDU, whose header comes back as the data segment. */
import { putUint32, putUint8, uint32, uint8 } from '../../base/bytes.js';
import {
  FINAL_BIT,
  beginBhs,
  bhsField,
  dataSegmentLengthOf,
  totalAHSLengthOf,
  type PduLengths,
} from './bhs.js';
import { Opcode, RESERVED_TAG } from './opcodes.js';

export const rejectField = {
  ...bhsField,
  reason: 2,
  dataSN: 36,
} as const;

export interface RejectPdu extends PduLengths {
  /** RejectReason */
  reason: number;
  statSN: number;
  expCmdSN: number;
  maxCmdSN: number;
  /** DataSN or R2TSN: only for a rejected Data/R2T SNACK. */
  dataSN: number;
}

export function decodeReject(bhs: Buffer, at = 0): RejectPdu {
  return {
    reason: uint8(bhs, at + rejectField.reason),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    statSN: uint32(bhs, at + rejectField.statSN),
    expCmdSN: uint32(bhs, at + rejectField.expCmdSN),
    maxCmdSN: uint32(bhs, at + rejectField.maxCmdSN),
    dataSN: uint32(bhs, at + rejectField.dataSN),
  };
}

export function encodeReject(pdu: RejectPdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.REJECT, FINAL_BIT, pdu);
  putUint8(into, pdu.reason, at + rejectField.reason);
  putUint32(into, RESERVED_TAG, at + rejectField.initiatorTaskTag);
  putUint32(into, pdu.statSN, at + rejectField.statSN);
  putUint32(into, pdu.expCmdSN, at + rejectField.expCmdSN);
  putUint32(into, pdu.maxCmdSN, at + rejectField.maxCmdSN);
  putUint32(into, pdu.dataSN, at + rejectField.dataSN);
}
