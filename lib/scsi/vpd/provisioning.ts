/** VPD B1h, Block Device Characteristics (SBC-3 6.6.3), and B2h, Logical Block Provisioning (SBC-3 6.6.5). */
import { putUint16 } from '../../base/bytes.js';
import type { DiskUnit } from '../unit.js';

/** WABEREQ and WACEREQ 01b: blocks can be read after SANITIZE has erased them, without being written before. */
const READS_AFTER_ERASE = 0x50;

/** VERIFY compares unmapped blocks like others: they are zeros (SBC-4 6.6.2). */
const VBULS = 0x01;

/** B1h: MEDIUM ROTATION RATE 1, a medium that does not rotate: hosts then neither elevate nor defragment. */
export function encodeBlockDeviceCharacteristics(): Buffer {
  const body = Buffer.alloc(60);
  putUint16(body, 1, 0);
  body[3] = READS_AFTER_ERASE;
  body[4] = VBULS;
  return body;
}

/** Byte 5 of B2h. */
const LBPU = 0x80; // UNMAP
const LBPWS = 0x40; // WRITE SAME (16) with UNMAP
const LBPWS10 = 0x20; // WRITE SAME (10) with UNMAP
const LBPRZ = 0x04; // unmapped blocks read as zeros

/** PROVISIONING TYPE 2: thin. */
const THIN = 0x02;

/** One unit of the counts in log page 0Ch, where a medium is not too large for it. */
const THRESHOLD_SET_BYTES = 1024 * 1024;

/** THRESHOLD EXPONENT: not zero, and a medium has less than 2^32 such sets (SBC-4 6.6.7). */
export function thresholdExponent({ blocks, blockBytes }: DiskUnit): number {
  let exponent = Math.log2(THRESHOLD_SET_BYTES / blockBytes);
  while (blocks / 2 ** exponent >= 2 ** 32) exponent += 1;
  return exponent;
}

export function encodeLogicalBlockProvisioning(unit: DiskUnit): Buffer {
  return Buffer.from([thresholdExponent(unit), LBPU | LBPWS | LBPWS10 | LBPRZ, THIN, 0]);
}
