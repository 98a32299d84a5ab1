/**
 * Parameter lists that the device server takes: well-formed, and about what is there. Most of what they say is carried out,
 * so that what the mutator spoils of them is refused for its own sake.
 */
import { NO_BYTES } from '../../base/bytes.js';
import type { Chance } from '../../base/chance.js';
import { unmapParameters } from '../../iscsi/initiator/cdb.js';
import { DescriptorType, OWN_UNIT } from '../../scsi/copy/parameter-list.js';
import { encodeTransportId } from '../../scsi/reservations/transport-id.js';
import { drawData, LBAS_MAX, writeField } from './draws.js';

type DrawList = (chance: Chance, cdb: Buffer, blockBytes: number) => Buffer;

/** By operation code: where the CDB has PARAMETER LIST LENGTH, and what the list is like. */
const LISTS: ReadonlyMap<number, { readonly length: readonly [number, number]; readonly draw: DrawList }> =
  new Map([
    [0x15, { length: [4, 1], draw: (chance, cdb, blockBytes) => modeList(chance, cdb, blockBytes, 4) }],
    [0x42, { length: [7, 2], draw: unmapList }],
    [0x48, { length: [7, 2], draw: sanitizeList }],
    [0x55, { length: [7, 2], draw: (chance, cdb, blockBytes) => modeList(chance, cdb, blockBytes, 8) }],
    [0x5f, { length: [5, 4], draw: reservationList }],
    [0x83, { length: [10, 4], draw: copyList }],
  ]);

/** The parameter list that the CDB then announces; null where the command has none. */
export function parametersOf(chance: Chance, cdb: Buffer, blockBytes: number): Buffer | null {
  // The copies that can be asked about are those of the lists below.
  if (cdb[0] === 0x84) cdb[2] = drawListIdentifier(chance);
  const taken = LISTS.get(cdb[0] as number);
  if (taken === undefined) return null;
  const list = taken.draw(chance, cdb, blockBytes);
  writeField(cdb, taken.length, list.length);
  return list;
}

function unmapList(chance: Chance): Buffer {
  const range = () => ({ lba: chance.below(LBAS_MAX), blocks: chance.below(64) });
  return unmapParameters(Array.from({ length: chance.below(4) }, range));
}

function sanitizeList(chance: Chance, cdb: Buffer): Buffer {
  if (((cdb[1] as number) & 0x1f) !== 0x01) return NO_BYTES;
  const pattern = drawData(chance, chance.within(1, 16));
  return Buffer.concat([Buffer.from([1, 0, 0, pattern.length]), pattern]);
}

/** @param headerBytes the header of (6) or (10), whose last bytes are the BLOCK DESCRIPTOR LENGTH */
function modeList(chance: Chance, cdb: Buffer, blockBytes: number, headerBytes: number): Buffer {
  cdb[1] = 0x10; // PF
  const header = Buffer.alloc(headerBytes);
  const descriptor = chance.happens(0.3) ? Buffer.alloc(8) : NO_BYTES;
  if (descriptor.length > 0) descriptor.writeUIntBE(blockBytes, 5, 3);
  header[headerBytes - 1] = descriptor.length;
  return Buffer.concat([header, descriptor, drawModePage(chance)]);
}

/** Caching or Control, one changeable bit of it set or not; software write protection seldom. */
function drawModePage(chance: Chance): Buffer {
  if (chance.happens(0.5)) {
    const caching = Buffer.alloc(20);
    caching.set([0x08, 0x12, chance.happens(0.9) ? 0x04 : 0]);
    return caching;
  }
  const swp = chance.happens(0.1) ? 0x08 : 0;
  return Buffer.from([0x0a, 0x0a, chance.happens(0.5) ? 0x04 : 0, 0x10, swp, 0x40, 0, 0, 0, 0, 0, 0]);
}

const REGISTER = 0;
const REGISTER_AND_MOVE = 7;
const SPEC_I_PT = 0x08;

/** Keys are few, so that they meet; TransportIDs come where they may (SPC-4 6.16.3, 6.16.4). */
function reservationList(chance: Chance, cdb: Buffer): Buffer {
  const action = (cdb[1] as number) & 0x1f;
  cdb[2] = chance.pick([1, 3, 5, 6, 7, 8, 0, 0x11]);
  const list = Buffer.alloc(24);
  list[7] = chance.below(3);
  list[15] = chance.below(3);
  const namesPorts = action === REGISTER_AND_MOVE || (action === REGISTER && chance.happens(0.2));
  if (!namesPorts) return list;
  const port = (): Buffer =>
    encodeTransportId(`iqn.2026-11.test:${chance.below(4)},i,0x80000000000${chance.below(2)}`);
  const ports = Buffer.concat(Array.from({ length: action === REGISTER ? chance.within(1, 3) : 1 }, port));
  if (action === REGISTER_AND_MOVE) {
    list[17] = chance.below(4); // UNREG, APTPL
    list[19] = 1; // RELATIVE TARGET PORT IDENTIFIER
    list.writeUInt32BE(ports.length, 20);
    return Buffer.concat([list, ports]);
  }
  list[20] = SPEC_I_PT;
  const lengthBytes = Buffer.alloc(4);
  lengthBytes.writeUInt32BE(ports.length);
  return Buffer.concat([list, lengthBytes, ports]);
}

function drawListIdentifier(chance: Chance): number {
  return chance.within(1, 3);
}

const CSCD_BYTES = 32;
const SEGMENT_BYTES = 28;

/** Within the unit, in a few segments; now and then from a unit that is not there. */
function copyList(chance: Chance, _cdb: Buffer, blockBytes: number): Buffer {
  const cscds = Array.from({ length: chance.below(3) }, () => drawCscd(chance, blockBytes));
  const segments = Array.from({ length: chance.within(1, 3) }, () => drawSegment(chance, cscds.length));
  const header = Buffer.alloc(16);
  const usage = chance.pick([0, 0, 2, 3]); // LIST ID USAGE: held, discarded, none
  header[0] = usage === 3 ? 0 : drawListIdentifier(chance);
  header[1] = usage << 3;
  header.writeUInt16BE(CSCD_BYTES * cscds.length, 2);
  header.writeUInt32BE(SEGMENT_BYTES * segments.length, 8);
  return Buffer.concat([header, ...cscds, ...segments]);
}

/** An identification descriptor: the NAA of nobody, since our own would make a plan differ from run to run. */
function drawCscd(chance: Chance, blockBytes: number): Buffer {
  const cscd = Buffer.alloc(CSCD_BYTES);
  cscd[0] = DescriptorType.IDENTIFICATION;
  cscd.set([0x01, 0x03, 0, 8], 4);
  cscd.writeUInt32BE(chance.uint32(), 8);
  cscd.writeUIntBE(chance.pick([0, blockBytes]), 29, 3);
  return cscd;
}

function drawSegment(chance: Chance, cscds: number): Buffer {
  const segment = Buffer.alloc(SEGMENT_BYTES);
  const end = (): number => (cscds > 0 && chance.happens(0.05) ? chance.below(cscds) : OWN_UNIT);
  segment[0] = DescriptorType.BLOCK_TO_BLOCK;
  segment[1] = chance.happens(0.1) ? 0x02 : 0; // DC
  segment.writeUInt16BE(SEGMENT_BYTES - 4, 2);
  segment.writeUInt16BE(end(), 4);
  segment.writeUInt16BE(end(), 6);
  segment.writeUInt16BE(chance.below(64), 10);
  segment.writeUInt32BE(chance.below(LBAS_MAX), 16);
  segment.writeUInt32BE(chance.below(LBAS_MAX), 24);
  return segment;
}
