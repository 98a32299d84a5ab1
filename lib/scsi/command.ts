/** What a command handler is, and the few ways in which one ends. Handlers keep no state between two commands. */
import type { Access } from './reservations/access.js';
import type { Sense } from './sense.js';
import { type ScsiTask, ScsiStatus, type TaskPlan } from './task.js';
import type { DiskUnit } from './unit.js';

export interface Command {
  /** As the standards write it. */
  readonly name: string;
  readonly opcode: number;
  /** Present where the operation code is shared (SPC-4 4.2.5.2). */
  readonly serviceAction?: number;
  /**
   * CDB USAGE DATA (SPC-4 6.35.3): operation code and service action as they are, and a one for every other bit
   * that is looked at. As long as the CDB.
   */
  readonly usage: Buffer;
  /** How it stands to the reservations of others, by its CDB where that says; absent: it changes something, 'write'. */
  readonly access?: Access | ((cdb: Buffer) => Access);
  /** Which conditions of the unit do not stand in its way (state.ts), by its CDB where that says; absent: every one does. */
  readonly passes?: number | ((cdb: Buffer) => number);
  /** Whether a unit has it, where not every unit does: the others answer as if it were not there. */
  isOf?(unit: DiskUnit): boolean;
  /** Checks what can be checked without data; refuses, or says what is needed. */
  prepare(unit: DiskUnit, task: ScsiTask): TaskPlan;
  /** For 'control': does the work and finishes the task, now or later. */
  execute?(unit: DiskUnit, task: ScsiTask): void;
}

/** How a command with this CDB stands to the reservations of others. */
export function accessOf({ access = 'write' }: Pick<Command, 'access'>, cdb: Buffer): Access {
  return typeof access === 'string' ? access : access(cdb);
}

/** Which conditions of the unit do not stand in its way. */
export function passesOf({ passes = 0 }: Pick<Command, 'passes'>, cdb: Buffer): number {
  return typeof passes === 'number' ? passes : passes(cdb);
}

/** CDB usage written as in the standards' tables: usage('28 fa ffffffff 3f ffff 04'). */
export function usage(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

/** prepare() of a command without data-out whose every check is in execute(). */
export function withoutDataOut(): TaskPlan {
  return 'control';
}

/** Ends with GOOD and no data. */
export function accept(task: ScsiTask): 'finished' {
  task.finish(ScsiStatus.GOOD, null);
  return 'finished';
}

/** Ends with CHECK CONDITION. */
export function refuse(task: ScsiTask, sense: Sense): 'finished' {
  task.finish(ScsiStatus.CHECK_CONDITION, sense);
  return 'finished';
}

/** Ends with GOOD and `data`, cut to the allocation length (SPC-4 4.2.5.6: that is no error). */
export function answer(task: ScsiTask, data: Buffer, allocationLength: number): void {
  task.dataIn = data.length > allocationLength ? data.subarray(0, allocationLength) : data;
  task.finish(ScsiStatus.GOOD, null);
}
