/** Records a member's requests for as long as somebody asks for them; nobody does: nothing is recorded. */
import type { Clock, Timer } from '../base/clock.js';
import { TRACE_IDLE_MS, TRACE_ROWS_MAX } from '../base/limits.js';
import { randomToken, type Random } from '../base/random.js';
import { TraceQuestion, type TraceAnswer, type TraceCursor } from '../load/trace-cursor.js';
import { TraceRing } from '../load/trace-ring.js';
import type { VolumeTraffic } from '../load/traffic.js';

export interface RecordedVolume {
  readonly record: { readonly name: string; readonly id: number };
  readonly traffic: Pick<VolumeTraffic, 'tap'>;
}

/** From the first question to the last, whoever asks. */
interface Recording {
  readonly id: string;
  readonly ring: TraceRing;
}

export class TraceRecorder {
  private recording: Recording | null = null;
  private idle: Timer | null = null;

  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly volumes: () => Iterable<RecordedVolume>,
  ) {}

  /** Of QUERY {"what":"trace"}. Throws where the question is malformed. */
  answer(question: unknown): TraceAnswer {
    return this.read(TraceQuestion.parse(question).after);
  }

  /**
   * What was asked since the reader was at `after`, or from now on where that is null. The first question begins the
   * recording. Whoever was in an earlier one, which has ended, has missed nothing of this one.
   */
  read(after: TraceCursor | null): TraceAnswer {
    this.idle?.cancel();
    this.idle = this.clock.after(TRACE_IDLE_MS, () => this.close());
    const { id, ring } = (this.recording ??= {
      id: randomToken(this.random),
      ring: new TraceRing(this.clock, TRACE_ROWS_MAX),
    });
    const from = after === null ? ring.end : after.recording === id ? after.row : 0;
    const told = ring.from(from);
    const asked = new Set(told.requests.map(([, volume]) => volume));
    const names: Record<number, string> = {};
    for (const { record, traffic } of this.volumes()) {
      if (asked.has(record.id)) names[record.id] = record.name;
      if (traffic.tap?.ring !== ring) traffic.tap = { ring, volume: record.id };
    }
    return { volumes: names, ...told, next: { recording: id, row: ring.end } };
  }

  close(): void {
    this.idle?.cancel();
    this.idle = null;
    this.recording = null;
    for (const { traffic } of this.volumes()) traffic.tap = null;
  }
}
