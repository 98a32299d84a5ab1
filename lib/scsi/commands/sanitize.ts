/**
 * SANITIZE (SBC-4 5.30, 4.11): nothing of what was on the medium can be read any more, by erasing it all or by writing
 * over it all, durably. While it runs the unit serves little else (4.11.2), nor after a failure until that is left or
 * mended. Resets and lost sessions do not stop it, and with IMMED nobody waits for it.
 */
import { uint16 } from '../../base/bytes.js';
import { CLEAR_PIECE_BYTES_MAX, PIECE_BYTES_MAX } from '../../base/limits.js';
import { byteAt } from '../cdb.js';
import { accept, type Command, refuse, usage } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { cut, enterOffice, flushPieces, type Piece, runPieces } from '../pieces.js';
import { invalidCdbField, invalidParameterField, type Sense, SENSE } from '../sense.js';
import { type Overwriting, Passes, type SanitizeOrder, type SanitizeRun } from '../state.js';
import { ScsiStatus, type ScsiTask, type TaskPlan } from '../task.js';
import type { DiskUnit } from '../unit.js';

/** Byte 1 of the CDB. */
const IMMED = 0x80;
/** ZNR is ignored without zones since SBC-4 (5.30.1); the unit says SBC-3, where it is reserved, as libiscsi wants it. */
const RESERVED = 0x40;
const AUSE = 0x20;

const ServiceAction = {
  OVERWRITE: 0x01,
  BLOCK_ERASE: 0x02,
  CRYPTOGRAPHIC_ERASE: 0x03,
  EXIT_FAILURE_MODE: 0x1f,
} as const;

const PARAMETER_LIST_LENGTH_AT = 7;
/** Of the parameter list of OVERWRITE, before the pattern. */
const HEADER_BYTES = 4;

/** A medium holds so many sixty-five thousandths of the work (SPC-4 4.5.2.4.4). */
const PROGRESS_MAX = 0xffff;

/** What every service action refuses. */
function findFault(cdb: Buffer): Sense | null {
  if ((byteAt(cdb, 1) & RESERVED) !== 0) return invalidCdbField(1, 6);
  for (let at = 2; at < PARAMETER_LIST_LENGTH_AT; at++) if (byteAt(cdb, at) !== 0) return invalidCdbField(at);
  return null;
}

function prepareErasure(unit: DiskUnit, task: ScsiTask, isLength: (bytes: number) => boolean): TaskPlan {
  const { cdb } = task;
  const fault = findFault(cdb);
  if (fault !== null) return refuse(task, fault);
  const listLength = uint16(cdb, PARAMETER_LIST_LENGTH_AT);
  if (!isLength(listLength)) return refuse(task, invalidCdbField(PARAMETER_LIST_LENGTH_AT));
  // After a failure in the restricted completion mode only that mode may be asked for (SBC-4 4.11.4, 5.30.1).
  const isRestricted = unit.state.sanitizeFailure === 'restricted';
  if (isRestricted && (byteAt(cdb, 1) & AUSE) !== 0) return refuse(task, invalidCdbField(1, 5));
  if (unit.readOnly) return refuse(task, SENSE.WRITE_PROTECTED);
  task.dataOutBytes = listLength;
  return 'control';
}

/** Everything discarded: reads as zeros, and what was there is no file's any more, or written over where the unit is full. */
function* erase(unit: DiskUnit, run: SanitizeRun): Generator<Piece, Sense | null> {
  const sizeBytes = unit.blocks * unit.blockBytes;
  for (const piece of cut(0, sizeBytes, CLEAR_PIECE_BYTES_MAX)) {
    run.progress = Math.floor((piece.offsetBytes / sizeBytes) * PROGRESS_MAX);
    yield { op: 'discard', ...piece };
  }
  return yield* flushPieces();
}

