/** What a copy needs of a unit that it reads or writes, wherever that is served. */
import { type BlockIo, IoError, type Provisioning } from '../../block/device.js';

/** Who copies. */
export interface Copying {
  readonly initiatorName: string;
  /** False once nobody waits for the end of it. */
  readonly isWanted: boolean;
}

/** A copy at one unit. */
export interface Visit {
  /**
   * Reads, writes or discards one piece. Fails with RefusedIo where the unit does not let it be, with NotReachable where the
   * unit cannot be had, or the initiator is not logged in to it. A read of nothing asks for that alone.
   */
  submit(io: BlockIo): void;
  /** Whether provisioning() knows holes; otherwise all is mapped. */
  readonly knowsHoles: boolean;
  /** See BlockDevice. What may not be read is no hole: it is read, and refused. */
  provisioning(offsetBytes: number, lengthBytes: number): Provisioning;
  /** The copy has ended, and each of its pieces. */
  end(): void;
}

/** The unit cannot be had, or not by this initiator. */
export class NotReachable extends IoError {
  constructor() {
    super('unavailable', 'the copy does not reach the unit');
  }
}
