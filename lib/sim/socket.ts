/**
 * One end of a connection in memory. It behaves as a net.Socket does where shipped code can tell: what the kernel takes at
 * once and what waits, 'drain', a paused reader that holds the sender up, FIN behind the last byte, RST, half-open.
 *
 *   write ─► [waiting: writableLength] ─► in flight, in order ─► [inbox of the other end] ─► its reader
 *                                  └── together at most KERNEL_BYTES ──┘
 */
import { EventEmitter } from 'node:events';
import type { IncomingConnection, NetAddress, NetSocket, SocketReader } from '../base/net.js';
import type { SimProcess } from './process.js';
import type { Timeline } from './timeline.js';

/** What two kernels keep of one direction before the sender has to wait. */
const KERNEL_BYTES = 192 * 1024;
/** net.Socket's writableHighWaterMark. */
const HIGH_WATER_BYTES = 16 * 1024;
const FIN = 'fin';
const RST = 'rst';

type Parcel = Buffer | typeof FIN | typeof RST;

/** What a socket needs of the network. */
export interface Wires {
  readonly timeline: Timeline;
  /** How long the next packet is on its way. */
  delayMs(): number;
  isBlocked(from: SimProcess, to: SimProcess): boolean;
  /** The host has no power. */
  isDark(host: string): boolean;
  /** This end is no more. */
  forget(socket: SimSocket): void;
}

interface Waiting {
  readonly bytes: Buffer;
  readonly taken: ((error?: Error | null) => void) | undefined;
}

export class SimSocket extends EventEmitter implements NetSocket, IncomingConnection {
  destroyed = false;
  writableLength = 0;
  isOpen = false;
  other!: SimSocket;
  private receive: ((chunk: Buffer) => boolean) | null = null;
  private readBuffer: Buffer | null = null;
  private waiting: Waiting[] = [];
  private needsDrain = false;
  private ending = false;
  private finSent = false;
  /** In order; what a blocked direction has not let through stays in front. */
  private readonly inFlight: Parcel[] = [];
  private inFlightBytes = 0;
  private lastArrivalMs = 0;
  private held = 0;
  private inbox: Parcel[] = [];
  private inboxBytes = 0;
  private paused = false;
  private reading = false;
  private gone = false;
  private isDark = false;

