/** READ CAPACITY (10) and (16) (SBC-3 5.15, 5.16). */
import { putUint32, putUint64, uint32 } from '../../base/bytes.js';
import { byteAt } from '../cdb.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { invalidCdbField } from '../sense.js';
import { Passes } from '../state.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';

const PMI = 0x01;

function execute10(unit: DiskUnit, task: ScsiTask): void {
  // SBC-2 5.10: without PMI the LBA has to be 0.
  if ((byteAt(task.cdb, 8) & PMI) === 0 && uint32(task.cdb, 2) !== 0) {
    refuse(task, invalidCdbField(2));
    return;
  }
  const data = Buffer.alloc(8);
  // A larger unit says FFFFFFFFh: "ask READ CAPACITY (16)".
  putUint32(data, Math.min(unit.blocks - 1, 0xffff_ffff), 0);
  putUint32(data, unit.blockBytes, 4);
  answer(task, data, data.length);
}

const LBPME = 0x80;
const LBPRZ = 0x40;

function execute16(unit: DiskUnit, task: ScsiTask): void {
  const data = Buffer.alloc(32);
  putUint64(data, unit.blocks - 1, 0);
  putUint32(data, unit.blockBytes, 8);
  data[13] = unit.physicalExponent;
  data[14] = unit.full ? 0 : LBPME | LBPRZ;
  answer(task, data, uint32(task.cdb, 10));
}

export const readCapacityCommands: readonly Command[] = [
  {
    name: 'READ CAPACITY(10)',
    opcode: OperationCode.READ_CAPACITY_10,
    usage: usage('25 00 ffffffff 0000 01 04'),
    access: 'always',
    passes: Passes.SANITIZE,
    prepare: withoutDataOut,
    execute: execute10,
  },
  {
    name: 'READ CAPACITY(16)',
    opcode: OperationCode.SERVICE_ACTION_IN_16,
    serviceAction: 0x10,
    usage: usage('9e 10 0000000000000000 ffffffff 00 04'),
    access: 'always',
    passes: Passes.SANITIZE,
    prepare: withoutDataOut,
    execute: execute16,
  },
];
