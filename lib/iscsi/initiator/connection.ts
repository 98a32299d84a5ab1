/**
 * One TCP connection of the initiator: bytes in through a framer, PDUs out through an outbox. It knows no login and no
 * commands; a login reads PDUs one by one (receive), a session takes over as its sink (attach).
 */
import type { Timer } from '../../base/clock.js';
import { BlockferryError } from '../../base/errors.js';
import { RECV_DATA_SEGMENT_BYTES } from '../../base/limits.js';
import type { NetSocket } from '../../base/net.js';
import { BHS_BYTES, writeLengths } from '../wire/bhs.js';
import { Framer, type FramerSink } from '../wire/framer.js';
import { Outbox } from './outbox.js';
import type { Settings } from './options.js';
import { formatPortal, type PortalAddress } from './url.js';

/** Takes a connection's PDUs over from receive(). header() must give a destination for all data. */
export interface ConnectionSink extends FramerSink {
  /** Exactly once: the connection is gone. */
  closed(reason: string): void;
}

export interface ReceivedPdu {
  readonly bhs: Buffer;
  readonly data: Buffer;
  readonly digestOk: boolean;
}

/** Who waits in receive(). */
interface Waiter {
  resolve(pdu: ReceivedPdu): void;
  reject(error: BlockferryError): void;
  timer: Timer;
}

export class Connection implements FramerSink {
  readonly outbox: Outbox;
  /** When the last bytes came, by the clock. */
  lastReceivedMs: number;
  private readonly socket: NetSocket;
  private readonly framer: Framer;
  private readonly readBuffer: Buffer;
  private sink: ConnectionSink | null = null;
  private received: ReceivedPdu | null = null;
  private waiter: Waiter | null = null;
  private closedReason: string | null = null;

  private constructor(
    readonly address: PortalAddress,
    private readonly settings: Settings,
  ) {
    this.lastReceivedMs = settings.clock.nowMs();
    this.framer = new Framer(
      this,
      Math.max(RECV_DATA_SEGMENT_BYTES, settings.offer.maxRecvDataSegmentLength),
    );
    this.readBuffer = Buffer.allocUnsafeSlow(settings.readBufferBytes);
    const onread = { buffer: this.readBuffer, callback: (bytesRead: number) => this.onBytes(bytesRead) };
    this.socket = settings.dial(address, onread);
    this.outbox = new Outbox(this.socket, settings.sendBufferBytes);
    this.socket.on('error', (error) => this.close(error.message));
    this.socket.on('end', () => this.close('the target closed the connection'));
    this.socket.on('close', () => this.close('the connection was closed'));
  }

  /** Connects; rejects with UNAVAILABLE when that fails or takes longer than `deadlineMs`. */
  static open(address: PortalAddress, settings: Settings, deadlineMs: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const connection = new Connection(address, settings);
      const fail = (reason: string): void => {
        timer.cancel();
        connection.close(reason);
        const hint = 'is a target running there?';
        reject(
          new BlockferryError('UNAVAILABLE', `cannot connect to ${formatPortal(address)}: ${reason}`, hint),
        );
      };
      const timer = settings.clock.after(deadlineMs, () => fail(`no answer in ${deadlineMs} ms`));
      const failed = (error: Error): void => fail(error.message);
      connection.socket.once('error', failed);
      connection.socket.once('connect', () => {
        timer.cancel();
        connection.socket.off('error', failed);
        resolve(connection);
      });
    });
  }

  get isClosed(): boolean {
    return this.closedReason !== null;
  }

  /** The local end, for people. */
  get localPort(): number {
    return this.socket.localPort ?? 0;
  }

  /** The next PDU; rejects with UNAVAILABLE when the connection ends first or `deadlineMs` pass. */
  receive(deadlineMs: number): Promise<ReceivedPdu> {
    return new Promise((resolve, reject) => {
      const timer = this.settings.clock.after(deadlineMs, () => this.close(`no answer in ${deadlineMs} ms`));
      this.waiter = { resolve, reject, timer };
      if (this.closedReason !== null && this.received === null) this.failWaiter(this.closedReason);
      else this.handOver();
    });
  }

  /** Sends one PDU whose 48-byte header is given; its DataSegmentLength is set from `data`. */
  send(bhs: Buffer, data: Buffer | null = null): void {
    const at = this.outbox.headerAt();
    bhs.copy(this.outbox.buffer, at, 0, BHS_BYTES);
    writeLengths(this.outbox.buffer, at, 0, data?.length ?? 0);
    this.outbox.addPdu(data);
  }

  /** Digests from the next PDU on, both ways. */
  setDigests(header: boolean, data: boolean): void {
    this.framer.setDigests(header, data);
    this.outbox.setDigests(header, data);
  }

  /** From now on every PDU goes to `sink`. */
  attach(sink: ConnectionSink): void {
    this.sink = sink;
    if (this.closedReason !== null) sink.closed(this.closedReason);
    else this.resume();
  }

  /** Ends the connection at once; what was sent in this turn may be lost. */
  close(reason: string): void {
    if (this.closedReason !== null) return;
    this.closedReason = reason;
    this.framer.stop();
    this.socket.destroy();
    this.failWaiter(reason);
    this.sink?.closed(reason);
  }

  /** False stops the socket: while the framer is paused nothing more is read. */
  private onBytes(bytesRead: number): boolean {
    this.lastReceivedMs = this.settings.clock.nowMs();
    this.framer.push(this.readBuffer.subarray(0, bytesRead));
    return !this.framer.paused;
  }

  private resume(): void {
    this.framer.resume();
    if (!this.framer.paused && this.closedReason === null) this.socket.resume();
  }

  header(bhs: Buffer, dataSegmentLength: number): Buffer | null {
    if (this.sink !== null) return this.sink.header(bhs, dataSegmentLength);
    return Buffer.allocUnsafe(dataSegmentLength);
  }

  /** While nobody is attached, delivery stops after each PDU: what follows may be a session's already. */
  payload(bhs: Buffer, data: Buffer, digestOk: boolean): void {
    if (this.sink !== null) {
      this.sink.payload(bhs, data, digestOk);
      return;
    }
    this.received = { bhs: Buffer.from(bhs), data, digestOk };
    this.framer.pause();
    this.handOver();
  }

  framingError(reason: string): void {
    this.close(`framing error: ${reason}`);
  }

  private handOver(): void {
    if (this.waiter === null) return;
    if (this.received === null) {
      if (this.framer.paused) this.resume();
      return;
    }
    const { waiter, received } = this;
    this.waiter = this.received = null;
    waiter.timer.cancel();
    waiter.resolve(received);
  }

  private failWaiter(reason: string): void {
    const waiter = this.waiter;
    if (waiter === null) return;
    this.waiter = null;
    waiter.timer.cancel();
    waiter.reject(new BlockferryError('UNAVAILABLE', `${formatPortal(this.address)}: ${reason}`));
  }
}
