/** How long the loop keeps turning, and for whom: a loop of virtual time, a turn of it a microsecond. */
import t from 'tap';
import { LoopTurns } from '../../lib/base/loop-turns.js';
import { BusyPoll } from '../../lib/iscsi/target/busy-poll.js';
import { HandClock } from '../support/storage-doors.js';

const TURN_MS = 0.001;
/** What being woken takes beyond the time that what wakes it is there. */
const WAKE_MS = 0.15;

class Loop {
  readonly clock = new HandClock();
  readonly turns: LoopTurns;
  readonly poll: BusyPoll;
  /** Activities that found it turning. */
  inTime = 0;
  private due: (() => void) | null = null;

  constructor(longestUs?: number) {
    this.turns = new LoopTurns(this.clock.nowMs, (callback) => {
      this.due = callback;
    });
    this.poll = new BusyPoll(this.turns, longestUs);
  }

  get isTurning(): boolean {
    return this.due !== null;
  }

  /** Turns as long as it wants to, for `ms` at most. @returns how long it did */
  turn(ms = Infinity, turnMs = TURN_MS): number {
    const from = this.clock.atMs;
    for (let { due } = this; due !== null && this.clock.atMs - from < ms; { due } = this) {
      this.due = null;
      this.clock.atMs += turnMs;
      due();
    }
    return this.clock.atMs - from;
  }

  /** Somebody comes so much later; later still where the loop has gone to sleep. */
  comesAfter(gapMs: number): void {
    const turnedMs = this.turn(gapMs);
    this.clock.atMs += gapMs - turnedMs;
    if (this.isTurning) this.inTime += 1;
    else this.clock.atMs += WAKE_MS;
    this.poll.activity();
  }
}

t.test('who is alone ends it', (t) => {
  const loop = new Loop();
  t.equal(loop.isTurning, false, 'nothing has come yet');
  loop.poll.activity();
  const turnedMs = loop.turn();
  t.ok(turnedMs >= 0.3 && turnedMs < 0.31, `${turnedMs} ms`);
  t.equal(loop.isTurning, false);
  t.end();
});

t.test('an initiator that answers within the time is never slept on', (t) => {
  for (const gapMs of [0.01, 0.06, 0.2, 0.29]) {
    const loop = new Loop();
    loop.comesAfter(1);
    for (let i = 0; i < 1000; i++) loop.comesAfter(gapMs);
    t.ok(loop.inTime >= 999, `${gapMs} ms: ${loop.inTime} of 1000`);
  }
  t.end();
});

t.test('one that does not is not waited for, and is again once it does', (t) => {
  const loop = new Loop();
  for (let i = 0; i < 20; i++) loop.comesAfter(2);
  const before = loop.clock.atMs;
  const turnedBefore = loop.turns.spareMs;
  for (let i = 0; i < 500; i++) loop.comesAfter(2);
  t.equal(loop.turns.spareMs, turnedBefore, 'no longer than the short time');
  t.ok(loop.clock.atMs - before > 1000);
  loop.inTime = 0;
  for (let i = 0; i < 100; i++) loop.comesAfter(0.1);
  t.ok(loop.inTime >= 80, `${loop.inTime} of 100`);
  t.end();
});

t.test('many that come at once and stay away are not waited for', (t) => {
  const loop = new Loop();
  const burst = (): void => {
    loop.comesAfter(2);
    for (let i = 0; i < 8; i++) loop.comesAfter(0.005);
  };
  for (let i = 0; i < 20; i++) burst();
  const before = loop.turns.spareMs;
  for (let i = 0; i < 200; i++) burst();
  t.equal(loop.turns.spareMs, before);
  t.end();
});

t.test('one that is late by little costs some polls in vain, not all of them', (t) => {
  const loop = new Loop();
  let gapMs = 0.35;
  const from = loop.clock.atMs;
  for (let i = 0; i < 2000; i++) loop.comesAfter(gapMs);
  const share = loop.turns.spareMs / (loop.clock.atMs - from);
  t.ok(share < 0.2, `it turned for nothing in ${Math.round(share * 100)} % of the time`);
  gapMs = 0.25;
  loop.inTime = 0;
  for (let i = 0; i < 100; i++) loop.comesAfter(gapMs);
  t.ok(loop.inTime >= 80, `${loop.inTime} of 100 once it is in time`);
  t.end();
});

t.test('turning for nothing is idle, work is not', (t) => {
  const loop = new Loop();
  loop.poll.activity();
  const turnedMs = loop.turn();
  t.ok(Math.abs(loop.turns.spareMs - (turnedMs - 0.05)) < 0.005, 'all but the short time');
  const before = loop.turns.spareMs;
  for (let i = 0; i < 100; i++) loop.comesAfter(0.2); // it pays
  loop.turn(0.1);
  const counted = loop.turns.spareMs;
  const workedMs = loop.turn(Infinity, 0.02);
  t.ok(counted > before);
  t.ok(workedMs > 0.1);
  t.ok(loop.turns.spareMs - counted < workedMs / 5, 'turns of 20 us have something to do');
  t.end();
});

t.test('bounds: the longest that is asked for, none, a clock that stands still', (t) => {
  const short = new Loop(20);
  short.poll.activity();
  const turnedMs = short.turn();
  t.ok(turnedMs >= 0.02 && turnedMs < 0.025, `${turnedMs} ms of 0.02`);
  t.equal(short.turns.spareMs, 0);
  const never = new Loop(0);
  never.poll.activity();
  t.equal(never.isTurning, false);
  const still = new Loop();
  still.poll.activity();
  let turns = 0;
  const { clock } = still;
  while (still.isTurning && turns < 1e6) {
    const { atMs } = clock;
    still.turn(TURN_MS / 2);
    clock.atMs = atMs;
    turns += 1;
  }
  t.ok(turns > 100 && turns < 20_000, `${turns} turns`);
  t.end();
});
