/** Serial number arithmetic on 32 bits (RFC 1982), used by CmdSN, StatSN and their kin (RFC 7143 4.2.2.1). */

export function serialAdd(serial: number, count: number): number {
  return (serial + count) >>> 0;
}

/** Signed distance from `from` to `to`, in [−2^31, 2^31). */
export function serialDistance(from: number, to: number): number {
  return (to - from) | 0;
}

export function serialLess(a: number, b: number): boolean {
  return serialDistance(a, b) > 0;
}

export function serialLessOrEqual(a: number, b: number): boolean {
  return a === b || serialLess(a, b);
}
