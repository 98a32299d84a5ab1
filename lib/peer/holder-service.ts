/**
 * The holder's side of forwarding: serves I/O that other members send for extents held here, and refuses what is not
 * by the current epoch (I4). It never forwards further, so a request makes at most one hop.
 */
import { IoError, BlockIo, type BlockOp } from '../block/device.js';
import { JoinedIo, PartIo } from '../volume/joined-io.js';
import type { IoOrigin } from '../volume/slot.js';
import type { Volume } from '../volume/volume.js';
import { PeerStatus, PeerType, type IncomingRequest } from './contract.js';
import { answerLookUp, answerUsage } from './lba-status.js';
import { isInRange } from './request-range.js';

const OP_OF_TYPE = new Map<number, BlockOp>([
  [PeerType.READ, 'read'],
  [PeerType.WRITE, 'write'],
  [PeerType.DISCARD, 'discard'],
  [PeerType.ZERO, 'zero'],
  [PeerType.FLUSH, 'flush'],
]);

/** Where the holder's volumes are found. */
export interface HeldVolumes {
  /** Undefined: this member knows no such volume. */
  volumeById(volumeId: number): Volume | undefined;
  /** False while the member must not serve (I4: no lease, starting, stopping). */
  readonly serving: boolean;
  /** Reads the volume's route from the store, then calls back. */
  refresh(volumeId: number, done: () => void): void;
}

/** True when the request is one of I/O, or about the blocks of I/O. */
export function isHolderRequest({ type }: IncomingRequest): boolean {
  return OP_OF_TYPE.has(type) || type === PeerType.LBA_STATUS || type === PeerType.USAGE;
}

export class HolderService {
  constructor(private readonly volumes: HeldVolumes) {}

  handle(request: IncomingRequest): void {
    const volume = this.volumes.volumeById(request.volumeId);
    const behind = volume === undefined || request.epoch > volume.epoch;
    if (behind) this.volumes.refresh(request.volumeId, () => this.serve(request));
    else this.serve(request);
  }

  private serve(request: IncomingRequest): void {
    const volume = this.volumes.volumeById(request.volumeId);
    if (!this.volumes.serving) {
      request.answer(PeerStatus.UNAVAILABLE);
      return;
    }
    if (volume !== undefined && request.type === PeerType.USAGE) {
      void answerUsage(request, volume);
      return;
    }
    const op = OP_OF_TYPE.get(request.type);
    if (volume === undefined || (op !== 'flush' && !isInRange(request, volume, op))) {
      request.answer(PeerStatus.REFUSED, Buffer.from('no such volume or range'));
      return;
    }
    if (op === undefined) answerLookUp(request, volume);
    else if (op === 'read' && answeredMapped(request, volume)) return;
    else new HolderIo(request, volume, op).submit();
  }
}

/** Straight from the page cache, where the link can take it now: nothing is asked, waited for or copied. */
function answeredMapped(request: IncomingRequest, volume: Volume): boolean {
  if (!request.takesMapped) return false;
  const map = volume.mappedHere(request.offsetBytes, request.lengthBytes, false);
  if (map === null) return false;
  request.answerMapped(map, volume.epoch);
  return true;
}

/** One I/O for another member. Once any part of it turns out to be held elsewhere, all of it is STALE. */
class HolderIo extends BlockIo implements IoOrigin {
  constructor(
    private readonly request: IncomingRequest,
    private readonly volume: Volume,
    op: BlockOp,
  ) {
    super();
    const data = op === 'read' ? request.allocateAnswer() : request.payload;
    // A flush is of all that is held here.
    if (op === 'flush') this.prepare(op, 0, 0);
    else this.prepare(op, request.offsetBytes, request.lengthBytes, data, request.fua);
  }

  submit(): void {
    const { volume } = this;
    if (this.op === 'flush') {
      // A sender with an older route may not know every holder that it must ask (I1).
      if (this.request.epoch < volume.epoch) this.stale();
      else volume.local.submit(this, 0, this);
      return;
    }
    const first = Math.floor(this.offsetBytes / volume.extentBytes);
    const last = Math.floor((this.offsetBytes + this.lengthBytes - 1) / volume.extentBytes);
    for (let extent = first; extent <= last; extent++) {
      if (!volume.holdsHere(extent)) {
        this.stale();
        return;
      }
    }
    if (first === last) volume.slotAt(first).submit(this, first, this);
    else this.submitAcross(first, last);
  }

  private submitAcross(first: number, last: number): void {
    const { volume } = this;
    const joined = new JoinedIo(this, last - first + 1);
    for (let extent = first; extent <= last; extent++) {
      const from = Math.max(this.offsetBytes, extent * volume.extentBytes);
      const to = Math.min(this.offsetBytes + this.lengthBytes, (extent + 1) * volume.extentBytes);
      volume.slotAt(extent).submit(new PartIo(joined, from, to - from), extent, this);
    }
  }

  /** An extent was committed to another holder while this waited at its gate: the sender resolves it again. */
  again(io: BlockIo): void {
    io.complete(new IoError('stale', 'the extent was given away'));
  }

  private stale(): void {
    this.request.answer(PeerStatus.STALE, undefined, this.volume.epoch);
  }

  protected override completed(error: IoError | null): void {
    const { request } = this;
    if (error === null)
      request.answer(PeerStatus.OK, this.op === 'read' ? this.data : undefined, this.volume.epoch);
    else if (error.code === 'stale') this.stale();
    else if (error.code === 'no-space') request.answer(PeerStatus.NO_SPACE);
    else if (error.code === 'aborted') request.answer(PeerStatus.ABORTED);
    else request.answer(PeerStatus.IO_ERROR, Buffer.from(error.message));
  }
}
