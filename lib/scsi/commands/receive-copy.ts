/**
 * RECEIVE COPY STATUS (LID1), RECEIVE COPY OPERATING PARAMETERS and RECEIVE COPY FAILURE DETAILS (LID1) (SPC-4 6.23 and after;
 * RECEIVE COPY RESULTS in SPC-3): how a copy stands, and what EXTENDED COPY takes. No segment keeps data for RECEIVE COPY
 * DATA, so there is none.
 */
import { putUint16, putUint32, uint32 } from '../../base/bytes.js';
import { COPIES_MAX, COPY_CSCDS_MAX, COPY_SEGMENT_BYTES_MAX, COPY_SEGMENTS_MAX } from '../../base/limits.js';
import { byteAt } from '../cdb.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import type { CopyRun } from '../copy/copies.js';
import { DESCRIPTOR_LIST_BYTES_MAX, DescriptorType } from '../copy/parameter-list.js';
import { OperationCode } from '../opcodes.js';
import { encodeSense, invalidCdbField } from '../sense.js';
import { ScsiStatus, type ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';

const LIST_IDENTIFIER_AT = 2;
const ALLOCATION_LENGTH_AT = 10;

/** COPY COMMAND STATUS. */
const CopyStatus = { IN_PROGRESS: 0, COMPLETED: 1, FAILED: 2 } as const;

function answerWhole(task: ScsiTask, data: Buffer): void {
  // AVAILABLE DATA counts what follows it.
  putUint32(data, data.length - 4, 0);
  answer(task, data, uint32(task.cdb, ALLOCATION_LENGTH_AT));
}

/** Finishes the task where its nexus has no such copy. */
function findRun(unit: DiskUnit, task: ScsiTask): CopyRun | null {
  const run = unit.copies.find(task.nexus, byteAt(task.cdb, LIST_IDENTIFIER_AT));
  if (run === undefined) refuse(task, invalidCdbField(LIST_IDENTIFIER_AT));
  return run ?? null;
}

function statusOf({ outcome }: CopyRun): number {
  if (outcome === undefined) return CopyStatus.IN_PROGRESS;
  return outcome === null ? CopyStatus.COMPLETED : CopyStatus.FAILED;
}

/** What has ended well is told once; of what has failed the details may be asked for yet. */
function receiveStatus(unit: DiskUnit, task: ScsiTask): void {
  const run = findRun(unit, task);
  if (run === null) return;
  if (run.outcome === null) unit.copies.discard(task.nexus, byteAt(task.cdb, LIST_IDENTIFIER_AT));
  const data = Buffer.alloc(12);
  data[4] = statusOf(run);
  putUint16(data, run.segmentsProcessed, 5);
  putUint32(data, run.bytesWritten, 8); // TRANSFER COUNT UNITS 0: bytes
  answerWhole(task, data);
}

function receiveFailureDetails(unit: DiskUnit, task: ScsiTask): void {
  const run = findRun(unit, task);
  if (run === null) return;
  const { outcome } = run;
  if (outcome === undefined) return void refuse(task, invalidCdbField(LIST_IDENTIFIER_AT));
  unit.copies.discard(task.nexus, byteAt(task.cdb, LIST_IDENTIFIER_AT));
  if (outcome === null) return answerWhole(task, Buffer.alloc(4));
  const sense = encodeSense(outcome);
  const head = Buffer.alloc(60);
  head[56] = ScsiStatus.CHECK_CONDITION; // EXTENDED COPY COMMAND STATUS
  putUint16(head, sense.length, 58);
  answerWhole(task, Buffer.concat([head, sense]));
}

function receiveOperatingParameters(unit: DiskUnit, task: ScsiTask): void {
  const types = [DescriptorType.BLOCK_TO_BLOCK, DescriptorType.IDENTIFICATION];
  const data = Buffer.alloc(44 + types.length);
  data[4] = 0x01; // SNLID: LIST ID USAGE 11b
  putUint16(data, COPY_CSCDS_MAX, 8);
  putUint16(data, COPY_SEGMENTS_MAX, 10);
  putUint32(data, DESCRIPTOR_LIST_BYTES_MAX, 12);
  putUint32(data, COPY_SEGMENT_BYTES_MAX, 16);
  putUint16(data, COPIES_MAX, 34); // TOTAL CONCURRENT COPIES
  data[36] = COPIES_MAX;
  data[37] = Math.log2(unit.blockBytes); // DATA SEGMENT GRANULARITY
  data[43] = types.length;
  data.set(types, 44);
  answerWhole(task, data);
}

const opcode = OperationCode.THIRD_PARTY_COPY_IN;

export const receiveCopyCommands: readonly Command[] = [
  {
    name: 'RECEIVE COPY STATUS(LID1)',
    opcode,
    serviceAction: 0x00,
    usage: usage('84 00 ff 00000000000000 ffffffff 00 04'),
    access: 'always',
    prepare: withoutDataOut,
    execute: receiveStatus,
  },
  {
    name: 'RECEIVE COPY OPERATING PARAMETERS',
    opcode,
    serviceAction: 0x03,
    usage: usage('84 03 00 00000000000000 ffffffff 00 04'),
    access: 'always',
    prepare: withoutDataOut,
    execute: receiveOperatingParameters,
  },
  {
    name: 'RECEIVE COPY FAILURE DETAILS(LID1)',
    opcode,
    serviceAction: 0x04,
    usage: usage('84 04 ff 00000000000000 ffffffff 00 04'),
    access: 'always',
    prepare: withoutDataOut,
    execute: receiveFailureDetails,
  },
];
