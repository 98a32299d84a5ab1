/**
 * One PDU before it is laid on the wire: header and data apart, so that a field can be spoilt while lengths and digests
 * stay right, or a digest while all else does.
 */
import { DIGEST_BYTES, paddedLength, writeLengths } from '../../iscsi/wire/bhs.js';
import { dataCrc32c, headerCrc32c, writeDigest } from '../../iscsi/wire/digests.js';

export interface Draft {
  /** 48 bytes and any AHS. */
  header: Buffer;
  /** Without padding. */
  data: Buffer;
  isMutated: boolean;
  /** The CmdSN that it takes; null where it takes none. */
  readonly cmdSN: number | null;
  /** Of a Data-Out that was asked for: its Target Transfer Tag is not known before that R2T has come. */
  r2t: R2tOf | null;
  spoilsHeaderDigest: boolean;
  spoilsDataDigest: boolean;
}

/** The R2T of a command, by its number. */
export interface R2tOf {
  readonly initiatorTaskTag: number;
  readonly r2tSN: number;
}

export interface DigestChoice {
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
}

export function draft(
  header: Buffer,
  data: Buffer,
  cmdSN: number | null = null,
  r2t: R2tOf | null = null,
): Draft {
  return { header, data, isMutated: false, cmdSN, r2t, spoilsHeaderDigest: false, spoilsDataDigest: false };
}

export function copyOf(original: Draft): Draft {
  const { header, data, cmdSN, r2t } = original;
  return draft(Buffer.from(header), Buffer.from(data), cmdSN, r2t);
}

/** Makes TotalAHSLength and DataSegmentLength say what is there. */
export function settleLengths(pdu: Draft): void {
  writeLengths(pdu.header, 0, (pdu.header.length - 48) / 4, pdu.data.length);
}

/** The bytes as they are sent. Lengths are what the header says, right or wrong. */
export function lay(pdu: Draft, digests: DigestChoice): Buffer {
  const { header, data } = pdu;
  const dataAt = header.length + (digests.headerDigest ? DIGEST_BYTES : 0);
  const hasDataDigest = digests.dataDigest && data.length > 0;
  const end = dataAt + paddedLength(data.length);
  const bytes = Buffer.allocUnsafe(end + (hasDataDigest ? DIGEST_BYTES : 0));
  header.copy(bytes);
  if (digests.headerDigest) {
    const crc = headerCrc32c(header, 0, header.length);
    writeDigest(bytes, header.length, pdu.spoilsHeaderDigest ? ~crc >>> 0 : crc);
  }
  data.copy(bytes, dataAt);
  bytes.fill(0, dataAt + data.length, end);
  if (hasDataDigest) {
    const crc = dataCrc32c(bytes.subarray(dataAt, end));
    writeDigest(bytes, end, pdu.spoilsDataDigest ? ~crc >>> 0 : crc);
  }
  return bytes;
}
