/**
 * Commands as an initiator writes them (SBC-3, SPC-4), into sixteen bytes, and the answers it reads. On purpose not the
 * target's own tables: what checks a target must not share its mistakes.
 */
import { putUint16, putUint32, putUint64, uint32, uint64, uint8 } from '../../base/bytes.js';
import { BlockferryError } from '../../base/errors.js';

function begin(cdb: Buffer, opcode: number): void {
  cdb.fill(0);
  cdb[0] = opcode;
}

function writeLbaAndCount(cdb: Buffer, lba: number, blocks: number): void {
  putUint64(cdb, lba, 2);
  putUint32(cdb, blocks, 10);
}

/** SBC-3 5.13 */
export function read16(cdb: Buffer, lba: number, blocks: number): void {
  begin(cdb, 0x88);
  writeLbaAndCount(cdb, lba, blocks);
}

/** SBC-3 5.33; `fua`: durable before it is answered. */
export function write16(cdb: Buffer, lba: number, blocks: number, fua: boolean): void {
  begin(cdb, 0x8a);
  if (fua) cdb[1] = 0x08;
  writeLbaAndCount(cdb, lba, blocks);
}

/** SBC-3 5.22; zero blocks: to the end of the unit. */
export function synchronizeCache16(cdb: Buffer, lba: number, blocks: number): void {
  begin(cdb, 0x91);
  writeLbaAndCount(cdb, lba, blocks);
}

/** SBC-3 5.45 */
export function writeSame16(cdb: Buffer, lba: number, blocks: number, unmap: boolean): void {
  begin(cdb, 0x93);
  if (unmap) cdb[1] = 0x08;
  writeLbaAndCount(cdb, lba, blocks);
}

/** SBC-3 5.28 */
export function unmapCdb(cdb: Buffer, parameterBytes: number): void {
  begin(cdb, 0x42);
  putUint16(cdb, parameterBytes, 7);
}

export interface LbaRange {
  readonly lba: number;
  readonly blocks: number;
}

/** The parameter list of UNMAP (SBC-3 5.28.2). */
export function unmapParameters(ranges: readonly LbaRange[]): Buffer {
  const list = Buffer.alloc(8 + ranges.length * 16);
  putUint16(list, list.length - 2, 0);
  putUint16(list, ranges.length * 16, 2);
  ranges.forEach(({ lba, blocks }, index) => {
    const at = 8 + index * 16;
    putUint64(list, lba, at);
    putUint32(list, blocks, at + 8);
  });
  return list;
}

/** SBC-3 5.16: SERVICE ACTION IN (16), READ CAPACITY (16). */
export function readCapacity16(cdb: Buffer, allocationLength: number): void {
  begin(cdb, 0x9e);
  cdb[1] = 0x10;
  putUint32(cdb, allocationLength, 10);
}

/** SPC-4 6.6; `page` undefined: the standard data. */
export function inquiryCdb(cdb: Buffer, page: number | undefined, allocationLength: number): void {
  begin(cdb, 0x12);
  if (page !== undefined) {
    cdb[1] = 0x01;
    cdb[2] = page;
  }
  putUint16(cdb, allocationLength, 3);
}

/** SPC-4 6.47 */
export function testUnitReadyCdb(cdb: Buffer): void {
  begin(cdb, 0x00);
}

export interface Capacity {
  /** How many logical blocks. */
  readonly blocks: number;
  readonly blockBytes: number;
  readonly sizeBytes: number;
  /** LBPME: unmapping is possible. */
  readonly thin: boolean;
  /** Logical blocks in a physical one. */
  readonly blocksPerPhysical: number;
}

/** SBC-3 5.16.2. Throws PROTOCOL when the data is too short to be one. */
export function parseCapacity(data: Buffer): Capacity {
  if (data.length < 16)
    throw new BlockferryError('PROTOCOL', `READ CAPACITY(16) brought ${data.length} bytes`);
  const blocks = uint64(data, 0) + 1;
  const blockBytes = uint32(data, 8);
  const thin = (uint8(data, 14) & 0x80) !== 0;
  return {
    blocks,
    blockBytes,
    sizeBytes: blocks * blockBytes,
    thin,
    blocksPerPhysical: 1 << (uint8(data, 13) & 15),
  };
}

export interface SenseSummary {
  readonly key: number;
  readonly asc: number;
  readonly ascq: number;
}

/** SENSE KEY (SPC-4 4.5.6). */
const UNIT_ATTENTION = 0x6;

/** Fixed (70h, 71h) and descriptor (72h, 73h) sense data (SPC-4 4.5); undefined when there is none. */
export function parseSense(sense: Buffer): SenseSummary | undefined {
  const code = (sense[0] ?? 0) & 0x7f;
  if (code >= 0x72 && sense.length >= 4) {
    return { key: uint8(sense, 1) & 15, asc: uint8(sense, 2), ascq: uint8(sense, 3) };
  }
  if (code < 0x70 || sense.length < 14) return undefined;
  return { key: uint8(sense, 2) & 15, asc: uint8(sense, 12), ascq: uint8(sense, 13) };
}

/** Something has changed: the command was not done, and may be sent again. */
export function isUnitAttention(sense: Buffer): boolean {
  return parseSense(sense)?.key === UNIT_ATTENTION;
}

const STATUS_NAMES: Readonly<Record<number, string>> = {
  0x00: 'GOOD',
  0x02: 'CHECK CONDITION',
  0x08: 'BUSY',
  0x18: 'RESERVATION CONFLICT',
  0x28: 'TASK SET FULL',
  0x40: 'TASK ABORTED',
};

const hex = (value: number): string => value.toString(16).padStart(2, '0').toUpperCase();

/** "CHECK CONDITION, sense 5/21/00", in hexadecimal as the standards write them, for an error message. */
export function describeStatus(status: number, sense: Buffer): string {
  const name = STATUS_NAMES[status] ?? `status ${hex(status)}h`;
  const summary = parseSense(sense);
  return summary === undefined
    ? name
    : `${name}, sense ${summary.key.toString(16).toUpperCase()}/${hex(summary.asc)}/${hex(summary.ascq)}`;
}
