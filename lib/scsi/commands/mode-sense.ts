/** MODE SENSE (6) and (10) (SPC-4 6.13, 6.14): the mode pages in a list, behind a header and a block descriptor. */
import { putUint16, putUint24, putUint32, putUint64, uint16 } from '../../base/bytes.js';
import { byteAt } from '../cdb.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { encodeModePage, PageControl, selectPages } from '../mode-pages.js';
import { OperationCode } from '../opcodes.js';
import { invalidCdbField, SENSE } from '../sense.js';
import { Passes } from '../state.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';

/** DEVICE-SPECIFIC PARAMETER (SBC-3 6.5.1). */
const WP = 0x80;
const DPOFUA = 0x10;

function deviceSpecificParameter(unit: DiskUnit): number {
  return DPOFUA | (unit.readOnly ? WP : 0);
}

/** SBC-3 6.5.2.2 */
function shortBlockDescriptor(unit: DiskUnit): Buffer {
  const descriptor = Buffer.alloc(8);
  putUint32(descriptor, Math.min(unit.blocks, 0xffff_ffff), 0);
  putUint24(descriptor, unit.blockBytes, 5);
  return descriptor;
}

/** SBC-3 6.5.2.3 */
function longBlockDescriptor(unit: DiskUnit): Buffer {
  const descriptor = Buffer.alloc(16);
  putUint64(descriptor, unit.blocks, 0);
  putUint32(descriptor, unit.blockBytes, 12);
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
  putUint16(header, header.length - 2 + descriptor.length + pages.length, 0);
  header[3] = deviceSpecificParameter(unit);
  header[4] = descriptor.length === 16 ? LONGLBA : 0;
  putUint16(header, descriptor.length, 6);
  return Buffer.concat([header, descriptor, pages]);
}

const LLBAA = 0x10;
const DBD = 0x08;

/** Encodes the pages the CDB asks for, or refuses the task and returns null. */
function encodePages(unit: DiskUnit, task: ScsiTask): Buffer | null {
  const pageControl = byteAt(task.cdb, 2) >>> 6;
  const pages = selectPages(unit, byteAt(task.cdb, 2) & 0x3f, byteAt(task.cdb, 3));
  if (pageControl === PageControl.SAVED) refuse(task, SENSE.SAVING_PARAMETERS_NOT_SUPPORTED);
  else if (pages.length === 0) refuse(task, invalidCdbField(2, 5));
  else return Buffer.concat(pages.map((modePage) => encodeModePage(modePage, pageControl, unit.state.modes)));
  return null;
}

function execute6(unit: DiskUnit, task: ScsiTask): void {
  const pages = encodePages(unit, task);
  if (pages === null) return;
  const descriptor = (byteAt(task.cdb, 1) & DBD) !== 0 ? NOTHING : shortBlockDescriptor(unit);
  answer(task, encodeList6(unit, descriptor, pages), byteAt(task.cdb, 4));
}

function execute10(unit: DiskUnit, task: ScsiTask): void {
  const pages = encodePages(unit, task);
  if (pages === null) return;
  const flags = byteAt(task.cdb, 1);
  const ifWanted = (flags & LLBAA) !== 0 ? longBlockDescriptor(unit) : shortBlockDescriptor(unit);
  const descriptor = (flags & DBD) !== 0 ? NOTHING : ifWanted;
  answer(task, encodeList10(unit, descriptor, pages), uint16(task.cdb, 7));
}

/** Caching, Control, Informational Exceptions Control: what may be asked for during a sanitize operation (SBC-4 4.11.2). */
const OF_SANITIZE: ReadonlySet<number> = new Set([0x08, 0x0a, 0x1c]);

function passes(cdb: Buffer): number {
  const isAllowed = OF_SANITIZE.has(byteAt(cdb, 2) & 0x3f) && byteAt(cdb, 3) === 0;
  return Passes.NO_MEDIUM | (isAllowed ? Passes.SANITIZE : 0);
}

export const modeSenseCommands: readonly Command[] = [
  {
    name: 'MODE SENSE(6)',
    opcode: OperationCode.MODE_SENSE_6,
    usage: usage('1a 08 ff ff ff 04'),
    access: 'read',
    passes,
    prepare: withoutDataOut,
    execute: execute6,
  },
  {
    name: 'MODE SENSE(10)',
    opcode: OperationCode.MODE_SENSE_10,
    usage: usage('5a 18 ff ff 000000 ffff 04'),
    access: 'read',
    passes,
    prepare: withoutDataOut,
    execute: execute10,
  },
];
