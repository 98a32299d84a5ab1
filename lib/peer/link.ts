/**
 * One connection between two processes, symmetrical once it is open: both ends send requests and answer those of the
 * other, many at a time, in any order. It frames and watches the time; who may be at the other end and what
 * becomes of a member whose links break is association.ts's business.
 */
import { assert } from '../base/assert.js';
import { NO_BYTES } from '../base/bytes.js';
import type { Clock, Timer } from '../base/clock.js';
import { BlockferryError, describeError } from '../base/errors.js';
import {
  PEER_HELLO_DEADLINE_MS,
  PEER_PAYLOAD_BYTES_MAX,
  PEER_REQUEST_DEADLINE_MS,
  PEER_SEND_QUEUE_BYTES_MAX,
} from '../base/limits.js';
import type { NetSocket } from '../base/net.js';
import type { PageMap } from '../block/page-map.js';
import type { BufferPool } from './buffer-pool.js';
import type { DueOutboxes } from './due-outboxes.js';
import { answerLost, isRead, type PeerHeader, PeerStatus, type PeerRequest } from './contract.js';
import {
  CONTROL_TYPE_MIN,
  ControlType,
  FRAME_HEADER_BYTES,
  FrameHeader,
  addDigests,
  encodeHeader,
  frameError,
} from './frame.js';
import { HELLO_BYTES_MAX, HELLO_MAGIC, type LinkTerms } from './hello.js';
import { InService, LinkRequest, type AnswerSender } from './incoming.js';
import { LinkStats } from './link-stats.js';
import { Outbox } from './outbox.js';
import { FrameParser, type FrameSink } from './parser.js';
import { Pulse, TICK_MS } from './pulse.js';
import { RequestTable, chargeOf } from './request-table.js';

/** Payloads up to this are packed into the outbox's slab; larger ones go by reference. */
const INLINE_BYTES_MAX = 16 * 1024;
/** How long the last words of a link may take. */
const LAST_WORDS_MS = 1_000;
/** A line of text, not a dump. */
const ERROR_TEXT_BYTES_MAX = 512;

/** Who a link belongs to. */
export interface LinkOwner {
  /** A frame of the handshake has come (HELLO to REFUSAL). Throws PROTOCOL to refuse it. */
  handshake(link: Link, type: number, round: number, magic: number, payload: Buffer): void;
  serve(request: LinkRequest): void;
  /** Called once, before its requests are answered LINK_LOST. */
  closed(link: Link, wasOpen: boolean): void;
  /** The last of a closed link's `unanswered` requests has been answered. */
  drained(link: Link): void;
}

/** What the links of a hub share. */
export interface LinkContext {
  readonly clock: Clock;
  readonly pool: BufferPool;
  readonly due: DueOutboxes;
}

export class Link implements FrameSink, AnswerSender {
  readonly stats = new LinkStats();
  /** Who is at the other end, once it has said so; '' is the management process. */
  member = '';
  incarnation = '';
  /** The other end's round when it said hello (association.ts). */
  round = 0;
  /** What the hellos came to; counts from open() on. */
  terms: LinkTerms = { version: 0, digests: true };
  /** WELCOME was sent: READY may come. */
  mayBeReady = false;
  /** One line: why it was closed, '' while it is not. */
  reason = '';
  private phase: 'hello' | 'open' | 'closed' = 'hello';
  private readonly parser = new FrameParser(this, HELLO_BYTES_MAX);
  private readonly outbox: Outbox;
  private readonly table = new RequestTable();
  /** The header being written; its fields are set anew for every frame. */
  private readonly out = new FrameHeader();
  /** Of the frames we send; those of the handshake always have them. */
  private withDigests = true;
  private readonly inService = new InService();
  private timer: Timer;
  private readonly pulse = new Pulse();

