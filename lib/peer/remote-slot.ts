/**
 * The slot of extents that another member holds: reads, writes, discards and flushes are forwarded to it. A stale epoch
 * sends the I/O back to find its new holder; a holder that is away is waited for, so that an initiator sees a pause
 * instead of an error while a member restarts. What it may have lost meanwhile is found by its next flush.
 */
import { NO_BYTES } from '../base/bytes.js';
import type { Clock } from '../base/clock.js';
import { FORWARD_PATIENCE_MS, FORWARD_RETRY_MS, PEER_PAYLOAD_BYTES_MAX } from '../base/limits.js';
import { IoError, type BlockIo, type BlockOp, type Provisioning, type Usage } from '../block/device.js';
import { JoinedIo, PartIo } from '../volume/joined-io.js';
import type { ExtentSlot, IoOrigin } from '../volume/slot.js';
import { PeerRequest, PeerStatus, PeerType, type PeerHub, type PeerTypeCode } from './contract.js';
import { lookUpAt, usageAt } from './lba-status.js';
import { UnflushedWrites } from './unflushed.js';

const TYPE_OF_OP: Record<BlockOp, PeerTypeCode> = {
  read: PeerType.READ,
  write: PeerType.WRITE,
  discard: PeerType.DISCARD,
  zero: PeerType.ZERO,
  flush: PeerType.FLUSH,
};

const IDLE_REQUESTS_MAX = 256;
/**
 * A disk may have gigabytes to make durable, and a link that is given up for it takes everything else between the two members
 * along; whether the holder is still there say the link's pings. Hosts give a flush up before (Linux after 60 s).
 */
const DURABLE_MS_MAX = 120_000;

/** What a remote slot needs to know of its volume. */
export interface RemoteVolume {
  readonly volumeId: number;
  readonly blockBytes: number;
  /** The current epoch by this member's table. */
  epoch(): number;
  /** How often this member was left behind: what it forwarded before that must not be tried again (I8). */
  timesLeftBehind(): number;
  /** Reads the route from the store, since a holder spoke of epoch `seen`; then calls back. */
  refresh(seen: number, done: () => void): void;
}

export class RemoteSlot implements ExtentSlot {
  private readonly idle: ForwardedIo[] = [];
  readonly unflushed: UnflushedWrites;

  /**
   * @param lost writes that the member had acknowledged, and nobody had flushed, are gone
   * @param mayPassBy whether initiators may be writing there past this home
   */
  constructor(
    readonly hub: PeerHub,
    readonly member: string,
    readonly volume: RemoteVolume,
    readonly clock: Clock,
    lost: (verifierBefore: string) => void = () => undefined,
    mayPassBy: () => boolean = () => false,
  ) {
    this.unflushed = new UnflushedWrites(() => hub.verifierOf(member), lost, mayPassBy);
  }

  submit(io: BlockIo, extent: number, origin: IoOrigin): void {
    const carriesData = io.op === 'read' || io.op === 'write';
    if (carriesData && io.lengthBytes > PEER_PAYLOAD_BYTES_MAX) {
      this.submitInParts(io, extent, origin);
      return;
    }
    const request = this.idle.pop() ?? new ForwardedIo(this);
    request.begin(io, extent, origin);
  }

  lookUp(offsetBytes: number, lengthBytes: number, extent: number): Promise<Provisioning | null> {
    return lookUpAt(this, { offsetBytes, lengthBytes, extent });
  }

  usage(): Promise<Usage | null> {
    return usageAt(this);
  }

  /** A peer frame is bounded. The parts name the I/O's first extent: the holder goes by offsets. */
  private submitInParts(io: BlockIo, extent: number, origin: IoOrigin): void {
    const parts = Math.ceil(io.lengthBytes / PEER_PAYLOAD_BYTES_MAX);
    const joined = new JoinedIo(io, parts);
    for (let i = 0; i < parts; i++) {
      const at = i * PEER_PAYLOAD_BYTES_MAX;
      const length = Math.min(PEER_PAYLOAD_BYTES_MAX, io.lengthBytes - at);
      this.submit(new PartIo(joined, io.offsetBytes + at, length), extent, origin);
    }
  }

