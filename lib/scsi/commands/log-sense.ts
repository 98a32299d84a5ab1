/**
 * LOG SENSE (SPC-4 6.7): which log pages there are, that there are no informational exceptions, and how much space the unit
 * takes and has left.
 */
import { assert } from '../../base/assert.js';
import { putUint32, uint16 } from '../../base/bytes.js';
import { describeError } from '../../base/errors.js';
import { IoError } from '../../block/device.js';
import { byteAt } from '../cdb.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { OperationCode } from '../opcodes.js';
import { invalidCdbField, senseOfIoError } from '../sense.js';
import { Passes } from '../state.js';
import type { ScsiTask } from '../task.js';
import type { DiskUnit } from '../unit.js';
import { thresholdExponent } from '../vpd/provisioning.js';

interface LogPage {
  readonly pageCode: number;
  readonly subpageCode: number;
  /** DS, bit 7 of byte 0: SBC-4 wants it set, SPC-4 leaves it to us. */
  readonly disablesSave?: boolean;
  /** The highest parameter code: none comes after it. */
  readonly lastParameter: number;
  /** What stands after the four bytes of header, from that parameter code on. */
  readonly body: (unit: DiskUnit, firstParameter: number) => Buffer | Promise<Buffer>;
}

const LOGICAL_BLOCK_PROVISIONING = 0x0c;

/** In ascending order, as the lists of pages have to be (SPC-4 7.3.14, 7.3.15). */
const PAGES: readonly LogPage[] = [
  { pageCode: 0x00, subpageCode: 0x00, lastParameter: 0, body: listPages },
  { pageCode: 0x00, subpageCode: 0xff, lastParameter: 0, body: listSubpages },
  {
    pageCode: LOGICAL_BLOCK_PROVISIONING,
    subpageCode: 0x00,
    disablesSave: true,
    lastParameter: 2,
    body: provisioning,
  },
  // Informational Exceptions (SPC-4 7.3.9): parameter 0000h, a binary list of four bytes: no sense code, no temperature.
  {
    pageCode: 0x2f,
    subpageCode: 0x00,
    lastParameter: 0,
    body: () => Buffer.from([0x00, 0x00, 0x03, 0x04, 0x00, 0x00, 0xff, 0x00]),
  },
];

/** A full unit has no LBA mapping resources to count. */
function pagesOf(unit: DiskUnit): readonly LogPage[] {
  return unit.full ? PAGES.filter(({ pageCode }) => pageCode !== LOGICAL_BLOCK_PROVISIONING) : PAGES;
}

function listPages(unit: DiskUnit): Buffer {
  const pages = pagesOf(unit).filter(({ subpageCode }) => subpageCode === 0);
  return Buffer.from(pages.map(({ pageCode }) => pageCode));
}

function listSubpages(unit: DiskUnit): Buffer {
  return Buffer.from(pagesOf(unit).flatMap(({ pageCode, subpageCode }) => [pageCode, subpageCode]));
}

/** SCOPE (SBC-4 table 199): the unit's own, or other units take of it, too. */
const Scope = { DEDICATED: 1, SHARED: 2 } as const;

/** Logical Block Provisioning (SBC-4 6.4.5): available and used LBA mapping resources, in threshold sets. */
async function provisioning(unit: DiskUnit, firstParameter: number): Promise<Buffer> {
  const { usedBytes, availableBytes } = await unit.device.usage();
  const setBytes = unit.blockBytes * 2 ** thresholdExponent(unit);
  const parameter = (code: number, sets: number, scope: number): Buffer => {
    const bytes = Buffer.from([0x00, code, 0x03, 0x08, 0, 0, 0, 0, scope, 0, 0, 0]);
    putUint32(bytes, Math.min(sets, 0xffff_ffff), 4);
    return bytes;
  };
  const all = [
    parameter(1, Math.floor(availableBytes / setBytes), Scope.SHARED),
    parameter(2, Math.ceil(usedBytes / setBytes), Scope.DEDICATED),
  ];
  return Buffer.concat(all.slice(Math.max(firstParameter, 1) - 1));
}

/** Byte 1 of the CDB: SP, "save the parameters". */
const SP = 0x01;
/** Byte 0 of a page. */
const DS = 0x80;
const SPF = 0x40;

function encodeLogPage({ pageCode, subpageCode, disablesSave }: LogPage, body: Buffer): Buffer {
  const first = (disablesSave === true ? DS : 0) | (subpageCode === 0 ? pageCode : SPF | pageCode);
  return Buffer.concat([Buffer.from([first, subpageCode, body.length >>> 8, body.length & 0xff]), body]);
}

function execute(unit: DiskUnit, task: ScsiTask): void {
  const { cdb } = task;
  // PC is not looked at: lists are the same in all of their values (SPC-4 7.3.2.2.2).
  const pageCode = byteAt(cdb, 2) & 0x3f;
  const subpageCode = byteAt(cdb, 3);
  const found = pagesOf(unit).find((page) => page.pageCode === pageCode && page.subpageCode === subpageCode);
  const parameterPointer = uint16(cdb, 5);
  if ((byteAt(cdb, 1) & SP) !== 0) refuse(task, invalidCdbField(1, 0));
  else if (found === undefined) refuse(task, invalidCdbField(2, 5));
  else if (parameterPointer > found.lastParameter) refuse(task, invalidCdbField(5));
  else answerPage(task, found, found.body(unit, parameterPointer));
}

function answerPage(task: ScsiTask, page: LogPage, body: Buffer | Promise<Buffer>): void {
  const allocationLength = uint16(task.cdb, 7);
  if (Buffer.isBuffer(body)) return answer(task, encodeLogPage(page, body), allocationLength);
  // Other members may have to be asked, and the session of the task gone by then.
  let isWanted = true;
  task.letGo = () => (isWanted = false);
  body.then(
    (bytes) => {
      if (isWanted) answer(task, encodeLogPage(page, bytes), allocationLength);
    },
    (error: unknown) => {
      assert(error instanceof IoError, `a log page failed by ${describeError(error)}`);
      if (isWanted) refuse(task, senseOfIoError(error));
    },
  );
}

export const logSenseCommand: Command = {
  name: 'LOG SENSE',
  opcode: OperationCode.LOG_SENSE,
  usage: usage('4d 01 3f ff 00 ffff ffff 04'),
  access: 'always',
  passes: Passes.NO_MEDIUM,
  prepare: withoutDataOut,
  execute,
};
