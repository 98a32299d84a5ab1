/**
 * Everything this process has with one other member: its address, the link we dialled and the one they dialled, the
 * requests that wait for a link, and the fence that keeps the writes of a lost link from landing late (I8).
 *
 * The fence. When a link breaks, its requests are answered LINK_LOST, and their sender may send newer ones over another
 * link, while the receiver still has bytes of the old one unread, or requests of it in service. So:
 *
 *   - The links of an association die together, and each such death begins a new *round*.
 *   - A hello carries (incarnation, round) of its sender. Who gets it closes every link from another incarnation or an
 *     earlier round, and waits until the requests that came over them are answered; only then it says WELCOME or READY.
 *   - An incarnation that was replaced is refused from then on.
 *
 *      dialler                                  acceptor
 *      HELLO(incarnation, round)         →      close older links, wait for their requests
 *      close older links, wait           ←      WELCOME(incarnation, round)
 *      READY(round)                      →      open
 */
import type { Timer } from '../base/clock.js';
import { BlockferryError, describeError } from '../base/errors.js';
import { PEER_BACKOFF_MS_MAX, PEER_BACKOFF_MS_MIN, PEER_DIAL_WAIT_MS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import type { Net } from '../base/net.js';
import { randomBelow, type Random } from '../base/random.js';
import { answerLost, PeerType, type PeerAddress, type PeerRequest, type PeerTypeCode } from './contract.js';
import { ControlType, frameError } from './frame.js';
import { decodeHello, encodeHello, negotiate, type Hello, type PeerSelf } from './hello.js';
import { Link, type LinkContext, type LinkOwner } from './link.js';
import { chargeOf } from './request-table.js';

/** Requests that bring or ask for so much go over the link for bulk. */
const BULK_BYTES_MIN = 64 * 1024;
/** Replaced incarnations remembered; a process older than that many restarts is long dead. */
const REPLACED_MAX = 16;

/** What an association shares with the others of its hub. */
export interface AssociationContext extends LinkContext {
  readonly self: PeerSelf;
  readonly net: Net;
  readonly random: Random;
  readonly log: Logger;
  /** Where dialled sockets read to; shared, since received bytes are used or copied before the next read. */
  readonly readBuffer: Buffer;
  readonly serve: LinkOwner['serve'];
}

export class Association implements LinkOwner {
  private address: PeerAddress | null = null;
  /** Open links. */
  private dialled: Link | null = null;
  private accepted: Link | null = null;
  /** Links that are not open yet. */
  private readonly pending = new Set<Link>();
  /** Closed links with requests of theirs still in service here. */
  private readonly draining = new Set<Link>();
  /** Links whose hello waits for those; resumed when they are done, or when the link itself has closed. */
  private readonly fenced = new Map<Link, () => void>();
  /** Who waits until no closed link has a request in service. */
  private ended: (() => void)[] = [];
  private round = 0;
  private incarnation = '';
  /** Of the process that last said hello. */
  verifier = '';
  private readonly replaced: string[] = [];
  private waiting: PeerRequest[] = [];
  private waitTimer: Timer | null = null;
  private backoffMs = 0;
  private redialTimer: Timer | null = null;
  private isDialling = false;
  private isClosed = false;
  private isEndingRound = false;
  /** connect() was called: keep a dialled link. */
  private isWanted = false;

  constructor(
    readonly member: string,
    private readonly context: AssociationContext,
  ) {}

  /** The open links, for statistics. */
  get links(): Link[] {
    return [this.dialled, this.accepted].filter((link) => link !== null);
  }

  /** Sends over the link that suits, or waits for one. */
  send(request: PeerRequest): void {
    const link = this.choose(request);
    if (link !== null) link.send(request);
    else this.wait(request);
  }

  /** See PeerHub. */
  takesMapped(type: PeerTypeCode, lengthBytes: number): boolean {
    return this.linkFor(isBulk(type, lengthBytes))?.takesMappedPayload(type, lengthBytes) === true;
  }

  /** Keeps a dialled link from now on. */
  want(): void {
    this.isWanted = true;
    this.dial();
  }

  /** null forgets the address and closes the links; who waits is answered. */
  setAddress(address: PeerAddress | null): void {
    const isSame = this.address?.host === address?.host && this.address?.port === address?.port;
    if (isSame) return;
    this.address = address;
    this.backoffMs = 0;
    if (address === null) {
      this.isWanted = false;
      this.closeLinks('the member has left', null, false);
      this.giveUpWaiting();
    } else {
      this.redialTimer?.cancel();
      this.redialTimer = null;
      if (this.isWanted || this.waiting.length > 0) this.dial();
    }
  }

  /** Ends the links of every other process of that member; resolves when none of their requests is in service. */
  endOthers(incarnation: string | undefined): Promise<void> {
    const links = [this.dialled, this.accepted, ...this.pending].filter((link) => link !== null);
    const isOther = (link: Link): boolean => link.incarnation !== '' && link.incarnation !== incarnation;
    if (links.some(isOther)) this.closeLinks('it is not in the group', null, false);
    if (this.draining.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.ended.push(resolve));
  }

  close(): void {
    this.isClosed = true;
    this.redialTimer?.cancel();
    this.closeLinks('shutting down', null, true);
    this.giveUpWaiting();
  }

  /**
   * Of two links one carries bulk and the other the rest, in both directions, so that no small request or answer stands
   * behind the copies of a move. Both ends go by the same rule: the member that is first by name dialled the one for the
   * rest. Where there is one link, it carries all.
   */
  private choose(request: PeerRequest): Link | null {
    const bulk = isBulk(request.type, chargeOf(request.type, request.payloadBytes, request.lengthBytes));
    if (this.dialled === null && (this.prefersDialled(bulk) || this.accepted === null)) this.dial();
    return this.linkFor(bulk);
  }

  private prefersDialled(bulk: boolean): boolean {
    return bulk !== this.context.self.name < this.member;
  }

  private linkFor(bulk: boolean): Link | null {
    return this.prefersDialled(bulk) ? (this.dialled ?? this.accepted) : (this.accepted ?? this.dialled);
  }

  // --- waiting for a link --------------------------------------------------------------------------------------

  private wait(request: PeerRequest): void {
    if (this.isClosed || this.address === null) {
      setImmediate(answerLost, request);
      return;
    }
    this.waiting.push(request);
    this.waitTimer ??= this.context.clock.after(PEER_DIAL_WAIT_MS, () => this.giveUpWaiting());
    this.dial();
  }

  private giveUpWaiting(): void {
    const waiting = this.waiting;
    this.stopWaiting();
    for (const request of waiting) setImmediate(answerLost, request);
  }

  private stopWaiting(): void {
    this.waiting = [];
    this.waitTimer?.cancel();
    this.waitTimer = null;
  }

  // --- dialling ------------------------------------------------------------------------------------------------

  private dial(): void {
    const address = this.address;
    const isBusy = this.dialled !== null || this.isDialling || this.redialTimer !== null;
    if (isBusy || this.isClosed || address === null) return;
    this.isDialling = true;
    const { readBuffer, net } = this.context;
    const socket = net.connect(address, {
      buffer: readBuffer,
      callback: (bytes) => {
        link.receive(readBuffer.subarray(0, bytes));
        return true;
      },
    });
    const link: Link = new Link(socket, true, this, this.context);
    this.pending.add(link);
    socket.once('connect', () =>
      link.sendControl(ControlType.HELLO, encodeHello(this.context.self, this.round)),
    );
  }

  private dialLater(): void {
    if (this.redialTimer !== null || this.isClosed) return;
    const { clock, random } = this.context;
    this.backoffMs = Math.min(PEER_BACKOFF_MS_MAX, Math.max(PEER_BACKOFF_MS_MIN, this.backoffMs * 2));
    // Half of it by chance, so that two members do not dial in step.
    const delayMs = this.backoffMs / 2 + randomBelow(random, Math.ceil(this.backoffMs / 2));
    this.redialTimer = clock.after(delayMs, () => {
      this.redialTimer = null;
      if (this.isWanted || this.waiting.length > 0) this.dial();
    });
  }

  // --- handshake -----------------------------------------------------------------------------------------------

  /** A HELLO came over a connection that they dialled; from now on the link is ours. */
  welcome(link: Link, hello: Hello): void {
    this.pending.add(link);
    void this.fence(link, hello).then((isClear) => {
      if (!isClear) return;
      link.mayBeReady = true;
      link.sendControl(ControlType.WELCOME, encodeHello(this.context.self, this.round));
    });
  }

  /** LinkOwner: the frames after HELLO. */
  handshake(link: Link, type: number, round: number, magic: number, payload: Buffer): void {
    if (type === ControlType.REFUSAL) {
      this.context.log.warn({ member: this.member, why: payload.toString() }, 'peer refuses us');
      link.close('refused by the other end');
    } else if (type === ControlType.WELCOME && link.isDialled && link.member === '') {
      this.welcomed(link, decodeHello(magic, payload));
    } else if (type === ControlType.READY && link.mayBeReady) {
      link.round = round;
      this.opened(link);
    } else {
      throw frameError(`a handshake frame ${type} out of place`);
    }
  }

  private welcomed(link: Link, hello: Hello): void {
    link.terms = negotiate(this.context.self, hello);
    if (hello.member !== this.member) {
      throw new BlockferryError('PROTOCOL', `'${hello.member}' answers at the address of '${this.member}'`);
    }
    void this.fence(link, hello).then((isClear) => {
      if (!isClear) return;
      link.sendControl(ControlType.READY, undefined, this.round);
      this.opened(link);
    });
  }

  /** Closes what the hello makes obsolete and waits for its requests. False: the link is closed, and was told why. */
  private async fence(link: Link, hello: Hello): Promise<boolean> {
    if (this.replaced.includes(hello.incarnation)) {
      link.refuse(`another process serves as '${this.member}' by now`);
      return false;
    }
    if (this.incarnation !== hello.incarnation) this.replaceIncarnation(hello.incarnation);
    this.verifier = hello.verifier;
    link.member = hello.member;
    link.incarnation = hello.incarnation;
    link.round = hello.round;
    if (this.hasOlder(link, hello)) this.closeLinks('a newer link', link, false);
    await this.drain(link);
    return !link.isClosed;
  }

  /** Whether the sender of this hello has given up any link that we still have. */
  private hasOlder(link: Link, hello: Hello): boolean {
    const isOld = (other: Link | null): boolean =>
      other !== null && (other.incarnation !== hello.incarnation || other.round < hello.round);
    if (isOld(this.dialled) || isOld(this.accepted)) return true;
    if (link.isDialled) return false;
    // A member dials one link at a time. One that waits for READY may be open, and lost, at the other end.
    return this.accepted !== null || [...this.pending].some((other) => other !== link && !other.isDialled);
  }

  private replaceIncarnation(incarnation: string): void {
    if (this.incarnation !== '') this.replaced.push(this.incarnation);
    if (this.replaced.length > REPLACED_MAX) this.replaced.shift();
    this.incarnation = incarnation;
  }

  /** Resolves when no request of a closed link is in service, or when `link` was closed meanwhile (its deadline). */
  private drain(link: Link): Promise<void> {
    if (this.draining.size === 0 || link.isClosed) return Promise.resolve();
    return new Promise((resolve) => this.fenced.set(link, resolve));
  }

  private opened(link: Link): void {
    this.pending.delete(link);
    if (link.isDialled) {
      this.dialled = link;
      this.isDialling = false;
      this.backoffMs = 0;
    } else {
      this.accepted = link;
    }
    link.open();
    this.context.log.debug({ member: this.member, dialled: link.isDialled }, 'peer link open');
    const waiting = this.waiting;
    this.stopWaiting();
    for (const request of waiting) this.send(request);
  }

  // --- end -----------------------------------------------------------------------------------------------------

  serve(request: Parameters<LinkOwner['serve']>[0]): void {
    this.context.serve(request);
  }

  /** LinkOwner. */
  closed(link: Link, wasOpen: boolean): void {
    this.pending.delete(link);
    this.fenced.get(link)?.();
    this.fenced.delete(link);
    if (link === this.dialled) this.dialled = null;
    if (link === this.accepted) this.accepted = null;
    if (link.unanswered > 0) this.draining.add(link);
    if (link.isDialled) {
      if (!wasOpen) this.isDialling = false;
      if (this.isWanted || this.waiting.length > 0 || !wasOpen) this.dialLater();
    }
    if (!wasOpen) {
      this.context.log.debug({ member: this.member, why: link.reason }, 'peer link not made');
      return;
    }
    this.context.log.info({ member: this.member, why: link.reason }, 'peer link lost');
    this.closeLinks(link.reason, null, false);
  }

  /** LinkOwner. */
  drained(link: Link): void {
    this.draining.delete(link);
    if (this.draining.size > 0) return;
    for (const resume of this.fenced.values()) resume();
    this.fenced.clear();
    for (const resolve of this.ended.splice(0)) resolve();
  }

  /** Ends the round: every link dies but `cause`, whose handshake will carry the new round. */
  private closeLinks(reason: string, cause: Link | null, isOrderly: boolean): void {
    if (this.isEndingRound) return;
    this.isEndingRound = true;
    this.round += 1;
    for (const link of [this.dialled, this.accepted, ...this.pending]) {
      if (link !== null && link !== cause) link.close(reason, isOrderly);
    }
    this.isEndingRound = false;
  }
}

/** Tells the other end why a hello is not accepted; returns null then. */
export function readHello(self: PeerSelf, link: Link, magic: number, payload: Buffer): Hello | null {
  try {
    const hello = decodeHello(magic, payload);
    link.terms = negotiate(self, hello);
    return hello;
  } catch (error) {
    link.refuse(describeError(error));
    return null;
  }
}

function isBulk(type: number, chargedBytes: number): boolean {
  return type === PeerType.COPY || chargedBytes >= BULK_BYTES_MIN;
}
