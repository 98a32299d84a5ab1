/**
 * What has come of the decisions that moved something: measured once their moves have ended and the group has served whole
 * windows since. A decision outlives the process that made it, but not what that process had measured before: what an earlier
 * one has left open, or a member that is gone, is closed without an outcome, and says so. Nothing stays open for ever.
 */
import type { GroupPicture } from '../balance/contract.js';
import { boundedSigned, type Decision, type GroupFigures } from '../balance/decision.js';
import { outcomeOf } from '../balance/outcome.js';
import type { Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { listDecisions, putDecision } from '../group/admin.js';
import type { MoveRecord } from '../group/records.js';
import type { GroupStore } from '../group/store.js';
import type { LoadVector } from '../load/vector.js';
import { figuresOf } from './group-picture.js';

export interface OutcomeWatchParts {
  readonly self: string;
  readonly store: GroupStore;
  readonly clock: Pick<Clock, 'wallMs'>;
  readonly log: Logger;
}

/** Moves that were asked for, and what has to pass before their outcome is measured. */
interface Awaited {
  readonly decision: Decision;
  /** What it was decided on; null: another process did, and only the figures of the group are known. */
  readonly before: readonly LoadVector[] | null;
  /** Windows that have passed since the last of them ended. */
  windows: number;
}

/** Vectors are a window old, and the next window began before the last move ended: only the third is of what followed. */
const OUTCOME_WINDOWS = 2;
/** Where nobody tells what it serves, such as when all members are to be empty, nothing comes any more. */
const OUTCOME_WINDOWS_MAX = 20;

export class OutcomeWatch {
  private awaited: Awaited[] = [];
  /** Who was in the group when nothing of others was left open; null: this process has not looked yet. */
  private settledWith: string | null = null;

  constructor(private readonly parts: OutcomeWatchParts) {}

  /** Whether windowEnded() has something to do where these are in the group. */
  isAwaiting(members: readonly string[]): boolean {
    return this.awaited.length > 0 || this.settledWith !== nameOf(members);
  }

  /** Moves of it were asked for. */
  expect(decision: Decision, picture: GroupPicture): void {
    // An outcome is told of members: what they said of volumes is not kept.
    const before = freshOf(picture).map((vector) => ({ ...vector, volumes: [] }));
    this.awaited.push({ decision, before, windows: 0 });
  }

  /** A window has passed. What cannot be written is tried again after the next one, and keeps nobody from planning. */
  async windowEnded(picture: GroupPicture, moves: readonly MoveRecord[]): Promise<void> {
    const active = new Set(moves.filter(({ state }) => state === 'active').map(({ id }) => id));
    try {
      await this.closeAbandoned(picture, active);
      for (const awaited of [...this.awaited]) {
        if (!isUnderWay(awaited.decision, active)) await this.measure(awaited, picture);
      }
    } catch (error) {
      this.parts.log.warn(
        { error: describeError(error) },
        'what moves have brought cannot be remembered yet',
      );
    }
  }

  private async measure(awaited: Awaited, picture: GroupPicture): Promise<void> {
    awaited.windows += 1;
    const after = figuresOf(picture);
    if (awaited.windows <= (after === null ? OUTCOME_WINDOWS_MAX : OUTCOME_WINDOWS)) return;
    const { decision } = awaited;
    const { store, clock } = this.parts;
    await putDecision(
      store,
      after === null
        ? { ...decision, unmeasured: 'nobody says what it serves' }
        : measured(awaited, freshOf(picture), { measuredAtMs: Math.floor(clock.wallMs()), after }),
    );
    this.awaited = this.awaited.filter((other) => other !== awaited);
  }

  /** Those of an earlier process of this member; and of members that have left, the first that is here sees to them. */
  private async closeAbandoned({ members }: GroupPicture, active: ReadonlySet<string>): Promise<void> {
    const { self, store } = this.parts;
    const names = members.map(({ name }) => name).sort();
    if (this.settledWith === nameOf(names)) return;
    let isSettled = true;
    for (const decision of await listDecisions(store)) {
      const { id, by } = decision;
      if (!isOpen(decision) || this.awaited.some((awaited) => awaited.decision.id === id)) continue;
      const isOwn = by === self;
      if (!isOwn && (names.includes(by) || names[0] !== self)) continue;
      if (!isUnderWay(decision, active)) {
        const unmeasured = isOwn ? `${by} was started anew` : `${by} has left the group`;
        await putDecision(store, { ...decision, unmeasured });
      } else if (isOwn) this.awaited.push({ decision, before: null, windows: 0 });
      else isSettled = false;
    }
    if (isSettled) this.settledWith = nameOf(names);
  }
}

function nameOf(members: readonly string[]): string {
  return [...members].sort().join(' ');
}

function isOpen({ moves, outcome, unmeasured }: Decision): boolean {
  return moves.some(({ move }) => move !== null) && outcome === null && unmeasured === '';
}

function isUnderWay({ moves }: Decision, active: ReadonlySet<string>): boolean {
  return moves.some(({ move }) => move !== null && active.has(move));
}

function freshOf({ members }: GroupPicture): LoadVector[] {
  return members.flatMap(({ vector, isFresh }) => (vector !== null && isFresh ? [vector] : []));
}

/** With each move that was made beside what was predicted of it, where that is known. */
function measured(
  { decision, before }: Awaited,
  vectors: readonly LoadVector[],
  outcome: { readonly measuredAtMs: number; readonly after: GroupFigures },
): Decision {
  const moves = decision.moves.map((move) => {
    if (move.move === null || before === null) return move;
    const predicted = { ...move.predicted, payBackMs: move.predicted.payBackMs ?? Infinity };
    const { gainMs, predictedGainMs, loadChange } = outcomeOf({ predicted }, before, vectors);
    const brought = {
      gainMs: boundedSigned(gainMs),
      predictedGainMs: boundedSigned(predictedGainMs),
      loadChange: boundedSigned(loadChange),
    };
    return { ...move, brought };
  });
  return { ...decision, moves, outcome };
}
