/**
 * The device server of one target (SAM-5 4.6): LUN 0 is the disk, no other LUN has a unit. It finds the handler of a
 * command; what the command does is in commands/.
 */
import { assert } from '../base/assert.js';
import type { BlockDevice } from '../block/device.js';
import { asksForAca, byteAt, controlByteIndex } from './cdb.js';
import { refuse } from './command.js';
import { inquireAbsentUnit, inquiryCommand } from './commands/inquiry.js';
import { reportLuns, reportLunsCommand } from './commands/report-luns.js';
import { resumeSanitize } from './commands/sanitize.js';
import { answerSense } from './commands/unit-state.js';
import { lookUp } from './dispatch.js';
import { encodeSense, encodeSenseDescriptors, invalidCdbField, type Sense, SENSE } from './sense.js';
import { isConflict } from './reservations/access.js';
import { unitReset } from './reservations/changes.js';
import { NO_RESERVATIONS } from './reservations/state.js';
import { type DeviceServer, type ScsiNexus, ScsiStatus, type ScsiTask, type TaskPlan } from './task.js';
import { DiskUnit, type UnitParts } from './unit.js';

const NOTHING = Buffer.alloc(0);
const REQUEST_SENSE = 0x03;

export class DiskServer implements DeviceServer {
  readonly device: BlockDevice;
  readonly unit: DiskUnit;

  /** Throws InvariantError when the identity cannot be said on the wire. */
  constructor(parts: UnitParts) {
    this.unit = new DiskUnit(parts);
    this.device = this.unit.device;
  }

  prepare(task: ScsiTask): TaskPlan {
    task.dataOutBytes = 0;
    task.offsetBytes = 0;
    task.transferBytes = 0;
    task.fua = false;
    task.dataOut = NOTHING;
    task.dataIn = NOTHING;
    const { cdb } = task;
    if (task.lun !== 0) return prepareAbsent(task);
    const command = lookUp(cdb);
    const { state, reservations } = this.unit;
    if (!state.isQuiet) {
      const obstacle = state.obstacle(task.nexus, command?.passes ?? 0);
      if (obstacle !== null) return refuse(task, obstacle);
    }
    if (command === null) return refuse(task, SENSE.INVALID_OPCODE);
    if (reservations.state !== NO_RESERVATIONS) {
      if (isConflict(reservations.state, task.nexus.initiatorPortName, cdb)) return refuseInConflict(task);
    }
    if (asksForAca(cdb)) return refuse(task, invalidCdbField(controlByteIndex(byteAt(cdb, 0)), 2));
    return command.prepare(this.unit, task);
  }

  execute(task: ScsiTask): void {
    if (task.lun !== 0) {
      this.executeAbsent(task);
      return;
    }
    const command = lookUp(task.cdb);
    assert(command !== null && command.execute !== undefined, 'execute() of a task that was refused');
    const obstacle = this.unit.obstacleSince(task, command.passes);
    if (obstacle === null) command.execute(this.unit, task);
    else refuse(task, obstacle);
  }

  refusalOf(task: ScsiTask): Sense | null {
    return this.unit.obstacleSince(task);
  }

  nexusBegan(nexus: ScsiNexus): void {
    this.unit.state.nexusBegan(nexus);
    this.unit.nexuses.add(nexus);
  }

  nexusEnded(nexus: ScsiNexus, done: () => void = () => undefined): void {
    this.unit.state.nexusEnded(nexus);
    this.unit.nexuses.delete(nexus);
    this.unit.copies.forget(nexus);
    this.unit.reservations.ended(nexus);
    this.unit.nexuses.abortGuestsOf(nexus, done);
  }

  reset(done: () => void): void {
    const { state, reservations, copies, nexuses } = this.unit;
    copies.forgetAll();
    state.reset(SENSE.UNIT_WAS_RESET, () => {
      if (reservations.state.reservedBy === null) nexuses.abortGuests(done);
      else reservations.change(unitReset, () => nexuses.abortGuests(done));
    });
  }

  resume(): void {
    resumeSanitize(this.unit);
  }

  encodeSense(sense: Sense): Buffer {
    return this.unit.state.modes.descriptorSense ? encodeSenseDescriptors(sense) : encodeSense(sense);
  }

  /** The three commands that every LUN answers (SPC-4 6.4.1, 6.33, 6.39; SAM-5 5.11). */
  private executeAbsent(task: ScsiTask): void {
    switch (byteAt(task.cdb, 0)) {
      case inquiryCommand.opcode:
        inquireAbsentUnit(this.unit, task);
        break;
      case reportLunsCommand.opcode:
        reportLuns(task);
        break;
      default:
        answerSense(task, SENSE.LOGICAL_UNIT_NOT_SUPPORTED);
    }
  }
}

function refuseInConflict(task: ScsiTask): 'finished' {
  task.finish(ScsiStatus.RESERVATION_CONFLICT, null);
  return 'finished';
}

function prepareAbsent(task: ScsiTask): TaskPlan {
  const opcode = byteAt(task.cdb, 0);
  const served =
    opcode === inquiryCommand.opcode || opcode === reportLunsCommand.opcode || opcode === REQUEST_SENSE;
  return served ? 'control' : refuse(task, SENSE.LOGICAL_UNIT_NOT_SUPPORTED);
}
