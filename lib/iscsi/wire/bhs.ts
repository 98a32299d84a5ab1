/**
 * The Basic Header Segment: what all PDUs have in common (RFC 7143 11.2.1). Each PDU's own fields are in its own file;
 * cutting a byte stream into PDUs is the framer's.
 *
 *   0 |.I| Opcode     |F| Opcode-specific ...             |
 *   4 |TotalAHSLength | DataSegmentLength                 |
 *   8 | LUN or opcode-specific                            |
 *  16 | Initiator Task Tag                                |
 *  20 | Opcode-specific up to byte 47                     |
 */
import { putUint32, putUint8, uint32, uint8 } from '../../base/bytes.js';

export const BHS_BYTES = 48;
export const DIGEST_BYTES = 4;

/** Byte 0. */
export const IMMEDIATE_BIT = 0x40;
export const OPCODE_MASK = 0x3f;
/** Byte 1 of most PDUs. */
export const FINAL_BIT = 0x80;

/**
 * Where the fields stand that many PDUs share. From byte 24 on, requests carry CmdSN and ExpStatSN, responses StatSN,
 * ExpCmdSN and MaxCmdSN.
 */
export const bhsField = {
  opcode: 0,
  flags: 1,
  totalAHSLength: 4,
  dataSegmentLength: 5,
  lunHigh: 8,
  lunLow: 12,
  initiatorTaskTag: 16,
  targetTransferTag: 20,
  cmdSN: 24,
  expStatSN: 28,
  statSN: 24,
  expCmdSN: 28,
  maxCmdSN: 32,
} as const;

/** What every PDU says about its own size. */
export interface PduLengths {
  /** In four-byte words. */
  totalAHSLength: number;
  /** In bytes, without padding. */
  dataSegmentLength: number;
}

/** The raw eight bytes of a LUN, to be echoed; its meaning is SAM-5's (scsi/lun.ts). */
export interface RawLun {
  lunHigh: number;
  lunLow: number;
}

/** The fields that mean the same in every PDU. */
export interface Bhs extends PduLengths, RawLun {
  opcode: number;
  immediate: boolean;
  final: boolean;
  initiatorTaskTag: number;
}

export function decodeBhs(bhs: Buffer, at = 0): Bhs {
  return {
    opcode: opcodeOf(bhs, at),
    immediate: isImmediate(bhs, at),
    final: isFinal(bhs, at),
    totalAHSLength: totalAHSLengthOf(bhs, at),
    dataSegmentLength: dataSegmentLengthOf(bhs, at),
    lunHigh: uint32(bhs, at + bhsField.lunHigh),
    lunLow: uint32(bhs, at + bhsField.lunLow),
    initiatorTaskTag: initiatorTaskTagOf(bhs, at),
  };
}

export function opcodeOf(bhs: Buffer, at = 0): number {
  return uint8(bhs, at) & OPCODE_MASK;
}

export function isImmediate(bhs: Buffer, at = 0): boolean {
  return (uint8(bhs, at) & IMMEDIATE_BIT) !== 0;
}

export function isFinal(bhs: Buffer, at = 0): boolean {
  return (uint8(bhs, at + bhsField.flags) & FINAL_BIT) !== 0;
}

/** In four-byte words. */
export function totalAHSLengthOf(bhs: Buffer, at = 0): number {
  return uint8(bhs, at + bhsField.totalAHSLength);
}

export function dataSegmentLengthOf(bhs: Buffer, at = 0): number {
  return uint32(bhs, at + bhsField.totalAHSLength) & 0xffffff;
}

export function initiatorTaskTagOf(bhs: Buffer, at = 0): number {
  return uint32(bhs, at + bhsField.initiatorTaskTag);
}

/** Both lengths in one write: TotalAHSLength (words) in the high byte. */
export function writeLengths(
  into: Buffer,
  at: number,
  totalAHSLength: number,
  dataSegmentLength: number,
): void {
  putUint32(into, ((totalAHSLength << 24) | dataSegmentLength) >>> 0, at + bhsField.totalAHSLength);
}

/** Zeroes all 48 bytes, then writes byte 0, byte 1 and the lengths: how every encoder begins. */
export function beginBhs(into: Buffer, at: number, byte0: number, flags: number, lengths: PduLengths): void {
  for (let byte = at; byte < at + BHS_BYTES; byte++) into[byte] = 0; // fill() of so few takes several times as long
  putUint8(into, byte0, at + bhsField.opcode);
  putUint8(into, flags, at + bhsField.flags);
  writeLengths(into, at, lengths.totalAHSLength, lengths.dataSegmentLength);
}

export function writeLun(into: Buffer, at: number, lun: RawLun): void {
  putUint32(into, lun.lunHigh, at + bhsField.lunHigh);
  putUint32(into, lun.lunLow, at + bhsField.lunLow);
}

/** Data segments are padded to whole words (RFC 7143 11.2.3). */
export function paddedLength(lengthBytes: number): number {
  return (lengthBytes + 3) & ~3;
}