  /** @param isDialled we dialled */
  constructor(
    readonly socket: NetSocket,
    readonly isDialled: boolean,
    private readonly owner: LinkOwner,
    private readonly context: LinkContext,
  ) {
    const { clock, pool, due } = context;
    this.outbox = new Outbox(socket, pool, due);
    socket.setNoDelay(true);
    socket.on('drain', () => {
      this.outbox.reclaim();
      socket.resume();
    });
    socket.on('error', (error) => this.close(describeError(error)));
    socket.on('end', () => this.close('the other end closed it'));
    socket.on('close', () => this.close('the connection is gone'));
    this.timer = clock.after(PEER_HELLO_DEADLINE_MS, () => this.refuse('no hello in time'));
  }

  get isOpen(): boolean {
    return this.phase === 'open';
  }

  get isClosed(): boolean {
    return this.phase === 'closed';
  }

  /** Requests of the other end that we have not answered yet, and that must be over before newer ones are served. */
  get unanswered(): number {
    return this.inService.unanswered;
  }

  // --- handshake -----------------------------------------------------------------------------------------------

  /** Sends a frame of the link itself. */
  sendControl(type: number, payload: Buffer = NO_BYTES, round = 0): void {
    if (this.phase === 'closed') return;
    const header = this.out.blank(type, payload.length);
    header.token = HELLO_MAGIC;
    header.epoch = round;
    this.write(header, payload);
  }

  /** Both ends have said hello: requests may flow. */
  open(): void {
    assert(this.phase === 'hello', 'a link is opened once');
    this.phase = 'open';
    this.parser.payloadBytesMax = PEER_PAYLOAD_BYTES_MAX;
    this.parser.withDigests = this.withDigests = this.terms.digests;
    this.timer.cancel();
    this.pulse.start(this.context.clock.nowMs());
    this.ping();
    this.timer = this.context.clock.after(TICK_MS, () => this.tick());
  }

  /** Says why, then closes. For a link that is not open yet. */
  refuse(why: string): void {
    if (this.phase !== 'hello') return;
    this.sendControl(ControlType.REFUSAL, Buffer.from(why).subarray(0, ERROR_TEXT_BYTES_MAX));
    this.close(why, true);
  }

  // --- sending -------------------------------------------------------------------------------------------------

  /** Sends a request, or keeps it until there is room. */
  send(request: PeerRequest): void {
    if (this.phase !== 'open') {
      setImmediate(answerLost, request);
      return;
    }
    assert(
      request.map === null || this.takesMappedPayload(request.type, request.lengthBytes),
      'mapped bytes cannot wait',
    );
    const deadlineMs = request.deadlineMs > 0 ? request.deadlineMs : PEER_REQUEST_DEADLINE_MS;
    const id = this.table.offer(request, this.pulse.nowMs + TICK_MS + deadlineMs);
    if (id >= 0) this.transmit(id, request);
  }

  private transmit(id: number, request: PeerRequest): void {
    const header = this.out.blank(request.type, request.payloadBytes);
    header.fua = request.fua;
    header.requestId = id;
    header.volumeId = request.volumeId;
    header.extent = request.extent;
    header.token = request.token;
    header.epoch = request.epoch;
    header.offsetBytes = request.offsetBytes;
    header.lengthBytes = request.lengthBytes;
    if (request.map === null) this.write(header, request.payload);
    else this.writeMapped(header, request.map, request);
  }

  /** See PeerHub.takesMapped. */
  takesMappedPayload(type: number, lengthBytes: number): boolean {
    return this.phase === 'open' && this.takesMapped && this.table.hasRoomFor(type, lengthBytes);
  }

  /** For LinkRequest. A foreign payload is copied, since its owner may use it again at once. */
  sendAnswer(
    request: LinkRequest,
    status: number,
    framed: Buffer | null,
    payload: Buffer,
    epoch: number,
  ): void {
    if (!this.ended(request)) {
      if (framed !== null) this.context.pool.give(framed);
      return;
    }
    const header = this.answerHeader(request, status, payload.length, epoch);
    if (framed !== null && framed.length > INLINE_BYTES_MAX) {
      encodeHeader(header, framed, 0);
      if (this.withDigests) addDigests(framed, 0, payload);
      this.outbox.appendLent(framed);
      this.sent();
    } else {
      this.write(header, payload.length > INLINE_BYTES_MAX ? Buffer.from(payload) : payload);
      if (framed !== null) this.context.pool.give(framed);
    }
  }