  constructor(
    private readonly net: Wires,
    readonly process: SimProcess,
    readonly local: NetAddress,
    private readonly remote: NetAddress,
    reader: SocketReader | null,
  ) {
    super();
    if (reader !== null) {
      const { buffer } = reader;
      this.readBuffer = Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength);
      this.receive = (chunk) => reader.callback(chunk.length, buffer);
    }
  }

  get localAddress(): string {
    return this.local.host;
  }
  get localPort(): number {
    return this.local.port;
  }
  get remoteAddress(): string {
    return this.remote.host;
  }
  get remotePort(): number {
    return this.remote.port;
  }

  // ---- coming into being

  pairWith(other: SimSocket): void {
    this.other = other;
    other.other = this;
    this.isOpen = true;
  }

  /** The dialler's end: its dial was answered. */
  connected(): void {
    if (this.destroyed) return;
    this.isOpen = true;
    this.emit('connect');
    this.flush();
  }

  fail(error: Error): void {
    if (this.destroyed) return;
    this.emit('error', error);
    this.destroy();
  }

  take(readBuffer: Buffer, receive: (chunk: Buffer) => void): NetSocket {
    this.readBuffer = readBuffer;
    this.receive = (chunk) => {
      receive(chunk);
      return true;
    };
    if (this.inbox.length > 0) this.process.enterAfter(0, () => this.read());
    return this;
  }

  refuse(): void {
    this.destroy();
  }

  // ---- out

  write(bytes: Uint8Array, taken?: (error?: Error | null) => void): boolean {
    if (this.destroyed || this.ending) {
      if (taken !== undefined) process.nextTick(taken, systemError('ERR_STREAM_DESTROYED'));
      return false;
    }
    this.waiting.push({ bytes: Buffer.from(bytes), taken });
    this.writableLength += bytes.length;
    const isRoom = this.writableLength < HIGH_WATER_BYTES;
    if (!isRoom) this.needsDrain = true;
    this.flush();
    return isRoom;
  }

  cork(): void {}
  uncork(): void {}
  setNoDelay(): void {}
  setKeepAlive(): void {}

  end(): void {
    if (this.destroyed || this.ending) return;
    this.ending = true;
    this.flush();
  }

  /** Gives the kernel what it takes. */
  private flush(): void {
    // A process that is gone says nothing more, whatever of its code still runs.
    if (!this.isOpen || this.destroyed || this.process.isDead) return;
    let next = this.waiting[0];
    while (
      next !== undefined &&
      (this.inTransit === 0 || this.inTransit + next.bytes.length <= KERNEL_BYTES)
    ) {
      this.waiting.shift();
      this.writableLength -= next.bytes.length;
      this.dispatch(next.bytes);
      if (next.taken !== undefined) process.nextTick(this.tell, next.taken);
      next = this.waiting[0];
    }
    if (this.writableLength > 0) return;
    if (this.needsDrain) {
      this.needsDrain = false;
      process.nextTick(this.tellDrained);
    }
    if (this.ending && !this.finSent) {
      this.finSent = true;
      this.dispatch(FIN);
      if (this.gone) this.destroy(); // theirs has come before: nothing is left to happen
    }
  }

  private readonly tell = (taken: (error?: Error | null) => void): void => {
    if (!this.process.isDead) taken(null);
  };
  private readonly tellDrained = (): void => {
    if (!this.destroyed && !this.process.isDead) this.emit('drain');
  };

  private get inTransit(): number {
    return this.inFlightBytes + (this.isPaired ? this.other.inboxBytes : 0);
  }

  private get isPaired(): boolean {
    return (this.other as SimSocket | undefined) !== undefined;
  }

  private dispatch(parcel: Parcel): void {
    this.inFlight.push(parcel);
    if (typeof parcel !== 'string') this.inFlightBytes += parcel.length;
    this.lastArrivalMs = Math.max(this.lastArrivalMs, this.net.timeline.nowMs + this.net.delayMs());
    this.net.timeline.at(this.lastArrivalMs, () => this.arrive());
  }

  /** The first parcel in flight reaches the other end's kernel, if the network lets it. */
  private arrive(): void {
    const { other } = this;
    if (this.inFlight.length === 0) return;
    if (this.net.isBlocked(this.process, other.process) || this.net.isDark(other.process.host)) {
      this.held += 1;
      return;
    }
    const parcel = this.inFlight.shift() as Parcel;
    if (typeof parcel !== 'string') this.inFlightBytes -= parcel.length;
    const size = typeof parcel === 'string' ? 0 : parcel.length;
    this.net.timeline.note(
      `net ${this.process.name}>${other.process.name} ${typeof parcel === 'string' ? parcel : ''}`,
      size,
      sample(parcel),
    );
    other.deliver(parcel);
  }

  /** The network lets parcels through again. */
  unblocked(): void {
    const { held } = this;
    this.held = 0;
    for (let i = 0; i < held; i++) this.net.timeline.after(this.net.delayMs(), () => this.arrive());
  }

  // ---- in

  private deliver(parcel: Parcel): void {
    if (this.destroyed || this.process.isDead) {
      if (parcel !== RST && !this.isDark) this.answerReset();
      return;
    }
    this.inbox.push(parcel);
    if (typeof parcel !== 'string') this.inboxBytes += parcel.length;
    this.process.enter(() => this.read());
  }

  /** Who speaks to an end that is closed is reset. */
  private answerReset(): void {
    const { other } = this;
    if (other.destroyed || other.process.isDead) return;
    this.net.timeline.after(this.net.delayMs(), () => other.reset());
  }

  /** This end's kernel hears a reset. */
  reset(): void {
    if (this.destroyed || this.process.isDead) return;
    this.isOpen = true;
    this.inbox.push(RST);
    this.process.enter(() => this.read());
  }

  private read(): void {
    if (this.reading || this.receive === null) return;
    this.reading = true;
    while (!this.paused && !this.destroyed && this.inbox.length > 0) this.readParcel();
    this.reading = false;
  }

  private readParcel(): void {
    const parcel = this.inbox.shift() as Parcel;
    if (parcel === RST) {
      this.fail(systemError('ECONNRESET'));
    } else if (parcel === FIN) {
      this.gone = true;
      this.emit('end');
      if (this.finSent) this.destroy();
      else this.end(); // allowHalfOpen is off
    } else {
      const room = this.readBuffer ?? parcel;
      const bytes = Math.min(room.length, parcel.length);
      parcel.copy(room, 0, 0, bytes);
      if (bytes < parcel.length) this.inbox.unshift(parcel.subarray(bytes));
      this.inboxBytes -= bytes;
      const other = this.other;
      if (other.waiting.length > 0) other.process.enterAfter(this.net.delayMs(), () => other.flush());
      if (this.receive?.(room.subarray(0, bytes)) === false) this.paused = true;
    }
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    if (this.inbox.length > 0) this.process.enterAfter(0, () => this.read());
  }

  // ---- the end

  destroy(error?: Error): void {
    if (this.destroyed) return;
    this.destroyed = true;
    if (error !== undefined) this.process.enterAfter(0, () => this.emit('error', error));
    for (const { taken } of this.waiting) {
      if (taken !== undefined) process.nextTick(taken, systemError('ERR_STREAM_DESTROYED'));
    }
    this.close(this.inboxBytes > 0);
    this.process.enterAfter(0, () => this.emit('close'));
    this.net.forget(this);
  }

  /** Its process has died: nobody is told here, and the other end by the kernel, if that still runs. */
  vanish(isPowerLoss: boolean): void {
    this.isDark = isPowerLoss;
    if (isPowerLoss) {
      this.inFlight.length = 0;
      this.inFlightBytes = 0;
      this.waiting = [];
      return; // stays among the sockets, so that denyIfDead() finds it
    }
    if (!this.destroyed) this.close(this.inboxBytes > 0);
    this.net.forget(this);
  }

  /** After a power loss the new kernel knows nothing of this connection. */
  denyIfDead(): void {
    if (!this.isDark || !this.process.isDead) return;
    this.isDark = false;
    if (this.isPaired && (this.other.inFlight.length > 0 || this.other.waiting.length > 0))
      this.answerReset();
    if (this.isPaired) this.other.unblocked();
    this.net.forget(this);
  }

  private close(isAbrupt: boolean): void {
    this.waiting = [];
    this.writableLength = 0;
    if (!this.isPaired || this.other.destroyed) return;
    if (isAbrupt) this.dispatch(RST);
    else if (!this.finSent) {
      this.finSent = true;
      this.dispatch(FIN);
    }
  }
}

/** Some bytes of a parcel, for the hash of the trace. */
function sample(parcel: Parcel): number {
  if (typeof parcel === 'string') return 0;
  let sum = parcel.length;
  for (let at = 0; at < parcel.length; at += 1 + (parcel.length >> 4)) {
    sum = (Math.imul(sum, 31) + (parcel[at] as number)) | 0;
  }
  return sum;
}

/** An error as Node makes them. */
export function systemError(code: string): NodeJS.ErrnoException {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0; // there are many, and nobody looks at where they were made
  const error = new Error(`${code} (simulated)`);
  Error.stackTraceLimit = stackTraceLimit;
  return Object.assign(error, { code });
}
