/**
 * A network in memory: listeners, connections between processes, and what goes wrong between them (delays, cuts, one-way
 * partitions, hosts that vanish). Order is kept within a direction of a connection and nowhere else.
 */
import type { Chance } from '../base/chance.js';
import type { IncomingConnection, Listener, Net, NetAddress, SocketReader } from '../base/net.js';
import type { SimProcess } from './process.js';
import { SimSocket, systemError, type Wires } from './socket.js';
import type { Timeline } from './timeline.js';

interface Listening {
  readonly process: SimProcess;
  readonly accept: (incoming: IncomingConnection) => void;
  readonly accepted: Set<SimSocket>;
  isClosed: boolean;
  closed: (() => void) | null;
}

/** A refused dial is answered like any packet; one into the void waits for the dialler's own deadline. */
const FIRST_PORT = 40_000;

export class SimNet implements Wires {
  private readonly listening = new Map<string, Listening>();
  private readonly sockets = new Set<SimSocket>();
  /** "from to": nothing gets through in this direction. */
  private readonly blocked = new Set<string>();
  /** Hosts without power. */
  private readonly dark = new Set<string>();
  private ports = FIRST_PORT;
  /** The longest that a packet takes now and then. */
  spikeMs = 5;
  spikeChance = 0.01;

  constructor(
    readonly timeline: Timeline,
    private readonly chance: Chance,
  ) {}

  /** The network as `process` sees it. */
  doorOf(process: SimProcess): Net {
    return {
      connect: (address, reader) => this.connect(process, address, reader),
      listen: (options, accept) => this.listen(process, options, accept),
    };
  }

  // ---- what goes wrong

  /** Nothing of `from` reaches `to` (names of processes) until heal(). */
  block(from: string, to: string): void {
    this.blocked.add(`${from} ${to}`);
  }

  heal(): void {
    this.blocked.clear();
    for (const socket of this.sockets) socket.unblocked();
  }

  isBlocked(from: SimProcess, to: SimProcess): boolean {
    return this.blocked.size > 0 && this.blocked.has(`${from.name} ${to.name}`);
  }

  /** Resets connections: both ends hear of it, or one does and the other when it next speaks. */
  cut(chosen: (a: SimProcess, b: SimProcess) => boolean, oneEnd: boolean): number {
    let count = 0;
    for (const socket of [...this.sockets]) {
      if (socket.destroyed || !socket.isOpen || !chosen(socket.process, socket.other.process)) continue;
      if (!this.sockets.has(socket.other)) continue;
      count += 1;
      socket.reset();
      if (!oneEnd) socket.other.reset();
    }
    return count;
  }

  /** The process is gone. Its kernel closes its connections, unless the power is gone as well. */
  left(process: SimProcess, isPowerLoss: boolean): void {
    for (const [address, listening] of this.listening) {
      if (listening.process === process) this.listening.delete(address);
    }
    if (isPowerLoss) this.dark.add(process.host);
    for (const socket of [...this.sockets]) if (socket.process === process) socket.vanish(isPowerLoss);
  }

  /** The host has power again: what still speaks to its dead connections is reset. */
  powered(host: string): void {
    this.dark.delete(host);
    for (const socket of [...this.sockets]) if (socket.process.host === host) socket.denyIfDead();
  }

  isDark(host: string): boolean {
    return this.dark.has(host);
  }

  /** How long a packet is on its way. */
  delayMs(): number {
    if (this.chance.happens(this.spikeChance)) return this.chance.between(0.5, this.spikeMs);
    return this.chance.between(0.03, 0.3);
  }

  forget(socket: SimSocket): void {
    this.sockets.delete(socket);
    for (const listening of this.listening.values()) {
      if (listening.accepted.delete(socket) && listening.accepted.size === 0) listening.closed?.();
    }
  }

  // ---- doors

  private connect(process: SimProcess, address: NetAddress, reader: SocketReader): SimSocket {
    const local = { host: process.host, port: this.nextPort() };
    const client = new SimSocket(this, process, local, address, reader);
    this.sockets.add(client);
    this.timeline.after(this.delayMs(), () => this.knock(client, address));
    return client;
  }

  private knock(client: SimSocket, address: NetAddress): void {
    if (client.destroyed || client.process.isDead) return;
    const listening = this.listening.get(`${address.host}:${address.port}`);
    const refuse = (): void =>
      client.process.enterAfter(this.delayMs(), () => client.fail(systemError('ECONNREFUSED')));
    if (this.dark.has(address.host)) return; // nobody answers, not even a kernel
    if (listening === undefined) return refuse();
    const { process } = listening;
    if (this.isBlocked(client.process, process) || this.isBlocked(process, client.process)) {
      this.timeline.after(1_000, () => this.knock(client, address)); // SYN again
      return;
    }
    const server = new SimSocket(this, process, address, client.local, null);
    this.sockets.add(server);
    listening.accepted.add(server);
    server.pairWith(client);
    // The kernel completes the handshake; the process accepts when it comes to it.
    client.process.enterAfter(this.delayMs(), () => client.connected());
    process.enter(() => {
      if (server.destroyed) return;
      if (listening.isClosed) server.destroy();
      else listening.accept(server);
    });
  }

  private listen(
    process: SimProcess,
    { host, port: wanted }: NetAddress,
    accept: (incoming: IncomingConnection) => void,
  ): Promise<Listener> {
    const port = wanted === 0 ? this.nextPort() : wanted;
    const key = `${host}:${port}`;
    if (this.listening.has(key)) return Promise.reject(systemError('EADDRINUSE'));
    const listening: Listening = { process, accept, accepted: new Set(), isClosed: false, closed: null };
    this.listening.set(key, listening);
    const close = (): Promise<void> => {
      listening.isClosed = true;
      if (listening.accepted.size > 0) {
        const closed = new Promise<void>((resolve) => (listening.closed = () => process.enter(resolve)));
        return closed.then(() => void this.listening.delete(key));
      }
      this.listening.delete(key);
      return Promise.resolve();
    };
    return Promise.resolve({ port, close });
  }

  private nextPort(): number {
    this.ports = this.ports === 65_535 ? FIRST_PORT : this.ports + 1;
    return this.ports;
  }
}
