/**
 * A device without storage: writes vanish, reads answer whatever stands in the buffer. It shows what a transport
 * could do at best in a benchmark; it is not a BlockDevice in the sense of the contract suite, and never a volume.
 */
import { type BlockDevice, type BlockIo, IoError } from './device.js';

export class NullDevice implements BlockDevice {
  readonly readOnly = false;

  /** @param sizeBytes a multiple of `blockBytes` */
  constructor(
    readonly sizeBytes: number,
    readonly blockBytes = 512,
  ) {}

  submit(io: BlockIo): void {
    const inside = io.offsetBytes + io.lengthBytes <= this.sizeBytes;
    io.complete(inside ? null : new IoError('out-of-range', `${io.offsetBytes}+${io.lengthBytes}`));
  }
}
