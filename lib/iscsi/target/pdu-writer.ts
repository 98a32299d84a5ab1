/**
 * Lays PDUs into spans of the output: header, digests, data and padding each at its place (RFC 7143 11.2). What stands
 * in a header is the caller's business.
 *
 *   | BHS 48 | header digest 4? | data | padding 0–3 | data digest 4? |
 */
import { assert } from '../../base/assert.js';
import { NO_BYTES } from '../../base/bytes.js';
import { MAP_DIGEST_BYTES, type PageMap } from '../../block/page-map.js';
import { BHS_BYTES, DIGEST_BYTES, paddedLength } from '../wire/bhs.js';
import { dataCrc32c, headerCrc32c, writeDigest } from '../wire/digests.js';
import { type PooledBuffer, Span } from './buffer-pool.js';
import type { Output } from './output.js';

export class PduWriter {
  private headerBytes = BHS_BYTES;
  private headerDigest = false;
  private dataDigest = false;
  private readonly part = new Span();
  /** Of the PDU that put() is at: it ends before another one begins. */
  private readonly whole = new Span();

  constructor(readonly output: Output) {}

  /** From the next PDU on. */
  setDigests(header: boolean, data: boolean): void {
    this.headerDigest = header;
    this.dataDigest = data;
    this.headerBytes = BHS_BYTES + (header ? DIGEST_BYTES : 0);
  }

  /** Reserves a whole PDU with `dataBytes` of data, whose header starts at span.start. */
  reserve(span: Span, dataBytes: number): void {
    const trailer = dataBytes === 0 ? 0 : paddedLength(dataBytes) + (this.dataDigest ? DIGEST_BYTES : 0);
    this.output.reserve(span, this.headerBytes + trailer);
  }

  /** Where the data of a reserved PDU begins. */
  dataStart(span: Span): number {
    return span.start + this.headerBytes;
  }

  /**
   * Adds padding and digests to a PDU whose header and data stand, and sends it. `dataBytes` may be less than what was
   * reserved; the rest is not sent.
   */
  send(span: Span, dataBytes: number): void {
    const bytes = bytesOf(span);
    if (this.headerDigest) this.putHeaderDigest(bytes, span.start);
    const dataStart = this.dataStart(span);
    const end = dataBytes === 0 ? dataStart : this.putTrailer(bytes, dataStart, dataStart + dataBytes);
    if (end !== span.end) this.output.trim(span, end);
    this.output.commit(span);
    this.output.endPdu();
  }

  /** Sends a PDU: the header that `encode` writes of `pdu`, and a copy of `data`. */
  put<Pdu>(encode: (pdu: Pdu, bytes: Buffer, at: number) => void, pdu: Pdu, data: Buffer = NO_BYTES): void {
    const { whole } = this;
    this.reserve(whole, data.length);
    const bytes = bytesOf(whole);
    encode(pdu, bytes, whole.start);
    if (data.length > 0) data.copy(bytes, this.dataStart(whole));
    this.send(whole, data.length);
  }

  /** Reserves a header alone, for data that stands elsewhere; see sendApart. */
  reserveHeader(span: Span): void {
    this.output.reserve(span, this.headerBytes);
  }

  /** Sends a header, then the data from where it stands in `buffer` (which the socket holds until it is done). */
  sendApart(header: Span, buffer: PooledBuffer, start: number, end: number): void {
    const { output, part } = this;
    if (this.headerDigest) this.putHeaderDigest(bytesOf(header), header.start);
    output.commit(header);
    output.share(part, buffer, start, end);
    output.commit(part);
    const paddingBytes = paddedLength(end - start) - (end - start);
    if (this.dataDigest) this.sendDigest(buffer.bytes.subarray(start, end), paddingBytes);
    else this.sendPadding(paddingBytes);
    output.endPdu();
  }

  /** Padding and the digest of `data` with it, which went before. */
  private sendDigest(data: Buffer, paddingBytes: number): void {
    const { output, part } = this;
    output.reserve(part, paddingBytes + DIGEST_BYTES);
    const trailer = bytesOf(part);
    const digestAt = part.start + paddingBytes;
    trailer.fill(0, part.start, digestAt);
    let crc = dataCrc32c(data);
    if (paddingBytes > 0) crc = dataCrc32c(trailer.subarray(part.start, digestAt), crc);
    writeDigest(trailer, digestAt, crc);
    output.commit(part);
  }

  private sendPadding(paddingBytes: number): void {
    if (paddingBytes === 0) return;
    const { output, part } = this;
    output.reserve(part, paddingBytes);
    bytesOf(part).fill(0, part.start, part.end);
    output.commit(part);
  }

  /** Data segments are followed by their digest. */
  get hasDataDigests(): boolean {
    return this.dataDigest;
  }

  /** Data can go out from where a device has it mapped. */
  get takesMapped(): boolean {
    return this.output.isDirect;
  }

  /** Sends a header, then a range of a mapped device; with digests, one that has its own. Only while takesMapped. */
  sendMapped(header: Span, map: PageMap, start: number, end: number): void {
    const { output, part } = this;
    if (this.headerDigest) this.putHeaderDigest(bytesOf(header), header.start);
    output.commit(header);
    if (this.dataDigest) {
      assert((end - start) % MAP_DIGEST_BYTES === 0, 'mapped bytes without a digest');
      output.reserve(part, DIGEST_BYTES);
      output.commitMapped(map, start, end, part);
    } else {
      output.commitMapped(map, start, end);
      this.sendPadding(paddedLength(end - start) - (end - start));
    }
    output.endPdu();
  }

  private putHeaderDigest(bytes: Buffer, start: number): void {
    writeDigest(bytes, start + BHS_BYTES, headerCrc32c(bytes, start, start + BHS_BYTES));
  }

  /** Padding and data digest behind the data; returns where the PDU ends. */
  private putTrailer(bytes: Buffer, start: number, end: number): number {
    const paddedEnd = start + paddedLength(end - start);
    for (let at = end; at < paddedEnd; at++) bytes[at] = 0;
    if (!this.dataDigest) return paddedEnd;
    writeDigest(bytes, paddedEnd, dataCrc32c(bytes.subarray(start, paddedEnd)));
    return paddedEnd + DIGEST_BYTES;
  }
}

/** The memory a reserved span stands in. */
export function bytesOf(span: Span): Buffer {
  if (span.buffer === null) throw new RangeError('the span is not reserved');
  return span.buffer.bytes;
}
