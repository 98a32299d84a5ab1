/**
 * CRC32C: Castagnoli's polynomial, reflected (RFC 3385). The digest of iSCSI and of the peer channel; how it is written is
 * theirs. Headers are short and get slicing-by-8 in JavaScript; data goes to a native routine.
 */
import { crc32c as nativeCrc32c } from '@node-rs/crc32';

const POLYNOMIAL = 0x82f63b78;
const SLICES = 8;

/** tables[k × 256 + b]: what byte b contributes when k more bytes follow it in the same step. */
const tables = buildTables();

function buildTables(): Int32Array {
  const built = new Int32Array(SLICES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    built[byte] = crc;
  }
  for (let at = 256; at < built.length; at++) {
    const shorter = built[at - 256] ?? 0;
    built[at] = (shorter >>> 8) ^ (built[shorter & 0xff] ?? 0);
  }
  return built;
}

function table(slice: number, byte: number): number {
  return tables[slice * 256 + byte] as number;
}

/** CRC32C of bytes [start, end): for headers, some 50 bytes. */
export function headerCrc32c(bytes: Uint8Array, start: number, end: number): number {
  let crc = -1;
  let at = start;
  const byte = (index: number): number => bytes[index] as number;
  for (; at + 8 <= end; at += 8) {
    crc ^= byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16) | (byte(at + 3) << 24);
    crc =
      table(7, crc & 0xff) ^
      table(6, (crc >>> 8) & 0xff) ^
      table(5, (crc >>> 16) & 0xff) ^
      table(4, crc >>> 24) ^
      table(3, byte(at + 4)) ^
      table(2, byte(at + 5)) ^
      table(1, byte(at + 6)) ^
      table(0, byte(at + 7));
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ table(0, (crc ^ byte(at)) & 0xff);
  return ~crc >>> 0;
}

/** CRC32C of data; `previous` is the digest of what came before it, to go on from. */
export function dataCrc32c(bytes: Uint8Array, previous = 0): number {
  return nativeCrc32c(bytes, previous);
}
