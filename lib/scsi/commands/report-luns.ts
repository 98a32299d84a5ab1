/** REPORT LUNS (SPC-4 6.33): a target has the one unit, LUN 0. */
import { putUint32, uint32 } from '../../base/bytes.js';
import { byteAt } from '../cdb.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { encodeLun } from '../lun.js';
import { OperationCode } from '../opcodes.js';
import { invalidCdbField } from '../sense.js';
import type { ScsiTask } from '../task.js';
import { PASSES_ALL } from '../state.js';

const HEADER_BYTES = 8;
const LUN_BYTES = 8;

/** LUNs by SELECT REPORT (SPC-4 table 305). There are no well-known, administrative or subsidiary units. */
const REPORTS = new Map<number, readonly number[]>([
  [0x00, [0]], // all but well-known ones
  [0x01, []], // well-known ones
  [0x02, [0]], // all
  [0x10, []], // administrative ones
  [0x11, [0]], // administrative ones and those that are nobody's subsidiary
  [0x12, []], // subsidiaries of the addressed one
]);

function encodeList(luns: readonly number[]): Buffer {
  const data = Buffer.alloc(HEADER_BYTES + luns.length * LUN_BYTES);
  putUint32(data, luns.length * LUN_BYTES, 0);
  luns.forEach((lun, i) => encodeLun(lun, data, HEADER_BYTES + i * LUN_BYTES));
  return data;
}

/** Also served on LUNs without a unit. */
export function reportLuns(task: ScsiTask): void {
  const luns = REPORTS.get(byteAt(task.cdb, 2));
  const allocationLength = uint32(task.cdb, 6);
  if (luns === undefined) refuse(task, invalidCdbField(2));
  else answer(task, encodeList(luns), allocationLength);
}

export const reportLunsCommand: Command = {
  name: 'REPORT LUNS',
  opcode: OperationCode.REPORT_LUNS,
  usage: usage('a0 00 ff 000000 ffffffff 00 04'),
  access: 'anybody',
  passes: PASSES_ALL,
  prepare: withoutDataOut,
  execute: (_unit, task) => reportLuns(task),
};
