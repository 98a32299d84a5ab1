/**
 * One write, discard or zeroing of an extent on the move: the source first, then the destination, acknowledged when
 * both have it or when the destination's copy has been marked as lacking it. Allocated per write while its extent moves.
 *
 * Where the source fails a write, the destination gets what the source holds of that range now (rule 4; of a failed
 * discard the range is marked). Were it only marked for the copy, an initiator that goes on writing to a disk that is full,
 * or that can make nothing durable, would keep its volume from ever leaving it.
 */
import { NO_BYTES } from '../base/bytes.js';
import { PEER_PAYLOAD_BYTES_MAX } from '../base/limits.js';
import { BlockIo, IoError, type BlockDevice, type BlockOp } from '../block/device.js';
import { PeerRequest, PeerStatus, PeerType, type PeerTypeCode } from '../peer/contract.js';
import type { DestinationLink } from './destination-link.js';
import type { DirtyMap } from './dirty-map.js';
import type { RangeHolder, RangeLocks } from './range-locks.js';

const MIRROR_TYPE = new Map<BlockOp, PeerTypeCode>([
  ['write', PeerType.MIRROR_WRITE],
  ['discard', PeerType.MIRROR_DISCARD],
  ['zero', PeerType.MIRROR_ZERO],
]);

/** The extent on the move, as one write of it sees it. */
export interface MirroringExtent {
  readonly extent: number;
  readonly token: number;
  /** The destination receives. */
  readonly attached: boolean;
  /** The source. */
  readonly file: Pick<BlockDevice, 'submit'>;
  readonly destination: DestinationLink;
  readonly dirty: DirtyMap;
  readonly locks: RangeLocks;
  readonly strict: boolean;
  /** See Interceptor. */
  mirrorBegan(): boolean;
  mirrorEnded(wasDurable: boolean): void;
  destinationFailed(status: number, detail: string): void;
  writeEnded(): void;
}

export class MirroredWrite extends BlockIo implements RangeHolder {
  readonly fromBytes: number;
  readonly toBytes: number;
  private pending = 0;
  private isDurable = false;
  private status: number = PeerStatus.OK;
  private detail = '';
  private sourceError: IoError | null = null;

  constructor(
    private readonly owner: MirroringExtent,
    private readonly io: BlockIo,
  ) {
    super();
    this.fromBytes = io.offsetBytes;
    this.toBytes = io.offsetBytes + io.lengthBytes;
    // Rule 3: both copies are written from the initiator's one buffer, which is not touched before completion.
    this.prepare(io.op, io.offsetBytes, io.lengthBytes, io.data, io.fua);
  }

  /** Rule 2: no overlapping copy or write is under way. Rule 4: the source goes first. */
  granted(): void {
    this.owner.file.submit(this);
  }

  /** The source has answered. */
  protected override completed(error: IoError | null): void {
    this.sourceError = error;
    if (error === null) {
      this.mirror();
    } else if (this.op === 'write' && this.owner.attached) {
      // Into a buffer of its own: what the initiator sent may be sent again from where it stands.
      this.data = Buffer.allocUnsafe(this.lengthBytes);
      this.owner.file.submit(new ReadBack(this));
    } else {
      this.owner.dirty.mark(this.fromBytes, this.toBytes);
      this.end(error);
    }
  }

  /** The source was asked what it holds of a write that it failed. */
  readBack(error: IoError | null): void {
    if (error === null) {
      this.mirror();
    } else {
      this.owner.dirty.mark(this.fromBytes, this.toBytes);
      this.end(this.sourceError);
    }
  }

  private mirror(): void {
    const { dirty, attached } = this.owner;
    if (attached) {
      dirty.clearCovered(this.fromBytes, this.toBytes);
      this.sendToDestination();
    } else {
      dirty.mark(this.fromBytes, this.toBytes);
      this.end(this.sourceError);
    }
  }

  private sendToDestination(): void {
    const carriesData = this.op === 'write';
    this.isDurable = this.owner.mirrorBegan();
    const partBytes = carriesData ? PEER_PAYLOAD_BYTES_MAX : this.lengthBytes;
    this.pending = Math.ceil(this.lengthBytes / partBytes);
    for (let at = 0; at < this.lengthBytes; at += partBytes) {
      const length = Math.min(partBytes, this.lengthBytes - at);
      const payload = carriesData ? this.data.subarray(at, at + length) : NO_BYTES;
      const part = new MirrorPart(this, this.offsetBytes + at, length, payload);
      part.type = MIRROR_TYPE.get(this.op) ?? PeerType.MIRROR_WRITE;
      part.volumeId = this.owner.destination.volumeId;
      part.extent = this.owner.extent;
      part.token = this.owner.token;
      part.fua = this.isDurable;
      this.owner.destination.hub.send(this.owner.destination.member, part);
    }
  }

  partAnswered(status: number, detail: string): void {
    if (status !== PeerStatus.OK) {
      this.status = status;
      this.detail = detail;
    }
    this.pending -= 1;
    if (this.pending > 0) return;
    if (this.status !== PeerStatus.OK) {
      // Rule 6 (I6): the initiator's write stands; the destination lacks it until it is copied again.
      this.owner.dirty.mark(this.fromBytes, this.toBytes);
      this.owner.destinationFailed(this.status, this.detail);
    }
    this.owner.mirrorEnded(this.isDurable);
    this.end(this.sourceError ?? this.strictFailure());
  }

  /** The source has the write in any case; a strict move says otherwise, and the host sends it again. */
  private strictFailure(): IoError | null {
    if (this.status === PeerStatus.OK || !this.owner.strict) return null;
    return new IoError('aborted', 'the destination of a strict move did not take it');
  }

  private end(error: IoError | null): void {
    this.owner.locks.release(this);
    this.io.complete(error);
    this.owner.writeEnded();
  }
}

class ReadBack extends BlockIo {
  constructor(private readonly write: MirroredWrite) {
    super();
    this.prepare('read', write.offsetBytes, write.lengthBytes, write.data);
  }

  protected override completed(error: IoError | null): void {
    this.write.readBack(error);
  }
}

class MirrorPart extends PeerRequest {
  constructor(
    private readonly write: MirroredWrite,
    offsetBytes: number,
    lengthBytes: number,
    payload: Buffer,
  ) {
    super();
    this.offsetBytes = offsetBytes;
    this.lengthBytes = lengthBytes;
    this.payload = payload;
  }

  override answered(status: number, payload: Buffer): void {
    this.write.partAnswered(status, status === PeerStatus.OK ? '' : payload.toString('utf8'));
  }
}
