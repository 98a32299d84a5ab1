/**
 * Eight-byte logical unit numbers (SAM-5 4.7) to small integers and back. Only single-level numbers are understood;
 * everything else is −1, which no unit has.
 */
import { putUint16, uint16, uint32 } from '../base/bytes.js';

/** SAM-5 table 25: ADDRESS METHOD, the top two bits of a level. */
const PERIPHERAL_DEVICE = 0x00;
const FLAT_SPACE = 0x40;

/** The largest number each addressing method can say. */
const PERIPHERAL_MAX = 0xff;
const FLAT_MAX = 0x3fff;

/** The LUN at `at` as 0–16383, or −1 when it is not a simple single-level one. */
export function decodeLun(bytes: Buffer, at = 0): number {
  // Levels two to four are unused in single-level numbers (SAM-5 4.7.4).
  if (uint16(bytes, at + 2) !== 0 || uint32(bytes, at + 4) !== 0) return -1;
  const first = uint16(bytes, at);
  switch ((first >>> 8) & 0xc0) {
    case PERIPHERAL_DEVICE:
      // A BUS IDENTIFIER other than 0 is a lower level (SAM-5 4.7.7.2).
      return first <= PERIPHERAL_MAX ? first : -1;
    case FLAT_SPACE:
      return first & FLAT_MAX;
    default:
      return -1;
  }
}

/** Writes `lun` (0–16383) in the shortest method that can say it. */
export function encodeLun(lun: number, into: Buffer, at = 0): void {
  into.fill(0, at, at + 8);
  putUint16(into, lun <= PERIPHERAL_MAX ? lun : (FLAT_SPACE << 8) | lun, at);
}
