/**
 * Peers without sockets: hubs that hand requests to each other's services after a seeded delay, and can lose links and
 * fail answers on purpose. For tests of forwarding and moves.
 */
import { randomBelow, type Random } from '../../lib/base/random.js';
import {
  PeerStatus,
  type IncomingRequest,
  type PeerAddress,
  type PeerHub,
  type PeerRequest,
  type PeerService,
} from '../../lib/peer/contract.js';

/** Decides the fate of a request before it is delivered: a status to answer instead, or null to deliver it. */
export type Fate = (member: string, request: PeerRequest) => number | null;

export class FakePeers {
  private readonly services = new Map<string, PeerService>();
  /** Requests on their way to a member, so that losing it answers them. */
  private readonly outstanding = new Map<PeerRequest, string>();
  fate: Fate = () => null;
  /** When a request that has a deadline is given up, in real time; null: never. */
  deadlineMs: number | null = null;
  /** The process of each member. */
  readonly incarnations = new Map<string, string>();
  /** The write verifier of each member, where it has one. */
  readonly verifiers = new Map<string, string>();

  constructor(private readonly random: Random) {}

  join(member: string, service: PeerService): void {
    this.services.set(member, service);
  }

  /** The member's process is gone: what it had not answered is lost, whether done or not. */
  lose(member: string): void {
    this.services.delete(member);
    for (const [request, to] of this.outstanding)
      if (to === member) this.settle(request, PeerStatus.LINK_LOST);
  }

  hub(from: string): PeerHub {
    return {
      send: (member, request) => this.send(from, member, request),
      takesMapped: () => false,
      connect: () => undefined,
      verifierOf: (member) => this.verifiers.get(member) ?? '',
      setAddress: (_member: string, _address: PeerAddress | null) => undefined,
      close: () => Promise.resolve(),
    };
  }

  private send(from: string, member: string, request: PeerRequest): void {
    this.outstanding.set(request, member);
    if (this.deadlineMs !== null && request.deadlineMs > 0)
      setTimeout(() => this.settle(request, PeerStatus.DEADLINE), this.deadlineMs).unref();
    const payload = Buffer.from(request.payload); // the wire's copy: taken when it is sent
    this.later(() => {
      if (!this.outstanding.has(request)) return;
      const service = this.services.get(member);
      const fate = this.fate(member, request);
      if (service === undefined) this.settle(request, PeerStatus.LINK_LOST);
      else if (fate !== null) this.settle(request, fate);
      else service.handle(this.incoming(from, request, payload));
    });
  }

  private incoming(from: string, request: PeerRequest, payload: Buffer): IncomingRequest {
    const { type, volumeId, extent, epoch, token, offsetBytes, lengthBytes, fua } = request;
    const incarnation = this.incarnations.get(from) ?? '';
    return {
      incarnation,
      ...{ type, volumeId, extent, epoch, token, offsetBytes, lengthBytes, fua, from, payload },
      allocateAnswer: () => Buffer.alloc(lengthBytes),
      takesMapped: false,
      answerMapped: () => undefined,
      answer: (status, answerPayload = Buffer.alloc(0), answerEpoch = 0) =>
        this.later(() => this.settle(request, status, Buffer.from(answerPayload), answerEpoch)),
    };
  }

  private settle(request: PeerRequest, status: number, payload = Buffer.alloc(0), epoch = 0): void {
    if (!this.outstanding.delete(request)) return;
    const isInPlace = request.into.length > 0 && status === PeerStatus.OK;
    if (isInPlace) payload.copy(request.into);
    setImmediate(() => request.answered(status, isInPlace ? Buffer.alloc(0) : payload, epoch));
  }

  /** One to four turns of the event loop later, so that requests overtake each other. */
  private later(run: () => void): void {
    const turns = 1 + randomBelow(this.random, 4);
    const step = (left: number): void => {
      if (left === 0) run();
      else setImmediate(step, left - 1);
    };
    step(turns);
  }
}
