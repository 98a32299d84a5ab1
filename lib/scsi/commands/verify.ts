/**
 * VERIFY (10), (12), (16) and WRITE AND VERIFY (10), (12), (16) (SBC-3 5.34–5.36, 5.44–5.46): the medium is read and,
 * by BYTCHK, compared with what the initiator sent.
 */
import { uint16, uint32, uint64 } from '../../base/bytes.js';
import { PIECE_BYTES_MAX } from '../../base/limits.js';
import { byteAt } from '../cdb.js';
import { accept, type Command, refuse, usage } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { cut, finishByPieces, type Piece } from '../pieces.js';
import { findRangeFault, type MediumRange } from '../range.js';
import { firstDifference, invalidCdbField, type Sense, SENSE } from '../sense.js';
import type { ScsiTask, TaskPlan } from '../task.js';
import type { DiskUnit } from '../unit.js';

/** BYTCHK, bits 2–1 of byte 1 (SBC-3 table 126). */
const ByteCheck = { MEDIUM_ONLY: 0, EVERY_BLOCK: 1, RESERVED: 2, ONE_BLOCK: 3 } as const;

type ReadRange = (cdb: Buffer) => MediumRange;

const range10: ReadRange = (cdb) => ({ lba: uint32(cdb, 2), blocks: uint16(cdb, 7), lengthAt: 7 });
const range12: ReadRange = (cdb) => ({ lba: uint32(cdb, 2), blocks: uint32(cdb, 6), lengthAt: 6 });
const range16: ReadRange = (cdb) => ({ lba: uint64(cdb, 2), blocks: uint32(cdb, 10), lengthAt: 10 });

function byteCheckOf(cdb: Buffer): number {
  return (byteAt(cdb, 1) >>> 1) & 0x03;
}

/** What the medium should hold at an offset from the start of the range, or null to compare nothing. */
type Expected = ((offset: number, length: number) => Buffer) | null;

/** Reads the range and compares it; a miscompare says its byte offset in INFORMATION (SBC-3 5.34). */
function* verifyRange(
  unit: DiskUnit,
  range: MediumRange,
  expected: Expected,
): Generator<Piece, Sense | null> {
  const start = range.lba * unit.blockBytes;
  for (const { offsetBytes, lengthBytes } of cut(start, range.blocks * unit.blockBytes, PIECE_BYTES_MAX)) {
    const data = Buffer.allocUnsafe(lengthBytes);
    yield { op: 'read', offsetBytes, lengthBytes, data };
    const wanted = expected?.(offsetBytes - start, lengthBytes) ?? null;
    if (wanted !== null && !data.equals(wanted)) {
      return { ...SENSE.MISCOMPARE, information: offsetBytes - start + firstDifference(data, wanted) };
    }
  }
  return null;
}

function expectedBy(byteCheck: number, dataOut: Buffer): Expected {
  if (byteCheck === ByteCheck.MEDIUM_ONLY) return null;
  if (byteCheck === ByteCheck.ONE_BLOCK) return (_offset, length) => Buffer.alloc(length, dataOut);
  return (offset, length) => dataOut.subarray(offset, offset + length);
}

/** Writes the whole range durably, then verifies it; what is on the medium is what was sent. */
function* writeAndVerify(
  unit: DiskUnit,
  range: MediumRange,
  data: Buffer,
  byteCheck: number,
): Generator<Piece, Sense | null> {
  if (range.blocks === 0) return null;
  const start = range.lba * unit.blockBytes;
  yield { op: 'write', offsetBytes: start, lengthBytes: data.length, data, fua: true };
  return yield* verifyRange(unit, range, expectedBy(byteCheck, data));
}

function verifyPlan(readRange: ReadRange, unit: DiskUnit, task: ScsiTask): TaskPlan {
  const byteCheck = byteCheckOf(task.cdb);
  const range = readRange(task.cdb);
  if (byteCheck === ByteCheck.RESERVED) return refuse(task, invalidCdbField(1, 2));
  // Nothing is moved without BYTCHK, and Windows asks for 256 blocks, however long they are and whatever VPD B0h says.
  const isMoved = byteCheck !== ByteCheck.MEDIUM_ONLY;
  const blocksMax = isMoved ? unit.transferBlocksMax : unit.acceptedBlocksMax;
  const fault = findRangeFault(unit, task.cdb, range, blocksMax);
  if (fault !== null) return refuse(task, fault);
  if (range.blocks === 0) return accept(task);
  if (byteCheck === ByteCheck.EVERY_BLOCK) task.dataOutBytes = range.blocks * unit.blockBytes;
  if (byteCheck === ByteCheck.ONE_BLOCK) task.dataOutBytes = unit.blockBytes;
  return 'control';
}

