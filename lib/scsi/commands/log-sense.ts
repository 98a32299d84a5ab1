/**
 * LOG SENSE (SPC-4 6.7): which log pages there are, and that there are no informational exceptions. The page of logical
 * block provisioning (0Ch) is not among them: it counts threshold sets, and VPD B2h says that there are none.
 */
import { byteAt } from '../cdb.js';
import { answer, type Command, refuse, usage, withoutDataOut } from '../command.js';
import { invalidCdbField } from '../sense.js';
import { Passes } from '../state.js';
import type { ScsiTask } from '../task.js';

interface LogPage {
  readonly pageCode: number;
  readonly subpageCode: number;
  /** What stands after the four bytes of header. */
  readonly body: () => Buffer;
}

/** In ascending order, as the lists of pages have to be (SPC-4 7.3.14, 7.3.15). */
const PAGES: readonly LogPage[] = [
  { pageCode: 0x00, subpageCode: 0x00, body: listPages },
  { pageCode: 0x00, subpageCode: 0xff, body: listSubpages },
  // Informational Exceptions (SPC-4 7.3.9): parameter 0000h, a binary list of four bytes: no sense code, no temperature.
  {
    pageCode: 0x2f,
    subpageCode: 0x00,
    body: () => Buffer.from([0x00, 0x00, 0x03, 0x04, 0x00, 0x00, 0xff, 0x00]),
  },
];

function listPages(): Buffer {
  return Buffer.from(PAGES.filter(({ subpageCode }) => subpageCode === 0).map(({ pageCode }) => pageCode));
}

function listSubpages(): Buffer {
  return Buffer.from(PAGES.flatMap(({ pageCode, subpageCode }) => [pageCode, subpageCode]));
}

/** Byte 1 of the CDB: SP, "save the parameters". */
const SP = 0x01;
/** Byte 0 of a page. */
const SPF = 0x40;

function encodeLogPage({ pageCode, subpageCode, body }: LogPage): Buffer {
  const bytes = body();
  const first = subpageCode === 0 ? pageCode : SPF | pageCode;
  return Buffer.concat([Buffer.from([first, subpageCode, bytes.length >>> 8, bytes.length & 0xff]), bytes]);
}

function execute(task: ScsiTask): void {
  const { cdb } = task;
  // PC is not looked at: lists are the same in all of their values (SPC-4 7.3.2.2.2).
  const pageCode = byteAt(cdb, 2) & 0x3f;
  const found = PAGES.find((page) => page.pageCode === pageCode && page.subpageCode === byteAt(cdb, 3));
  if ((byteAt(cdb, 1) & SP) !== 0) refuse(task, invalidCdbField(1, 0));
  else if (found === undefined) refuse(task, invalidCdbField(2, 5));
  // PARAMETER POINTER: there is no parameter after 0000h.
  else if (cdb.readUInt16BE(5) !== 0) refuse(task, invalidCdbField(5));
  else answer(task, encodeLogPage(found), cdb.readUInt16BE(7));
}

export const logSenseCommand: Command = {
  name: 'LOG SENSE',
  opcode: 0x4d,
  usage: usage('4d 01 3f ff 00 ffff ffff 04'),
  passes: Passes.NO_MEDIUM,
  prepare: withoutDataOut,
  execute: (_unit, task) => execute(task),
};