  get takesMapped(): boolean {
    return !this.withDigests && this.outbox.isDirect;
  }

  /** For LinkRequest: what a READ asks for, from a mapped device. */
  sendMapped(request: LinkRequest, map: PageMap, epoch: number): void {
    if (!this.ended(request)) return;
    this.writeMapped(this.answerHeader(request, PeerStatus.OK, request.lengthBytes, epoch), map, request);
  }

  private writeMapped(header: FrameHeader, map: PageMap, { offsetBytes, lengthBytes }: PeerHeader): void {
    const at = this.outbox.reserve(FRAME_HEADER_BYTES);
    encodeHeader(header, this.outbox.slab, at);
    this.outbox.appendMapped(map, offsetBytes, offsetBytes + lengthBytes);
    this.sent();
  }

  /** A request is answered. False: nobody is there to hear it any more. */
  private ended(request: LinkRequest): boolean {
    this.context.pool.give(request.payload);
    const isLast = this.inService.ended(request.type, request.charge);
    if (this.phase === 'open') return true;
    if (isLast) this.owner.drained(this);
    return false;
  }

  private answerHeader(request: LinkRequest, status: number, bytes: number, epoch: number): FrameHeader {
    const header = this.out.blank(request.type, bytes);
    header.isAnswer = true;
    header.status = status;
    header.requestId = request.requestId;
    header.epoch = epoch;
    return header;
  }

  private write(header: FrameHeader, payload: Buffer): void {
    const isInline = payload.length <= INLINE_BYTES_MAX;
    const at = this.outbox.reserve(FRAME_HEADER_BYTES + (isInline ? payload.length : 0));
    encodeHeader(header, this.outbox.slab, at);
    if (this.withDigests) addDigests(this.outbox.slab, at, payload);
    if (!isInline) this.outbox.append(payload);
    else if (payload.length > 0) payload.copy(this.outbox.slab, at + FRAME_HEADER_BYTES);
    this.sent();
  }

  /**
   * A frame was written. Who asks and asks and does not read the answers is not listened to (I11). Two honest ends cannot both
   * come to this, since what each has outstanding is bounded; so they cannot stop each other for good.
   */
  private sent(): void {
    this.outbox.endFrame();
    if (this.outbox.queuedBytes > PEER_SEND_QUEUE_BYTES_MAX) this.socket.pause();
  }

  // --- receiving -----------------------------------------------------------------------------------------------

  /** Takes received bytes. */
  receive(chunk: Buffer): void {
    if (this.phase === 'closed') return;
    this.stats.bytesIn += chunk.length;
    this.pulse.heard();
    try {
      this.parser.push(chunk);
    } catch (error) {
      if (!(error instanceof BlockferryError)) throw error;
      this.refuse(error.message);
      this.close(error.message);
    }
  }

  /** FrameSink. */
  begin(header: FrameHeader): Buffer | null {
    if (header.type >= CONTROL_TYPE_MIN) {
      const isHandshake = header.type <= ControlType.REFUSAL;
      if (header.isAnswer || header.payloadBytes > HELLO_BYTES_MAX || isHandshake === this.isOpen) {
        throw frameError(`a control frame ${header.type} out of place`);
      }
      return null;
    }
    if (!this.isOpen) throw frameError('a request before the hello');
    return header.isAnswer ? this.beginAnswer(header) : this.beginRequest(header);
  }

  private beginAnswer(header: FrameHeader): Buffer | null {
    const request = this.table.peek(header.requestId);
    if (request === null) throw frameError('an answer to no request');
    if (header.status >= PeerStatus.LINK_LOST) throw frameError(`a status ${header.status}`);
    if (header.status !== PeerStatus.OK || request.into.length === 0) return null;
    if (request.into.length !== header.payloadBytes)
      throw frameError('an answer of another length than was asked for');
    return request.into;
  }

