/** VPD 8Fh, Third-Party Copy (SPC-4 7.8.17): what RECEIVE COPY OPERATING PARAMETERS says, and which commands there are. */
import { putUint16, putUint32 } from '../../base/bytes.js';
import { COPIES_MAX, COPY_CSCDS_MAX, COPY_SEGMENT_BYTES_MAX, COPY_SEGMENTS_MAX } from '../../base/limits.js';
import { DESCRIPTOR_LIST_BYTES_MAX, DescriptorType, OWN_UNIT } from '../copy/parameter-list.js';
import type { DiskUnit } from '../unit.js';

/** THIRD-PARTY COPY DESCRIPTOR TYPE. */
const Type = {
  SUPPORTED_COMMANDS: 0x0001,
  PARAMETER_DATA: 0x0004,
  SUPPORTED_DESCRIPTORS: 0x0008,
  SUPPORTED_CSCD_DESCRIPTOR_IDS: 0x000c,
  GENERAL_COPY_OPERATIONS: 0x8001,
} as const;

/** Padded to a multiple of four. */
function descriptor(type: number, body: Buffer): Buffer {
  const whole = Buffer.alloc(4 + ((body.length + 3) & ~3));
  putUint16(whole, type, 0);
  putUint16(whole, whole.length - 4, 2);
  body.copy(whole, 4);
  return whole;
}

/** Operation code, how many service actions, the service actions. */
const COMMANDS = [0x83, 1, 0x00, 0x84, 3, 0x00, 0x03, 0x04];

function parameterData(): Buffer {
  const body = Buffer.alloc(28);
  putUint16(body, COPY_CSCDS_MAX, 4);
  putUint16(body, COPY_SEGMENTS_MAX, 6);
  putUint32(body, DESCRIPTOR_LIST_BYTES_MAX, 8);
  return body;
}

function generalCopyOperations(unit: DiskUnit): Buffer {
  const body = Buffer.alloc(32);
  putUint32(body, COPIES_MAX, 0); // TOTAL CONCURRENT COPIES
  putUint32(body, COPIES_MAX, 4); // MAXIMUM IDENTIFIED CONCURRENT COPIES
  putUint32(body, COPY_SEGMENT_BYTES_MAX, 8);
  body[12] = Math.log2(unit.blockBytes); // DATA SEGMENT GRANULARITY
  return body;
}

export function encodeThirdPartyCopy(unit: DiskUnit): Buffer {
  const types = [DescriptorType.BLOCK_TO_BLOCK, DescriptorType.IDENTIFICATION];
  const ids = Buffer.from([0, 2, OWN_UNIT >>> 8, OWN_UNIT & 0xff]);
  return Buffer.concat([
    descriptor(Type.SUPPORTED_COMMANDS, Buffer.from([COMMANDS.length, ...COMMANDS])),
    descriptor(Type.PARAMETER_DATA, parameterData()),
    descriptor(Type.SUPPORTED_DESCRIPTORS, Buffer.from([types.length, ...types])),
    descriptor(Type.SUPPORTED_CSCD_DESCRIPTOR_IDS, ids),
    descriptor(Type.GENERAL_COPY_OPERATIONS, generalCopyOperations(unit)),
  ]);
}
