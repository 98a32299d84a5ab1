/** Records a member's requests for as long as somebody asks for them; nobody does: nothing is recorded. */
import type { Clock, Timer } from '../base/clock.js';
import { TRACE_IDLE_MS, TRACE_ROWS_MAX } from '../base/limits.js';
import { TraceRing, type TracedRequest } from '../load/trace-ring.js';
import type { VolumeTraffic } from '../load/traffic.js';

export interface RecordedVolume {
  readonly record: { readonly name: string; readonly id: number };
  readonly traffic: Pick<VolumeTraffic, 'tap'>;
}

/** The answer to QUERY {"what":"trace"}. */
export interface TraceAnswer {
  /** Number of a volume in `requests` → its name. */
  readonly volumes: Readonly<Record<number, string>>;
  readonly requests: readonly TracedRequest[];
  /** Requests that are missing, since they came faster than they were asked for. */
  readonly dropped: number;
}

export class TraceRecorder {
  private ring: TraceRing | null = null;
  private idle: Timer | null = null;

  constructor(
    private readonly clock: Clock,
    private readonly volumes: () => Iterable<RecordedVolume>,
  ) {}

  /** What was asked since the last call; the first begins the recording. */
  take(): TraceAnswer {
    this.idle?.cancel();
    this.idle = this.clock.after(TRACE_IDLE_MS, () => this.close());
    const ring = (this.ring ??= new TraceRing(this.clock, TRACE_ROWS_MAX));
    const { requests, dropped } = ring.take();
    const names: Record<number, string> = {};
    for (const { record, traffic } of this.volumes()) {
      names[record.id] = record.name;
      traffic.tap ??= { ring, volume: record.id };
    }
    const asked = new Set(requests.map(([, volume]) => volume));
    const volumes = Object.entries(names).filter(([id]) => asked.has(Number(id)));
    return { volumes: Object.fromEntries(volumes), requests, dropped };
  }

  close(): void {
    this.idle?.cancel();
    this.idle = null;
    this.ring = null;
    for (const { traffic } of this.volumes()) traffic.tap = null;
  }
}
