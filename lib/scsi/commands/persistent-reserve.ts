/** PERSISTENT RESERVE IN and OUT (SPC-4 6.15, 6.16): their bytes. What they mean is in reservations/. */
import { putUint16, putUint32, uint16, uint32 } from '../../base/bytes.js';
import { byteAt } from '../cdb.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { type Change, ProutAction, prout, type ProutRequest } from '../reservations/changes.js';
import { holdsReservation, NO_KEY, type Reservations } from '../reservations/state.js';
import { decodeTransportId, encodeTransportId } from '../reservations/transport-id.js';
import { invalidCdbField, invalidParameterField, SENSE } from '../sense.js';
import { Passes } from '../state.js';
import { ScsiStatus, type ScsiTask, type TaskPlan } from '../task.js';
import type { DiskUnit } from '../unit.js';

/**
 * Also where a SANITIZE has failed, other than SBC-4 4.11.4 has it: a host that is gone may hold the unit, and were that not to
 * be broken, nobody could sanitize it again, which alone ends a failure. Registrations outlive a power cycle here.
 */
const PASSES = Passes.NO_MEDIUM | Passes.SANITIZE_FAILURE;

const KEY_BYTES = 8;
/**
 * By default all members of a group are one target port (device-identification.ts). Where each is one of its own, a
 * registration is of all of them, as if ALL_TG_PT had been asked for, so that it goes on counting when a path is lost.
 */
const RELATIVE_TARGET_PORT = 1;

// ---- PERSISTENT RESERVE IN

function withHeader(state: Reservations, body: Buffer): Buffer {
  const header = Buffer.alloc(8);
  putUint32(header, state.generation, 0);
  putUint32(header, body.length, 4);
  return Buffer.concat([header, body]);
}

/** READ KEYS (SPC-4 6.15.2). */
function encodeKeys(state: Reservations): Buffer {
  return withHeader(state, Buffer.from(state.registrations.map(({ key }) => key).join(''), 'hex'));
}

/** READ RESERVATION (SPC-4 6.15.3); a reservation of all registrants has key zero. */
function encodeReservation(state: Reservations): Buffer {
  const { persistent, registrations } = state;
  if (persistent === null) return withHeader(state, Buffer.alloc(0));
  const body = Buffer.alloc(16);
  const holder = registrations.find(({ initiatorPort }) => initiatorPort === persistent.holder);
  body.write(holder?.key ?? NO_KEY, 0, 'hex');
  body[13] = persistent.type;
  return withHeader(state, body);
}

/** REPORT CAPABILITIES (SPC-4 6.15.4). */
function encodeCapabilities(state: Reservations, { ports, reservations }: DiskUnit): Buffer {
  const body = Buffer.alloc(8);
  putUint16(body, 8, 0);
  // CRH, SIP_C, ATP_C, PTPL_C
  body[2] = 0x10 | 0x08 | (ports === null ? 0 : 0x04) | (reservations.survivePowerLoss ? 0x01 : 0);
  body[3] = 0x80 | (state.aptpl ? 0x01 : 0); // TMV, PTPL_A
  body[4] = 0xea; // every type …
  body[5] = 0x01; // … that is not obsolete
  return body;
}

/** READ FULL STATUS (SPC-4 6.15.5). */
function encodeFullStatus(state: Reservations, { ports }: DiskUnit): Buffer {
  const descriptors = state.registrations.map(({ initiatorPort, key }) => {
    const head = Buffer.alloc(24);
    const id = encodeTransportId(initiatorPort);
    head.write(key, 0, 'hex');
    if (ports !== null) head[12] = 0x02; // ALL_TG_PT: the identifier of the port means nothing
    if (state.persistent !== null && holdsReservation(state, initiatorPort)) {
      head[12] = byteAt(head, 12) | 0x01; // R_HOLDER
      head[13] = state.persistent.type;
    }
    putUint16(head, RELATIVE_TARGET_PORT, 18);
    putUint32(head, id.length, 20);
    return Buffer.concat([head, id]);
  });
  return withHeader(state, Buffer.concat(descriptors));
}

