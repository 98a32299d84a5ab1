/**
 * Cuts a byte stream into peer frames, however TCP cut it. A header is judged before a byte of its payload is kept, and
 * a payload is copied at most once: to where its reader wants it. With digests, a frame that is not what was sent is
 * never given to the reader. Knows nothing of what the frames mean.
 */
import { NO_BYTES } from '../base/bytes.js';
import {
  FRAME_HEADER_BYTES,
  FrameHeader,
  checkHeaderDigest,
  checkPayloadDigest,
  decodeHeader,
  frameError,
} from './frame.js';

/** Who reads the frames. Both calls get the same header object, reused for every frame. */
export interface FrameSink {
  /**
   * A header has arrived. Says where the payload goes: a buffer of exactly payloadBytes, or null for "anywhere" (a view
   * of the chunk when it is there as a whole). Throws PROTOCOL to refuse the frame.
   */
  begin(header: FrameHeader): Buffer | null;
  /** The payload is complete, and what was sent. */
  end(header: FrameHeader, payload: Buffer): void;
}

export class FrameParser {
  private readonly header = new FrameHeader();
  private readonly headerBytes = Buffer.alloc(FRAME_HEADER_BYTES);
  /** Bytes of the header, then of the payload, that we have. */
  private filled = 0;
  /** The payload being gathered; null between frames. */
  private payload: Buffer | null = null;
  private stopped = false;
  /** Whether digests are checked; may be changed between frames. */
  withDigests = true;

  /** @param payloadBytesMax larger frames are refused; may be changed between frames. */
  constructor(
    private readonly sink: FrameSink,
    public payloadBytesMax: number,
  ) {}

  /** No more frames are given, not even from the chunk being parsed. */
  stop(): void {
    this.stopped = true;
    this.payload = null;
  }

  /** Takes the next bytes. Payload views given to the sink are views of `chunk`. Throws PROTOCOL. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.stopped) {
      at = this.payload === null ? this.takeHeader(chunk, at) : this.takePayload(chunk, at);
    }
  }

  private takeHeader(chunk: Buffer, at: number): number {
    if (this.filled === 0 && chunk.length - at >= FRAME_HEADER_BYTES) {
      return this.beginPayload(chunk, at + FRAME_HEADER_BYTES, chunk, at);
    }
    const taken = chunk.copy(this.headerBytes, this.filled, at);
    this.filled += taken;
    if (this.filled < FRAME_HEADER_BYTES) return at + taken;
    this.filled = 0;
    return this.beginPayload(chunk, at + taken, this.headerBytes, 0);
  }

  /** The header is complete, at `headerAt` of `source`. */
  private beginPayload(chunk: Buffer, at: number, source: Buffer, headerAt: number): number {
    const header = this.header;
    if (this.withDigests) checkHeaderDigest(source, headerAt);
    decodeHeader(source, headerAt, header);
    const bytes = header.payloadBytes;
    if (bytes > this.payloadBytesMax)
      throw frameError(`a payload of ${bytes} bytes, at most ${this.payloadBytesMax}`);
    const target = this.sink.begin(header);
    if (this.stopped) return at;
    if (bytes === 0) {
      this.sink.end(header, NO_BYTES);
      return at;
    }
    if (target === null && chunk.length - at >= bytes) {
      this.endPayload(chunk.subarray(at, at + bytes));
      return at + bytes;
    }
    this.payload = target ?? Buffer.allocUnsafe(bytes);
    return at;
  }

  private takePayload(chunk: Buffer, at: number): number {
    const payload = this.payload ?? NO_BYTES;
    const taken = chunk.copy(
      payload,
      this.filled,
      at,
      at + Math.min(chunk.length - at, payload.length - this.filled),
    );
    this.filled += taken;
    if (this.filled === payload.length) {
      this.filled = 0;
      this.payload = null;
      this.endPayload(payload);
    }
    return at + taken;
  }

  private endPayload(payload: Buffer): void {
    if (this.withDigests) checkPayloadDigest(this.header, payload);
    this.sink.end(this.header, payload);
  }
}
