/**
 * The door to TCP: what the portal, the peer port and the initiator use of sockets, handed in where they are made, so
 * that a group can also run over a network that exists only in memory. It frames nothing and knows no protocol.
 */
import { connect, createServer, isIPv4, isIPv6, type Socket } from 'node:net';
import { readInto } from './accepted-socket.js';
import { BlockferryError, describeError, errnoOf } from './errors.js';

export interface NetAddress {
  readonly host: string;
  readonly port: number;
}

/** HOST:PORT, with brackets around an IPv6 host, as RFC 7143 13.8 writes it too. */
export function formatAddress({ host, port }: NetAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** An IPv4 address as IPv6 has it, in the form in which URLs have that. */
const MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/**
 * An IPv6 address, without a zone, in the one form in which URLs have it, or as the IPv4 address that it stands for; anything
 * else as it is.
 */
export function canonicalHost(host: string): string {
  if (!isIPv6(host) || host.includes('%')) return host;
  const canonical = new URL(`http://[${host}]`).hostname.slice(1, -1);
  const mapped = MAPPED.exec(canonical);
  if (mapped === null) return canonical;
  const [high, low] = [parseInt(mapped[1] ?? '', 16), parseInt(mapped[2] ?? '', 16)];
  return [high >>> 8, high & 0xff, low >>> 8, low & 0xff].join('.');
}

/** Whether no other machine reaches a numeric address, in any form: 127.0.0.0/8 and ::1. False of names, localhost too. */
export function isLoopback(host: string): boolean {
  const canonical = canonicalHost(host);
  return canonical === '::1' || (isIPv4(canonical) && canonical.startsWith('127.'));
}

/** A wildcard is no address to be sent to: who has reached one of the machine's, `localHost`, gets to the rest by that. */
export function addressFor(host: string, localHost: string): string {
  return host === '0.0.0.0' || host === '::' ? localHost : host;
}

/**
 * BUSY or IO: why nobody can listen there.
 * @param port what it is: "peer port"
 * @param option the one that chooses another
 */
export function listenError(port: string, at: NetAddress, option: string, cause: unknown): BlockferryError {
  const where = `${port} ${formatAddress(at)}`;
  if (errnoOf(cause) === 'EADDRINUSE') {
    const hint = `stop what listens there, or choose another with ${option}, 0 for any`;
    return new BlockferryError('BUSY', `${where} is in use`, hint, { cause });
  }
  return new BlockferryError('IO', `cannot open ${where}: ${describeError(cause)}`, 'check the address', {
    cause,
  });
}

/** What is used of a net.Socket, as it behaves there. */
export interface NetSocket {
  readonly destroyed: boolean;
  /** Bytes given to write() that the kernel has not taken. */
  readonly writableLength: number;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  write(bytes: Uint8Array, taken?: (error?: Error | null) => void): boolean;
  cork(): void;
  uncork(): void;
  end(): void;
  /** With an error: 'error' tells of it before 'close'. */
  destroy(error?: Error): void;
  pause(): void;
  resume(): void;
  setNoDelay(noDelay: boolean): void;
  /** TCP asks the other end now and then, from that long a silence on; an end that does not answer ends the socket. */
  setKeepAlive(isOn: boolean, afterMs: number): void;
  on(event: 'connect' | 'drain' | 'end' | 'close', listener: () => void): this;
  on(event: 'error', listener: (error: Error) => void): this;
  once(event: 'connect' | 'drain' | 'end' | 'close', listener: () => void): this;
  once(event: 'error', listener: (error: Error) => void): this;
  off(event: 'error', listener: (error: Error) => void): this;
}

/**
 * Of the write that the kernel is taking piece by piece; other writes wait behind it. Node keeps it in the handle, which it
 * does not document, and goes by it itself when it judges whether a socket is idle. 0 where it is not told.
 */
export function bytesUnderWay(socket: NetSocket): number {
  const { _handle: handle } = socket as { _handle?: { writeQueueSize?: number } | null };
  return handle?.writeQueueSize ?? 0;
}

/** Receives what a socket reads into a buffer that is used again: false stops the reading until resume(). */
export interface SocketReader {
  buffer: Uint8Array;
  callback(bytesRead: number, buffer: Uint8Array): boolean;
}

/** A connection that has just been accepted: exactly one of the two is called, at once. */
export interface IncomingConnection {
  /** @param receive given views of `readBuffer` that hold until it returns; never called before take() has returned */
  take(readBuffer: Buffer, receive: (chunk: Buffer) => void): NetSocket;
  refuse(): void;
}

export interface Listener {
  readonly port: number;
  /** Accepts nothing from now on; resolves when the last accepted connection is gone. */
  close(): Promise<void>;
}

export interface ListenOptions extends NetAddress {
  /** More are turned away by the listener itself. */
  readonly connectionsMax?: number;
}

export interface Net {
  /** Dials; 'connect' or 'error' follows. */
  connect(address: NetAddress, reader: SocketReader): NetSocket;
  /**
   * Listens; port 0 takes a free one. Rejects with the system's error.
   * @param failed told when accepting fails later on
   */
  listen(
    options: ListenOptions,
    accept: (incoming: IncomingConnection) => void,
    failed: (error: Error) => void,
  ): Promise<Listener>;
}

/** The system's. */
export const tcp: Net = {
  connect: ({ host, port }, onread) => connect({ host, port, onread, noDelay: true }),
  listen: ({ host, port, connectionsMax }, accept, failed) => {
    const server = createServer({ noDelay: true, pauseOnConnect: true }, (socket) =>
      accept(new Accepted(socket)),
    );
    if (connectionsMax !== undefined) server.maxConnections = connectionsMax;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.off('error', reject);
        server.on('error', failed);
        const address = server.address();
        resolve({
          port: typeof address === 'object' && address !== null ? address.port : port,
          close: () => new Promise<void>((closed) => server.close(() => closed())),
        });
      });
    });
  },
};

class Accepted implements IncomingConnection {
  constructor(private readonly socket: Socket) {}

  take(readBuffer: Buffer, receive: (chunk: Buffer) => void): NetSocket {
    return readInto(this.socket, readBuffer, receive);
  }

  refuse(): void {
    this.socket.destroy();
  }
}
