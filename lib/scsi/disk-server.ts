/**
 * The device server of one target (SAM-5 4.6): LUN 0 is the disk, no other LUN has a unit. It finds the handler of a
 * command; what the command does is in commands/.
 */
import { assert } from '../base/assert.js';
import { NO_BYTES } from '../base/bytes.js';
import type { BlockDevice } from '../block/device.js';
import { asksForAca, byteAt, controlByteIndex } from './cdb.js';
import { accessOf, passesOf, refuse } from './command.js';
import { inquireAbsentUnit, inquiryCommand } from './commands/inquiry.js';
import { reportLuns, reportLunsCommand } from './commands/report-luns.js';
import { resumeSanitize } from './commands/sanitize.js';
import { answerSense } from './commands/unit-state.js';
import { lookUp } from './dispatch.js';
import { OperationCode } from './opcodes.js';
import { checkCondition } from './refusal.js';
import { encodeSense, encodeSenseDescriptors, invalidCdbField, type Sense, SENSE } from './sense.js';
import { isBarred } from './reservations/access.js';
import { unitReset } from './reservations/changes.js';
import { NO_RESERVATIONS } from './reservations/state.js';
import {
  type DeviceServer,
  type Refusal,
  type ScsiNexus,
  ScsiStatus,
  type ScsiTask,
  type TaskPlan,
} from './task.js';
import { DiskUnit, type UnitParts } from './unit.js';

const CONFLICT: Refusal = Object.freeze({ status: ScsiStatus.RESERVATION_CONFLICT, sense: null });

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
    task.dataOut = NO_BYTES;
    task.dataIn = NO_BYTES;
    const { cdb } = task;
    if (task.lun !== 0) return prepareAbsent(task);
    const command = lookUp(cdb);
    const { state, reservations } = this.unit;
    if (!state.isQuiet) {
      const obstacle = state.obstacle(task.nexus, command === null ? 0 : passesOf(command, cdb));
      if (obstacle !== null) return refuse(task, obstacle);
    }
    if (command === null) return refuse(task, SENSE.INVALID_OPCODE);
    if (reservations.state !== NO_RESERVATIONS) {
      const access = accessOf(command, cdb);
      if (isBarred(reservations.state, task.nexus.initiatorPortName, access)) return refuseInConflict(task);
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
    const obstacle = this.unit.obstacleSince(task, passesOf(command, task.cdb));
    if (obstacle === null) command.execute(this.unit, task);
    else refuse(task, obstacle);
  }

  refusalOf(task: ScsiTask, op: 'read' | 'write'): Refusal | null {
    const { unit } = this;
    const obstacle = unit.obstacleSince(task);
    // The write cache may have been switched off while its data was on the way (SBC-3 6.5.6).
    task.fua ||= unit.writesThrough;
    if (obstacle !== null) return checkCondition(obstacle);
    // Or SWP been set (SPC-4 7.5.8).
    return op === 'write' && unit.readOnly ? checkCondition(SENSE.WRITE_PROTECTED) : null;
  }

  /** Why a transfer of `nexus`, of which only the CDB was looked at, is not carried out, null if it is. */
  refusalOfTransfer(nexus: ScsiNexus, op: 'read' | 'write'): Refusal | null {
    const { state, reservations, readOnly } = this.unit;
    const obstacle = state.isQuiet ? null : state.obstacle(nexus, 0);
    if (obstacle !== null) return checkCondition(obstacle);
    if (isBarred(reservations.state, nexus.initiatorPortName, op)) return CONFLICT;
    return op === 'write' && readOnly ? checkCondition(SENSE.WRITE_PROTECTED) : null;
  }

  /** Whatever is written has to be durable when it is acknowledged. */
  get writesThrough(): boolean {
    return this.unit.writesThrough;
  }

  nexusBegan(nexus: ScsiNexus): BlockDevice {
    this.unit.state.nexusBegan(nexus);
    this.unit.nexuses.add(nexus, () => this.unit.device.admit());
    return this.device;
  }

  /** The nexus goes on, but the unit is served elsewhere: what it has reserved stays. */
  nexusLeft(nexus: ScsiNexus): void {
    const { state, nexuses, copies } = this.unit;
    state.nexusEnded(nexus);
    nexuses.delete(nexus);
    copies.forget(nexus);
  }

  /** Something that only `nexus` is to be told. */
  attend(nexus: ScsiNexus, attention: Sense): void {
    this.unit.state.attend(nexus, attention);
  }

  /** The unit was served elsewhere until now: what its nexuses here were to be told is of the time before. */
  takenOver(): void {
    this.unit.state.begin();
    this.unit.copies.forgetAll();
  }

  /** D_SENSE. */
  get saysDescriptors(): boolean {
    return this.unit.state.modes.descriptorSense;
  }

  nexusEnded(nexus: ScsiNexus, done: () => void = () => undefined): void {
    this.unit.state.nexusEnded(nexus);
    this.unit.nexuses.delete(nexus);
    this.unit.copies.forget(nexus);
    this.unit.reservations.ended(nexus);
    this.unit.nexuses.abortGuestsOf(nexus, done);
  }

  reset(done: (isDone: boolean) => void): void {
    const { state, reservations, copies, nexuses } = this.unit;
    const guestsEnd = (isDone: boolean): void => nexuses.abortGuests(() => done(isDone));
    copies.forgetAll();
    state.reset(SENSE.UNIT_WAS_RESET, () => {
      if (reservations.state.reservedBy === null) guestsEnd(true);
      else reservations.change(unitReset, (change) => guestsEnd(change?.kind === 'done'));
    });
  }

  /** Its tasks are the transport's. */
  clearTaskSet(done: (isDone: boolean) => void): void {
    done(true);
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
    opcode === inquiryCommand.opcode ||
    opcode === reportLunsCommand.opcode ||
    opcode === OperationCode.REQUEST_SENSE;
  return served ? 'control' : refuse(task, SENSE.LOGICAL_UNIT_NOT_SUPPORTED);
}
