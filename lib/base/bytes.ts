/**
 * No bytes; and integers in a byte buffer, read and written in place, big-endian but for those called Le. Buffer's own methods
 * make the same checks through a wrapper, which costs 13 ns a call in Node 20, and a command has some thirty of them: these
 * take 1.
 *
 * All throw a RangeError for a place beyond the end of the bytes, and for a value that does not fit.
 */

/** Where there is no data. */
export const NO_BYTES: Buffer = Buffer.alloc(0);

export function uint8(bytes: Uint8Array, at: number): number {
  if (at + 1 > bytes.length) beyondEnd(bytes, at);
  return bytes[at] as number;
}

export function uint16(bytes: Uint8Array, at: number): number {
  if (at + 2 > bytes.length) beyondEnd(bytes, at);
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function uint24(bytes: Uint8Array, at: number): number {
  if (at + 3 > bytes.length) beyondEnd(bytes, at);
  return ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
}

export function uint32(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) beyondEnd(bytes, at);
  const high = ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16);
  return (high | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)) >>> 0;
}

/** Beyond 2^53 it is inexact. */
export function uint64(bytes: Uint8Array, at: number): number {
  return uint32(bytes, at) * 0x1_0000_0000 + uint32(bytes, at + 4);
}

export function uint32Le(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) beyondEnd(bytes, at);
  const high = ((bytes[at + 3] as number) << 24) | ((bytes[at + 2] as number) << 16);
  return (high | ((bytes[at + 1] as number) << 8) | (bytes[at] as number)) >>> 0;
}

export function putUint8(into: Uint8Array, value: number, at: number): void {
  if (at + 1 > into.length) beyondEnd(into, at);
  if ((value & 0xff) !== value) unfit(value);
  into[at] = value;
}

export function putUint16(into: Uint8Array, value: number, at: number): void {
  if (at + 2 > into.length) beyondEnd(into, at);
  if ((value & 0xffff) !== value) unfit(value);
  into[at] = value >>> 8;
  into[at + 1] = value;
}

export function putUint24(into: Uint8Array, value: number, at: number): void {
  if (at + 3 > into.length) beyondEnd(into, at);
  if ((value & 0xffffff) !== value) unfit(value);
  into[at] = value >>> 16;
  into[at + 1] = value >>> 8;
  into[at + 2] = value;
}

export function putUint32(into: Uint8Array, value: number, at: number): void {
  if (at + 4 > into.length) beyondEnd(into, at);
  if (value >>> 0 !== value) unfit(value);
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
}

/** `value` below 2^53. */
export function putUint64(into: Uint8Array, value: number, at: number): void {
  putUint32(into, Math.floor(value / 0x1_0000_0000), at);
  putUint32(into, value % 0x1_0000_0000, at + 4);
}

export function putUint32Le(into: Uint8Array, value: number, at: number): void {
  if (at + 4 > into.length) beyondEnd(into, at);
  if (value >>> 0 !== value) unfit(value);
  into[at] = value;
  into[at + 1] = value >>> 8;
  into[at + 2] = value >>> 16;
  into[at + 3] = value >>> 24;
}

// Apart from their callers, which are compiled into what calls them as long as they are short.
function beyondEnd(bytes: Uint8Array, at: number): never {
  throw new RangeError(`an integer at ${at} of ${bytes.length} bytes`);
}

function unfit(value: number): never {
  throw new RangeError(`${value} does not fit`);
}
