/** A BlockDevice in memory for tests: the plainest right answer to the contract; completes inside submit(). */
import { type BlockDevice, type BlockIo, IoError } from '../../lib/block/device.js';

export class RamDevice implements BlockDevice {
  /** The medium itself, for tests that look behind the device's back. */
  readonly bytes: Buffer;
  readonly sizeBytes: number;
  /** How many of each operation were completed without error. */
  readonly counts = { read: 0, write: 0, discard: 0, zero: 0, flush: 0 };
  /** Completed requests that had FUA. */
  fuaCount = 0;

  constructor(
    sizeBytes: number,
    readonly blockBytes = 512,
    readonly readOnly = false,
  ) {
    this.sizeBytes = sizeBytes;
    this.bytes = Buffer.alloc(sizeBytes);
  }

  submit(io: BlockIo): void {
    io.complete(this.serve(io));
  }

  private serve(io: BlockIo): IoError | null {
    const end = io.offsetBytes + io.lengthBytes;
    if (io.offsetBytes < 0 || end > this.sizeBytes)
      return new IoError('out-of-range', `${io.offsetBytes}..${end}`);
    if (this.readOnly && io.op !== 'read' && io.op !== 'flush') return new IoError('read-only', io.op);
    if (io.op === 'read') this.bytes.copy(io.data, 0, io.offsetBytes, end);
    else if (io.op === 'write') io.data.copy(this.bytes, io.offsetBytes);
    else if (io.op !== 'flush') this.bytes.fill(0, io.offsetBytes, end);
    this.counts[io.op] += 1;
    if (io.fua) this.fuaCount += 1;
    return null;
  }
}
