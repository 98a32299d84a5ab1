/**
 * Pieces of copies on their way to other homes: so many go to each member at once that sessions' commands find half of what
 * both may take of a link (peer/request-table.ts).
 */
import { assert } from '../base/assert.js';
import { PEER_BYTES_MAX, PIECE_BYTES_MAX } from '../base/limits.js';

export const LANE_PIECES_MAX = PEER_BYTES_MAX / (4 * PIECE_BYTES_MAX);

interface Lane {
  underWay: number;
  readonly waiting: (() => void)[];
}

export class CopyLanes {
  private readonly lanes = new Map<string, Lane>();

  /** Calls back, now or later, when a piece may go to that member. */
  enter(member: string, go: () => void): void {
    const lane = this.lanes.get(member) ?? { underWay: 0, waiting: [] };
    this.lanes.set(member, lane);
    if (lane.underWay === LANE_PIECES_MAX) return void lane.waiting.push(go);
    lane.underWay += 1;
    go();
  }

  /** It was answered, or its link is lost. */
  leave(member: string): void {
    const lane = this.lanes.get(member);
    assert(lane !== undefined && lane.underWay > 0, 'a piece that was answered was sent');
    const next = lane.waiting.shift();
    if (next !== undefined) return next();
    lane.underWay -= 1;
    if (lane.underWay === 0) this.lanes.delete(member);
  }
}
