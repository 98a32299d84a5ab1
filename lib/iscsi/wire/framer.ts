/**
 * Cuts a byte stream into PDUs. It takes chunks cut anywhere and knows only lengths and digests; what a PDU means, and
 * where its data belongs, is its sink's affair. It allocates nothing beyond views unless a chunk ends inside a PDU.
 *
 *      push(chunk)
 *          │
 *      ┌─ HEADER ── 48 bytes + AHS (+ header digest) ── length over the limit? ── framingError
 *      │       sink.header(bhs, dataSegmentLength) → where the data goes (or null: a view if possible)
 *      │   DATA ── copied as it comes, or viewed in place
 *      │   TRAILER ── padding (+ data digest)
 *      └── DELIVER ── sink.payload(bhs, data, digestOk)
 *
 * Back-pressure: a sink may pause() from a callback; the rest of the chunk, and chunks pushed meanwhile, are retained
 * until resume(). Between header() and payload() of one PDU nothing else is delivered.
 *
 * Views: a chunk is borrowed, since sockets read into one buffer again and again. What a sink is given is its own only
 * until it returns; what the framer has to keep when the chunk ends, it copies.
 */
import { NO_BYTES } from '../../base/bytes.js';
import { BHS_BYTES, DIGEST_BYTES, dataSegmentLengthOf, paddedLength, totalAHSLengthOf } from './bhs.js';
import { dataCrc32c, headerCrc32c, readDigest } from './digests.js';

export interface FramerSink {
  /**
   * A header is complete (and its digest right). `bhs` is 48 bytes plus any AHS.
   * @returns a buffer of exactly dataSegmentLength bytes for the data to be copied into as it comes, or null to be given
   * a view of the chunk where the data is whole there, and a new buffer otherwise.
   */
  header(bhs: Buffer, dataSegmentLength: number): Buffer | null;
  /**
   * The PDU is complete. `data` is empty when it has none, the buffer that header() returned where it returned one, and
   * otherwise a view that holds until this returns.
   */
  payload(bhs: Buffer, data: Buffer, digestOk: boolean): void;
  /** The stream cannot be followed any further; nothing more will be delivered. Close the connection. */
  framingError(reason: string): void;
}

const Stage = { HEADER: 0, DATA: 1, TRAILER: 2, DELIVER: 3 } as const;

export class Framer {
  /** Header bytes gathered so far, when a chunk ended inside a header; otherwise empty. */
  private partialHeader = NO_BYTES;
  private partialHeaderFilled = 0;

  private stage: number = Stage.HEADER;
  private bhs = NO_BYTES;
  private data = NO_BYTES;
  private dataIsView = false;
  private dataFilled = 0;
  /** Padding and digest after the data: at most 3 + 4 bytes. */
  private readonly trailer = Buffer.alloc(3 + DIGEST_BYTES);
  private trailerBytes = 0;
  private trailerFilled = 0;
  private digestOk = true;

  private headerDigests = false;
  private dataDigests = false;
  /** Of the PDU under way: digests that are switched on hold from the next one. */
  private headerDigestBytes = 0;
  private dataDigestBytes = 0;

  private chunk = NO_BYTES;
  private at = 0;
  /** Chunks pushed while delivery was held back; copies. */
  private readonly waiting: Buffer[] = [];
  private running = false;
  private paused_ = false;
  private stopped_ = false;

  /** @param maxDataSegmentBytes longer data segments are a framing error, found before header() is called */
  constructor(
    private readonly sink: FramerSink,
    private maxDataSegmentBytes: number,
  ) {}

  /** Takes the next bytes of the stream. The buffer is the caller's again when this returns. */
  push(chunk: Buffer): void {
    if (this.stopped_ || chunk.length === 0) return;
    if (this.running || this.at < this.chunk.length || this.waiting.length > 0) {
      this.waiting.push(Buffer.from(chunk));
      this.run();
      return;
    }
    this.chunk = chunk;
    this.at = 0;
    this.run();
    if (!this.stopped_) this.keepRest();
  }

