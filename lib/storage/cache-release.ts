/**
 * Gives the memory of parts of one file back to the system, though the file keeps them: what has moved away is read no
 * more, and until its space is given back too, memory for what comes would have to be found elsewhere. That costs where it
 * was nobody's for long: a virtual machine gets each page of it from its host then (10 µs seen, ten times the copy into it).
 *
 * A hint, in pieces, one at a time in the thread pool: what is dirty the kernel begins to write, and keeps.
 */
import { assert } from '../base/assert.js';
import type { InFlight } from './in-flight.js';
import type { PoolShare, PoolWork } from './pool-share.js';

/** So much at a time: half a millisecond of a thread, and 50 µs of the loop to take it out of the map. */
const PIECE_BYTES = 4 * 1024 * 1024;

/**
 * Tells the kernel, in the thread pool, that a range of a file is not needed in memory: a hint, which may be lost. `done` is
 * called once all the same, and never within the call.
 */
export type Uncache = (fd: number, offsetBytes: number, lengthBytes: number, done: () => void) => void;

export class CacheRelease implements PoolWork {
  /** What is left of each range. */
  private readonly ranges: { fromBytes: number; toBytes: number }[] = [];

  /** @param forget takes a range out of this process's map: the kernel keeps what is mapped anywhere */
  constructor(
    private readonly fd: number,
    private readonly uncache: Uncache,
    private readonly forget: (offsetBytes: number, lengthBytes: number) => void,
    private readonly share: PoolShare,
    private readonly inFlight: InFlight,
  ) {}

  add(offsetBytes: number, lengthBytes: number): void {
    if (lengthBytes === 0) return; // to the kernel that is all to the end of the file
    const last = this.ranges.at(-1);
    if (last?.toBytes === offsetBytes) {
      last.toBytes += lengthBytes;
      return;
    }
    this.ranges.push({ fromBytes: offsetBytes, toBytes: offsetBytes + lengthBytes });
    if (this.ranges.length > 1) return;
    this.inFlight.begin();
    this.share.run(this);
  }

  /** There is room in the pool for the next piece. */
  start(): void {
    const [range] = this.ranges;
    assert(range !== undefined, 'memory is given back of nothing');
    const { fromBytes } = range;
    const lengthBytes = Math.min(PIECE_BYTES, range.toBytes - fromBytes);
    range.fromBytes += lengthBytes;
    this.forget(fromBytes, lengthBytes);
    this.uncache(this.fd, fromBytes, lengthBytes, this.onDone);
  }

  private readonly onDone = (): void => {
    this.share.ended();
    const [range] = this.ranges;
    if (range !== undefined && range.fromBytes === range.toBytes) this.ranges.shift();
    if (this.ranges.length > 0) this.share.run(this);
    else this.inFlight.end();
  };
}
