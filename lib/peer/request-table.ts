/**
 * The requests of one link that wait for their answers, and those that wait for their turn: ids, budget and deadlines.
 * Sends nothing. No Map and no allocation per request that need not wait: slots in arrays.
 *
 * Requests that wait for others (reachOf) leave room for those: half of a link is all that commands for a home take, and
 * three quarters with what holders are asked for. Otherwise commands that fill a link one way, the holder I/O that they need
 * another, and the mirrored writes that this needs the first way again, would wait for each other in a circle.
 */
import { assert } from '../base/assert.js';
import { PEER_BYTES_MAX, PEER_REQUESTS_MAX } from '../base/limits.js';
import { isRead, reachOf, type PeerRequest } from './contract.js';

const SLOT_BITS = 16;
const SLOT_MASK = (1 << SLOT_BITS) - 1;

/** What a request counts against PEER_BYTES_MAX: the data it brings, or asks for. The same at both ends. */
export function chargeOf(type: number, payloadBytes: number, lengthBytes: number): number {
  return isRead(type) ? lengthBytes : payloadBytes;
}

function requestCharge(request: PeerRequest): number {
  return chargeOf(request.type, request.payloadBytes, request.lengthBytes);
}

/** What requests of that reach, and of any longer one, may take of a link together. */
const BYTES_MAX = [PEER_BYTES_MAX, (PEER_BYTES_MAX * 3) / 4, PEER_BYTES_MAX / 2];
const SLOTS_MAX = [PEER_REQUESTS_MAX, (PEER_REQUESTS_MAX * 3) / 4, PEER_REQUESTS_MAX / 2];

/** One that waits for room. */
interface Waiting {
  readonly request: PeerRequest;
  readonly expiresAtMs: number;
  readonly order: number;
}

/** First come, first served; nothing is moved while it is short. */
class Line {
  private entries: (Waiting | null)[] = [];
  private head = 0;

  get length(): number {
    return this.entries.length - this.head;
  }

  get first(): Waiting | undefined {
    return this.entries[this.head] ?? undefined;
  }

  push(waiting: Waiting): void {
    this.entries.push(waiting);
  }

  shift(): void {
    this.entries[this.head] = null;
    this.head += 1;
    if (this.head < this.entries.length && this.head < PEER_REQUESTS_MAX) return;
    this.entries = this.entries.slice(this.head);
    this.head = 0;
  }

  *[Symbol.iterator](): Generator<Waiting> {
    for (let at = this.head; at < this.entries.length; at++) {
      const waiting = this.entries[at];
      if (waiting) yield waiting;
    }
  }
}

export class RequestTable {
  private readonly slots: (PeerRequest | null)[] = new Array<PeerRequest | null>(PEER_REQUESTS_MAX).fill(
    null,
  );
  private readonly expiries = new Float64Array(PEER_REQUESTS_MAX);
  private readonly charges = new Float64Array(PEER_REQUESTS_MAX);
  /** Tells the uses of a slot apart, so that an answer given twice is seen. */
  private readonly generations = new Uint16Array(PEER_REQUESTS_MAX);
  private readonly free = Uint16Array.from(
    { length: PEER_REQUESTS_MAX },
    (_, slot) => PEER_REQUESTS_MAX - 1 - slot,
  );
  private freeCount = PEER_REQUESTS_MAX;
  /** Of requests sent, with that reach or a longer one. */
  private readonly bytes = new Float64Array(BYTES_MAX.length);
  private readonly counts = new Uint16Array(SLOTS_MAX.length);
  /** By reach. */
  private readonly lines = SLOTS_MAX.map(() => new Line());
  private arrived = 0;
  private waiting = 0;

  /** Requests sent and not answered. */
  get outstanding(): number {
    return PEER_REQUESTS_MAX - this.freeCount;
  }

  /** Requests that wait for room. */
  get queued(): number {
    return this.waiting;
  }

  /** Whether a request of that type with such a payload would not have to wait. */
  hasRoomFor(type: number, payloadBytes: number): boolean {
    return this.mayPass(reachOf(type)) && this.hasRoom(reachOf(type), payloadBytes);
  }

  /** Takes a request; returns its id, or −1: it waits, and next() will give it. */
  offer(request: PeerRequest, expiresAtMs: number): number {
    const reach = reachOf(request.type);
    if (this.mayPass(reach) && this.hasRoom(reach, requestCharge(request)))
      return this.admit(request, expiresAtMs);
    this.lineOf(reach).push({ request, expiresAtMs, order: this.arrived++ });
    this.waiting += 1;
    return -1;
  }