function* overwrite(unit: DiskUnit, how: Overwriting, run: SanitizeRun): Generator<Piece, Sense | null> {
  const sizeBytes = unit.blocks * unit.blockBytes;
  const pieceBytes = Math.min(sizeBytes, PIECE_BYTES_MAX);
  const block = Buffer.alloc(unit.blockBytes, Buffer.from(how.pattern, 'hex'));
  const asItCame = Buffer.alloc(pieceBytes, block);
  const inverted = how.inverts
    ? Buffer.alloc(
        pieceBytes,
        block.map((byte) => ~byte),
      )
    : asItCame;
  for (let pass = 0; pass < how.passes; pass++) {
    const data = (how.passes - pass) % 2 === 1 ? asItCame : inverted;
    for (const piece of cut(0, sizeBytes, PIECE_BYTES_MAX)) {
      const done = pass + piece.offsetBytes / sizeBytes;
      run.progress = Math.floor((done / how.passes) * PROGRESS_MAX);
      yield { op: 'write', ...piece, data: data.subarray(0, piece.lengthBytes) };
    }
    yield* flushPieces();
  }
  return null;
}

/** The parameter list of OVERWRITE (SBC-4 5.30.2.2), or what is wrong with it. */
function readOverwriting(unit: DiskUnit, list: Buffer): Overwriting | Sense {
  if (list.length < HEADER_BYTES) return SENSE.PARAMETER_LIST_LENGTH_ERROR;
  const flags = byteAt(list, 0);
  const passes = flags & 0x1f;
  const patternLength = uint16(list, 2);
  // TEST: other patterns than what is meant, of a vendor's own.
  if ((flags & 0x60) !== 0 || passes === 0) return invalidParameterField(0);
  if (patternLength === 0 || patternLength > unit.blockBytes) return invalidParameterField(2);
  if (list.length < HEADER_BYTES + patternLength) return SENSE.PARAMETER_LIST_LENGTH_ERROR;
  const pattern = list.toString('hex', HEADER_BYTES, HEADER_BYTES + patternLength);
  return { pattern, passes, inverts: (flags & 0x80) !== 0 };
}

/** What is erased, and lost before it is flushed, is there again. */
function* lastingly(
  { device }: DiskUnit,
  pieces: Generator<Piece, Sense | null>,
): Generator<Piece, Sense | null> {
  yield* flushPieces(); // finds what was lost before
  const { losses } = device;
  const outcome = yield* pieces;
  return outcome ?? (device.losses === losses ? null : SENSE.SANITIZE_FAILED);
}

/**
 * Does what was ordered; `ended` is told once what came of it holds for everybody. Nothing new gets to the device since
 * it was begun, and what is there ends first: a write that landed behind it could be read after it (SBC-4 4.11.2).
 */
function carryOut(
  unit: DiskUnit,
  { overwrite: how, failure }: SanitizeOrder,
  run: SanitizeRun,
  ended: (isDone: boolean) => void,
): void {
  const pieces = how === null ? erase(unit, run) : overwrite(unit, how, run);
  unit.device.drain(() =>
    runPieces(unit.device, lastingly(unit, pieces), (outcome) => {
      const isDone = outcome === null;
      unit.state.endSanitize(isDone ? null : failure, () => ended(isDone));
    }),
  );
}

/** An operation that its process did not end is done again, from its beginning. */
export function resumeSanitize(unit: DiskUnit): void {
  const left = unit.state.takeUpSanitize();
  if (left !== null) carryOut(unit, left.order, left.run, () => undefined);
}

/** Inside the office: what another home served now would be erased, or outlive the erasure. */
function sanitize(unit: DiskUnit, task: ScsiTask, how: Overwriting | null): void {
  const { state } = unit;
  const flags = byteAt(task.cdb, 1);
  // Another one may have begun while the parameter list was on its way, or SWP been set.
  const obstacle =
    state.obstacle(task.nexus, Passes.UNIT_ATTENTION | Passes.SANITIZE_FAILURE) ??
    (unit.readOnly ? SENSE.WRITE_PROTECTED : null);
  if (obstacle !== null) {
    unit.office.leave();
    return void refuse(task, obstacle);
  }
  const order: SanitizeOrder = {
    overwrite: how,
    failure: (flags & AUSE) !== 0 ? 'unrestricted' : 'restricted',
  };
  let isAnswered = false;
  // Neither an abort nor the end of a session stops it (SBC-4 4.11.2), and neither has to wait for it.
  task.letGo = () => (isAnswered = true);
  task.goesOnForHours = true;
  state.beginSanitize(order, (run) => {
    unit.office.leave(); // from here on the home stays anyway (member/shared-units.ts)
    if (run === null) {
      if (!isAnswered) task.finish(ScsiStatus.BUSY, null);
      return;
    }
    if ((flags & IMMED) !== 0 && !isAnswered) {
      isAnswered = true;
      task.letGo = null;
      accept(task);
    }
    carryOut(unit, order, run, (isDone) => {
      if (isAnswered) return;
      if (isDone) accept(task);
      else refuse(task, SENSE.SANITIZE_FAILED);
    });
  });
}

