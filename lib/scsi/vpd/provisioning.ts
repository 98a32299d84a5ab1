/** VPD B1h, Block Device Characteristics (SBC-3 6.6.3), and B2h, Logical Block Provisioning (SBC-3 6.6.5). */

/** WABEREQ and WACEREQ 01b: blocks can be read after SANITIZE has erased them, without being written before. */
const READS_AFTER_ERASE = 0x50;

/** B1h: MEDIUM ROTATION RATE 1, a medium that does not rotate: hosts then neither elevate nor defragment. */
export function encodeBlockDeviceCharacteristics(): Buffer {
  const body = Buffer.alloc(60);
  body.writeUInt16BE(1, 0);
  body[3] = READS_AFTER_ERASE;
  return body;
}

/** Byte 5 of B2h. */
const LBPU = 0x80; // UNMAP
const LBPWS = 0x40; // WRITE SAME (16) with UNMAP
const LBPWS10 = 0x20; // WRITE SAME (10) with UNMAP
const LBPRZ = 0x04; // unmapped blocks read as zeros

/** PROVISIONING TYPE 2: thin. */
const THIN = 0x02;

export function encodeLogicalBlockProvisioning(): Buffer {
  return Buffer.from([0, LBPU | LBPWS | LBPWS10 | LBPRZ, THIN, 0]);
}
