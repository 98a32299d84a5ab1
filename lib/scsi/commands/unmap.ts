/** UNMAP (SBC-3 5.31): a list of ranges that read as zeros afterwards and give their space back. A full unit has none. */
import { uint16, uint32, uint64 } from '../../base/bytes.js';
import { CLEAR_PIECE_BYTES_MAX, UNMAP_BLOCKS_MAX, UNMAP_DESCRIPTORS_MAX } from '../../base/limits.js';
import { byteAt } from '../cdb.js';
import { accept, type Command, refuse, usage } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { cut, finishByPieces, type Piece } from '../pieces.js';
import { invalidCdbField, invalidParameterField, lbaOutOfRange, type Sense, SENSE } from '../sense.js';
import type { ScsiTask, TaskPlan } from '../task.js';
import type { DiskUnit } from '../unit.js';

const ANCHOR = 0x01;
const HEADER_BYTES = 8;
const DESCRIPTOR_BYTES = 16;

interface UnmapRange {
  readonly lba: number;
  readonly blocks: number;
}

function prepare(unit: DiskUnit, task: ScsiTask): TaskPlan {
  if (unit.full) return refuse(task, SENSE.INVALID_OPCODE);
  const parameterListLength = uint16(task.cdb, 7);
  // VPD B2h says ANC_SUP 0.
  if ((byteAt(task.cdb, 1) & ANCHOR) !== 0) return refuse(task, invalidCdbField(1, 0));
  if (unit.readOnly) return refuse(task, SENSE.WRITE_PROTECTED);
  // "PARAMETER LIST LENGTH of zero: no data is transferred, no error" (SBC-3 5.31.1).
  if (parameterListLength === 0) return accept(task);
  if (parameterListLength < HEADER_BYTES) return refuse(task, SENSE.PARAMETER_LIST_LENGTH_ERROR);
  task.dataOutBytes = parameterListLength;
  return 'control';
}

/**
 * The descriptors of a parameter list (SBC-3 5.31.2). One cut short by either length, the list's own or the CDB's, is
 * ignored, as the standard says. Throws nothing; `list` has at least its header.
 */
export function parseUnmapList(list: Buffer): UnmapRange[] {
  const end = Math.min(HEADER_BYTES + uint16(list, 2), list.length);
  const ranges: UnmapRange[] = [];
  for (let at = HEADER_BYTES; at + DESCRIPTOR_BYTES <= end; at += DESCRIPTOR_BYTES) {
    ranges.push({ lba: uint64(list, at), blocks: uint32(list, at + 8) });
  }
  return ranges;
}

/** All of a list is checked before any of it is done. */
function findFault(unit: DiskUnit, ranges: readonly UnmapRange[]): Sense | null {
  if (ranges.length > UNMAP_DESCRIPTORS_MAX) return invalidParameterField(2);
  let total = 0;
  for (const [index, { lba, blocks }] of ranges.entries()) {
    if (unit.isBeyondEnd(lba, blocks)) return lbaOutOfRange(unit.firstBeyondEnd(lba));
    total += blocks;
    if (total > UNMAP_BLOCKS_MAX) return invalidParameterField(HEADER_BYTES + index * DESCRIPTOR_BYTES + 8);
  }
  return null;
}

function* discardAll(unit: DiskUnit, ranges: readonly UnmapRange[]): Generator<Piece, Sense | null> {
  for (const { lba, blocks } of ranges) {
    const pieces = cut(lba * unit.blockBytes, blocks * unit.blockBytes, CLEAR_PIECE_BYTES_MAX);
    for (const piece of pieces) yield { op: 'discard', ...piece, fua: unit.writesThrough };
  }
  return null;
}

function execute(unit: DiskUnit, task: ScsiTask): void {
  if (task.dataOut.length < HEADER_BYTES) {
    refuse(task, SENSE.PARAMETER_LIST_LENGTH_ERROR);
    return;
  }
  const ranges = parseUnmapList(task.dataOut);
  const fault = findFault(unit, ranges);
  if (fault !== null) refuse(task, fault);
  else finishByPieces(unit, task, discardAll(unit, ranges));
}

export const unmapCommand: Command = {
  name: 'UNMAP',
  opcode: OperationCode.UNMAP,
  usage: usage('42 01 00000000 00 ffff 04'),
  isOf: (unit) => !unit.full,
  prepare,
  execute,
};