function executeOverwrite(unit: DiskUnit, task: ScsiTask): void {
  const how = readOverwriting(unit, task.dataOut);
  if ('senseKey' in how) refuse(task, how);
  else enterOffice(unit, task, () => sanitize(unit, task, how));
}

/** Leaves the failure behind: what is on the medium then is what is there (SBC-4 5.30.2.5). */
function prepareExit(unit: DiskUnit, task: ScsiTask): TaskPlan {
  const fault = findFault(task.cdb);
  if (fault !== null) return refuse(task, fault);
  const hasList = uint16(task.cdb, PARAMETER_LIST_LENGTH_AT) !== 0;
  if (hasList) return refuse(task, invalidCdbField(PARAMETER_LIST_LENGTH_AT));
  if (unit.state.sanitizeFailure === 'restricted') return refuse(task, invalidCdbField(1, 4));
  return 'control';
}

function executeExit(unit: DiskUnit, task: ScsiTask): void {
  if (unit.state.sanitizeFailure === null) accept(task);
  else unit.state.endSanitize(null, () => accept(task));
}

const opcode = OperationCode.SANITIZE;
const passes = Passes.SANITIZE_FAILURE;
const erasure: Pick<Command, 'opcode' | 'passes' | 'prepare' | 'execute'> = {
  opcode,
  passes,
  prepare: (unit, task) => prepareErasure(unit, task, (bytes) => bytes === 0),
  // The key of a cryptographic erase is the map of the file: what it led to is gone in either case. A full unit's is
  // written over, as in a block erase.
  execute: (unit, task) => enterOffice(unit, task, () => sanitize(unit, task, null)),
};

export const sanitizeCommands: readonly Command[] = [
  {
    name: 'SANITIZE, OVERWRITE',
    opcode,
    serviceAction: ServiceAction.OVERWRITE,
    usage: usage('48 a1 0000000000 ffff 04'),
    passes,
    prepare: (unit, task) =>
      prepareErasure(unit, task, (bytes) => bytes > HEADER_BYTES && bytes <= HEADER_BYTES + unit.blockBytes),
    execute: executeOverwrite,
  },
  {
    name: 'SANITIZE, BLOCK ERASE',
    serviceAction: ServiceAction.BLOCK_ERASE,
    usage: usage('48 a2 0000000000 ffff 04'),
    ...erasure,
  },
  {
    name: 'SANITIZE, CRYPTOGRAPHIC ERASE',
    serviceAction: ServiceAction.CRYPTOGRAPHIC_ERASE,
    usage: usage('48 a3 0000000000 ffff 04'),
    ...erasure,
  },
  {
    name: 'SANITIZE, EXIT FAILURE MODE',
    opcode,
    serviceAction: ServiceAction.EXIT_FAILURE_MODE,
    usage: usage('48 bf 0000000000 ffff 04'),
    passes,
    prepare: prepareExit,
    execute: executeExit,
  },
];

/** "If the service action is not supported: INVALID FIELD IN CDB" (SBC-4 5.30.2.1). */
export const otherSanitizeActions: Command = {
  name: 'SANITIZE',
  opcode,
  usage: usage('48 ff 0000000000 ffff 04'),
  passes,
  prepare: (_unit, task) => refuse(task, invalidCdbField(1, 4)),
};
