/** RESERVE and RELEASE (6) and (10) (SPC-2 7.21 to 7.23, 7.16 to 7.18): the whole unit, for the nexus itself. */
import { byteAt } from '../cdb.js';
import { type Command, refuse, usage, withoutDataOut } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { releaseUnit, reserveUnit } from '../reservations/changes.js';
import { processOf } from '../reservations/keeper.js';
import { invalidCdbField } from '../sense.js';
import { Passes } from '../state.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';
import { changeReservations } from './persistent-reserve.js';

/** Byte 1: third-party reservations, LongID, and extents of a medium, all obsolete. */
const THIRD_PARTY_OR_EXTENT = 0x1f;

function executeWith(make: typeof reserveUnit): (unit: DiskUnit, task: ScsiTask) => void {
  return (unit, task) => {
    if ((byteAt(task.cdb, 1) & THIRD_PARTY_OR_EXTENT) !== 0) return void refuse(task, invalidCdbField(1, 4));
    const { initiatorPortName } = task.nexus;
    const at = processOf(task.nexus, unit.reservations);
    changeReservations(unit, task, (state) => make(state, initiatorPortName, at));
  };
}

const command = (name: string, opcode: number, cdbUsage: string, make: typeof reserveUnit): Command => ({
  name,
  opcode,
  usage: usage(cdbUsage),
  access: 'anybody', // by rules of its own (changes.ts), and by the state when its turn comes
  passes: Passes.NO_MEDIUM,
  prepare: withoutDataOut,
  execute: executeWith(make),
});

export const reserveCommands: readonly Command[] = [
  command('RESERVE (6)', OperationCode.RESERVE_6, '16 1f 00 00 00 04', reserveUnit),
  command('RELEASE (6)', OperationCode.RELEASE_6, '17 1f 00 00 00 04', releaseUnit),
  command('RESERVE (10)', OperationCode.RESERVE_10, '56 1f 00 00 00 00 00 0000 04', reserveUnit),
  command('RELEASE (10)', OperationCode.RELEASE_10, '57 1f 00 00 00 00 00 0000 04', releaseUnit),
];
