/**
 * Commands that ask after or set the state of the unit: TEST UNIT READY, REQUEST SENSE, START STOP UNIT (SPC-4 6.47,
 * 6.39, SBC-3 5.25). A volume is always ready and never stops: other initiators of the group go on using it.
 */
import { byteAt } from '../cdb.js';
import { accept, answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { finishByPieces, flushPieces } from '../pieces.js';
import { encodeSense, encodeSenseDescriptors, invalidCdbField, type Sense, SENSE } from '../sense.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';
import { Passes, PASSES_ALL } from '../state.js';

const testUnitReady: Command = {
  name: 'TEST UNIT READY',
  opcode: 0x00,
  usage: usage('00 00 00 00 00 04'),
  prepare: (_unit, task) => accept(task),
};

const DESC = 0x01;

/** Sense data as parameter data, with GOOD (SPC-4 6.39). */
export function answerSense(task: ScsiTask, sense: Sense): void {
  const descriptors = (byteAt(task.cdb, 1) & DESC) !== 0;
  answer(task, descriptors ? encodeSenseDescriptors(sense) : encodeSense(sense), byteAt(task.cdb, 4));
}

const requestSense: Command = {
  name: 'REQUEST SENSE',
  opcode: 0x03,
  usage: usage('03 01 00 00 ff 04'),
  passes: PASSES_ALL,
  prepare: withoutDataOut,
  // Sense data is always delivered with the status; what is left to say is what another command would be told.
  execute: (unit, task) => answerSense(task, unit.state.obstacle(task.nexus, 0) ?? SENSE.NONE),
};

/** Byte 4 of START STOP UNIT. */
const START = 0x01;
const LOEJ = 0x02;
const NO_FLUSH = 0x04;
const POWER_CONDITION = 0xf0;

function startStop(unit: DiskUnit, task: ScsiTask): void {
  const how = byteAt(task.cdb, 4);
  const stops = (how & START) === 0;
  if ((how & POWER_CONDITION) !== 0) refuse(task, invalidCdbField(4, 7));
  // The medium is not removable.
  else if ((how & LOEJ) !== 0) refuse(task, invalidCdbField(4, 1));
  // Stopping makes the cache durable first (SBC-3 5.25); that is all of it that matters to a host that goes away.
  else if (stops && (how & NO_FLUSH) === 0) finishByPieces(unit.device, task, flushPieces());
  else accept(task);
}

const startStopUnit: Command = {
  name: 'START STOP UNIT',
  opcode: 0x1b,
  usage: usage('1b 01 00 00 f7 04'),
  passes: Passes.NO_MEDIUM,
  prepare: withoutDataOut,
  execute: startStop,
};

export const unitStateCommands: readonly Command[] = [testUnitReady, requestSense, startStopUnit];
