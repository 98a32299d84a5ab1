/**
 * Every link of this process to the others: the peer port, and an association per member. It routes requests to links
 * and connections to associations; it keeps no request itself.
 */
import type { Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import { MEMBERS_MAX, PEER_CONNECTIONS_MAX, PEER_READ_BUFFER_BYTES } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { listenError, tcp, type IncomingConnection, type Listener, type Net } from '../base/net.js';
import type { Random } from '../base/random.js';
import { Association, readHello, type AssociationContext } from './association.js';
import { BufferPool } from './buffer-pool.js';
import {
  answerLost,
  type PeerAddress,
  type PeerHub,
  type PeerRequest,
  type PeerService,
  type PeerTypeCode,
} from './contract.js';
import { DueOutboxes } from './due-outboxes.js';
import { ControlType, frameError } from './frame.js';
import { encodeHello, type PeerSelf } from './hello.js';
import { Link, type LinkOwner } from './link.js';
import type { LinkStats } from './link-stats.js';

/** Names of members that are known, the address book's and others that have said hello: a new one beyond is a stranger's. */
const NAMES_MAX = 4 * MEMBERS_MAX;

export interface HubOptions {
  readonly group: string;
  /** name '' for the management process, which serves nobody and is fenced by nobody. */
  readonly self: Pick<PeerSelf, 'name' | 'incarnation' | 'verifier'>;
  /** Wants a CRC32C in every frame, on every link (hello.ts). */
  readonly digests?: boolean;
  readonly service: PeerService;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Default: TCP. */
  readonly net?: Net;
}

/** One open link, for those who look. */
export interface HubLinkStats extends Readonly<LinkStats> {
  readonly member: string;
  readonly isDialled: boolean;
  readonly digests: boolean;
}

export class Hub implements PeerHub, LinkOwner {
  private readonly self: PeerSelf;
  private readonly context: AssociationContext;
  private readonly associations = new Map<string, Association>();
  /** Connections that have not said who they are, and those of management processes. */
  private readonly strangers = new Set<Link>();
  private readonly net: Net;
  private listener: Listener | null = null;
  private isClosed = false;

  constructor(private readonly options: HubOptions) {
    const { group, self, digests = false } = options;
    this.self = { ...self, group, digests };
    this.net = options.net ?? tcp;
    this.context = {
      self: this.self,
      clock: options.clock,
      net: this.net,
      random: options.random,
      log: options.log,
      readBuffer: Buffer.allocUnsafeSlow(PEER_READ_BUFFER_BYTES),
      pool: new BufferPool(),
      due: new DueOutboxes(),
      serve: (request) => options.service.handle(request),
    };
  }

  /** Opens the peer port; port 0 takes a free one. Throws BUSY when it is taken. */
  async listen(host: string, port: number): Promise<PeerAddress> {
    try {
      this.listener = await this.net.listen(
        { host, port, connectionsMax: PEER_CONNECTIONS_MAX },
        (incoming) => this.accept(incoming),
        (error) => this.options.log.warn({ error: describeError(error) }, 'peer port'),
      );
      return { host, port: this.listener.port };
    } catch (cause) {
      throw listenError('peer port', { host, port }, '--peer', cause);
    }
  }

  send(member: string, request: PeerRequest): void {
    const association = this.associations.get(member);
    if (association === undefined) setImmediate(answerLost, request);
    else association.send(request);
  }

  /** What was asked of other members in this tick leaves now. */
  sendDue(): void {
    this.context.due.send();
  }

  takesMapped(member: string, type: PeerTypeCode, lengthBytes: number): boolean {
    return this.associations.get(member)?.takesMapped(type, lengthBytes) === true;
  }

  connect(member: string): void {
    this.association(member).want();
  }

  verifierOf(member: string): string {
    return member === this.self.name ? this.self.verifier : (this.associations.get(member)?.verifier ?? '');
  }

  setAddress(member: string, address: PeerAddress | null): void {
    if (address === null) this.associations.get(member)?.setAddress(null);
    else this.association(member).setAddress(address);
  }

  /**
   * Ends what there is with any process of another member that is not among these; resolves when none of their requests is
   * in service here (I8). They may connect anew.
   */
  async endAbsent(
    present: readonly { readonly name: string; readonly incarnation: string }[],
  ): Promise<void> {
    const incarnations = new Map(present.map(({ name, incarnation }) => [name, incarnation]));
    const endings = [...this.associations.values()].map((association) =>
      association.endOthers(incarnations.get(association.member)),
    );
    await Promise.all(endings);
  }

  /** The open links. */
  stats(): HubLinkStats[] {
    return [...this.associations.values()].flatMap((association) =>
      association.links.map((link) => ({
        member: association.member,
        isDialled: link.isDialled,
        digests: link.terms.digests,
        ...link.stats,
      })),
    );
  }

  /** Answers what is outstanding with LINK_LOST, lets answers go out, and frees the port. */
  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const association of this.associations.values()) association.close();
    for (const link of [...this.strangers]) link.close('shutting down', true);
    await this.listener?.close();
  }

  private association(member: string): Association {
    let association = this.associations.get(member);
    if (association === undefined) {
      association = new Association(member, this.context);
      if (this.isClosed) association.close();
      this.associations.set(member, association);
    }
    return association;
  }

  // --- the accepting side, until it is known who is there -------------------------------------------------------

  private accept(incoming: IncomingConnection): void {
    const socket = incoming.take(this.context.readBuffer, (chunk) => link.receive(chunk));
    // Set once it has said its name; then everything about the link is the association's.
    let owner: LinkOwner = this;
    const link: Link = new Link(
      socket,
      false,
      {
        handshake: (from, type, round, magic, payload) => {
          if (owner !== this || type !== ControlType.HELLO)
            owner.handshake(from, type, round, magic, payload);
          else owner = this.greet(from, magic, payload);
        },
        serve: this.context.serve,
        closed: (from, wasOpen) => {
          this.strangers.delete(from);
          if (owner !== this) owner.closed(from, wasOpen);
        },
        drained: (from) => owner.drained(from),
      },
      this.context,
    );
    this.strangers.add(link);
  }

  /** Reads a HELLO; returns who owns the link from now on. */
  private greet(link: Link, magic: number, payload: Buffer): LinkOwner {
    if (link.mayBeReady) throw frameError('a second hello');
    const hello = readHello(this.self, link, magic, payload);
    if (hello === null) {
      this.options.log.warn({ from: link.socket.remoteAddress, why: link.reason }, 'a peer was turned away');
      return this;
    }
    if (hello.member === '') {
      link.mayBeReady = true;
      link.sendControl(ControlType.WELCOME, encodeHello(this.self, 0));
      return this;
    }
    if (this.associations.size >= NAMES_MAX && !this.associations.has(hello.member)) {
      link.refuse(`too many members are known here, and '${hello.member}' is not one of the group's`);
      return this;
    }
    this.strangers.delete(link);
    const association = this.association(hello.member);
    association.welcome(link, hello);
    return association;
  }

  /** LinkOwner, of management processes: nobody sends to them, and they send nothing that a fence must hold back. */
  handshake(link: Link, type: number): void {
    if (type !== ControlType.READY || !link.mayBeReady)
      throw frameError(`a handshake frame ${type} out of place`);
    link.open();
  }

  serve(): void {}
  closed(): void {}
  drained(): void {}
}