const READERS = [
  ['READ KEYS', encodeKeys],
  ['READ RESERVATION', encodeReservation],
  ['REPORT CAPABILITIES', encodeCapabilities],
  ['READ FULL STATUS', encodeFullStatus],
] as const;

const inCommands: readonly Command[] = READERS.map(([name, encode], serviceAction) => ({
  name: `PERSISTENT RESERVE IN, ${name}`,
  opcode: OperationCode.PERSISTENT_RESERVE_IN,
  serviceAction,
  usage: Buffer.concat([
    Buffer.from([OperationCode.PERSISTENT_RESERVE_IN, serviceAction]),
    usage('00 00 00 00 00 ffff 04'),
  ]),
  access: 'persistent',
  passes: PASSES,
  prepare: withoutDataOut,
  execute: (unit, task) => answer(task, encode(unit.reservations.state, unit), uint16(task.cdb, 7)),
}));

// ---- PERSISTENT RESERVE OUT

/** Bytes of the basic parameter list (SPC-4, PERSISTENT RESERVE OUT). */
const BASIC_BYTES = 24;
const SPEC_I_PT = 0x08;
const ALL_TG_PT = 0x04;
const APTPL = 0x01;
/** ALL_TG_PT and APTPL are ignored by the others (SPC-4 6.16.3). */
const REGISTERS: ReadonlySet<number> = new Set([
  ProutAction.REGISTER,
  ProutAction.REGISTER_AND_IGNORE_EXISTING_KEY,
  ProutAction.REGISTER_AND_MOVE,
]);
/** Parameter lists are short; a longer one is no TransportIDs of anybody. */
const PARAMETER_BYTES_MAX = 64 * 1024;

function prepareOut(_unit: DiskUnit, task: ScsiTask): TaskPlan {
  const lengthBytes = uint32(task.cdb, 5);
  // SPC-4 6.16.1: shorter is an error; so is longer, but where TransportIDs follow.
  if (lengthBytes < BASIC_BYTES || lengthBytes > PARAMETER_BYTES_MAX)
    return refuse(task, SENSE.PARAMETER_LIST_LENGTH_ERROR);
  task.dataOutBytes = lengthBytes;
  return 'control';
}

/** The TransportIDs in `bytes`, which they fill; null when they are not. */
function portsIn(bytes: Buffer): string[] | null {
  const ports: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const id = decodeTransportId(bytes.subarray(at));
    if (id === null) return null;
    ports.push(id.initiatorPort);
    at += id.lengthBytes;
  }
  return ports;
}

/** Whether the unit has a target port of this RELATIVE TARGET PORT IDENTIFIER; of several, some may be away just now. */
function hasPort({ ports }: DiskUnit, identifier: number): boolean {
  return ports === null ? identifier === RELATIVE_TARGET_PORT : identifier > 0;
}

