/**
 * The parameter list of EXTENDED COPY (LID1) (SPC-4 6.4): what is to be copied, or what is wrong with the bytes. It knows no
 * units: whether a descriptor names one, and whether a segment fits on it, is found when its turn comes (copier.ts).
 */
import { uint16, uint24, uint32, uint64 } from '../../base/bytes.js';
import { COPY_CSCDS_MAX, COPY_SEGMENTS_MAX } from '../../base/limits.js';
import { byteAt } from '../cdb.js';
import { invalidParameterField, type Sense, SENSE } from '../sense.js';

const HEADER_BYTES = 16;
const CSCD_BYTES = 32;
const SEGMENT_BYTES = 28;
/** Of the one that names a unit by a designation descriptor; a longer one has no room in it. */
const DESIGNATOR_BYTES_MAX = 20;

/** MAXIMUM DESCRIPTOR LIST LENGTH: CSCD and segment descriptors together. */
export const DESCRIPTOR_LIST_BYTES_MAX = COPY_CSCDS_MAX * CSCD_BYTES + COPY_SEGMENTS_MAX * SEGMENT_BYTES;
export const COPY_LIST_BYTES_MAX = HEADER_BYTES + DESCRIPTOR_LIST_BYTES_MAX;

/** The descriptors that there are here. */
export const DescriptorType = { BLOCK_TO_BLOCK: 0x02, IDENTIFICATION: 0xe4 } as const;

/** "The unit to which the command was sent" in place of the number of a CSCD descriptor. */
export const OWN_UNIT = 0xffff;

/** LIST ID USAGE, bits 4–3 of byte 1. Its second bit was NRCR in SPC-3, and means the same. */
export const ListIdUsage = { HOLD: 0, RESERVED: 1, DISCARD: 2, NONE: 3 } as const;

/** A copy source or copy destination, by an identification descriptor CSCD descriptor (SPC-4 6.4.5). */
export interface Cscd {
  /** Where it stands in the parameter list. */
  readonly at: number;
  /** NUL: a device that is not there (obsolete). */
  readonly isNull: boolean;
  readonly peripheralDeviceType: number;
  /** As VPD 83h has it. */
  readonly designator: Buffer;
  /** DISK BLOCK LENGTH, 0 where it is not said. */
  readonly blockBytes: number;
}

/** Where the fields of a segment descriptor stand in it. */
export const segmentField = {
  flags: 1,
  source: 4,
  destination: 6,
  blocks: 10,
  sourceLba: 12,
  destinationLba: 20,
} as const;

/** A block to block segment descriptor (SPC-4 6.4.6). */
export interface Segment {
  /** DC: `blocks` are the destination's, where those are of another length. */
  readonly countsDestination: boolean;
  /** FCO: only where it takes less than reading and writing. */
  readonly fastCopyOnly: boolean;
  /** Numbers of CSCD descriptors. */
  readonly source: number;
  readonly destination: number;
  readonly blocks: number;
  readonly sourceLba: number;
  readonly destinationLba: number;
}

export interface CopyList {
  readonly listIdentifier: number;
  readonly listIdUsage: number;
  readonly cscds: readonly Cscd[];
  readonly segments: readonly Segment[];
}

function at(sense: Sense, byte: number): Sense {
  return { ...sense, field: { inCdb: false, byte } };
}

/** What the header refuses by itself. STR and PRIORITY are for others: nothing here is sequential. */
function findHeaderFault(list: Buffer): Sense | null {
  if (list.length < HEADER_BYTES) return SENSE.PARAMETER_LIST_LENGTH_ERROR;
  const cscdBytes = uint16(list, 2);
  const segmentBytes = uint32(list, 8);
  const listBytes = cscdBytes + segmentBytes;
  if (listBytes > DESCRIPTOR_LIST_BYTES_MAX || HEADER_BYTES + listBytes > list.length)
    return SENSE.PARAMETER_LIST_LENGTH_ERROR;
  if (cscdBytes > COPY_CSCDS_MAX * CSCD_BYTES) return at(SENSE.TOO_MANY_TARGET_DESCRIPTORS, 2);
  if (segmentBytes > COPY_SEGMENTS_MAX * SEGMENT_BYTES) return at(SENSE.TOO_MANY_SEGMENT_DESCRIPTORS, 8);
  if (uint32(list, 12) !== 0) return at(SENSE.INLINE_DATA_LENGTH_EXCEEDED, 12);
  const usage = usageOf(list);
  if (usage === ListIdUsage.RESERVED) return invalidParameterField(1);
  return usage === ListIdUsage.NONE && byteAt(list, 0) !== 0 ? invalidParameterField(0) : null;
}

function usageOf(list: Buffer): number {
  return (byteAt(list, 1) >>> 3) & 0x03;
}

function readCscds(list: Buffer, from: number, to: number): Cscd[] | Sense {
  const cscds: Cscd[] = [];
  for (let start = from; start < to; start += CSCD_BYTES) {
    if (byteAt(list, start) !== DescriptorType.IDENTIFICATION)
      return at(SENSE.UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE, start);
    if (start + CSCD_BYTES > to) return SENSE.PARAMETER_LIST_LENGTH_ERROR;
    const designatorBytes = byteAt(list, start + 7);
    if (designatorBytes > DESIGNATOR_BYTES_MAX) return invalidParameterField(start + 7);
    // LU ID TYPE, bits 7–6, means nothing here (SPC-4 6.4.5).
    const flags = byteAt(list, start + 1);
    cscds.push({
      at: start,
      isNull: (flags & 0x20) !== 0,
      peripheralDeviceType: flags & 0x1f,
      designator: list.subarray(start + 4, start + 8 + designatorBytes),
      blockBytes: uint24(list, start + 29),
    });
  }
  return cscds;
}

function readSegments(list: Buffer, from: number, to: number): Segment[] | Sense {
  const segments: Segment[] = [];
  for (let start = from; start < to; start += SEGMENT_BYTES) {
    if (byteAt(list, start) !== DescriptorType.BLOCK_TO_BLOCK)
      return at(SENSE.UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE, start);
    if (start + SEGMENT_BYTES > to) return SENSE.PARAMETER_LIST_LENGTH_ERROR;
    const segment = list.subarray(start, start + SEGMENT_BYTES);
    if (uint16(segment, 2) !== SEGMENT_BYTES - 4) return invalidParameterField(start + 2);
    // CAT is about what is left over of a segment, and of ours nothing is.
    const flags = byteAt(segment, segmentField.flags);
    segments.push({
      countsDestination: (flags & 0x02) !== 0,
      fastCopyOnly: (flags & 0x04) !== 0,
      source: uint16(segment, segmentField.source),
      destination: uint16(segment, segmentField.destination),
      blocks: uint16(segment, segmentField.blocks),
      sourceLba: uint64(segment, segmentField.sourceLba),
      destinationLba: uint64(segment, segmentField.destinationLba),
    });
  }
  return segments;
}

export function parseCopyList(list: Buffer): CopyList | Sense {
  const fault = findHeaderFault(list);
  if (fault !== null) return fault;
  const segmentsAt = HEADER_BYTES + uint16(list, 2);
  const cscds = readCscds(list, HEADER_BYTES, segmentsAt);
  if ('senseKey' in cscds) return cscds;
  const segments = readSegments(list, segmentsAt, segmentsAt + uint32(list, 8));
  if ('senseKey' in segments) return segments;
  return { listIdentifier: byteAt(list, 0), listIdUsage: usageOf(list), cscds, segments };
}
