/**
 * What initiators ask of this member's extents, request by request, while somebody records it. A ring that is full drops
 * what is new and counts it: nobody waits for a recorder.
 */
import type { Clock } from '../base/clock.js';

/** [wall-clock ms, number of the volume, read, offset in bytes, length in bytes] */
export type TracedRequest = readonly [
  timeMs: number,
  volume: number,
  isRead: boolean,
  offsetBytes: number,
  lengthBytes: number,
];

export class TraceRing {
  private readonly timesMs: Float64Array;
  private readonly offsets: Float64Array;
  private readonly lengths: Float64Array;
  private readonly volumes: Uint32Array;
  private readonly reads: Uint8Array;
  private count = 0;
  private dropped = 0;

  /** @param rowsMax kept until they are taken */
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

  /** @param volume its number, as whoever takes the rows knows it */
  add(volume: number, isRead: boolean, offsetBytes: number, lengthBytes: number): void {
    const at = this.count;
    if (at === this.rowsMax) {
      this.dropped += 1;
      return;
    }
    this.count = at + 1;
    this.timesMs[at] = this.clock.wallMs();
    this.volumes[at] = volume;
    this.reads[at] = isRead ? 1 : 0;
    this.offsets[at] = offsetBytes;
    this.lengths[at] = lengthBytes;
  }

  /** All that is here, the oldest first, and how many found no room; makes room for more. */
  take(): { readonly requests: readonly TracedRequest[]; readonly dropped: number } {
    const { dropped, timesMs, volumes, reads, offsets, lengths } = this;
    const requests = Array.from({ length: this.count }, (_, at): TracedRequest => [
      timesMs[at] as number,
      volumes[at] as number,
      reads[at] === 1,
      offsets[at] as number,
      lengths[at] as number,
    ]);
    this.count = 0;
    this.dropped = 0;
    return { requests, dropped };
  }
}

/** Where one volume's requests go. */
export interface TraceTap {
  readonly ring: TraceRing;
  readonly volume: number;
}
