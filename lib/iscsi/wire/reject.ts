/** Reject (RFC 7143 11.17): the target refuses a PDU, whose header comes back as the data segment. */
import { FINAL_BIT, beginBhs, bhsField, dataSegmentLengthOf, totalAHSLengthOf } from './bhs.js';
import type { PduLengths } from './bhs.js';
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
    reason: bhs.readUInt8(at + rejectField.reason),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    statSN: bhs.readUInt32BE(at + rejectField.statSN),
    expCmdSN: bhs.readUInt32BE(at + rejectField.expCmdSN),
    maxCmdSN: bhs.readUInt32BE(at + rejectField.maxCmdSN),
    dataSN: bhs.readUInt32BE(at + rejectField.dataSN),
  };
}

export function encodeReject(pdu: RejectPdu, into: Buffer, at = 0): void {
  beginBhs(into, at, Opcode.REJECT, FINAL_BIT, pdu);
  into.writeUInt8(pdu.reason, at + rejectField.reason);
  into.writeUInt32BE(RESERVED_TAG, at + rejectField.initiatorTaskTag);
  into.writeUInt32BE(pdu.statSN, at + rejectField.statSN);
  into.writeUInt32BE(pdu.expCmdSN, at + rejectField.expCmdSN);
  into.writeUInt32BE(pdu.maxCmdSN, at + rejectField.maxCmdSN);
  into.writeUInt32BE(pdu.dataSN, at + rejectField.dataSN);
}
