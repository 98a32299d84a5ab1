/**
 * Named outcomes of commands and their bytes: sense data in fixed and descriptor format (SPC-4 4.5).
 * It decides nothing; commands choose the outcome, the transport carries it.
 */
import { NO_BYTES, putUint16, putUint32 } from '../base/bytes.js';
import { IoError } from '../block/device.js';

/** SPC-4 4.5.6 */
export const SenseKey = {
  NO_SENSE: 0x0,
  NOT_READY: 0x2,
  MEDIUM_ERROR: 0x3,
  HARDWARE_ERROR: 0x4,
  ILLEGAL_REQUEST: 0x5,
  UNIT_ATTENTION: 0x6,
  DATA_PROTECT: 0x7,
  COPY_ABORTED: 0xa,
  ABORTED_COMMAND: 0xb,
  MISCOMPARE: 0xe,
} as const;

/** Which byte (and bit) of the CDB or the parameter list was refused (SPC-4 4.5.2.4.2). */
export interface FieldPointer {
  readonly inCdb: boolean;
  /** Counted from the start of the segment descriptor that failed (SD, SPC-4 4.5.2.4.5). */
  readonly inSegment?: boolean;
  readonly byte: number;
  /** The field's most significant bit, when it is smaller than a byte. */
  readonly bit?: number;
}

/** What a unit answered that a copy read from or wrote to. */
export interface CopyAnswer {
  readonly by: 'source' | 'destination';
  readonly status: number;
  readonly sense: Sense | null;
}

/** Where a third-party copy was aborted. */
export interface CopyFailure {
  /** Number of the segment descriptor, from 0. */
  readonly segment: number;
  /** Whose fault it was, where it was not the copy manager that found it. */
  readonly answer?: CopyAnswer;
}

export interface Sense {
  readonly senseKey: number;
  /** Additional sense code and qualifier. */
  readonly asc: number;
  readonly ascq: number;
  /** INFORMATION, with VALID set: an LBA, or the byte offset of a miscompare. */
  readonly information?: number;
  readonly field?: FieldPointer;
  /** PROGRESS INDICATION, of 65536 (SPC-4 4.5.2.4.4). */
  readonly progress?: number;
  readonly copy?: CopyFailure;
}

const outcome = (senseKey: number, asc: number, ascq: number): Sense =>
  Object.freeze({ senseKey, asc, ascq });

