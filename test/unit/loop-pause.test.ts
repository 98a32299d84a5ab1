/** The pauses of the event loop: what is told of them, and that a loop at rest is watched by a slow timer. */
import type { IntervalHistogram } from 'node:perf_hooks';
import t from 'tap';
import { systemClock, type Clock } from '../../lib/base/clock.js';
import { LoopPause } from '../../lib/member/loop-pause.js';
import { SteppedClock } from '../support/hand-clock.js';

/** A loop that sleeps as it is told, watched by histograms that are filled by hand, in milliseconds. */
class HandLoop {
  private readonly steps = new SteppedClock();
  /** By how much the loop has been late. */
  lateMs = 0;
  readonly clock: Clock = {
    nowMs: () => this.steps.nowMs() + this.lateMs,
    wallMs: () => this.steps.wallMs(),
    after: (delayMs, fire) => this.steps.after(delayMs, fire),
  };
  readonly watches: { readonly resolutionMs: number; readonly histogram: HandHistogram }[] = [];
  slept = 0;

  monitor(resolutionMs: number): IntervalHistogram {
    const histogram = new HandHistogram();
    this.watches.push({ resolutionMs, histogram });
    return histogram as unknown as IntervalHistogram;
  }

  sleptMs(): number {
    return this.slept;
  }

  /** A second in which the loop worked for this share of it. */
  second(busy: number): void {
    this.slept += 1000 * (1 - busy);
    this.steps.pass(1000);
  }

  get running(): number[] {
    return this.watches
      .filter(({ histogram }) => histogram.isEnabled)
      .map(({ resolutionMs }) => resolutionMs);
  }

  get last(): HandHistogram {
    return (this.watches.at(-1) as (typeof this.watches)[number]).histogram;
  }
}

class HandHistogram {
  isEnabled = false;
  private intervalsMs: number[] = [];

  enable(): void {
    this.isEnabled = true;
  }
  disable(): void {
    this.isEnabled = false;
  }
  reset(): void {
    this.intervalsMs = [];
  }
  record(ms: number): void {
    this.intervalsMs.push(ms);
  }
  get count(): number {
    return this.intervalsMs.length;
  }
  get max(): number {
    return Math.max(0, ...this.intervalsMs) * 1e6;
  }
  percentile(): number {
    return this.max;
  }
}

t.test('a loop at rest is watched by a slow timer, one at work by a quick one', async (t) => {
  const loop = new HandLoop();
  const pause = new LoopPause(() => 0, loop);
  t.same(loop.running, [4]);
  loop.second(0.9);
  t.same(loop.running, [4]);
  loop.second(0.02);
  t.same(loop.running, [64]);
  loop.second(0.05);
  t.equal(loop.watches.length, 2, 'still at rest: the same timer');
  loop.second(0.5);
  t.same(loop.running, [4]);
  pause.close();
  t.same(loop.running, []);
  loop.second(0);
  t.same(loop.running, [], 'nothing begins after the end');
});

t.test('turning for nothing is rest', async (t) => {
  const loop = new HandLoop();
  let spareMs = 0;
  const pause = new LoopPause(() => spareMs, loop);
  spareMs = 950;
  loop.second(1);
  t.same(loop.running, [64]);
  pause.close();
});

t.test('what was seen is told after the timer was changed, and the window only once', async (t) => {
  const loop = new HandLoop();
  const pause = new LoopPause(() => 0, loop);
  loop.last.record(4.2);
  t.equal(pause.maxPauseMs, 0, 'no more than the timer itself');
  loop.last.record(34);
  loop.second(0.02);
  loop.last.record(64.5);
  t.equal(pause.maxPauseMs, 34);
  t.equal(pause.takeDelayMs(), 30);
  t.equal(pause.takeDelayMs(), 0);
  t.equal(pause.maxPauseMs, 34);
  loop.last.record(164);
  t.equal(pause.maxPauseMs, 104, 'at rest it is the lateness of the slow timer');
  t.equal(pause.takeDelayMs(), 100);
  pause.close();
});

t.test('a pause that the look is the first to see', async (t) => {
  const loop = new HandLoop();
  const pause = new LoopPause(() => 0, loop);
  loop.second(0.02);
  loop.lateMs = 150;
  loop.second(0.2);
  t.same(loop.running, [4], 'its histogram has gone');
  t.equal(pause.maxPauseMs, 154);
  pause.close();
});

t.test('a real loop that stands still for 120 ms', async (t) => {
  const pause = new LoopPause();
  t.teardown(() => pause.close());
  await new Promise((resolve) => setTimeout(resolve, 30));
  const untilMs = systemClock.nowMs() + 120;
  while (systemClock.nowMs() < untilMs);
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.ok(pause.maxPauseMs >= 112, `${pause.maxPauseMs} ms`);
});