  /** Holds delivery back after the callback that is running. */
  pause(): void {
    this.paused_ = true;
  }

  /** Goes on with what was retained. Inside a callback it only undoes pause(). */
  resume(): void {
    this.paused_ = false;
    this.run();
  }

  /** Nothing is delivered any more, not even the rest of the PDU under way. */
  stop(): void {
    this.stopped_ = true;
    this.waiting.length = 0;
    this.chunk = this.partialHeader = this.bhs = this.data = NO_BYTES;
    this.at = 0;
  }

  /** From the next PDU on. */
  setDigests(header: boolean, data: boolean): void {
    this.headerDigests = header;
    this.dataDigests = data;
  }

  /** From the next PDU on. */
  setMaxDataSegmentBytes(maxDataSegmentBytes: number): void {
    this.maxDataSegmentBytes = maxDataSegmentBytes;
  }

  get paused(): boolean {
    return this.paused_;
  }

  get stopped(): boolean {
    return this.stopped_;
  }

  /** Whether the stream so far ends inside a PDU: an end there is a truncation. */
  get insidePdu(): boolean {
    return this.stage !== Stage.HEADER || this.partialHeaderFilled > 0 || this.retainedBytes > 0;
  }

  /** Bytes taken and not yet looked at. */
  get retainedBytes(): number {
    let bytes = this.chunk.length - this.at;
    for (const chunk of this.waiting) bytes += chunk.length;
    return bytes;
  }

  /** Copies what is still needed of a borrowed chunk: its rest, and the views of the PDU under way. */
  private keepRest(): void {
    const { chunk, at } = this;
    this.chunk = at < chunk.length ? Buffer.from(chunk.subarray(at)) : NO_BYTES;
    this.at = 0;
    if (this.stage === Stage.HEADER) return;
    this.bhs = Buffer.from(this.bhs);
    if (this.dataIsView) this.data = Buffer.from(this.data);
    this.dataIsView = false;
  }

  private run(): void {
    if (this.running) return;
    this.running = true;
    try {
      while (!this.stopped_ && !this.paused_ && this.step());
    } catch (error) {
      // A sink that throws has lost track of its own state: it must not be called again.
      this.stop();
      throw error;
    } finally {
      this.running = false;
    }
  }

  /** One step of the PDU under way; false when it takes more bytes than there are. */
  private step(): boolean {
    if (this.stage === Stage.DELIVER) {
      this.deliver();
      return true;
    }
    if (this.at === this.chunk.length && !this.nextChunk()) return false;
    if (this.stage === Stage.HEADER) this.takeHeader();
    else if (this.stage === Stage.DATA) this.takeData();
    else this.takeTrailer();
    return true;
  }

  private nextChunk(): boolean {
    const next = this.waiting.shift();
    this.chunk = next ?? NO_BYTES;
    this.at = 0;
    return next !== undefined;
  }

  private takeHeader(): void {
    if (this.partialHeaderFilled > 0) {
      this.gatherHeader();
      return;
    }
    this.headerDigestBytes = this.headerDigests ? DIGEST_BYTES : 0;
    this.dataDigestBytes = this.dataDigests ? DIGEST_BYTES : 0;
    const available = this.chunk.length - this.at;
    if (available >= BHS_BYTES) {
      const needed = this.headerBytes(this.chunk, this.at);
      if (available >= needed) {
        const start = this.at;
        this.at += needed;
        this.headerComplete(this.chunk, start, this.at);
        return;
      }
    }
    this.partialHeader = Buffer.allocUnsafe(BHS_BYTES);
    this.gatherHeader();
  }

  /** Adds to a header that a chunk's end cut: first the 48 bytes that tell its whole length, then the rest. */
  private gatherHeader(): void {
    const taken = this.chunk.copy(this.partialHeader, this.partialHeaderFilled, this.at);
    this.at += taken;
    this.partialHeaderFilled += taken;
    if (this.partialHeaderFilled < this.partialHeader.length) return;
    const needed = this.headerBytes(this.partialHeader, 0);
    if (this.partialHeaderFilled < needed) {
      const longer = Buffer.allocUnsafe(needed);
      this.partialHeader.copy(longer);
      this.partialHeader = longer;
      return;
    }
    const header = this.partialHeader;
    this.partialHeader = NO_BYTES;
    this.partialHeaderFilled = 0;
    this.headerComplete(header, 0, header.length);
  }

