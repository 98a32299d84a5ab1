/** One line of text about any PDU, for logs and dumps. It never throws at a strange header, and shows no data. */
import { decodeAsyncMessage } from './async-message.js';
import { BHS_BYTES, decodeBhs } from './bhs.js';
import { decodeDataIn } from './data-in.js';
import { decodeDataOut } from './data-out.js';
import { decodeLoginRequest, decodeLoginResponse } from './login.js';
import { decodeLogoutRequest, decodeLogoutResponse } from './logout.js';
import { decodeNopIn, decodeNopOut } from './nop.js';
import {
  AsyncEvent,
  LoginStage,
  LoginStatus,
  LogoutReason,
  LogoutResponseCode,
  Opcode,
  RejectReason,
  TaskManagementFunction,
  TaskManagementResponseCode,
  nameOf,
} from './opcodes.js';
import { decodeR2t } from './r2t.js';
import { decodeReject } from './reject.js';
import { decodeScsiCommand, decodeScsiResponse } from './scsi.js';
import { decodeTaskManagementRequest, decodeTaskManagementResponse } from './task-management.js';
import { decodeTextRequest, decodeTextResponse } from './text.js';

type Fields = Record<string, unknown>;

const hex = (value: number): string => `0x${value.toString(16)}`;

/** What is worth a word of each PDU beside what all have; tags and offsets in hexadecimal. */
const describers: Readonly<Record<number, (bhs: Buffer) => Fields>> = {
  [Opcode.NOP_OUT]: (bhs) => sequence(decodeNopOut(bhs)),
  [Opcode.NOP_IN]: (bhs) => sequence(decodeNopIn(bhs)),
  [Opcode.SCSI_COMMAND]: (bhs) => {
    const pdu = decodeScsiCommand(bhs);
    const direction = `${pdu.read ? 'R' : ''}${pdu.write ? 'W' : ''}`;
    return {
      cdb: pdu.cdb.toString('hex'),
      direction,
      edtl: pdu.expectedDataTransferLength,
      ...sequence(pdu),
    };
  },
  [Opcode.SCSI_RESPONSE]: (bhs) => {
    const pdu = decodeScsiResponse(bhs);
    const residual = pdu.underflow ? -pdu.residualCount : pdu.overflow ? pdu.residualCount : 0;
    return { response: pdu.response, status: hex(pdu.status), residual, ...sequence(pdu) };
  },
  [Opcode.TASK_MANAGEMENT_REQUEST]: (bhs) => {
    const pdu = decodeTaskManagementRequest(bhs);
    const what = nameOf(TaskManagementFunction, pdu.function);
    return { function: what, referenced: hex(pdu.referencedTaskTag), ...sequence(pdu) };
  },
  [Opcode.TASK_MANAGEMENT_RESPONSE]: (bhs) => {
    const pdu = decodeTaskManagementResponse(bhs);
    return { response: nameOf(TaskManagementResponseCode, pdu.response), ...sequence(pdu) };
  },
  [Opcode.LOGIN_REQUEST]: (bhs) => {
    const pdu = decodeLoginRequest(bhs);
    return { ...stages(pdu), isid: pdu.isid, tsih: pdu.tsih, cid: pdu.cid, ...sequence(pdu) };
  },
  [Opcode.LOGIN_RESPONSE]: (bhs) => {
    const pdu = decodeLoginResponse(bhs);
    return { status: nameOf(LoginStatus, pdu.status), ...stages(pdu), tsih: pdu.tsih, ...sequence(pdu) };
  },
  [Opcode.TEXT_REQUEST]: (bhs) => sequence(decodeTextRequest(bhs)),
  [Opcode.TEXT_RESPONSE]: (bhs) => sequence(decodeTextResponse(bhs)),
  [Opcode.DATA_OUT]: (bhs) => {
    const pdu = decodeDataOut(bhs);
    return { ttt: hex(pdu.targetTransferTag), offset: hex(pdu.bufferOffset), dataSN: pdu.dataSN };
  },
  [Opcode.DATA_IN]: (bhs) => {
    const pdu = decodeDataIn(bhs);
    const status = pdu.hasStatus ? { status: hex(pdu.status), residual: pdu.residualCount } : {};
    return { offset: hex(pdu.bufferOffset), dataSN: pdu.dataSN, ...status, ...sequence(pdu) };
  },
  [Opcode.LOGOUT_REQUEST]: (bhs) => {
    const pdu = decodeLogoutRequest(bhs);
    return { reason: nameOf(LogoutReason, pdu.reason), cid: pdu.cid, ...sequence(pdu) };
  },
  [Opcode.LOGOUT_RESPONSE]: (bhs) => {
    const pdu = decodeLogoutResponse(bhs);
    return { response: nameOf(LogoutResponseCode, pdu.response), time2Wait: pdu.time2Wait, ...sequence(pdu) };
  },
  [Opcode.R2T]: (bhs) => {
    const pdu = decodeR2t(bhs);
    const length = pdu.desiredDataTransferLength;
    return { ttt: hex(pdu.targetTransferTag), r2tSN: pdu.r2tSN, offset: hex(pdu.bufferOffset), length };
  },
  [Opcode.ASYNC_MESSAGE]: (bhs) => {
    const pdu = decodeAsyncMessage(bhs);
    const parameters = `${pdu.parameter1},${pdu.parameter2},${pdu.parameter3}`;
    return { event: nameOf(AsyncEvent, pdu.asyncEvent), parameters, ...sequence(pdu) };
  },
  [Opcode.REJECT]: (bhs) => {
    const pdu = decodeReject(bhs);
    return { reason: nameOf(RejectReason, pdu.reason), ...sequence(pdu) };
  },
};

/** The sequence numbers a PDU has, in the order in which they are read. */
function sequence(pdu: object): Fields {
  const fields: Fields = {};
  for (const name of ['cmdSN', 'expStatSN', 'statSN', 'expCmdSN', 'maxCmdSN']) {
    if (name in pdu) fields[name] = (pdu as Fields)[name];
  }
  return fields;
}

function stages(pdu: { csg: number; nsg: number; transit: boolean }): Fields {
  const from = nameOf(LoginStage, pdu.csg);
  return { stage: pdu.transit ? `${from}→${nameOf(LoginStage, pdu.nsg)}` : from };
}

/** "DATA_IN F itt=0x5 data=4096 offset=0x0 …" of a header of at least 48 bytes. */
export function describePdu(bhs: Buffer): string {
  if (bhs.length < BHS_BYTES) return `a header cut to ${bhs.length} bytes`;
  const common = decodeBhs(bhs);
  const words = [nameOf(Opcode, common.opcode)];
  if (common.immediate) words.push('I');
  if (common.final) words.push('F');
  words.push(`itt=${hex(common.initiatorTaskTag)}`);
  if (common.lunHigh !== 0 || common.lunLow !== 0) words.push(`lun=${bhs.toString('hex', 8, 16)}`);
  if (common.totalAHSLength > 0) words.push(`ahs=${common.totalAHSLength}`);
  if (common.dataSegmentLength > 0) words.push(`data=${common.dataSegmentLength}`);
  for (const [name, value] of Object.entries(describers[common.opcode]?.(bhs) ?? {}))
    words.push(`${name}=${String(value)}`);
  return words.join(' ');
}