  retire(request: ForwardedIo): void {
    if (this.idle.length < IDLE_REQUESTS_MAX) this.idle.push(request);
  }
}

/** One forwarded I/O; reused. */
class ForwardedIo extends PeerRequest {
  private io: BlockIo | null = null;
  private origin: IoOrigin | null = null;
  private timesLeftBehind = 0;
  /** Of the holder's unflushed writes, when this was sent. */
  private unflushedCount = 0;

  constructor(private readonly slot: RemoteSlot) {
    super();
    this.volumeId = slot.volume.volumeId;
  }

  begin(io: BlockIo, extent: number, origin: IoOrigin): void {
    this.io = io;
    this.origin = origin;
    this.timesLeftBehind = this.slot.volume.timesLeftBehind();
    this.type = TYPE_OF_OP[io.op];
    this.extent = extent;
    this.offsetBytes = io.offsetBytes;
    this.lengthBytes = io.lengthBytes;
    this.fua = io.fua;
    this.deadlineMs = io.op === 'flush' || io.fua ? DURABLE_MS_MAX : 0;
    this.payload = io.op === 'write' ? io.data : NO_BYTES;
    this.into = io.op === 'read' ? io.data : NO_BYTES;
    this.send();
  }

  private send(): void {
    this.epoch = this.slot.volume.epoch();
    this.unflushedCount = this.slot.unflushed.count;
    this.slot.hub.send(this.slot.member, this);
  }

  answered(status: number, payload: Buffer, epoch: number): void {
    switch (status) {
      case PeerStatus.OK:
        this.done();
        return;
      case PeerStatus.STALE:
        this.slot.volume.refresh(epoch, () => this.goBack());
        return;
      case PeerStatus.NO_SPACE:
        this.finish(new IoError('no-space', `at ${this.slot.member}`));
        return;
      case PeerStatus.ABORTED:
        this.finish(new IoError('aborted', `at ${this.slot.member}`));
        return;
      case PeerStatus.LINK_LOST:
      case PeerStatus.DEADLINE:
      case PeerStatus.UNAVAILABLE:
        this.retryLater();
        return;
      default: {
        const code = this.type === PeerType.READ ? 'medium-read' : 'medium-write';
        this.finish(new IoError(code, `at ${this.slot.member}: ${payload.toString('utf8')}`));
      }
    }
  }

  private done(): void {
    const { unflushed } = this.slot;
    if (this.type === PeerType.FLUSH) unflushed.flushed(this.unflushedCount);
    else if (this.type !== PeerType.READ && !this.fua) unflushed.acknowledged();
    this.finish(null);
  }

  /** The holder is away. By the time it is back the route may be another: resolve again each time. */
  private retryLater(): void {
    const { clock, member, volume } = this.slot;
    const nowMs = clock.nowMs();
    const io = this.io;
    if (io !== null && io.waitingSinceMs === 0) io.waitingSinceMs = nowMs;
    if (io !== null && nowMs - io.waitingSinceMs > FORWARD_PATIENCE_MS) {
      this.finish(new IoError('unavailable', `${member} does not answer`));
      return;
    }
    clock.after(FORWARD_RETRY_MS, () => volume.refresh(0, () => this.goBack()));
  }

  private goBack(): void {
    const { io, origin } = this;
    if (this.timesLeftBehind !== this.slot.volume.timesLeftBehind()) {
      // Its session was cut off meanwhile; by now the home may even be here again, and a newer session at work.
      this.finish(new IoError('aborted', 'the volume went on without this member'));
      return;
    }
    // A flush changes nothing, so it can be dropped at once. A write ends with its patience, or as left behind, above.
    if (io?.op === 'flush' && !io.isWanted) {
      this.finish(new IoError('aborted', 'nobody waits for it any more'));
      return;
    }
    this.release();
    if (io !== null) origin?.again(io);
  }

  private finish(error: IoError | null): void {
    const { io } = this;
    this.release();
    io?.complete(error);
  }

  private release(): void {
    this.io = null;
    this.origin = null;
    this.payload = NO_BYTES;
    this.into = NO_BYTES;
    this.slot.retire(this);
  }
}