  private headerBytes(bytes: Buffer, at: number): number {
    return BHS_BYTES + totalAHSLengthOf(bytes, at) * 4 + this.headerDigestBytes;
  }

  /** It stands in bytes [start, withDigest), its digest included. */
  private headerComplete(bytes: Buffer, start: number, withDigest: number): void {
    const end = withDigest - this.headerDigestBytes;
    if (end < withDigest && headerCrc32c(bytes, start, end) !== readDigest(bytes, end)) {
      // Without a header there is no knowing where the next one begins (RFC 7143 7.8, ErrorRecoveryLevel 0).
      return this.fail('header digest error');
    }
    const bhs = bytes.subarray(start, end);
    const length = dataSegmentLengthOf(bhs);
    if (length > this.maxDataSegmentBytes) {
      return this.fail(`data segment of ${length} bytes, over the limit of ${this.maxDataSegmentBytes}`);
    }
    this.bhs = bhs;
    this.digestOk = true;
    const destination = this.sink.header(bhs, length);
    if (this.stopped_) return;
    this.beginData(length, destination);
  }

  private beginData(length: number, destination: Buffer | null): void {
    this.data = NO_BYTES;
    this.dataIsView = false;
    this.dataFilled = 0;
    this.trailerFilled = 0;
    this.trailerBytes = length === 0 ? 0 : paddedLength(length) - length + this.dataDigestBytes;
    this.stage = length === 0 ? Stage.DELIVER : Stage.DATA;
    if (length === 0) return;
    if (destination !== null) {
      if (destination.length !== length)
        throw new RangeError(`destination of ${destination.length} for ${length} bytes`);
      this.data = destination;
    } else if (this.chunk.length - this.at >= length) {
      this.data = this.chunk.subarray(this.at, this.at + length);
      this.dataIsView = true;
      this.at += length;
      this.dataComplete();
    } else {
      this.data = Buffer.allocUnsafe(length);
    }
  }

  private takeData(): void {
    const taken = this.chunk.copy(this.data, this.dataFilled, this.at);
    this.at += taken;
    this.dataFilled += taken;
    if (this.dataFilled === this.data.length) this.dataComplete();
  }

  private dataComplete(): void {
    this.stage = this.trailerBytes === 0 ? Stage.DELIVER : Stage.TRAILER;
  }

  private takeTrailer(): void {
    const { chunk, trailer, trailerBytes, trailerFilled } = this;
    const end = this.at + trailerBytes - trailerFilled;
    if (trailerFilled === 0 && end <= chunk.length) {
      this.trailerComplete(chunk, this.at);
      this.at = end;
      return;
    }
    const taken = chunk.copy(trailer, trailerFilled, this.at, Math.min(chunk.length, end));
    this.at += taken;
    this.trailerFilled += taken;
    if (this.trailerFilled === trailerBytes) this.trailerComplete(trailer, 0);
  }

  /** The digest covers the padding too (RFC 7143 11.2.4). */
  private trailerComplete(bytes: Buffer, at: number): void {
    this.stage = Stage.DELIVER;
    if (this.dataDigestBytes === 0) return;
    const digestAt = at + this.trailerBytes - DIGEST_BYTES;
    let crc = dataCrc32c(this.data);
    if (digestAt > at) crc = dataCrc32c(bytes.subarray(at, digestAt), crc);
    this.digestOk = crc === readDigest(bytes, digestAt);
  }

  private deliver(): void {
    const { bhs, data } = this;
    this.stage = Stage.HEADER;
    this.bhs = this.data = NO_BYTES;
    this.sink.payload(bhs, data, this.digestOk);
  }

  private fail(reason: string): void {
    this.stop();
    this.sink.framingError(reason);
  }
}
