/**
 * CRC32C, the only digest of iSCSI (RFC 7143 13.1), as it is on the wire: the least significant byte first (the vectors of
 * RFC 7143 B.4).
 */
import { putUint32Le, uint32Le } from '../../base/bytes.js';

export { dataCrc32c, headerCrc32c } from '../../base/crc32c.js';

export function readDigest(bytes: Buffer, at: number): number {
  return uint32Le(bytes, at);
}

export function writeDigest(into: Buffer, at: number, crc: number): void {
  putUint32Le(into, crc, at);
}
