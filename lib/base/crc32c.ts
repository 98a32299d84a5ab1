/**
 * CRC32C: Castagnoli's polynomial, reflected (RFC 3385). The digest of iSCSI and of the peer channel; how it is written is
 * theirs. Headers are short and get slicing-by-8 in JavaScript; data goes to a native routine: Intel's ISA-L where the
 * system has it, and else one that comes with us. For 4 KiB in the cache they take 0.14 and 0.78 µs, calls included (a
 * virtual machine on an AMD EPYC, Node 20): a fifth of the time.
 */
import { crc32c } from '@node-rs/crc32';
import { loadLibc } from './libc.js';

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

/**
 * Makes the function that gives the CRC32C of two stretches in a row from theirs, the second of them `secondBytes` long:
 * a register that goes through so many zeros is a linear function of its bits, one table for each of its bytes.
 */
export function crc32cJoiner(secondBytes: number): (first: number, second: number) => number {
  const ofBit = Array.from({ length: 32 }, (_, bit) => {
    let crc = 1 << bit;
    for (let at = 0; at < secondBytes; at++) crc = (crc >>> 8) ^ table(0, crc & 0xff);
    return crc;
  });
  const shifted = new Int32Array(4 * 256);
  for (let at = 0; at < shifted.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      if ((at & (1 << bit)) !== 0)
        shifted[at] = (shifted[at] as number) ^ (ofBit[(at >>> 8) * 8 + bit] as number);
    }
  }
  return (first, second) =>
    (shifted[first & 0xff] as number) ^
    (shifted[256 + ((first >>> 8) & 0xff)] as number) ^
    (shifted[512 + ((first >>> 16) & 0xff)] as number) ^
    (shifted[768 + (first >>> 24)] as number) ^
    second;
}

type DataCrc32c = (bytes: Uint8Array, previous: number) => number;

export const bundledCrc32c: DataCrc32c = (bytes, previous) => crc32c(bytes, previous);

/** Chosen when it is first needed: most processes never compute one. */
let chosen: DataCrc32c = (bytes, previous) => {
  chosen = loadIsal() ?? bundledCrc32c;
  return chosen(bytes, previous);
};

/** CRC32C of data; `previous` is the digest of what came before it, to go on from. */
export function dataCrc32c(bytes: Uint8Array, previous = 0): number {
  return chosen(bytes, previous);
}

/** Debian: libisal2. Null where it, or koffi, is missing. Exported for tests. */
export function loadIsal(): DataCrc32c | null {
  try {
    const library = loadLibc()?.koffi.load('libisal.so.2');
    if (library === undefined) return null;
    const isal = library.func('uint32_t crc32_iscsi(const void *bytes, int length, uint32_t before)') as (
      bytes: Uint8Array,
      length: number,
      before: number,
    ) => number;
    // It takes and gives the bare register, which a digest is the complement of.
    return (bytes, previous) => ~isal(bytes, bytes.length, ~previous >>> 0) >>> 0;
  } catch {
    return null;
  }
}