/** Every outcome Blockferry answers with (SPC-4 annex F.2). */
export const SENSE = {
  NONE: outcome(SenseKey.NO_SENSE, 0x00, 0x00),
  SANITIZE_IN_PROGRESS: outcome(SenseKey.NOT_READY, 0x04, 0x1b),
  MEDIUM_NOT_PRESENT: outcome(SenseKey.NOT_READY, 0x3a, 0x00),
  UNRECOVERED_READ_ERROR: outcome(SenseKey.MEDIUM_ERROR, 0x11, 0x00),
  /** "Sanitize command failed". */
  SANITIZE_FAILED: outcome(SenseKey.MEDIUM_ERROR, 0x31, 0x03),
  WRITE_ERROR: outcome(SenseKey.MEDIUM_ERROR, 0x0c, 0x00),
  INTERNAL_TARGET_FAILURE: outcome(SenseKey.HARDWARE_ERROR, 0x44, 0x00),
  PARAMETER_LIST_LENGTH_ERROR: outcome(SenseKey.ILLEGAL_REQUEST, 0x1a, 0x00),
  INVALID_OPCODE: outcome(SenseKey.ILLEGAL_REQUEST, 0x20, 0x00),
  LBA_OUT_OF_RANGE: outcome(SenseKey.ILLEGAL_REQUEST, 0x21, 0x00),
  INVALID_FIELD_IN_CDB: outcome(SenseKey.ILLEGAL_REQUEST, 0x24, 0x00),
  LOGICAL_UNIT_NOT_SUPPORTED: outcome(SenseKey.ILLEGAL_REQUEST, 0x25, 0x00),
  INVALID_FIELD_IN_PARAMETER_LIST: outcome(SenseKey.ILLEGAL_REQUEST, 0x26, 0x00),
  TOO_MANY_TARGET_DESCRIPTORS: outcome(SenseKey.ILLEGAL_REQUEST, 0x26, 0x06),
  UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE: outcome(SenseKey.ILLEGAL_REQUEST, 0x26, 0x07),
  TOO_MANY_SEGMENT_DESCRIPTORS: outcome(SenseKey.ILLEGAL_REQUEST, 0x26, 0x08),
  UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE: outcome(SenseKey.ILLEGAL_REQUEST, 0x26, 0x09),
  INLINE_DATA_LENGTH_EXCEEDED: outcome(SenseKey.ILLEGAL_REQUEST, 0x26, 0x0b),
  /** A list identifier is in use. */
  OPERATION_IN_PROGRESS: outcome(SenseKey.ILLEGAL_REQUEST, 0x00, 0x16),
  /** "Invalid message error". */
  INVALID_MESSAGE_ERROR: outcome(SenseKey.ILLEGAL_REQUEST, 0x49, 0x00),
  MEDIUM_REMOVAL_PREVENTED: outcome(SenseKey.ILLEGAL_REQUEST, 0x53, 0x02),
  /** "Not ready to ready change, medium may have changed". */
  MEDIUM_MAY_HAVE_CHANGED: outcome(SenseKey.UNIT_ATTENTION, 0x28, 0x00),
  /** "Bus device reset function occurred": a logical unit reset, and a target reset. */
  UNIT_WAS_RESET: outcome(SenseKey.UNIT_ATTENTION, 0x29, 0x03),
  MODE_PARAMETERS_CHANGED: outcome(SenseKey.UNIT_ATTENTION, 0x2a, 0x01),
  RESERVATIONS_PREEMPTED: outcome(SenseKey.UNIT_ATTENTION, 0x2a, 0x03),
  RESERVATIONS_RELEASED: outcome(SenseKey.UNIT_ATTENTION, 0x2a, 0x04),
  REGISTRATIONS_PREEMPTED: outcome(SenseKey.UNIT_ATTENTION, 0x2a, 0x05),
  /** "Asymmetric access state changed". */
  ASYMMETRIC_ACCESS_STATE_CHANGED: outcome(SenseKey.UNIT_ATTENTION, 0x2a, 0x06),
  INVALID_RELEASE_OF_PERSISTENT_RESERVATION: outcome(SenseKey.ILLEGAL_REQUEST, 0x26, 0x04),
  INSUFFICIENT_REGISTRATION_RESOURCES: outcome(SenseKey.ILLEGAL_REQUEST, 0x55, 0x04),
  SAVING_PARAMETERS_NOT_SUPPORTED: outcome(SenseKey.ILLEGAL_REQUEST, 0x39, 0x00),
  WRITE_PROTECTED: outcome(SenseKey.DATA_PROTECT, 0x27, 0x00),
  SPACE_ALLOCATION_FAILED: outcome(SenseKey.DATA_PROTECT, 0x27, 0x07),
  COMMAND_ABORTED: outcome(SenseKey.ABORTED_COMMAND, 0x00, 0x00),
  /** A segment leaves a medium: libiscsi wants no additional sense here, and the field pointer says which. */
  COPY_ABORTED: outcome(SenseKey.COPY_ABORTED, 0x00, 0x00),
  THIRD_PARTY_DEVICE_FAILURE: outcome(SenseKey.COPY_ABORTED, 0x0d, 0x01),
  COPY_TARGET_DEVICE_NOT_REACHABLE: outcome(SenseKey.COPY_ABORTED, 0x0d, 0x02),
  INCORRECT_COPY_TARGET_DEVICE_TYPE: outcome(SenseKey.COPY_ABORTED, 0x0d, 0x03),
  INVALID_FIELD_IN_COPY_DESCRIPTOR: outcome(SenseKey.COPY_ABORTED, 0x26, 0x00),
  UNEXPECTED_INEXACT_SEGMENT: outcome(SenseKey.COPY_ABORTED, 0x26, 0x0a),
  FAST_COPY_NOT_POSSIBLE: outcome(SenseKey.COPY_ABORTED, 0x26, 0x16),
  /** "Logical unit communication time-out": the host tries again. */
  HOLDER_UNREACHABLE: outcome(SenseKey.ABORTED_COMMAND, 0x08, 0x01),
  /** "Not enough unsolicited data" (RFC 7143 11.4.7.2). */
  NOT_ENOUGH_UNSOLICITED_DATA: outcome(SenseKey.ABORTED_COMMAND, 0x0c, 0x0d),
  /** "Unexpected unsolicited data" (RFC 7143 11.4.7.2). */
  UNEXPECTED_UNSOLICITED_DATA: outcome(SenseKey.ABORTED_COMMAND, 0x0c, 0x0c),
  /** "Protocol service CRC error" (RFC 7143 11.4.7.2). */
  PROTOCOL_SERVICE_CRC_ERROR: outcome(SenseKey.ABORTED_COMMAND, 0x47, 0x05),
  /** "Miscompare during verify operation" (SBC-3 5.34). */
  MISCOMPARE: outcome(SenseKey.MISCOMPARE, 0x1d, 0x00),
} as const;

