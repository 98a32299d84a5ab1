/** A request that came in over a link, as the service sees it. It keeps its own copy of the header's fields. */
import { assert } from '../base/assert.js';
import { PEER_PAYLOAD_BYTES_MAX } from '../base/limits.js';
import type { BufferPool } from './buffer-pool.js';
import type { IncomingRequest } from './contract.js';
import { FRAME_HEADER_BYTES, type FrameHeader } from './frame.js';

const NOTHING = Buffer.alloc(0);

/** Sends answers; the link. */
export interface AnswerSender {
  /** `framed` is a buffer with room for the header in front, or null: then `payload` is copied. */
  sendAnswer(
    request: LinkRequest,
    status: number,
    framed: Buffer | null,
    payload: Buffer,
    epoch: number,
  ): void;
}

export class LinkRequest implements IncomingRequest {
  readonly type: number;
  readonly volumeId: number;
  readonly extent: number;
  readonly epoch: number;
  readonly token: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly fua: boolean;
  readonly requestId: number;
  private framed: Buffer | null = null;
  private answered = false;

  constructor(
    private readonly sender: AnswerSender,
    readonly from: string,
    readonly incarnation: string,
    header: FrameHeader,
    readonly payload: Buffer,
    /** What it counts in the link's budget. */
    readonly charge: number,
    /** Where an answer's buffer is taken from. */
    private readonly pool: BufferPool,
  ) {
    this.type = header.type;
    this.volumeId = header.volumeId;
    this.extent = header.extent;
    this.epoch = header.epoch;
    this.token = header.token;
    this.offsetBytes = header.offsetBytes;
    this.lengthBytes = header.lengthBytes;
    this.fua = header.fua;
    this.requestId = header.requestId;
  }

  allocateAnswer(): Buffer {
    assert(
      this.framed === null && this.lengthBytes <= PEER_PAYLOAD_BYTES_MAX,
      'one answer of a payload at most',
    );
    this.framed = this.pool.take(FRAME_HEADER_BYTES + this.lengthBytes);
    return this.framed.subarray(FRAME_HEADER_BYTES);
  }

  answer(status: number, payload: Buffer = NOTHING, epoch = 0): void {
    assert(!this.answered, 'a peer request is answered once');
    this.answered = true;
    const framed = this.framed;
    // The view that allocateAnswer() gave, and nothing cut from it.
    const isOwn =
      framed !== null &&
      payload.buffer === framed.buffer &&
      payload.byteOffset === framed.byteOffset + FRAME_HEADER_BYTES &&
      payload.length === this.lengthBytes;
    this.sender.sendAnswer(this, status, isOwn ? framed : null, payload, epoch);
  }
}
