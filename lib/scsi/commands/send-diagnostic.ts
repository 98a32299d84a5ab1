/**
 * SEND DIAGNOSTIC (SPC-4 6.42), of which every unit has the default self-test. That passes: what a disk would find by it is
 * found, and told, by the I/O that meets it.
 */
import { uint16 } from '../../base/bytes.js';
import { byteAt } from '../cdb.js';
import { accept, type Command, refuse, usage } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { invalidCdbField } from '../sense.js';
import { Passes } from '../state.js';
import type { ScsiTask, TaskPlan } from '../task.js';

/**
 * Byte 1. SELFTEST asks for the default self-test, and without it nothing is tested. DEVOFFL and UNITOFFL only allow a test
 * to disturb others or the medium, which this one does not do; PF is of parameters that there are none of.
 */
const SELF_TEST_CODE = 0xe0;
const PARAMETER_LIST_LENGTH_AT = 3;

function prepare(task: ScsiTask): TaskPlan {
  const { cdb } = task;
  // Short and extended self-tests, whose results would be in a log page; beside SELFTEST it has to be 0 anyway.
  if ((byteAt(cdb, 1) & SELF_TEST_CODE) !== 0) return refuse(task, invalidCdbField(1, 7));
  // Diagnostic pages: there are none.
  if (uint16(cdb, PARAMETER_LIST_LENGTH_AT) !== 0)
    return refuse(task, invalidCdbField(PARAMETER_LIST_LENGTH_AT));
  return accept(task);
}

export const sendDiagnosticCommand: Command = {
  name: 'SEND DIAGNOSTIC',
  opcode: OperationCode.SEND_DIAGNOSTIC,
  usage: usage('1d e4 00 ffff 04'),
  passes: Passes.NO_MEDIUM,
  prepare: (_unit, task) => prepare(task),
};
