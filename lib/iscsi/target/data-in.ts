/**
 * Data towards the initiator (RFC 7143 11.7). Read data is filled in place by the device: one PDU's worth behind its
 * header in the output; more, into a buffer of its own from which each PDU's part is sent. The status of a GOOD command
 * rides on its last Data-In.
 *
 *   piece      what is read from the device at a time          (READ_PIECE_BYTES)
 *   PDU        at most the initiator's MaxRecvDataSegmentLength
 *   sequence   PDUs up to one with F set, at most MaxBurstLength
 */
import { assert } from '../../base/assert.js';
import { ScsiStatus } from '../../scsi/task.js';
import { MAP_DIGEST_BYTES } from '../../block/page-map.js';
import { encodeDataIn } from '../wire/data-in.js';
import { TaskAttribute } from '../wire/opcodes.js';
import { Span } from './buffer-pool.js';
import { bytesOf } from './pdu-writer.js';
import { endWithStatus, residualOf } from './response.js';
import type { Session } from './session.js';
import type { Task } from './task.js';

/** Read from the device at once: bounds the memory of one command, and keeps small reads from waiting behind it. */
const READ_PIECE_BYTES = 1024 * 1024;

/** Plan 'read': moves the data of the unit's device to the initiator, then ends the task. */
export function startRead(session: Session, task: Task): void {
  task.actualBytes = task.transferBytes;
  task.readBytes = Math.min(task.expectedReadBytes, task.transferBytes);
  if (task.readBytes === 0) endWithStatus(session, task, ScsiStatus.GOOD, null);
  else if (mustBeRead(task) || !sendMapped(session, task)) readPiece(session, task);
}

/** Nobody has judged it, or younger ones wait for it: they may begin once it has ended, and not show in it. */
function mustBeRead({ isUnjudged, attribute }: Task): boolean {
  return isUnjudged || attribute > TaskAttribute.SIMPLE;
}

/**
 * Sends all of the data straight from the page cache, if the socket can take it now and the device has it there: nothing
 * is asked, waited for or copied. What the socket leaves over is copied by the output.
 */
function sendMapped(session: Session, task: Task): boolean {
  const { writer, device } = session;
  const { span, offsetBytes, readBytes } = task;
  if (!writer.takesMapped || grantedPiece(session, task) < readBytes) return false;
  const { hasDataDigests } = writer;
  if (hasDataDigests && !isCutInBlocks(session, readBytes)) return false;
  const map = device?.mapped?.(offsetBytes, readBytes, hasDataDigests) ?? null;
  if (map === null) return false;
  session.bytesRead += readBytes;
  while (task.sentBytes < readBytes) {
    const start = offsetBytes + task.sentBytes;
    const length = Math.min(readBytes - task.sentBytes, pduRoom(session, task.sentBytes));
    writer.reserveHeader(span);
    putDataIn(session, task, bytesOf(span), span.start, length);
    writer.sendMapped(span, map, start, start + length);
  }
  session.endTask(task);
  return true;
}

/** Whether each PDU of a read begins and ends where digests of a device do. */
function isCutInBlocks(session: Session, readBytes: number): boolean {
  const { peerMaxRecvDataSegmentLength, maxBurstLength } = session.parameters;
  return (
    readBytes <= pduRoom(session, 0) ||
    (peerMaxRecvDataSegmentLength | maxBurstLength) % MAP_DIGEST_BYTES === 0
  );
}

/** Reads the next piece, as long as memory allows, or waits until the socket has taken what is queued. */
export function readPiece(session: Session, task: Task): void {
  const piece = grantedPiece(session, task);
  if (piece === 0) {
    session.setPhase(task, 'parked');
    session.stalled.push(task);
    return;
  }
  if (task.isUnjudged && refuse(session, task)) return;
  const { device } = session;
  assert(device !== null, 'a read in a session without a target');
  // The initiator may expect less than whole blocks; the device reads nothing else.
  const lengthBytes = Math.ceil(piece / device.blockBytes) * device.blockBytes;
  task.pieceBytes = piece;
  session.setPhase(task, 'device');
  const data = placeFor(session, task, lengthBytes);
  device.submit(task.io.prepare('read', task.offsetBytes + task.sentBytes, lengthBytes, data));
}

/** Ends a read that was prepared while its unit was served elsewhere, if it is served here by now and does not let it be. */
function refuse(session: Session, task: Task): boolean {
  const refusal = session.target?.server.refusalOf(task, 'read') ?? null;
  if (refusal === null) return false;
  task.actualBytes = task.sentBytes;
  endWithStatus(session, task, refusal.status, refusal.sense);
  return true;
}

