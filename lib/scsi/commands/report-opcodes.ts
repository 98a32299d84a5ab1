/** REPORT SUPPORTED OPERATION CODES (SPC-4 6.35): generated from the table of commands itself. */
import { putUint16, putUint32, uint16, uint32 } from '../../base/bytes.js';
import { byteAt } from '../cdb.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { invalidCdbField } from '../sense.js';
import { Passes } from '../state.js';
import type { ScsiTask } from '../task.js';

const RCTD = 0x80;

/** REPORTING OPTIONS (SPC-4 table 311). */
const ReportingOptions = { ALL: 0, OPCODE: 1, SERVICE_ACTION: 2, EITHER: 3 } as const;

/** Byte 1 of the one-command format. */
const CTDP = 0x80;
const NOT_SUPPORTED = 0x01;
const SUPPORTED = 0x03;

/** Bits of byte 5 of a command descriptor. */
const DESCRIPTOR_CTDP = 0x02;
const SERVACTV = 0x01;

/** Command timeouts descriptor (SPC-4 6.35.4): zeros, "no timeout is recommended". */
function timeoutsDescriptor(): Buffer {
  const descriptor = Buffer.alloc(12);
  putUint16(descriptor, 10, 0);
  return descriptor;
}

function encodeDescriptor(command: Command, withTimeouts: boolean): Buffer {
  const descriptor = Buffer.alloc(8);
  descriptor[0] = command.opcode;
  putUint16(descriptor, command.serviceAction ?? 0, 2);
  descriptor[5] = (withTimeouts ? DESCRIPTOR_CTDP : 0) | (command.serviceAction === undefined ? 0 : SERVACTV);
  putUint16(descriptor, command.usage.length, 6);
  return withTimeouts ? Buffer.concat([descriptor, timeoutsDescriptor()]) : descriptor;
}

function encodeAll(commands: readonly Command[], withTimeouts: boolean): Buffer {
  const descriptors = commands.map((command) => encodeDescriptor(command, withTimeouts));
  const list = Buffer.concat([Buffer.alloc(4), ...descriptors]);
  putUint32(list, list.length - 4, 0);
  return list;
}

function encodeOne(command: Command | undefined, withTimeouts: boolean): Buffer {
  if (command === undefined) return Buffer.from([0, NOT_SUPPORTED, 0, 0]);
  const { length } = command.usage;
  const header = Buffer.from([0, SUPPORTED | (withTimeouts ? CTDP : 0), length >>> 8, length & 0xff]);
  return Buffer.concat([header, command.usage, ...(withTimeouts ? [timeoutsDescriptor()] : [])]);
}

/** The one command asked for; 'mismatch' when the options do not fit its kind. */
function selectOne(commands: readonly Command[], cdb: Buffer): Command | undefined | 'mismatch' {
  const options = byteAt(cdb, 2) & 0x07;
  const serviceAction = uint16(cdb, 4);
  const sharing = commands.filter((command) => command.opcode === byteAt(cdb, 3));
  if (sharing.length === 0) return undefined;
  const hasActions = sharing[0]?.serviceAction !== undefined;
  if (options === ReportingOptions.OPCODE && hasActions) return 'mismatch';
  if (options === ReportingOptions.SERVICE_ACTION && !hasActions) return 'mismatch';
  return sharing.find(
    (command) => (command.serviceAction ?? 0) === serviceAction || options === ReportingOptions.OPCODE,
  );
}

function execute(commands: readonly Command[], task: ScsiTask): void {
  const { cdb } = task;
  const options = byteAt(cdb, 2) & 0x07;
  const withTimeouts = (byteAt(cdb, 2) & RCTD) !== 0;
  const allocationLength = uint32(cdb, 6);
  if (options > ReportingOptions.EITHER) {
    refuse(task, invalidCdbField(2, 2));
  } else if (options === ReportingOptions.ALL) {
    answer(task, encodeAll(commands, withTimeouts), allocationLength);
  } else {
    const command = selectOne(commands, cdb);
    if (command === 'mismatch') refuse(task, invalidCdbField(2, 2));
    else answer(task, encodeOne(command, withTimeouts), allocationLength);
  }
}

/** @param commands asked for at each command, since the table holds this command too */
export function reportOpcodesCommand(commands: () => readonly Command[]): Command {
  return {
    name: 'REPORT SUPPORTED OPERATION CODES',
    opcode: OperationCode.MAINTENANCE_IN,
    serviceAction: 0x0c,
    usage: usage('a3 0c 87 ff ffff ffffffff 00 04'),
    access: 'read',
    passes: Passes.NO_MEDIUM | Passes.SANITIZE,
    prepare: withoutDataOut,
    execute: (unit, task) =>
      execute(
        commands().filter((command) => command.isOf?.(unit) ?? true),
        task,
      ),
  };
}
