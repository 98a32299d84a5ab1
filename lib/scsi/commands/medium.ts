/**
 * The medium of a removable unit: START STOP UNIT, which ejects and loads it, and PREVENT ALLOW MEDIUM REMOVAL (SBC-3
 * 5.25, SPC-4 6.15). The medium of any other unit stays where it is, and no unit ever stops: others go on using it.
 */
import { byteAt } from '../cdb.js';
import { accept, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { durablePieces, finish, finishDurably, runPieces } from '../pieces.js';
import { invalidCdbField } from '../sense.js';
import { Passes } from '../state.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';

/** Byte 4 of START STOP UNIT. */
const START = 0x01;
const LOEJ = 0x02;
const NO_FLUSH = 0x04;
const POWER_CONDITION = 0xf0;

function startStop(unit: DiskUnit, task: ScsiTask): void {
  const how = byteAt(task.cdb, 4);
  const starts = (how & START) !== 0;
  // None of them is ours; with one that is, LOEJ and START would not be looked at.
  if ((how & POWER_CONDITION) !== 0) refuse(task, invalidCdbField(4, 7));
  else if ((how & LOEJ) !== 0) {
    if (!unit.removable) refuse(task, invalidCdbField(4, 1));
    else if (starts) unit.state.load(task.nexus, (outcome) => finish(task, outcome));
    else eject(unit, task);
  }
  // Stopping makes the cache durable first (SBC-3 5.25); that is all of it that matters to a host that goes away.
  else if (!starts && (how & NO_FLUSH) === 0 && unit.state.hasMedium) {
    finishDurably(unit, task, Passes.NO_MEDIUM);
  } else accept(task);
}

/** What leaves is durable first, unless NO_FLUSH says that nobody minds. */
function eject(unit: DiskUnit, task: ScsiTask): void {
  const leave = (): void => unit.state.eject((outcome) => finish(task, outcome));
  if ((byteAt(task.cdb, 4) & NO_FLUSH) !== 0 || !unit.state.hasMedium) return leave();
  runPieces(unit.device, durablePieces(unit, task.nexus), (outcome) => {
    if (outcome === null) leave();
    else refuse(task, outcome);
  });
}

/** PREVENT, byte 4: allow, or prevent. The values of two bits that prevented more are obsolete. */
const PREVENT = 0x01;

function preventAllow(unit: DiskUnit, task: ScsiTask): void {
  const how = byteAt(task.cdb, 4) & 0x03;
  if (how > PREVENT) refuse(task, invalidCdbField(4, 1));
  else unit.state.setPrevented(task.nexus, how === PREVENT, () => accept(task));
}

export const mediumCommands: readonly Command[] = [
  {
    name: 'START STOP UNIT',
    opcode: OperationCode.START_STOP_UNIT,
    usage: usage('1b 01 00 00 f7 04'),
    // To start, or load, is allowed with no power condition (SBC-4 table 13).
    access: (cdb) => ((byteAt(cdb, 4) & (POWER_CONDITION | START)) === START ? 'always' : 'write'),
    passes: Passes.NO_MEDIUM,
    prepare: withoutDataOut,
    execute: startStop,
  },
  {
    name: 'PREVENT ALLOW MEDIUM REMOVAL',
    opcode: OperationCode.PREVENT_ALLOW_MEDIUM_REMOVAL,
    usage: usage('1e 00 00 00 03 04'),
    // To allow takes nothing from anybody.
    access: (cdb) => ((byteAt(cdb, 4) & 0x03) === 0 ? 'anybody' : 'write'),
    passes: Passes.NO_MEDIUM,
    prepare: withoutDataOut,
    execute: preventAllow,
  },
];
