/**
 * One process of a simulated world: whatever comes to it (timers, bytes, answers of disk and store) enters here. Dead, it
 * gets nothing any more; paused, it gets everything late, in the order in which it came. So a crash can happen at any
 * await, and a pause can outlast a lease, without shipped code knowing of either.
 */
import type { Clock, Timer } from '../base/clock.js';
import type { Timeline } from './timeline.js';

/** The wall clock of every world begins here. */
const EPOCH_MS = Date.UTC(2026, 0, 1);

export type ProcessState = 'running' | 'paused' | 'dead';

export class SimProcess {
  state: ProcessState = 'running';
  readonly clock: Clock;
  /** What a step of the clock added. */
  wallOffsetMs = 0;
  private withheld: (() => void)[] = [];

  /**
   * @param name unique among those that run
   * @param failed told what the process's code threw: in a real process that is its end
   */
  constructor(
    readonly timeline: Timeline,
    readonly name: string,
    readonly host: string,
    readonly pid: number,
    private readonly failed: (process: SimProcess, error: unknown) => void,
  ) {
    this.clock = {
      nowMs: () => timeline.nowMs,
      wallMs: () => EPOCH_MS + Math.floor(timeline.nowMs) + this.wallOffsetMs,
      after: (delayMs, fire) => this.after(delayMs, fire),
    };
  }

  get isDead(): boolean {
    return this.state === 'dead';
  }

  /** Something has come for this process. */
  enter(run: () => void): void {
    if (this.state === 'running') this.run(run);
    else if (this.state === 'paused') this.withheld.push(run);
  }

  /** The same, later. */
  enterAfter(delayMs: number, run: () => void): void {
    this.timeline.after(delayMs, () => this.enter(run));
  }

  pause(): void {
    if (this.state === 'running') this.state = 'paused';
  }

  /** What was withheld comes now, one after the other. */
  resume(): void {
    if (this.state !== 'paused') return;
    this.state = 'running';
    const { withheld } = this;
    this.withheld = [];
    for (const run of withheld) this.enterAfter(0, run);
  }

  kill(): void {
    this.state = 'dead';
    this.withheld = [];
  }

  private run(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.failed(this, error);
    }
  }

  private after(delayMs: number, fire: () => void): Timer {
    let isCancelled = false;
    const due = this.timeline.after(Math.max(0, delayMs), () =>
      this.enter(() => {
        if (!isCancelled) fire();
      }),
    );
    return {
      cancel: () => {
        isCancelled = true;
        due.cancel();
      },
    };
  }
}
