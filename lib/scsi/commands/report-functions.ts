/** REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 6.36): those that iscsi/target/handlers/task-management.ts does. */
import { uint32 } from '../../base/bytes.js';
import { byteAt } from '../cdb.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { invalidCdbField } from '../sense.js';
import { Passes } from '../state.js';
import type { ScsiTask } from '../task.js';

/** Byte 0: ATS, ATSS, CTSS, LURS, TRS (abort task, abort and clear task set, unit reset, target reset). */
const FUNCTIONS = 0x80 | 0x40 | 0x10 | 0x08 | 0x02;

const REPD = 0x80;
const BASIC_BYTES = 4;
const EXTENDED_BYTES = 16;

function execute(task: ScsiTask): void {
  const allocationLength = uint32(task.cdb, 6);
  // SPC-4 6.36: fewer than four bytes are not allowed here.
  if (allocationLength < BASIC_BYTES) return void refuse(task, invalidCdbField(6));
  const isExtended = (byteAt(task.cdb, 2) & REPD) !== 0;
  // Extended: how many bytes follow, and timeouts of zero, "none is recommended".
  const data = Buffer.alloc(isExtended ? EXTENDED_BYTES : BASIC_BYTES);
  data[0] = FUNCTIONS;
  data[3] = data.length - BASIC_BYTES;
  answer(task, data, allocationLength);
}

export const reportFunctionsCommand: Command = {
  name: 'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS',
  opcode: OperationCode.MAINTENANCE_IN,
  serviceAction: 0x0d,
  usage: usage('a3 0d 80 000000 ffffffff 00 04'),
  access: 'read',
  passes: Passes.NO_MEDIUM | Passes.SANITIZE,
  prepare: withoutDataOut,
  execute: (_unit, task) => execute(task),
};
