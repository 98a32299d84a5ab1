/**
 * The traffic of one volume at one member, counted where every I/O passes (volume/local-slot.ts): four counters and the
 * end of the request, some nanoseconds. The rest is learnt from a sample: one request in so many, by chance, so that no
 * stride of an initiator's falls in with ours. A window's end (monitor.ts) makes figures of it.
 */
import type { Clock } from '../base/clock.js';
import { SAMPLES_WANTED, SAMPLE_EVERY_MAX, STREAMS_SEEN } from '../base/limits.js';
import { SeededRandom } from '../base/random.js';
import type { ServiceTimes } from './service-times.js';
import type { TraceTap } from './trace-ring.js';
import { TrafficSample } from './traffic-sample.js';

/** What was asked of a volume's extents here in one window. */
export interface TrafficWindow {
  readonly reads: number;
  readonly writes: number;
  readonly readBytes: number;
  readonly writeBytes: number;
  /** Of the sample; valid until the next window is taken. */
  readonly service: ServiceTimes;
  /** Of the requests that begin where an earlier one ended. */
  readonly sequentialShare: number;
  /** See TrafficPattern. */
  readonly burstiness: number;
  /** The hottest first. */
  readonly hot: readonly HotExtent[];
}

export interface HotExtent {
  readonly extent: number;
  /** Of the requests of some windows, decayed. */
  readonly share: number;
  /** Of those of this window. */
  readonly shareLately: number;
}

interface Counts {
  reads: number;
  writes: number;
  readBytes: number;
  writeBytes: number;
}

/** Until the first sample, which is the first request: most volumes of a large group have none. */
const NO_ENDS = new Float64Array(0);
/** Until the first window has told how much there is to sample. */
const SAMPLE_EVERY_FIRST = 16;
/** Any: volumes need not differ in it. */
const SEED = 1;

export class VolumeTraffic implements Counts {
  /** Requests and bytes, ever. */
  reads = 0;
  writes = 0;
  readBytes = 0;
  writeBytes = 0;
  /** Told of every request, while somebody records them. */
  tap: TraceTap | null = null;
  /** Where the last requests ended, in a ring. */
  private ends = NO_ENDS;
  private nextEnd = 0;
  private untilSample = 1;
  private sampleEvery = SAMPLE_EVERY_FIRST;
  private sample: TrafficSample | null = null;
  private random: SeededRandom | null = null;
  private before: Counts = { reads: 0, writes: 0, readBytes: 0, writeBytes: 0 };
  private requestsBefore = 0;

  constructor(
    private readonly clock: Pick<Clock, 'nowMs'>,
    private readonly extentBytes: number,
  ) {}

  /**
   * A request begins. What moves no data (a discard) has no bytes and counts as a write; a flush does not count.
   * @returns true: it is one of the sample, and ended() wants to know how long it took from nowMs() on
   */
  began(isRead: boolean, offsetBytes: number, dataBytes: number): boolean {
    if (isRead) {
      this.reads += 1;
      this.readBytes += dataBytes;
    } else {
      this.writes += 1;
      this.writeBytes += dataBytes;
    }
    const { tap } = this;
    if (tap !== null) tap.ring.add(tap.volume, isRead, offsetBytes, dataBytes);
    this.untilSample -= 1;
    const isSampled = this.untilSample === 0;
    if (isSampled) this.look(offsetBytes);
    this.ends[this.nextEnd] = offsetBytes + dataBytes;
    this.nextEnd = (this.nextEnd + 1) & (STREAMS_SEEN - 1);
    return isSampled;
  }

  /** One of the sample has ended. */
  ended(tookMs: number): void {
    this.sample?.service.add(tookMs, this.sampleEvery);
  }

  nowMs(): number {
    return this.clock.nowMs();
  }

  private look(offsetBytes: number): void {
    if (this.ends === NO_ENDS) this.ends = new Float64Array(STREAMS_SEEN).fill(-1);
    this.random ??= new SeededRandom(SEED);
    this.sample ??= new TrafficSample();
    // From 1 to nearly twice as many, `sampleEvery` on average.
    this.untilSample = 1 + (this.random.uint32() % (2 * this.sampleEvery - 1));
    const isSequential = this.ends.includes(offsetBytes);
    this.sample.add(Math.floor(offsetBytes / this.extentBytes), isSequential, this.sampleEvery);
  }

  /** A part of the window is over. */
  endSlice(): void {
    const requests = this.reads + this.writes;
    this.sample?.addSlice(requests - this.requestsBefore);
    this.requestsBefore = requests;
  }

  /** The figures since the last call; null when nobody asked for anything. */
  takeWindow(): TrafficWindow | null {
    const { sample, before, reads, writes, readBytes, writeBytes } = this;
    this.before = { reads, writes, readBytes, writeBytes };
    if (sample === null) return null;
    const requests = reads + writes - before.reads - before.writes;
    if (requests === 0) {
      if (sample.cool() === 0) this.rest();
      return null;
    }
    const figures = {
      reads: reads - before.reads,
      writes: writes - before.writes,
      readBytes: readBytes - before.readBytes,
      writeBytes: writeBytes - before.writeBytes,
      ...sample.takeWindow(),
    };
    this.sampleEvery = intervalFor(requests);
    return figures;
  }

  /** Nobody has asked for anything for long: gives the memory back. */
  private rest(): void {
    this.sample = null;
    this.ends = NO_ENDS;
    this.nextEnd = 0;
    this.untilSample = 1;
  }
}

/** One in so many gives about SAMPLES_WANTED of the next window. */
function intervalFor(requests: number): number {
  let every = 1;
  while (every < SAMPLE_EVERY_MAX && requests / every > SAMPLES_WANTED) every *= 2;
  return every;
}
