/** INQUIRY (SPC-4 6.4): standard data, and the way to the vital product data pages. */
import { putUint16, uint16 } from '../../base/bytes.js';
import { byteAt } from '../cdb.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { invalidCdbField } from '../sense.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';
import { PASSES_ALL } from '../state.js';
import { encodeVpdPage } from '../vpd/index.js';

/** Byte 1 of the CDB. CMDDT is obsolete, and refused so that nobody takes standard data for its answer. */
const EVPD = 0x01;
const CMDDT = 0x02;

/** PERIPHERAL QUALIFIER 011b, PERIPHERAL DEVICE TYPE 1Fh: no unit can be here (SPC-4 6.4.2). */
const NO_UNIT_POSSIBLE = 0x7f;

/** RMB, byte 1. */
const RMB = 0x80;

/**
 * TPGS 01b, byte 5: implicit asymmetric access (SPC-4 table 146). Without it there is one target port, wherever the unit
 * is served, and nothing about that is asymmetric.
 */
const TPGS_IMPLICIT = 0x10;
/** MULTIP, byte 6: there are several target ports. */
const MULTIP = 0x10;
/** 3PC, byte 5: EXTENDED COPY. */
const THIRD_PARTY_COPY = 0x08;

const STANDARD_BYTES = 96;

/** VERSION DESCRIPTORs, "no version claimed" each (SPC-4 table 149): SAM-5, SPC-4, SBC-3, iSCSI. */
const VERSION_DESCRIPTORS = [0x00a0, 0x0460, 0x04c0, 0x0960];

/** Standard INQUIRY data (SPC-4 6.4.2); `peripheral` is its first byte. */
function encodeStandard(unit: DiskUnit, peripheral: number): Buffer {
  const data = Buffer.alloc(STANDARD_BYTES);
  data[0] = peripheral;
  data[1] = unit.removable ? RMB : 0;
  data[2] = 0x06; // VERSION: SPC-4
  data[3] = 0x12; // HISUP, RESPONSE DATA FORMAT 2
  data[4] = STANDARD_BYTES - 5; // ADDITIONAL LENGTH
  data[5] = (unit.ports === null ? 0 : TPGS_IMPLICIT) | THIRD_PARTY_COPY;
  data[6] = unit.ports === null ? 0 : MULTIP;
  data[7] = 0x02; // CMDQUE
  data.write(unit.vendor, 8, 'latin1');
  data.write(unit.product, 16, 'latin1');
  data.write(unit.revision, 32, 'latin1');
  VERSION_DESCRIPTORS.forEach((descriptor, i) => putUint16(data, descriptor, 58 + 2 * i));
  return data;
}

function execute(unit: DiskUnit, task: ScsiTask): void {
  const { cdb } = task;
  const flags = byteAt(cdb, 1);
  const pageCode = byteAt(cdb, 2);
  const allocationLength = uint16(cdb, 3);
  if ((flags & CMDDT) !== 0) {
    refuse(task, invalidCdbField(1, 1));
  } else if ((flags & EVPD) !== 0) {
    const page = encodeVpdPage(unit, pageCode);
    if (page === null) refuse(task, invalidCdbField(2));
    else answer(task, page, allocationLength);
  } else if (pageCode !== 0) {
    refuse(task, invalidCdbField(2));
  } else {
    answer(task, encodeStandard(unit, 0), allocationLength);
  }
}

/** INQUIRY to a LUN without a unit: standard data that says so (SPC-4 6.4.1); it has no pages. */
export function inquireAbsentUnit(unit: DiskUnit, task: ScsiTask): void {
  if (byteAt(task.cdb, 1) !== 0 || byteAt(task.cdb, 2) !== 0) refuse(task, invalidCdbField(1, 0));
  else answer(task, encodeStandard(unit, NO_UNIT_POSSIBLE), uint16(task.cdb, 3));
}

export const inquiryCommand: Command = {
  name: 'INQUIRY',
  opcode: OperationCode.INQUIRY,
  usage: usage('12 03 ff ffff 04'),
  access: 'anybody',
  passes: PASSES_ALL,
  prepare: withoutDataOut,
  execute,
};
