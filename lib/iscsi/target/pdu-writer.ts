/**
 * Lays PDUs into spans of the output: header, digests, data and padding each at its place (RFC 7143 11.2). What stands
 * in a header is the caller's business.
 *
 *   | BHS 48 | header digest 4? | data | padding 0–3 | data digest 4? |
 */
import { assert } from '../../base/assert.js';
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
  }

  /** Reserves a header alone, for data that stands elsewhere; see sendApart. */
  reserveHeader(span: Span): void {
    this.output.reserve(span, this.headerBytes);
  }

  /** Sends a header, then the data from where it stands in `buffer` (which the socket holds until it is done). */
  sendApart(header: Span, buffer: PooledBuffer, start: number, end: number): void {
    if (this.headerDigest) this.putHeaderDigest(bytesOf(header), header.start);
    this.output.commit(header);
    this.output.share(this.part, buffer, start, end);
    this.output.commit(this.part);
    const padding = paddedLength(end - start) - (end - start);
    const trailerBytes = padding + (this.dataDigest ? DIGEST_BYTES : 0);
    if (trailerBytes === 0) return;
    this.output.reserve(this.part, trailerBytes);
    const trailer = bytesOf(this.part);
    const at = this.part.start;
    trailer.fill(0, at, at + padding);
    if (this.dataDigest) {
      let crc = dataCrc32c(buffer.bytes.subarray(start, end));
      if (padding > 0) crc = dataCrc32c(trailer.subarray(at, at + padding), crc);
      writeDigest(trailer, at + padding, crc);
    }
    this.output.commit(this.part);
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
    if (this.headerDigest) this.putHeaderDigest(bytesOf(header), header.start);
    this.output.commit(header);
    const { part } = this;
    if (this.dataDigest) {
      assert((end - start) % MAP_DIGEST_BYTES === 0, 'mapped bytes without a digest');
      this.output.reserve(part, DIGEST_BYTES);
      this.output.commitMapped(map, start, end, part);
      return;
    }
    this.output.commitMapped(map, start, end);
    const padding = paddedLength(end - start) - (end - start);
    if (padding === 0) return;
    this.output.reserve(part, padding);
    bytesOf(part).fill(0, part.start, part.end);
    this.output.commit(part);
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
