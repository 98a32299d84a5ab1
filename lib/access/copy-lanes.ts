/**
 * Pieces of copies on their way to other homes: so many go to each member at once that sessions' commands find half of what
 * both may take of a link (peer/request-table.ts).
 */
import { assert } from '../base/assert.js';
import type { Clock, Timer } from '../base/clock.js';
import { FORWARD_RETRY_MS, PEER_BYTES_MAX, PIECE_BYTES_MAX } from '../base/limits.js';
import type { Held } from './errand.js';

export const LANE_PIECES_MAX = PEER_BYTES_MAX / (4 * PIECE_BYTES_MAX);

type Waiting = Pick<Held, 'go'>;

interface Lane {
  underWay: number;
  readonly waiting: Waiting[];
}

export class CopyLanes {
  private readonly lanes = new Map<string, Lane>();
  /** What waits may have to end, or to go elsewhere, long before there is room: it looks for that by itself. */
  private look: Timer | null = null;

  constructor(private readonly clock: Clock) {}

  /** Whether a piece may go to that member now. If not, go() is called, once, when it is time to ask again. */
  enter(member: string, piece: Waiting): boolean {
    const lane = this.lanes.get(member) ?? { underWay: 0, waiting: [] };
    this.lanes.set(member, lane);
    if (lane.underWay < LANE_PIECES_MAX) {
      lane.underWay += 1;
      return true;
    }
    lane.waiting.push(piece);
    this.look ??= this.clock.after(FORWARD_RETRY_MS, () => this.allLook());
    return false;
  }

  /** It was answered, or its link is lost. */
  leave(member: string): void {
    const lane = this.lanes.get(member);
    assert(lane !== undefined && lane.underWay > 0, 'a piece that was answered was sent');
    lane.underWay -= 1;
    // One that does not go after all leaves its place to the next.
    while (lane.underWay < LANE_PIECES_MAX) {
      const next = lane.waiting.shift();
      if (next === undefined) break;
      next.go();
    }
    if (lane.underWay === 0) this.lanes.delete(member);
  }

  /** Who goes on waiting does so in the same order. */
  private allLook(): void {
    this.look = null;
    for (const lane of this.lanes.values()) for (const piece of lane.waiting.splice(0)) piece.go();
  }
}
