/**
 * What initiators ask of this member's extents, request by request, while somebody records it. In a ring that is full the
 * new takes the place of the oldest: nobody waits for a recorder. Rows are numbered, so that any number of readers have all
 * of them, each in its own time, and each knows how many it came too late for.
 */
import type { Clock } from '../base/clock.js';
import type { TraceAnswer } from './trace-cursor.js';

export type TracedRequest = TraceAnswer['requests'][number];

export class TraceRing {
  private readonly timesMs: Float64Array;
  private readonly offsets: Float64Array;
  private readonly lengths: Float64Array;
  private readonly volumes: Uint32Array;
  private readonly reads: Uint8Array;
  /** Rows, ever: the number of the next one. */
  private written = 0;
  /** Its place. */
  private place = 0;

  /** @param rowsMax that are kept */
  constructor(
    private readonly clock: Pick<Clock, 'wallMs'>,
    private readonly rowsMax: number,
  ) {
    this.timesMs = new Float64Array(rowsMax);
    this.offsets = new Float64Array(rowsMax);
    this.lengths = new Float64Array(rowsMax);
    this.volumes = new Uint32Array(rowsMax);
    this.reads = new Uint8Array(rowsMax);
  }

  /** The number of the next row. */
  get end(): number {
    return this.written;
  }

  /** @param volume its number, as whoever reads the rows knows it */
  add(volume: number, isRead: boolean, offsetBytes: number, lengthBytes: number): void {
    const at = this.place;
    this.place = at + 1 === this.rowsMax ? 0 : at + 1;
    this.written += 1;
    this.timesMs[at] = this.clock.wallMs();
    this.volumes[at] = volume;
    this.reads[at] = isRead ? 1 : 0;
    this.offsets[at] = offsetBytes;
    this.lengths[at] = lengthBytes;
  }

  /** The rows from the one of that number to the last, and how many of them are no longer here. */
  from(row: number): { readonly requests: TracedRequest[]; readonly dropped: number } {
    const { written, rowsMax, timesMs, volumes, reads, offsets, lengths } = this;
    const first = Math.min(Math.max(row, written - rowsMax), written);
    const requests = Array.from({ length: written - first }, (_, index): TracedRequest => {
      const at = (first + index) % rowsMax;
      return [
        timesMs[at] as number,
        volumes[at] as number,
        reads[at] === 1,
        offsets[at] as number,
        lengths[at] as number,
      ];
    });
    return { requests, dropped: Math.max(0, first - row) };
  }
}

/** Where one volume's requests go. */
export interface TraceTap {
  readonly ring: TraceRing;
  readonly volume: number;
}
