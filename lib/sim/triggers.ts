/** Events that wait for a moment instead of a time: what a member has just reached, or an initiator was just promised. */
import type { PlanEvent, Point } from './plan.js';
import type { SimMember } from './sim-member.js';
import type { Timeline } from './timeline.js';

interface Waiting {
  readonly event: PlanEvent;
  readonly fromMs: number;
}

const isMove = ({ event }: Waiting): boolean => event.kind === 'move' || event.kind === 'move-part';

export class Triggers {
  private waiting: Waiting[] = [];

  constructor(
    private readonly timeline: Timeline,
    private readonly happen: (event: PlanEvent, here: SimMember) => void,
  ) {}

  /** At its time, or at the first such moment after it. */
  arm(event: PlanEvent, startMs: number): void {
    this.waiting.push({ event, fromMs: startMs + event.atMs });
  }

  reached(point: Point, here: SimMember): void {
    const { nowMs } = this.timeline;
    const ready = this.waiting.filter(({ event, fromMs }) => event.on === point && nowMs >= fromMs);
    // Of moves that wait for the same, one at a time.
    const [move] = ready.filter(isMove);
    const due = ready.filter((one) => one === move || !isMove(one));
    if (due.length === 0) return;
    this.waiting = this.waiting.filter((one) => !due.includes(one));
    // Never inside of the code that got there.
    for (const { event } of due) this.timeline.after(event.delayMs, () => this.happen(event, here));
  }
}