function verify(readRange: ReadRange): Pick<Command, 'access' | 'prepare' | 'execute'> {
  return {
    access: 'read',
    prepare: (unit, task) => verifyPlan(readRange, unit, task),
    execute: (unit, task) => {
      const byteCheck = byteCheckOf(task.cdb);
      const range = readRange(task.cdb);
      const neededBytes =
        byteCheck === ByteCheck.EVERY_BLOCK ? range.blocks * unit.blockBytes : unit.blockBytes;
      // Less than the CDB promised cannot verify what the CDB asks for.
      if (byteCheck !== ByteCheck.MEDIUM_ONLY && task.dataOut.length < neededBytes) {
        refuse(task, invalidCdbField(range.lengthAt));
        return;
      }
      const expected = expectedBy(byteCheck, task.dataOut.subarray(0, neededBytes));
      finishByPieces(unit, task, verifyRange(unit, range, expected));
    },
  };
}

function writeAndVerifyPlan(readRange: ReadRange, unit: DiskUnit, task: ScsiTask): TaskPlan {
  const byteCheck = byteCheckOf(task.cdb);
  const range = readRange(task.cdb);
  if (byteCheck > ByteCheck.EVERY_BLOCK) return refuse(task, invalidCdbField(1, 2));
  const fault = findRangeFault(unit, task.cdb, range, unit.transferBlocksMax);
  if (fault !== null) return refuse(task, fault);
  if (unit.readOnly) return refuse(task, SENSE.WRITE_PROTECTED);
  if (range.blocks === 0) return accept(task);
  task.dataOutBytes = range.blocks * unit.blockBytes;
  return 'control';
}

function writeVerify(readRange: ReadRange): Pick<Command, 'prepare' | 'execute'> {
  return {
    prepare: (unit, task) => writeAndVerifyPlan(readRange, unit, task),
    execute: (unit, task) => {
      const { lba, blocks, lengthAt } = readRange(task.cdb);
      // An initiator that sends less writes less, as with WRITE: whole blocks of what came (RFC 7143 11.4.5.1).
      const came = Math.min(blocks, Math.floor(task.dataOut.length / unit.blockBytes));
      const data = task.dataOut.subarray(0, came * unit.blockBytes);
      const range = { lba, blocks: came, lengthAt };
      const pieces = writeAndVerify(unit, range, data, byteCheckOf(task.cdb));
      finishByPieces(unit, task, pieces);
    },
  };
}

export const verifyCommands: readonly Command[] = [
  {
    name: 'VERIFY(10)',
    opcode: OperationCode.VERIFY_10,
    usage: usage('2f f6 ffffffff 00 ffff 04'),
    ...verify(range10),
  },
  {
    name: 'VERIFY(12)',
    opcode: OperationCode.VERIFY_12,
    usage: usage('af f6 ffffffff ffffffff 00 04'),
    ...verify(range12),
  },
  {
    name: 'VERIFY(16)',
    opcode: OperationCode.VERIFY_16,
    usage: usage('8f f6 ffffffffffffffff ffffffff 00 04'),
    ...verify(range16),
  },
  {
    name: 'WRITE AND VERIFY(10)',
    opcode: OperationCode.WRITE_AND_VERIFY_10,
    usage: usage('2e f6 ffffffff 00 ffff 04'),
    ...writeVerify(range10),
  },
  {
    name: 'WRITE AND VERIFY(12)',
    opcode: OperationCode.WRITE_AND_VERIFY_12,
    usage: usage('ae f6 ffffffff ffffffff 00 04'),
    ...writeVerify(range12),
  },
  {
    name: 'WRITE AND VERIFY(16)',
    opcode: OperationCode.WRITE_AND_VERIFY_16,
    usage: usage('8e f6 ffffffffffffffff ffffffff 00 04'),
    ...writeVerify(range16),
  },
];