/** Finishes the task and returns null where the parameter list is not as it should be. */
function requestOf(unit: DiskUnit, task: ScsiTask): ProutRequest | null {
  const { cdb, dataOut } = task;
  const action = byteAt(cdb, 1) & 0x1f;
  if (dataOut.length < BASIC_BYTES) return refused(task, SENSE.PARAMETER_LIST_LENGTH_ERROR);
  const isMove = action === ProutAction.REGISTER_AND_MOVE;
  const flags = byteAt(dataOut, isMove ? 17 : 20);
  const hasPorts = isMove || (flags & SPEC_I_PT) !== 0;
  // SPC-4 6.16.3: SPEC_I_PT is for REGISTER alone.
  if (!isMove && hasPorts && action !== ProutAction.REGISTER) return refused(task, invalidParameterField(20));
  if (REGISTERS.has(action)) {
    // Of one target port there is no all.
    const wantsAll = !isMove && (flags & ALL_TG_PT) !== 0;
    const wantsKept = (flags & APTPL) !== 0;
    if ((wantsAll && unit.ports === null) || (wantsKept && !unit.reservations.survivePowerLoss))
      return refused(task, invalidParameterField(isMove ? 17 : 20));
  }
  const listAt = isMove ? BASIC_BYTES : BASIC_BYTES + 4;
  if (!hasPorts && dataOut.length !== BASIC_BYTES) return refused(task, SENSE.PARAMETER_LIST_LENGTH_ERROR);
  if (hasPorts && dataOut.length < listAt) return refused(task, SENSE.PARAMETER_LIST_LENGTH_ERROR);
  const list = hasPorts ? dataOut.subarray(listAt) : Buffer.alloc(0);
  if (hasPorts && uint32(dataOut, listAt - 4) !== list.length)
    return refused(task, SENSE.PARAMETER_LIST_LENGTH_ERROR);
  const ports = portsIn(list);
  if (ports === null || (isMove && ports.length !== 1)) return refused(task, invalidParameterField(listAt));
  if (isMove && !hasPort(unit, uint16(dataOut, 18))) return refused(task, invalidParameterField(18));
  return {
    action,
    initiatorPort: task.nexus.initiatorPortName,
    scope: byteAt(cdb, 2) >>> 4,
    type: byteAt(cdb, 2) & 0x0f,
    key: dataOut.toString('hex', 0, KEY_BYTES),
    serviceActionKey: dataOut.toString('hex', KEY_BYTES, 2 * KEY_BYTES),
    aptpl: (flags & APTPL) !== 0,
    specifiesPorts: hasPorts && !isMove,
    ports,
    unregisters: isMove && (flags & 0x02) !== 0,
  };
}

function refused(task: ScsiTask, sense: Parameters<typeof refuse>[1]): null {
  refuse(task, sense);
  return null;
}

/** How a change ends the command that asked for it; null: the group's store does not answer. */
function finishChange(task: ScsiTask, change: Change | null): void {
  if (change === null) task.finish(ScsiStatus.BUSY, null);
  else if (change.kind === 'done') task.finish(ScsiStatus.GOOD, null);
  else if (change.kind === 'conflict') task.finish(ScsiStatus.RESERVATION_CONFLICT, null);
  else refuse(task, change.sense);
}

/**
 * Carries out a command that changes the reservations of a unit. Once the change stands it can do without its task: what is
 * left is to wait for other members, one of which may be out of reach; and of two who abort each other's commands neither
 * may wait for the other's.
 */
export function changeReservations(
  unit: DiskUnit,
  task: ScsiTask,
  make: (state: Reservations) => Change,
): void {
  let isOver = false;
  unit.reservations.change(
    make,
    (change) => {
      if (!isOver) finishChange(task, change);
    },
    () => {
      if (!task.isEnding) return void (task.letGo = () => (isOver = true));
      isOver = true; // the transport has come by already, and waits
      task.finish(ScsiStatus.TASK_ABORTED, null);
    },
  );
}

function executeOut(unit: DiskUnit, task: ScsiTask): void {
  const request = requestOf(unit, task);
  if (request !== null) changeReservations(unit, task, (state) => prout(state, request));
}

const outCommands: readonly Command[] = Object.entries(ProutAction).map(([name, serviceAction]) => ({
  name: `PERSISTENT RESERVE OUT, ${name.replaceAll('_', ' ')}`,
  opcode: OperationCode.PERSISTENT_RESERVE_OUT,
  serviceAction,
  usage: Buffer.concat([
    Buffer.from([OperationCode.PERSISTENT_RESERVE_OUT, serviceAction]),
    usage('ff 00 00 ffffffff 04'),
  ]),
  access: 'persistent',
  passes: PASSES,
  prepare: prepareOut,
  execute: executeOut,
}));

/** A service action that nobody has (SPC-4 4.2.5.2). */
export const otherReserveActions: readonly Command[] = [
  OperationCode.PERSISTENT_RESERVE_IN,
  OperationCode.PERSISTENT_RESERVE_OUT,
].map((opcode) => ({
  name: 'PERSISTENT RESERVE',
  opcode,
  usage: Buffer.from([opcode, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0x04]),
  access: 'persistent',
  passes: PASSES,
  prepare: (_unit, task) => refuse(task, invalidCdbField(1, 4)),
}));

export const persistentReserveCommands: readonly Command[] = [...inCommands, ...outCommands];