/** Unit attentions that a change of reservations causes for others, by their names in SENSE. */
export const NOTICES = [
  'RESERVATIONS_PREEMPTED',
  'RESERVATIONS_RELEASED',
  'REGISTRATIONS_PREEMPTED',
] as const;

/** INVALID FIELD IN CDB that points at the field. */
export function invalidCdbField(byte: number, bit?: number): Sense {
  return {
    ...SENSE.INVALID_FIELD_IN_CDB,
    field: bit === undefined ? { inCdb: true, byte } : { inCdb: true, byte, bit },
  };
}

/** INVALID FIELD IN PARAMETER LIST that points at the field. */
export function invalidParameterField(byte: number): Sense {
  return { ...SENSE.INVALID_FIELD_IN_PARAMETER_LIST, field: { inCdb: false, byte } };
}

/** INFORMATION of a miscompare: where two buffers of one length that differ do so first. */
export function firstDifference(a: Buffer, b: Buffer): number {
  let at = 0;
  while (a[at] === b[at]) at += 1;
  return at;
}

/**
 * LBA OUT OF RANGE with the first LBA that is (SBC-3 4.18.1: INFORMATION). One beyond 2^53 came out of the CDB inexact
 * (cdb.ts): rather than a wrong one, none is said, and VALID stays 0.
 */
export function lbaOutOfRange(lba: number): Sense {
  return Number.isSafeInteger(lba) ? { ...SENSE.LBA_OUT_OF_RANGE, information: lba } : SENSE.LBA_OUT_OF_RANGE;
}

export function sanitizeInProgress(progress: number): Sense {
  return { ...SENSE.SANITIZE_IN_PROGRESS, progress };
}

/** What an I/O that failed below means to the initiator. */
export function senseOfIoError(error: IoError): Sense {
  switch (error.code) {
    case 'medium-read':
      return SENSE.UNRECOVERED_READ_ERROR;
    case 'medium-write':
      return SENSE.WRITE_ERROR;
    case 'no-space':
      return SENSE.SPACE_ALLOCATION_FAILED;
    case 'read-only':
      return SENSE.WRITE_PROTECTED;
    case 'out-of-range':
      return SENSE.LBA_OUT_OF_RANGE;
    // The holder moved or is away: nothing was refused for good, and ABORTED COMMAND makes hosts try again (I7).
    case 'stale':
    case 'unavailable':
      return SENSE.HOLDER_UNREACHABLE;
    case 'aborted':
      return SENSE.COMMAND_ABORTED;
  }
}

/** An I/O that the unit did not let be: how its command ends. */
export class RefusedIo extends IoError {
  constructor(
    readonly status: number,
    readonly sense: Sense | null,
  ) {
    super('aborted', 'the unit refused the command');
  }
}

