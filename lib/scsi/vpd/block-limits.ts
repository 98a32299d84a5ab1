/** VPD B0h, Block Limits (SBC-3 6.6.4): how large a command may be. Each number is enforced by its command. */
import { putUint16, putUint32, putUint64 } from '../../base/bytes.js';
import { UNMAP_BLOCKS_MAX, UNMAP_DESCRIPTORS_MAX, WRITE_SAME_BLOCKS_MAX } from '../../base/limits.js';
import type { DiskUnit } from '../unit.js';

const BODY_BYTES = 60;

/** Offsets are the standard's, which count the four-byte header. */
const HEADER_BYTES = 4;

export function encodeBlockLimits(unit: DiskUnit): Buffer {
  const body = Buffer.alloc(BODY_BYTES);
  const put32 = (value: number, at: number): void => putUint32(body, value, at - HEADER_BYTES);
  const physicalBlocks = 2 ** unit.physicalExponent;
  // WSNZ 0: a WRITE SAME of zero blocks reaches to the end of the medium.
  body[5 - HEADER_BYTES] = unit.compareAndWriteBlocksMax; // MAXIMUM COMPARE AND WRITE LENGTH
  putUint16(body, physicalBlocks, 6 - HEADER_BYTES); // OPTIMAL TRANSFER LENGTH GRANULARITY
  put32(unit.transferBlocksMax, 8); // MAXIMUM TRANSFER LENGTH
  if (!unit.full) {
    put32(UNMAP_BLOCKS_MAX, 20); // MAXIMUM UNMAP LBA COUNT
    put32(UNMAP_DESCRIPTORS_MAX, 24); // MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT
    put32(physicalBlocks, 28); // OPTIMAL UNMAP GRANULARITY: holes are whole pages
    put32(0x8000_0000, 32); // UGAVALID, UNMAP GRANULARITY ALIGNMENT 0
  }
  putUint64(body, WRITE_SAME_BLOCKS_MAX, 36 - HEADER_BYTES); // MAXIMUM WRITE SAME LENGTH
  put32(unit.atomicBlocksMax, 44); // MAXIMUM ATOMIC TRANSFER LENGTH
  put32(unit.atomicBlocksMax, 48); // ATOMIC ALIGNMENT
  put32(unit.atomicBlocksMax, 52); // ATOMIC TRANSFER LENGTH GRANULARITY: Linux (sd_config_atomic) offers all from it on
  return body;
}
