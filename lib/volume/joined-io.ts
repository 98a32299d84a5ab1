/** One I/O served in parts: it completes when all parts have, with the first error if any failed. */
import { assert } from '../base/assert.js';
import { BlockIo, type IoError } from '../block/device.js';

export class JoinedIo {
  private error: IoError | null = null;

  constructor(
    readonly whole: BlockIo,
    private pending: number,
  ) {}

  partCompleted(error: IoError | null): void {
    this.error ??= error;
    this.pending -= 1;
    assert(this.pending >= 0, 'more parts ended than began');
    if (this.pending === 0) this.whole.complete(this.error);
  }
}

/** A part: a range of the whole, by its offset on the same device. */
export class PartIo extends BlockIo {
  constructor(
    private readonly joined: JoinedIo,
    offsetBytes: number,
    lengthBytes: number,
  ) {
    super();
    const { whole } = joined;
    const at = offsetBytes - whole.offsetBytes;
    const data = whole.data.length === 0 ? whole.data : whole.data.subarray(at, at + lengthBytes);
    this.prepare(whole.op, offsetBytes, lengthBytes, data, whole.fua);
    this.waitingSinceMs = whole.waitingSinceMs; // a part that is split again waits no longer for it
  }

  override get isWanted(): boolean {
    return this.joined.whole.isWanted;
  }

  protected override completed(error: IoError | null): void {
    this.joined.partCompleted(error);
  }
}

/** A flush of what one holder has, by the route of an epoch. */
export class FlushPart extends PartIo {
  constructor(
    joined: JoinedIo,
    readonly holder: number,
    readonly epoch: number,
  ) {
    super(joined, 0, 0);
  }
}