  /** The id of the next waiting request that now has room, or −1. */
  next(): number {
    if (this.waiting === 0) return -1;
    let oldest: Waiting | undefined;
    for (const { first } of this.lines) {
      if (first === undefined || this.isHeldByItsReach(first.request)) continue;
      if (oldest === undefined || first.order < oldest.order) oldest = first;
    }
    if (oldest === undefined) return -1;
    const { request, expiresAtMs } = oldest;
    const reach = reachOf(request.type);
    if (!this.hasRoom(reach, requestCharge(request))) return -1;
    this.lineOf(reach).shift();
    this.waiting -= 1;
    return this.admit(request, expiresAtMs);
  }

  /**
   * Nobody waits before one of that reach: none of its own, and none that lacks nothing but room on the link, which small ones
   * that come and come would take from it. That room comes by itself: what is sent beyond its share ends where it went.
   */
  private mayPass(reach: number): boolean {
    if (this.waiting === 0) return true;
    if (this.lineOf(reach).length > 0) return false;
    return this.lines.every(({ first }) => first === undefined || this.isHeldByItsReach(first.request));
  }

  /** What is sent of its reach, and of longer ones, is all that may be. */
  private isHeldByItsReach(request: PeerRequest): boolean {
    const reach = reachOf(request.type);
    for (let within = 1; within <= reach; within++)
      if (!this.hasRoomWithin(within, requestCharge(request))) return true;
    return false;
  }

  /** The request with that id, or null: never given out, or answered already. */
  peek(id: number): PeerRequest | null {
    const slot = id & SLOT_MASK;
    return slot < PEER_REQUESTS_MAX && this.generations[slot] === id >>> SLOT_BITS
      ? (this.slots[slot] ?? null)
      : null;
  }

  /** Forgets an answered request. */
  release(id: number): void {
    const slot = id & SLOT_MASK;
    assert(this.peek(id) !== null, 'a peer request is released once');
    this.count(reachOf(this.slots[slot]?.type ?? 0), -1, -(this.charges[slot] ?? 0));
    this.slots[slot] = null;
    this.generations[slot] = ((this.generations[slot] ?? 0) + 1) & SLOT_MASK;
    this.free[this.freeCount] = slot;
    this.freeCount += 1;
  }

  /** Whether anything, sent or waiting, is overdue. */
  isOverdue(nowMs: number): boolean {
    if (this.outstanding > 0) {
      for (let slot = 0; slot < PEER_REQUESTS_MAX; slot++) {
        if (this.slots[slot] !== null && (this.expiries[slot] ?? 0) <= nowMs) return true;
      }
    }
    for (const line of this.lines) for (const { expiresAtMs } of line) if (expiresAtMs <= nowMs) return true;
    return false;
  }

  /** Gives every request, sent or waiting, to `each` and forgets them all. */
  clear(nowMs: number, each: (request: PeerRequest, overdue: boolean) => void): void {
    const given: [PeerRequest, boolean][] = [];
    this.slots.forEach((request, slot) => {
      if (request === null) return;
      given.push([request, (this.expiries[slot] ?? 0) <= nowMs]);
      this.release(((this.generations[slot] ?? 0) << SLOT_BITS) | slot);
    });
    const waiting = this.lines.flatMap((line) => [...line]).sort((a, b) => a.order - b.order);
    for (const { request, expiresAtMs } of waiting) given.push([request, expiresAtMs <= nowMs]);
    for (const reach of this.lines.keys()) this.lines[reach] = new Line();
    this.waiting = 0;
    for (const [request, overdue] of given) each(request, overdue);
  }

  private lineOf(reach: number): Line {
    const line = this.lines[reach];
    assert(line !== undefined, 'a reach without a line');
    return line;
  }

  private hasRoom(reach: number, charge: number): boolean {
    if (this.outstanding === 0) return true;
    for (let within = 0; within <= reach; within++) if (!this.hasRoomWithin(within, charge)) return false;
    return true;
  }

  private hasRoomWithin(reach: number, charge: number): boolean {
    if ((this.counts[reach] ?? 0) >= (SLOTS_MAX[reach] ?? 0)) return false;
    return (this.bytes[reach] ?? 0) + charge <= (BYTES_MAX[reach] ?? 0);
  }

  private count(reach: number, requests: number, bytes: number): void {
    for (let within = 0; within <= reach; within++) {
      this.counts[within] = (this.counts[within] ?? 0) + requests;
      this.bytes[within] = (this.bytes[within] ?? 0) + bytes;
    }
  }

  private admit(request: PeerRequest, expiresAtMs: number): number {
    this.freeCount -= 1;
    const slot = this.free[this.freeCount] ?? 0;
    const charge = requestCharge(request);
    this.slots[slot] = request;
    this.expiries[slot] = expiresAtMs;
    this.charges[slot] = charge;
    this.count(reachOf(request.type), 1, charge);
    return (((this.generations[slot] ?? 0) << SLOT_BITS) | slot) >>> 0;
  }
}
