/**
 * A gate between two layers: checks the contract of device.ts once, in both directions, so that neither side has to
 * distrust the other. A request that no layer may make is a defect and trips an assert; one that an initiator can
 * cause (out of range, write to a read-only device) is answered. Allocates per request: not for the hot path.
 */
import { assert } from '../../lib/base/assert.js';
import { type BlockDevice, BlockIo, IoError } from '../../lib/block/device.js';

/** Stands in for `outer` below the gate and sees how often, and over what, it is completed. */
class GateIo extends BlockIo {
  private done = false;

  constructor(
    private readonly outer: BlockIo,
    private readonly release: (outer: BlockIo) => void,
  ) {
    super();
    this.prepare(outer.op, outer.offsetBytes, outer.lengthBytes, outer.data, outer.fua);
  }

  protected override completed(error: IoError | null): void {
    assert(!this.done, `${this.op} at ${this.offsetBytes} was completed twice`);
    this.done = true;
    const { outer } = this;
    assert(
      outer.op === this.op &&
        outer.offsetBytes === this.offsetBytes &&
        outer.lengthBytes === this.lengthBytes &&
        outer.data === this.data &&
        outer.fua === this.fua,
      `${this.op} at ${this.offsetBytes} changed while it was in flight`,
    );
    this.release(outer);
    outer.complete(error);
  }
}

function assertWellFormed(io: BlockIo, blockBytes: number): void {
  const { op, offsetBytes, lengthBytes, data } = io;
  const what = `${op} of ${lengthBytes} bytes at ${offsetBytes}`;
  if (op === 'flush') {
    assert(offsetBytes === 0 && lengthBytes === 0, `${what}: a flush is of the whole device`);
  } else {
    assert(Number.isSafeInteger(offsetBytes) && offsetBytes >= 0, `${what}: offset`);
    assert(Number.isSafeInteger(lengthBytes) && lengthBytes > 0, `${what}: length`);
    assert(offsetBytes % blockBytes === 0 && lengthBytes % blockBytes === 0, `${what}: not whole blocks`);
  }
  const dataBytes = op === 'read' || op === 'write' ? lengthBytes : 0;
  assert(data.length === dataBytes, `${what}: comes with ${data.length} bytes of data`);
}

export class GateDevice implements BlockDevice {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  private readonly inFlight = new Set<BlockIo>();
  private readonly release = (io: BlockIo): void => {
    this.inFlight.delete(io);
  };

  constructor(private readonly inner: BlockDevice) {
    const { sizeBytes, blockBytes, readOnly } = inner;
    assert(blockBytes === 512 || blockBytes === 4096, `logical blocks of ${blockBytes} bytes`);
    assert(
      sizeBytes > 0 && sizeBytes % blockBytes === 0,
      `a device of ${sizeBytes} bytes is not whole blocks`,
    );
    this.sizeBytes = sizeBytes;
    this.blockBytes = blockBytes;
    this.readOnly = readOnly;
  }

  /** How many requests are below the gate. */
  get pending(): number {
    return this.inFlight.size;
  }

  submit(io: BlockIo): void {
    assert(!this.inFlight.has(io), `${io.op} at ${io.offsetBytes} was submitted while it was in flight`);
    assertWellFormed(io, this.blockBytes);
    const refusal = this.refusal(io);
    if (refusal !== null) {
      io.complete(refusal);
      return;
    }
    this.inFlight.add(io);
    this.inner.submit(new GateIo(io, this.release));
  }

  private refusal(io: BlockIo): IoError | null {
    if (io.offsetBytes + io.lengthBytes > this.sizeBytes) {
      return new IoError('out-of-range', `${io.op} of ${io.lengthBytes} bytes at ${io.offsetBytes}`);
    }
    if (this.readOnly && io.op !== 'read' && io.op !== 'flush') return new IoError('read-only', io.op);
    return null;
  }
}
