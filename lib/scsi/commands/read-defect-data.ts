/** READ DEFECT DATA (10) and (12) (SBC-3 5.17, 5.18): the lists of a medium that has no defects, in any format. */
import { uint16, uint32 } from '../../base/bytes.js';
import { byteAt } from '../cdb.js';
import { answer, type Command, usage, withoutDataOut } from '../command.js';
import { OperationCode } from '../opcodes.js';
import type { ScsiTask } from '../task.js';

/** REQ_PLIST, REQ_GLIST and DEFECT LIST FORMAT come back as PLISTV, GLISTV and the format: what was asked for is given. */
const ASKED = 0x1f;

/** Byte 1: the flags; bytes 2–3: DEFECT LIST LENGTH. */
function execute10(task: ScsiTask): void {
  const list = Buffer.from([0, byteAt(task.cdb, 2) & ASKED, 0, 0]);
  answer(task, list, uint16(task.cdb, 7));
}

/** The same with GENERATION CODE 0, "not supported", and four bytes of length. From any index on there is nothing. */
function execute12(task: ScsiTask): void {
  const list = Buffer.from([0, byteAt(task.cdb, 1) & ASKED, 0, 0, 0, 0, 0, 0]);
  answer(task, list, uint32(task.cdb, 6));
}

export const readDefectDataCommands: readonly Command[] = [
  {
    name: 'READ DEFECT DATA(10)',
    opcode: OperationCode.READ_DEFECT_DATA_10,
    usage: usage('37 00 1f 00000000 ffff 04'),
    access: 'read',
    prepare: withoutDataOut,
    execute: (_unit, task) => execute10(task),
  },
  {
    name: 'READ DEFECT DATA(12)',
    opcode: OperationCode.READ_DEFECT_DATA_12,
    usage: usage('b7 1f ffffffff ffffffff 00 04'),
    access: 'read',
    prepare: withoutDataOut,
    execute: (_unit, task) => execute12(task),
  },
];
