/**
 * The two sockets in the wall of a volume: who holds this extent (ExtentHolders), and what stands in its slot
 * (ExtentSlot). Routing, peers and migration plug into them; the volume imports none of those.
 */
import type { BlockIo, Provisioning, Usage } from '../block/device.js';
import type { PageMap } from '../block/page-map.js';

/** The answer to "who?", replaced as a whole at each epoch. Members are small integers. */
export interface ExtentHolders {
  readonly epoch: number;
  holderAt(extent: number): number;
  /** Every member that holds an extent of the volume. */
  readonly holders: readonly number[];
}

/** Whoever gave an I/O to a slot and takes it back when the route changed before it could be served. */
export interface IoOrigin {
  /** The I/O was not begun: resolve its route again. */
  again(io: BlockIo): void;
}

/** Serves the I/O of one extent or of many alike. `extent` is the first that the I/O touches. */
export interface ExtentSlot {
  submit(io: BlockIo, extent: number, origin: IoOrigin): void;
  /** See BlockDevice; a slot whose reads must be asked for leaves it out. */
  mapped?(offsetBytes: number, lengthBytes: number, withDigest: boolean): PageMap | null;
  /** See BlockDevice; a slot that does not know leaves it out. */
  provisioning?(offsetBytes: number, lengthBytes: number): Provisioning;
  /**
   * Of a slot that asks another member: see BlockDevice. Null: the route has changed, and the slot may be another.
   * `extent` is the one that the range begins in.
   */
  lookUp?(offsetBytes: number, lengthBytes: number, extent: number): Promise<Provisioning | null>;
  /** Of all that the slot's member holds of the volume. Null: nobody says now. */
  usage?(): Promise<Usage | null>;
}
