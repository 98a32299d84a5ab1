/**
 * REPORT TARGET PORT GROUPS (SPC-4 6.37): how each target port stands to the unit. Only units that are reached through
 * several ports have it, since with TPGS 00b it "is not supported" (SPC-4 table 146).
 */
import { assert } from '../../base/assert.js';
import { putUint16, putUint32, uint32 } from '../../base/bytes.js';
import { byteAt } from '../cdb.js';
import { answer, type Command, refuse, usage } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { invalidCdbField, SENSE } from '../sense.js';
import { Passes } from '../state.js';
import { AccessState, type PortGroup, type TargetPorts } from '../target-ports.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';

/** PARAMETER DATA FORMAT, bits 7–5 of byte 1 (SPC-4 table 314). */
const Format = { LENGTH_ONLY: 0, EXTENDED: 1 } as const;

/** Byte 1 of a descriptor: the states that there can be, AN_SUP and AO_SUP (SPC-4 table 316). */
const SUPPORTED_STATES = (1 << AccessState.ACTIVE_NON_OPTIMIZED) | (1 << AccessState.ACTIVE_OPTIMIZED);

/** A group with its one port. */
function encodeGroup({ number, state }: PortGroup): Buffer {
  const descriptor = Buffer.alloc(12);
  descriptor[0] = state; // PREF 0: which home a volume has is nobody's preference but its operator's
  descriptor[1] = SUPPORTED_STATES;
  putUint16(descriptor, number, 2);
  descriptor[7] = 1; // TARGET PORT COUNT
  putUint16(descriptor, number, 10);
  return descriptor;
}

function encodeGroups(ports: TargetPorts, isExtended: boolean): Buffer {
  // Extended: FORMAT TYPE 001b, and an IMPLICIT TRANSITION TIME of zero, "not specified" (SPC-4 table 320).
  const extension = isExtended ? [Buffer.from([0x10, 0, 0, 0])] : [];
  const list = Buffer.concat([Buffer.alloc(4), ...extension, ...ports.groups().map(encodeGroup)]);
  putUint32(list, list.length - 4, 0);
  return list;
}

function execute({ ports }: DiskUnit, task: ScsiTask): void {
  assert(ports !== null, 'prepare() has let it through');
  const format = byteAt(task.cdb, 1) >>> 5;
  if (format > Format.EXTENDED) refuse(task, invalidCdbField(1, 7));
  else answer(task, encodeGroups(ports, format === Format.EXTENDED), uint32(task.cdb, 6));
}

export const reportPortGroupsCommand: Command = {
  name: 'REPORT TARGET PORT GROUPS',
  opcode: OperationCode.MAINTENANCE_IN,
  serviceAction: 0x0a,
  usage: usage('a3 ea 00000000 ffffffff 00 04'),
  access: 'always',
  passes: Passes.NO_MEDIUM,
  isOf: (unit) => unit.ports !== null,
  prepare: (unit, task) => (unit.ports === null ? refuse(task, SENSE.INVALID_OPCODE) : 'control'),
  execute,
};
