/**
 * The requests of one link that wait for their answers, and those that wait for their turn: ids, budget and deadlines.
 * Sends nothing. No Map and no allocation per request: slots in arrays.
 */
import { assert } from '../base/assert.js';
import { PEER_BYTES_MAX, PEER_REQUESTS_MAX } from '../base/limits.js';
import { isRead, type PeerRequest } from './contract.js';

const SLOT_BITS = 16;
const SLOT_MASK = (1 << SLOT_BITS) - 1;

/** What a request counts against PEER_BYTES_MAX: the data it brings, or asks for. The same at both ends. */
export function chargeOf(type: number, payloadBytes: number, lengthBytes: number): number {
  return isRead(type) ? lengthBytes : payloadBytes;
}

function requestCharge(request: PeerRequest): number {
  return chargeOf(request.type, request.payloadBytes, request.lengthBytes);
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
  private bytes = 0;
  /** First come, first served: [head, length) of two parallel arrays. */
  private queue: (PeerRequest | null)[] = [];
  private queueExpiries: number[] = [];
  private head = 0;

  /** Requests sent and not answered. */
  get outstanding(): number {
    return PEER_REQUESTS_MAX - this.freeCount;
  }

  /** Requests that wait for room. */
  get queued(): number {
    return this.queue.length - this.head;
  }

  /** Whether a request with such a payload would not have to wait. */
  hasRoomFor(payloadBytes: number): boolean {
    return this.queued === 0 && this.freeCount > 0 && this.bytes + payloadBytes <= PEER_BYTES_MAX;
  }

  /** Takes a request; returns its id, or −1: it waits, and next() will give it. */
  offer(request: PeerRequest, expiresAtMs: number): number {
    if (this.queued === 0 && this.hasRoom(request)) return this.admit(request, expiresAtMs);
    this.queue.push(request);
    this.queueExpiries.push(expiresAtMs);
    return -1;
  }

  /** The id of the next waiting request that now has room, or −1. */
  next(): number {
    const request = this.queue[this.head];
    if (request === undefined || request === null || !this.hasRoom(request)) return -1;
    const expiresAtMs = this.queueExpiries[this.head] ?? 0;
    this.queue[this.head] = null;
    this.head += 1;
    if (this.head === this.queue.length || this.head === PEER_REQUESTS_MAX) {
      this.queue = this.queue.slice(this.head);
      this.queueExpiries = this.queueExpiries.slice(this.head);
      this.head = 0;
    }
    return this.admit(request, expiresAtMs);
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
    this.bytes -= this.charges[slot] ?? 0;
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
    for (let at = this.head; at < this.queue.length; at++) {
      if ((this.queueExpiries[at] ?? 0) <= nowMs) return true;
    }
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
    for (let at = this.head; at < this.queue.length; at++) {
      const request = this.queue[at];
      if (request) given.push([request, (this.queueExpiries[at] ?? 0) <= nowMs]);
    }
    this.queue = [];
    this.queueExpiries = [];
    this.head = 0;
    for (const [request, overdue] of given) each(request, overdue);
  }

  private hasRoom(request: PeerRequest): boolean {
    if (this.freeCount === 0) return false;
    return this.bytes === 0 || this.bytes + requestCharge(request) <= PEER_BYTES_MAX;
  }

  private admit(request: PeerRequest, expiresAtMs: number): number {
    this.freeCount -= 1;
    const slot = this.free[this.freeCount] ?? 0;
    const charge = requestCharge(request);
    this.slots[slot] = request;
    this.expiries[slot] = expiresAtMs;
    this.charges[slot] = charge;
    this.bytes += charge;
    return (((this.generations[slot] ?? 0) << SLOT_BITS) | slot) >>> 0;
  }
}