const FIXED_BYTES = 18;

/** Three bytes SENSE KEY SPECIFIC with SKSV (SPC-4 tables 50, 52), where there is something to say in them. */
function putSpecific(into: Buffer, at: number, { field, progress }: Sense): void {
  if (progress !== undefined) {
    into[at] = 0x80;
    putUint16(into, progress, at + 1);
  }
  if (field === undefined) return;
  const bitPointer = field.bit === undefined ? 0 : 0x08 | field.bit;
  into[at] = 0x80 | (field.inCdb ? 0x40 : 0) | (field.inSegment === true ? 0x20 : 0) | bitPointer;
  putUint16(into, field.byte, at + 1);
}

/** Current sense data in fixed format, 70h, 18 bytes (SPC-4 4.5.3). */
export function encodeSense(sense: Sense): Buffer {
  const bytes = Buffer.alloc(FIXED_BYTES);
  bytes[0] = 0x70;
  bytes[2] = sense.senseKey;
  // INFORMATION has four bytes here; a larger value cannot be said and VALID stays 0 (SPC-4 4.5.3).
  if (sense.information !== undefined && sense.information <= 0xffffffff) {
    bytes[0] |= 0x80;
    putUint32(bytes, sense.information, 3);
  }
  bytes[7] = FIXED_BYTES - 8;
  bytes[12] = sense.asc;
  bytes[13] = sense.ascq;
  putSpecific(bytes, 15, sense);
  return sense.copy === undefined ? bytes : withCopyFailure(bytes, sense.copy);
}

/** COMMAND-SPECIFIC INFORMATION of COPY ABORTED, and behind the rest the status and sense that it points at (SPC-4 5.16). */
function withCopyFailure(bytes: Buffer, { segment, answer }: CopyFailure): Buffer {
  putUint16(bytes, segment, 10);
  if (answer === undefined) return bytes;
  bytes[answer.by === 'source' ? 8 : 9] = bytes.length;
  const whole = Buffer.concat([bytes, Buffer.from([answer.status]), senseOfAnswer(answer)]);
  whole[7] = whole.length - 8;
  return whole;
}

function senseOfAnswer({ sense }: CopyAnswer): Buffer {
  return sense === null ? NO_BYTES : encodeSense(sense);
}

/** Command-specific information and forwarded sense data descriptors (SPC-4 4.5.2). */
function copyDescriptors({ segment, answer }: CopyFailure): Buffer[] {
  const specific = Buffer.alloc(12);
  specific[0] = 0x01;
  specific[1] = 0x0a;
  putUint16(specific, segment, 10);
  if (answer === undefined) return [specific];
  const forwarded = senseOfAnswer(answer);
  const source = answer.by === 'source' ? 1 : 2;
  return [specific, Buffer.from([0x0c, 2 + forwarded.length, source, answer.status]), forwarded];
}

/** Current sense data in descriptor format, 72h (SPC-4 4.5.2), as REQUEST SENSE with DESC asks for. */
export function encodeSenseDescriptors(sense: Sense): Buffer {
  const header = Buffer.from([0x72, sense.senseKey, sense.asc, sense.ascq, 0, 0, 0, 0]);
  const descriptors: Buffer[] = [];
  if (sense.information !== undefined) {
    const information = Buffer.alloc(12);
    information[1] = 0x0a;
    information[2] = 0x80;
    information.writeBigUInt64BE(BigInt(sense.information), 4);
    descriptors.push(information);
  }
  if (sense.field !== undefined || sense.progress !== undefined) {
    const specific = Buffer.alloc(8);
    specific[0] = 0x02;
    specific[1] = 0x06;
    putSpecific(specific, 4, sense);
    descriptors.push(specific);
  }
  if (sense.copy !== undefined) descriptors.push(...copyDescriptors(sense.copy));
  header[7] = descriptors.reduce((total, descriptor) => total + descriptor.length, 0);
  return Buffer.concat([header, ...descriptors]);
}
