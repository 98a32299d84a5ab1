/**
 * What a move needs of a volume's file on one member, at either end: block I/O, the map of its holes, durability, and
 * giving extents back. Implemented by member code over storage/ (and by a fake in tests): migration knows no files.
 */
import type { ByteRange } from '../base/byte-range.js';
import type { BlockDevice } from '../block/device.js';

export interface HeldFile extends BlockDevice {
  /** Something that was written is known not to have reached the disk: it makes nothing durable any more. */
  readonly isSpent: boolean;
  /** The parts of a range that may hold data; holes are left out. */
  dataRanges(offsetBytes: number, lengthBytes: number): readonly ByteRange[];
  /** Makes a range a hole. */
  punch(offsetBytes: number, lengthBytes: number): Promise<void>;
  /** Everything completed before is durable when it resolves. */
  sync(): Promise<void>;
  /** The same of one range, with no more of the rest than it needs. */
  syncRange(offsetBytes: number, lengthBytes: number): Promise<void>;
}
