/**
 * A request that came in over a link, as the service sees it, with its own copy of the header's fields; and the count of
 * what a link has in service.
 */
import { assert } from '../base/assert.js';
import { NO_BYTES } from '../base/bytes.js';
import { PEER_BYTES_MAX, PEER_PAYLOAD_BYTES_MAX, PEER_REQUESTS_MAX } from '../base/limits.js';
import type { PageMap } from '../block/page-map.js';
import type { BufferPool } from './buffer-pool.js';
import { type IncomingRequest, mustBeOver } from './contract.js';
import { FRAME_HEADER_BYTES, type FrameHeader } from './frame.js';

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
  /** Nothing has to be computed over the data, and the socket can take it now. */
  readonly takesMapped: boolean;
  sendMapped(request: LinkRequest, map: PageMap, epoch: number): void;
}

/** What one link's other end has asked for and has not been answered. */
export class InService {
  private requests = 0;
  private bytes = 0;
  /** Those that must be over before newer links are served. */
  unanswered = 0;

  hasRoomFor(charge: number): boolean {
    return this.requests < PEER_REQUESTS_MAX && this.bytes + charge <= PEER_BYTES_MAX;
  }

  began(type: number, charge: number): void {
    this.requests += 1;
    this.bytes += charge;
    if (mustBeOver(type)) this.unanswered += 1;
  }

  /** @returns whether that was the last of those that must be over */
  ended(type: number, charge: number): boolean {
    this.requests -= 1;
    this.bytes -= charge;
    if (!mustBeOver(type)) return false;
    this.unanswered -= 1;
    return this.unanswered === 0;
  }
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

  get takesMapped(): boolean {
    return this.sender.takesMapped;
  }

  answerMapped(map: PageMap, epoch: number): void {
    assert(!this.answered, 'a peer request is answered once');
    this.answered = true;
    this.sender.sendMapped(this, map, epoch);
  }

  answer(status: number, payload: Buffer = NO_BYTES, epoch = 0): void {
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