/** How much of a task may be read now; 0: it has to wait for the socket. */
export function grantedPiece(session: Session, task: Task): number {
  return session.memory.readGrant(Math.min(task.readBytes - task.sentBytes, READ_PIECE_BYTES));
}

/** Memory for a piece: behind its header when one PDU takes it, by itself otherwise. */
function placeFor(session: Session, task: Task, lengthBytes: number): Buffer {
  const { writer } = session;
  if (task.pieceBytes <= pduRoom(session, task.sentBytes)) {
    writer.reserve(task.span, lengthBytes);
    const start = writer.dataStart(task.span);
    return bytesOf(task.span).subarray(start, start + lengthBytes);
  }
  return session.takeReadBuffer(task, lengthBytes);
}

/** The longest data segment that may start at `offset` of a command's data. */
function pduRoom(session: Session, offset: number): number {
  const { peerMaxRecvDataSegmentLength, maxBurstLength } = session.parameters;
  return Math.min(peerMaxRecvDataSegmentLength, maxBurstLength - (offset % maxBurstLength));
}

/** The device has filled the piece: sends it; with the last one the task ends. */
export function pieceRead(session: Session, task: Task): void {
  const { span, pieceBytes } = task;
  session.bytesRead += pieceBytes;
  if (task.readBuffer !== null) sendApart(session, task);
  else if (pieceBytes > session.parameters.peerMaxRecvDataSegmentLength) sendCut(session, task);
  else {
    putDataIn(session, task, bytesOf(span), span.start, pieceBytes);
    session.writer.send(span, pieceBytes);
  }
  if (task.sentBytes === task.readBytes) session.endTask(task);
  else readPiece(session, task);
}

/** The initiator has declared less than it took when the piece was asked for (13.12). */
function sendCut(session: Session, task: Task): void {
  const { span, pieceBytes } = task;
  const { writer } = session;
  const dataStart = writer.dataStart(span);
  sendCopies(session, task, bytesOf(span).subarray(dataStart, dataStart + pieceBytes));
  writer.output.release(span);
}

function sendApart(session: Session, task: Task): void {
  const { readBuffer, span } = task;
  assert(readBuffer !== null, 'a piece without its buffer');
  for (let at = 0; at < task.pieceBytes;) {
    const length = Math.min(task.pieceBytes - at, pduRoom(session, task.sentBytes));
    session.writer.reserveHeader(span);
    putDataIn(session, task, bytesOf(span), span.start, length);
    session.writer.sendApart(span, readBuffer, at, at + length);
    at += length;
  }
  session.dropReadBuffer(task);
}

/** Sends data that the device server produced, then ends the task. */
export function sendControlData(session: Session, task: Task): void {
  const { dataIn } = task;
  task.readBytes = Math.min(task.expectedReadBytes, dataIn.length);
  sendCopies(session, task, dataIn.subarray(0, task.readBytes));
  session.endTask(task);
}

function sendCopies(session: Session, task: Task, data: Buffer): void {
  const { writer } = session;
  const span = new Span();
  for (let at = 0; at < data.length;) {
    const length = Math.min(data.length - at, pduRoom(session, task.sentBytes));
    writer.reserve(span, length);
    putDataIn(session, task, bytesOf(span), span.start, length);
    data.copy(bytesOf(span), writer.dataStart(span), at, at + length);
    writer.send(span, length);
    at += length;
  }
}

/** Writes the header of the Data-In PDU with the next `length` bytes; the last one carries the status GOOD. */
function putDataIn(session: Session, task: Task, bytes: Buffer, at: number, length: number): void {
  const pdu = session.dataIn;
  const end = task.sentBytes + length;
  const last = end === task.readBytes;
  if (last) session.leaveWindow(task);
  const residual = last ? residualOf(task) : 0;
  pdu.final = last || end % session.parameters.maxBurstLength === 0;
  pdu.hasStatus = last;
  pdu.overflow = residual > 0;
  pdu.underflow = residual < 0;
  pdu.residualCount = Math.abs(residual);
  // StatSN means something only with S (RFC 7143 11.7).
  pdu.statSN = last ? session.takeStatSN() : 0;
  pdu.expCmdSN = session.window.expCmdSN;
  pdu.maxCmdSN = session.window.maxCmdSN;
  pdu.dataSegmentLength = length;
  pdu.initiatorTaskTag = task.initiatorTaskTag;
  pdu.dataSN = task.dataSN;
  pdu.bufferOffset = task.sentBytes;
  encodeDataIn(pdu, bytes, at);
  task.dataSN += 1;
  task.sentBytes = end;
}
