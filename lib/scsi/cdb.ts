/** Fields of command descriptor blocks, read in place. */

/** A CDB as transports bring it, and members hand it on: shorter ones have zeros behind them. */
export const CDB_BYTES = 16;

/** The byte at `at`; 0 beyond the end. */
export function byteAt(bytes: Buffer, at: number): number {
  return bytes[at] ?? 0;
}

/** Where the CONTROL byte stands, by group code, the top three bits of the operation code (SPC-4 table 18, SAM-5 5.2). */
const CONTROL_AT = [5, 9, 9, 1, 15, 11, 5, 5];

/** Normal ACA in the CONTROL byte. We have none (NORMACA 0), so it is refused (SAM-5 5.2). */
const NACA = 0x04;

export function controlByteIndex(opcode: number): number {
  return CONTROL_AT[opcode >>> 5] ?? 5;
}

export function asksForAca(cdb: Buffer): boolean {
  return (byteAt(cdb, controlByteIndex(byteAt(cdb, 0))) & NACA) !== 0;
}

/** RDPROTECT, WRPROTECT, VRPROTECT: bits 7–5 of byte 1. Without protection information they must be 0 (SBC-3 5.10). */
export const PROTECT = 0xe0;
/** Bit 3 of byte 1. DPO, bit 4, is only a hint and never looked at. */
export const FUA = 0x08;
