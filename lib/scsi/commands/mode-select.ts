/** MODE SELECT (6) and (10) (SPC-4 6.11, 6.12): changes what MODE SENSE calls changeable, for every initiator. */
import { uint16, uint24, uint32 } from '../../base/bytes.js';
import { byteAt } from '../cdb.js';
import { accept, type Command, refuse, usage } from '../command.js';
import { readModePages } from '../mode-pages.js';
import { OperationCode } from '../opcodes.js';
import { durablePieces, enterOffice, runPieces, whileWanted } from '../pieces.js';
import { invalidCdbField, invalidParameterField, type Sense, SENSE } from '../sense.js';
import { type Modes, Passes } from '../state.js';
import { ScsiStatus, type ScsiTask, type TaskPlan } from '../task.js';
import type { DiskUnit } from '../unit.js';

/** Byte 1 of the CDB. */
const PF = 0x10;
const SP = 0x01;

const passes = Passes.NO_MEDIUM;

/** Where fields stand in the two sizes of CDB and of mode parameter header (SPC-4 7.5.5). */
interface Size {
  readonly listLengthOf: (cdb: Buffer) => number;
  readonly headerBytes: number;
  readonly mediumTypeAt: number;
  readonly descriptorLengthAt: number;
  readonly descriptorLengthOf: (list: Buffer) => number;
  readonly hasLongDescriptor: (list: Buffer) => boolean;
}

const size6: Size = {
  listLengthOf: (cdb) => byteAt(cdb, 4),
  headerBytes: 4,
  mediumTypeAt: 1,
  descriptorLengthAt: 3,
  descriptorLengthOf: (list) => byteAt(list, 3),
  hasLongDescriptor: () => false,
};

const LONGLBA = 0x01;

const size10: Size = {
  listLengthOf: (cdb) => uint16(cdb, 7),
  headerBytes: 8,
  mediumTypeAt: 2,
  descriptorLengthAt: 6,
  descriptorLengthOf: (list) => uint16(list, 6),
  hasLongDescriptor: (list) => (byteAt(list, 4) & LONGLBA) !== 0,
};

function prepare(size: Size, task: ScsiTask): TaskPlan {
  const flags = byteAt(task.cdb, 1);
  const listLength = size.listLengthOf(task.cdb);
  // Nothing outlives a reset, as MODE SENSE says of saved values.
  if ((flags & SP) !== 0) return refuse(task, invalidCdbField(1, 0));
  // "A parameter list length of zero: no data, no error" (SPC-4 6.11).
  if (listLength === 0) return accept(task);
  // Pages of a vendor's own format: we have none.
  if ((flags & PF) === 0) return refuse(task, invalidCdbField(1, 4));
  task.dataOutBytes = listLength;
  return 'control';
}

/**
 * What is wrong with the block descriptor: another length of block cannot be had. Nor can another capacity, so NUMBER OF
 * LOGICAL BLOCKS is ignored (SBC-3 6.5.2).
 */
function findDescriptorFault(unit: DiskUnit, size: Size, list: Buffer): Sense | null {
  const length = size.descriptorLengthOf(list);
  const isLong = size.hasLongDescriptor(list);
  if (length === 0) return null;
  if (length !== (isLong ? 16 : 8)) return invalidParameterField(size.descriptorLengthAt);
  const at = size.headerBytes;
  if (at + length > list.length) return SENSE.PARAMETER_LIST_LENGTH_ERROR;
  const blockBytes = isLong ? uint32(list, at + 12) : uint24(list, at + 5);
  return blockBytes === unit.blockBytes ? null : invalidParameterField(at + (isLong ? 12 : 5));
}

interface Selection {
  readonly unit: DiskUnit;
  readonly task: ScsiTask;
  /** A page that was not sent stays as it is, whoever may have changed it meanwhile (SPC-4 6.11). */
  readonly changes: Partial<Modes>;
  /** The command was aborted, be it by a reset: it sets nothing after that (SAM-5 6.3.3). */
  readonly isOver: () => boolean;
}

function execute(size: Size, unit: DiskUnit, task: ScsiTask): void {
  const list = task.dataOut;
  if (list.length < size.headerBytes) return void refuse(task, SENSE.PARAMETER_LIST_LENGTH_ERROR);
  // MODE DATA LENGTH and DEVICE-SPECIFIC PARAMETER say something in MODE SENSE alone (SPC-4 7.5.5, SBC-3 6.5.1).
  if (byteAt(list, size.mediumTypeAt) !== 0)
    return void refuse(task, invalidParameterField(size.mediumTypeAt));
  const fault = findDescriptorFault(unit, size, list);
  if (fault !== null) return void refuse(task, fault);
  const pagesAt = size.headerBytes + size.descriptorLengthOf(list);
  const changes = readModePages(unit, list, pagesAt);
  if ('senseKey' in changes) return void refuse(task, changes);
  const { resets } = unit.state;
  const selection = { unit, task, changes, isOver: () => task.isEnding || unit.state.resets !== resets };
  if (isFlushedFirst(unit, changes)) setOnceDurable(selection);
  else set(selection);
}

/** What is cached is written first: the cache goes (SBC-3 6.5.6), or nothing may be written any more (SPC-4 7.5.8, SWP). */
function isFlushedFirst({ state }: DiskUnit, { writeCache, writeProtected }: Partial<Modes>): boolean {
  return writeCache === false || (writeProtected === true && !state.modes.writeProtected);
}

function set({ unit, task, changes, isOver }: Selection, ended: () => void = () => undefined): void {
  const change = (modes: Modes): Modes => (isOver() ? modes : { ...modes, ...changes });
  unit.state.setModes(task.nexus, change, (isDone) => {
    ended();
    if (isOver()) refuse(task, SENSE.COMMAND_ABORTED);
    else if (isDone) accept(task);
    else task.finish(ScsiStatus.BUSY, null);
  });
}

/**
 * Without the cache, and behind write protection, everything acknowledged is durable, also what was acknowledged before. So
 * what comes is written through from here on, and what is under way ends before the flush; WCE, or SWP, says so when that
 * has succeeded. All of it rests on this home: another one would go on with the cache meanwhile.
 */
function setOnceDurable(selection: Selection): void {
  const { unit, task } = selection;
  const { state, device, office } = unit;
  const ended = (): void => {
    state.resumeCache();
    office.leave();
  };
  enterOffice(unit, task, () => {
    state.suspendCache();
    const pieces = whileWanted(unit, task, passes, durablePieces(unit, task.nexus));
    device.drain(() =>
      runPieces(device, pieces, (outcome) => {
        if (outcome === null) return set(selection, ended);
        ended();
        refuse(task, outcome);
      }),
    );
  });
}

export const modeSelectCommands: readonly Command[] = [
  {
    name: 'MODE SELECT(6)',
    opcode: OperationCode.MODE_SELECT_6,
    usage: usage('15 11 00 00 ff 04'),
    passes,
    prepare: (_unit, task) => prepare(size6, task),
    execute: (unit, task) => execute(size6, unit, task),
  },
  {
    name: 'MODE SELECT(10)',
    opcode: OperationCode.MODE_SELECT_10,
    usage: usage('55 11 0000000000 ffff 04'),
    passes,
    prepare: (_unit, task) => prepare(size10, task),
    execute: (unit, task) => execute(size10, unit, task),
  },
];
