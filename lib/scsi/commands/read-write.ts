/**
 * READ and WRITE (6), (10), (12), (16) (SBC-3 5.7–5.11, 5.40–5.43). Their data is moved by the transport; here is only
 * what the CDB says and whether it may. The hot path: nothing is allocated unless the command is refused.
 */
import { uint16, uint24, uint32, uint64 } from '../../base/bytes.js';
import { byteAt, FUA, PROTECT } from '../cdb.js';
import { accept, type Command, refuse, usage } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { invalidCdbField, lbaOutOfRange, SENSE } from '../sense.js';
import type { ScsiTask, TaskPlan } from '../task.js';
import type { DiskUnit } from '../unit.js';

type Direction = 'read' | 'write';

/** The rules that all sizes share. `lengthAt` is where TRANSFER LENGTH stands, for the field pointer. */
function planTransfer(
  unit: DiskUnit,
  task: ScsiTask,
  direction: Direction,
  flags: number,
  lba: number,
  blocks: number,
  lengthAt: number,
): TaskPlan {
  if ((flags & PROTECT) !== 0) return refuse(task, invalidCdbField(1, 7));
  if (unit.isBeyondEnd(lba, blocks)) return refuse(task, lbaOutOfRange(unit.firstBeyondEnd(lba)));
  // SBC-3 6.6.4: more than MAXIMUM TRANSFER LENGTH is an invalid field. Where that says less than we can take it is advice:
  // hypervisors and firmware pass on what others ask for, unsplit, whatever VPD B0h says.
  if (blocks > unit.acceptedBlocksMax) return refuse(task, invalidCdbField(lengthAt));
  if (direction === 'write' && unit.readOnly) return refuse(task, SENSE.WRITE_PROTECTED);
  // SBC-3 5.8: a TRANSFER LENGTH of zero transfers nothing and is no error.
  if (blocks === 0) return accept(task);
  task.offsetBytes = lba * unit.blockBytes;
  task.transferBytes = blocks * unit.blockBytes;
  task.fua = (flags & FUA) !== 0 || unit.writesThrough;
  if (direction === 'write') task.dataOutBytes = task.transferBytes;
  return direction;
}

/** SBC-3 5.7, 5.40: 21 bits of LBA, no flags, and a TRANSFER LENGTH of zero means 256. */
function prepare6(direction: Direction): Command['prepare'] {
  return (unit, task) => {
    const lba = uint24(task.cdb, 1) & 0x1fffff;
    return planTransfer(unit, task, direction, 0, lba, byteAt(task.cdb, 4) || 256, 4);
  };
}

function prepare10(direction: Direction): Command['prepare'] {
  return (unit, task) => {
    const { cdb } = task;
    return planTransfer(unit, task, direction, byteAt(cdb, 1), uint32(cdb, 2), uint16(cdb, 7), 7);
  };
}

function prepare12(direction: Direction): Command['prepare'] {
  return (unit, task) => {
    const { cdb } = task;
    return planTransfer(unit, task, direction, byteAt(cdb, 1), uint32(cdb, 2), uint32(cdb, 6), 6);
  };
}

function prepare16(direction: Direction): Command['prepare'] {
  return (unit, task) => {
    const { cdb } = task;
    return planTransfer(unit, task, direction, byteAt(cdb, 1), uint64(cdb, 2), uint32(cdb, 10), 10);
  };
}

export const readWriteCommands: readonly Command[] = [
  {
    name: 'READ(6)',
    opcode: OperationCode.READ_6,
    usage: usage('08 1fffff ff 04'),
    access: 'read',
    prepare: prepare6('read'),
  },
  {
    name: 'WRITE(6)',
    opcode: OperationCode.WRITE_6,
    usage: usage('0a 1fffff ff 04'),
    prepare: prepare6('write'),
  },
  {
    name: 'READ(10)',
    opcode: OperationCode.READ_10,
    usage: usage('28 f8 ffffffff 00 ffff 04'),
    access: 'read',
    prepare: prepare10('read'),
  },
  {
    name: 'WRITE(10)',
    opcode: OperationCode.WRITE_10,
    usage: usage('2a f8 ffffffff 00 ffff 04'),
    prepare: prepare10('write'),
  },
  {
    name: 'READ(12)',
    opcode: OperationCode.READ_12,
    usage: usage('a8 f8 ffffffff ffffffff 00 04'),
    access: 'read',
    prepare: prepare12('read'),
  },
  {
    name: 'WRITE(12)',
    opcode: OperationCode.WRITE_12,
    usage: usage('aa f8 ffffffff ffffffff 00 04'),
    prepare: prepare12('write'),
  },
  {
    name: 'READ(16)',
    opcode: OperationCode.READ_16,
    usage: usage('88 f8 ffffffffffffffff ffffffff 00 04'),
    access: 'read',
    prepare: prepare16('read'),
  },
  {
    name: 'WRITE(16)',
    opcode: OperationCode.WRITE_16,
    usage: usage('8a f8 ffffffffffffffff ffffffff 00 04'),
    prepare: prepare16('write'),
  },
];
