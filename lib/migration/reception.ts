/** One attempt being received on one extent of a destination, and the writes of it. destination.ts begins and ends them. */
import type { ByteRange } from '../base/byte-range.js';
import { BlockIo, type BlockOp, type IoError } from '../block/device.js';
import { PeerStatus, type IncomingRequest } from '../peer/contract.js';
import type { HeldFile } from './held-file.js';

export class Reception implements ByteRange {
  inFlight = 0;
  /** Writes of it are refused: it is being emptied, or has ended. */
  isOver = false;
  /** It has been given up, whatever is still on its way. */
  hasEnded = false;
  private waiters: (() => void)[] = [];

  constructor(
    readonly source: { readonly name: string; readonly incarnation: string },
    readonly token: number,
    readonly file: HeldFile,
    readonly fromBytes: number,
    readonly toBytes: number,
  ) {}

  ended(): void {
    this.inFlight -= 1;
    if (this.inFlight === 0) for (const resolve of this.waiters.splice(0)) resolve();
  }

  /** Ends the attempt; resolves when nothing of it is on its way any more. Its bytes are still there. */
  end(): Promise<void> {
    this.isOver = this.hasEnded = true;
    if (this.inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.waiters.push(resolve));
  }
}

/** What is being received. Peers ask of volumes as they like: one of which nothing is received takes no room. */
export class Receptions {
  private readonly byVolume = new Map<number, Map<number, Reception>>();

  /** Volumes of which something is being received. */
  get volumes(): number[] {
    return [...this.byVolume.keys()];
  }

  /** By extent; as it is now, later it may be another map. */
  of(volumeId: number): ReadonlyMap<number, Reception> {
    return this.byVolume.get(volumeId) ?? NONE;
  }

  get(volumeId: number, extent: number): Reception | undefined {
    return this.byVolume.get(volumeId)?.get(extent);
  }

  set(volumeId: number, extent: number, reception: Reception): void {
    const known = this.byVolume.get(volumeId);
    if (known === undefined) this.byVolume.set(volumeId, new Map([[extent, reception]]));
    else known.set(extent, reception);
  }

  /** False: another is in its place, or none. */
  delete(volumeId: number, extent: number, reception: Reception): boolean {
    const known = this.byVolume.get(volumeId);
    if (known?.get(extent) !== reception) return false;
    known.delete(extent);
    if (known.size === 0) this.byVolume.delete(volumeId);
    return true;
  }
}

const NONE: ReadonlyMap<number, Reception> = new Map();

/** A copy, or a mirrored write. */
export class ReceivedWrite extends BlockIo {
  constructor(
    private readonly request: IncomingRequest,
    private readonly reception: Reception,
    op: BlockOp,
  ) {
    super();
    const data = op === 'write' ? request.payload : undefined;
    // Durable when it is answered if the source says so, at the next MOVE_SYNC otherwise (I3).
    this.prepare(op, request.offsetBytes, request.lengthBytes, data, request.fua);
  }

  protected override completed(error: IoError | null): void {
    const { request } = this;
    if (error === null) request.answer(PeerStatus.OK);
    else
      request.answer(
        error.code === 'no-space' ? PeerStatus.NO_SPACE : PeerStatus.IO_ERROR,
        Buffer.from(error.message),
      );
    this.reception.ended();
  }
}