  private beginRequest(header: FrameHeader): Buffer | null {
    if (isRead(header.type) && header.lengthBytes > PEER_PAYLOAD_BYTES_MAX) {
      throw frameError(`a read of ${header.lengthBytes} bytes, at most ${PEER_PAYLOAD_BYTES_MAX}`);
    }
    const charge = chargeOf(header.type, header.payloadBytes, header.lengthBytes);
    if (!this.inService.hasRoomFor(charge)) throw frameError('more requests than agreed');
    // The service may keep the payload until it answers; what was received lives only until we return.
    return header.payloadBytes > 0 ? this.context.pool.take(header.payloadBytes) : null;
  }

  /** FrameSink. */
  end(header: FrameHeader, payload: Buffer): void {
    if (header.type >= CONTROL_TYPE_MIN) this.endControl(header, payload);
    else if (header.isAnswer) this.endAnswer(header, payload);
    else this.endRequest(header, payload);
  }

  private endControl(header: FrameHeader, payload: Buffer): void {
    if (header.type === ControlType.PING) {
      this.sendControl(ControlType.PONG);
    } else if (header.type === ControlType.PONG) {
      this.pulse.ponged(this.context.clock.nowMs());
      this.stats.rttMs = this.pulse.rttMs;
    } else if (header.type > ControlType.PONG) {
      throw frameError(`an unknown control frame ${header.type}`);
    } else {
      this.owner.handshake(this, header.type, header.epoch, header.token, payload);
    }
  }

  private endAnswer(header: FrameHeader, payload: Buffer): void {
    const request = this.table.peek(header.requestId);
    assert(request !== null, 'a link that lost a request gets no more frames');
    this.table.release(header.requestId);
    for (let id = this.table.next(); id >= 0; id = this.table.next()) {
      const next = this.table.peek(id);
      if (next !== null) this.transmit(id, next);
    }
    request.answered(header.status, payload === request.into ? NO_BYTES : payload, header.epoch);
  }

  private endRequest(header: FrameHeader, payload: Buffer): void {
    const charge = chargeOf(header.type, header.payloadBytes, header.lengthBytes);
    this.inService.began(header.type, charge);
    this.owner.serve(
      new LinkRequest(this, this.member, this.incarnation, header, payload, charge, this.context.pool),
    );
  }

  // --- time and end --------------------------------------------------------------------------------------------

  private tick(): void {
    this.pulse.tick(this.context.clock.nowMs());
    if (this.table.isOverdue(this.pulse.nowMs)) this.close('a request was not answered in time');
    else if (this.pulse.isDead(this.table.outstanding > 0)) this.close('the other end is silent');
    if (this.phase !== 'open') return;
    if (this.pulse.isPingDue) this.ping();
    this.timer = this.context.clock.after(TICK_MS, () => this.tick());
  }

  private ping(): void {
    this.pulse.pinged(this.context.clock.nowMs());
    this.sendControl(ControlType.PING);
  }

  /**
   * Nothing is read any more. Its requests are answered LINK_LOST (or DEADLINE) in a later turn of the loop.
   * @param isOrderly what was written still goes out first, for at most a second
   */
  close(reason: string, isOrderly = false): void {
    if (this.phase === 'closed') return;
    const wasOpen = this.phase === 'open';
    this.phase = 'closed';
    this.reason = reason;
    this.timer.cancel();
    this.parser.stop();
    if (isOrderly) this.endSocket();
    else this.socket.destroy();
    this.owner.closed(this, wasOpen);
    setImmediate(() => {
      this.table.clear(this.pulse.nowMs, (request, isOverdue) => {
        request.answered(isOverdue ? PeerStatus.DEADLINE : PeerStatus.LINK_LOST, NO_BYTES, 0);
      });
    });
  }

  /** Reads on and throws away, since closing over unread bytes would reset the connection under our last words. */
  private endSocket(): void {
    this.outbox.flush();
    this.socket.end();
    this.socket.resume();
    const timer = this.context.clock.after(LAST_WORDS_MS, () => this.socket.destroy());
    this.socket.once('close', () => timer.cancel());
  }
}
