/**
 * EXTENDED COPY (LID1) (SPC-4 6.4): blocks from one unit to another, or within one, without the initiator in between. The
 * copy manager is in copy/; the answer comes when all is copied.
 */
import { uint32 } from '../../base/bytes.js';
import { accept, type Command, refuse, usage } from '../command.js';
import { Copier } from '../copy/copier.js';
import { COPY_LIST_BYTES_MAX, parseCopyList } from '../copy/parameter-list.js';
import { Visits } from '../copy/visits.js';
import { OperationCode } from '../opcodes.js';
import { finish, runPieces, whileWanted } from '../pieces.js';
import { type Sense, SENSE } from '../sense.js';
import { ScsiStatus, type ScsiTask, type TaskPlan } from '../task.js';
import type { DiskUnit } from '../unit.js';

const PARAMETER_LIST_LENGTH_AT = 10;

function prepare(_unit: DiskUnit, task: ScsiTask): TaskPlan {
  const lengthBytes = uint32(task.cdb, PARAMETER_LIST_LENGTH_AT);
  // SPC-4 6.4.1: zero is no error, and copies nothing.
  if (lengthBytes === 0) return accept(task);
  if (lengthBytes > COPY_LIST_BYTES_MAX) return refuse(task, SENSE.PARAMETER_LIST_LENGTH_ERROR);
  task.dataOutBytes = lengthBytes;
  return 'control';
}

function execute(unit: DiskUnit, task: ScsiTask): void {
  const list = parseCopyList(task.dataOut);
  if ('senseKey' in list) return void refuse(task, list);
  const { copies } = unit;
  const { nexus } = task;
  if (copies.isFull) return task.finish(ScsiStatus.TASK_SET_FULL, null);
  const run = copies.begin(nexus, list);
  if (run === null) return void refuse(task, SENSE.OPERATION_IN_PROGRESS);
  const visits = new Visits({
    initiatorName: nexus.initiatorName,
    get isWanted() {
      return !task.isEnding;
    },
  });
  const copier = new Copier(unit, task, list, run, visits);
  const end = (outcome: Sense | null): void => {
    visits.end();
    copies.end(nexus, run, outcome);
    finish(task, outcome);
  };
  runPieces(unit.device, whileWanted(unit, task, 0, copier.pieces()), end, () => task.isEnding);
}

export const extendedCopyCommand: Command = {
  name: 'EXTENDED COPY(LID1)',
  opcode: OperationCode.THIRD_PARTY_COPY_OUT,
  serviceAction: 0x00,
  usage: usage('83 00 0000000000000000 ffffffff 00 04'),
  prepare,
  execute,
};
