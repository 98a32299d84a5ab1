/** Commands that ask after the state of the unit: TEST UNIT READY and REQUEST SENSE (SPC-4 6.47, 6.39). */
import { byteAt } from '../cdb.js';
import { accept, answer, type Command, usage, withoutDataOut } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { encodeSense, encodeSenseDescriptors, type Sense, SENSE } from '../sense.js';
import type { ScsiTask } from '../task.js';
import { Passes, PASSES_ALL } from '../state.js';
import type { DiskUnit } from '../unit.js';

const testUnitReady: Command = {
  name: 'TEST UNIT READY',
  opcode: OperationCode.TEST_UNIT_READY,
  usage: usage('00 00 00 00 00 04'),
  access: 'always',
  prepare: (_unit, task) => accept(task),
};

const DESC = 0x01;

/** Sense data as parameter data, with GOOD (SPC-4 6.39). */
export function answerSense(task: ScsiTask, sense: Sense): void {
  const descriptors = (byteAt(task.cdb, 1) & DESC) !== 0;
  answer(task, descriptors ? encodeSenseDescriptors(sense) : encodeSense(sense), byteAt(task.cdb, 4));
}

/** Why the unit is not ready for access: said before a unit attention condition, which stays then (SPC-4 6.39). */
function whyNotReady({ state }: DiskUnit, { nexus }: ScsiTask): Sense | null {
  return state.obstacle(nexus, Passes.UNIT_ATTENTION | Passes.SANITIZE_FAILURE);
}

const requestSense: Command = {
  name: 'REQUEST SENSE',
  opcode: OperationCode.REQUEST_SENSE,
  usage: usage('03 01 00 00 ff 04'),
  access: 'anybody',
  passes: PASSES_ALL,
  prepare: withoutDataOut,
  // Sense data is always delivered with the status; what is left to say is what another command would be told.
  execute: (unit, task) =>
    answerSense(task, whyNotReady(unit, task) ?? unit.state.obstacle(task.nexus, 0) ?? SENSE.NONE),
};

export const unitStateCommands: readonly Command[] = [testUnitReady, requestSense];
