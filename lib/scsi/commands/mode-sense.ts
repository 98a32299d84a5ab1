/** MODE SENSE (6) and (10) (SPC-4 6.13, 6.14). Nothing can be changed, so there is no MODE SELECT. */
import { byteAt, putUint64 } from '../cdb.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { invalidCdbField, SENSE } from '../sense.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';

interface ModePage {
  readonly pageCode: number;
  readonly subpageCode: number;
  /** The bytes after the page's header, as they are. */
  readonly current: Buffer;
}

function page(
  pageCode: number,
  subpageCode: number,
  lengthBytes: number,
  set: Record<number, number>,
): ModePage {
  const current = Buffer.alloc(lengthBytes);
  // Offsets are the standards', which count the header: two bytes, or four with a subpage.
  const headerBytes = subpageCode === 0 ? 2 : 4;
  for (const [at, value] of Object.entries(set)) current[Number(at) - headerBytes] = value;
  return { pageCode, subpageCode, current };
}

/** In the order of page 3Fh: by page code, then subpage code (SPC-4 6.13.1). */
const PAGES: readonly ModePage[] = [
  // Caching (SBC-3 6.5.6): WCE, since a write is acknowledged before it is durable.
  page(0x08, 0, 18, { 2: 0x04 }),
  // Control (SPC-4 7.5.8): QUEUE ALGORITHM MODIFIER 1: tasks may be reordered. D_SENSE 0: sense in fixed format.
  // TAS 1: a task aborted by another initiator ends with TASK ABORTED.
  page(0x0a, 0, 10, { 3: 0x10, 5: 0x40 }),
  // Control Extension (SPC-4 7.5.9).
  page(0x0a, 1, 28, {}),
  // Informational Exceptions Control (SPC-4 7.5.14): DEXCPT, none are ever reported.
  page(0x1c, 0, 10, { 2: 0x08 }),
];

const ALL_PAGES = 0x3f;
const ALL_SUBPAGES = 0xff;

/** PC, bits 7–6 of byte 2 (SPC-4 table 154). */
const PageControl = { CURRENT: 0, CHANGEABLE: 1, DEFAULT: 2, SAVED: 3 } as const;

function encodePage({ pageCode, subpageCode, current }: ModePage, pageControl: number): Buffer {
  // Changeable values are a mask; none is. Default values are the only ones there are.
  const parameters = pageControl === PageControl.CHANGEABLE ? Buffer.alloc(current.length) : current;
  const header =
    subpageCode === 0
      ? [pageCode, current.length]
      : [0x40 | pageCode, subpageCode, current.length >>> 8, current.length & 0xff];
  return Buffer.concat([Buffer.from(header), parameters]);
}

/** The pages asked for; empty when there is none of that name. */
function selectPages(pageCode: number, subpageCode: number): readonly ModePage[] {
  // Only "none" and "all" have a meaning beside page code 3Fh (SPC-4 table 155).
  if (pageCode === ALL_PAGES && subpageCode !== 0 && subpageCode !== ALL_SUBPAGES) return [];
  return PAGES.filter(
    (candidate) =>
      (pageCode === ALL_PAGES || candidate.pageCode === pageCode) &&
      (subpageCode === ALL_SUBPAGES || candidate.subpageCode === subpageCode),
  );
}

/** DEVICE-SPECIFIC PARAMETER (SBC-3 6.5.1). */
const WP = 0x80;
const DPOFUA = 0x10;

function deviceSpecificParameter(unit: DiskUnit): number {
  return DPOFUA | (unit.readOnly ? WP : 0);
}

/** SBC-3 6.5.2.2 */
function shortBlockDescriptor(unit: DiskUnit): Buffer {
  const descriptor = Buffer.alloc(8);
  descriptor.writeUInt32BE(Math.min(unit.blocks, 0xffff_ffff), 0);
  descriptor.writeUIntBE(unit.blockBytes, 5, 3);
  return descriptor;
}

/** SBC-3 6.5.2.3 */
function longBlockDescriptor(unit: DiskUnit): Buffer {
  const descriptor = Buffer.alloc(16);
  putUint64(descriptor, unit.blocks, 0);
  descriptor.writeUInt32BE(unit.blockBytes, 12);
  return descriptor;
}

const NOTHING = Buffer.alloc(0);
const LONGLBA = 0x01;

/** Mode parameter header (6), SPC-4 7.5.5. */
function encodeList6(unit: DiskUnit, descriptor: Buffer, pages: Buffer): Buffer {
  const header = Buffer.alloc(4);
  // MODE DATA LENGTH does not count itself.
  header[0] = header.length - 1 + descriptor.length + pages.length;
  header[2] = deviceSpecificParameter(unit);
  header[3] = descriptor.length;
  return Buffer.concat([header, descriptor, pages]);
}

/** Mode parameter header (10), SPC-4 7.5.5. */
function encodeList10(unit: DiskUnit, descriptor: Buffer, pages: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(header.length - 2 + descriptor.length + pages.length, 0);
  header[3] = deviceSpecificParameter(unit);
  header[4] = descriptor.length === 16 ? LONGLBA : 0;
  header.writeUInt16BE(descriptor.length, 6);
  return Buffer.concat([header, descriptor, pages]);
}

const LLBAA = 0x10;
const DBD = 0x08;

/** Encodes the pages the CDB asks for, or refuses the task and returns null. */
function encodePages(task: ScsiTask): Buffer | null {
  const pageControl = byteAt(task.cdb, 2) >>> 6;
  const pages = selectPages(byteAt(task.cdb, 2) & 0x3f, byteAt(task.cdb, 3));
  if (pageControl === PageControl.SAVED) refuse(task, SENSE.SAVING_PARAMETERS_NOT_SUPPORTED);
  else if (pages.length === 0) refuse(task, invalidCdbField(2, 5));
  else return Buffer.concat(pages.map((modePage) => encodePage(modePage, pageControl)));
  return null;
}

function execute6(unit: DiskUnit, task: ScsiTask): void {
  const pages = encodePages(task);
  if (pages === null) return;
  const descriptor = (byteAt(task.cdb, 1) & DBD) !== 0 ? NOTHING : shortBlockDescriptor(unit);
  answer(task, encodeList6(unit, descriptor, pages), byteAt(task.cdb, 4));
}

function execute10(unit: DiskUnit, task: ScsiTask): void {
  const pages = encodePages(task);
  if (pages === null) return;
  const flags = byteAt(task.cdb, 1);
  const ifWanted = (flags & LLBAA) !== 0 ? longBlockDescriptor(unit) : shortBlockDescriptor(unit);
  const descriptor = (flags & DBD) !== 0 ? NOTHING : ifWanted;
  answer(task, encodeList10(unit, descriptor, pages), task.cdb.readUInt16BE(7));
}

export const modeSenseCommands: readonly Command[] = [
  {
    name: 'MODE SENSE(6)',
    opcode: 0x1a,
    usage: usage('1a 08 ff ff ff 04'),
    prepare: withoutDataOut,
    execute: execute6,
  },
  {
    name: 'MODE SENSE(10)',
    opcode: 0x5a,
    usage: usage('5a 18 ff ff 000000 ffff 04'),
    prepare: withoutDataOut,
    execute: execute10,
  },
];
