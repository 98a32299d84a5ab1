/** What the lanes of a simulated initiator do: kinds of work in parts of a hundred, and the blocks they meet at. */
import type { Chance } from '../base/chance.js';
import { MOVE_CHUNK_BYTES } from '../base/limits.js';
import { PAGE_BYTES } from './inode.js';
import type { InitiatorPlan } from './plan.js';

export type Step = 'write' | 'read' | 'flush' | 'unmap' | 'repeat';

interface Work {
  /** In the order of Step; what is left are reads. */
  readonly write: number;
  readonly flush: number;
  readonly unmap: number;
  readonly repeat: number;
  /** Writes with FUA, of all writes. */
  readonly fua: number;
}

const WORKS: Record<InitiatorPlan['work'], Work> = {
  mixed: { write: 0.45, flush: 0.08, unmap: 0.05, repeat: 0.05, fua: 0.2 },
  writes: { write: 0.62, flush: 0.03, unmap: 0.02, repeat: 0.03, fua: 0.1 },
  holes: { write: 0.36, flush: 0.03, unmap: 0.2, repeat: 0.14, fua: 0.1 },
  durable: { write: 0.42, flush: 0.28, unmap: 0.03, repeat: 0.03, fua: 0.5 },
  flushes: { write: 0.1, flush: 0.8, unmap: 0, repeat: 0, fua: 0 },
  // Nothing that would tell a member with an old route that the extents are elsewhere.
  syncs: { write: 0, flush: 1, unmap: 0, repeat: 0, fua: 0 },
};

/** Blocks where most I/O meets: around the end of the first extent, so that many meet two, and far behind it. */
const HOT_BLOCKS = 12;

export function drawStep(chance: Chance, kind: InitiatorPlan['work']): Step {
  const { write, flush, unmap, repeat } = WORKS[kind];
  let left = chance.between(0, 1);
  for (const [step, share] of Object.entries({ write, flush, unmap, repeat }) as [Step, number][]) {
    if (left < share) return step;
    left -= share;
  }
  return 'read';
}

export function drawFua(chance: Chance, kind: InitiatorPlan['work']): boolean {
  return chance.happens(WORKS[kind].fua);
}

export interface Blocks {
  readonly first: number;
  readonly count: number;
}

/**
 * @param blocks of the volume
 * @param extentBlocks of one extent
 */
export function drawBlocks(chance: Chance, blocks: number, extentBlocks: number): Blocks {
  const most = chance.happens(0.03) ? Math.min(blocks, extentBlocks) : Math.min(blocks, 8);
  const count = chance.within(1, most);
  const room = blocks - count + 1;
  if (chance.happens(0.4)) return { first: chance.below(room), count };
  const from = chance.happens(0.6) ? extentBlocks - 6 : Math.floor(blocks * 0.7);
  const first = Math.max(0, Math.min(room - HOT_BLOCKS, from));
  return { first: first + chance.below(Math.min(HOT_BLOCKS, room)), count };
}

/**
 * Only whole pages give their space back: what is cleared is often made of them. And it lies anywhere, for where most I/O
 * meets it would be written again at once. Now and then a whole chunk goes: the copy of a move passes over it then.
 */
export function drawPages(chance: Chance, blocks: number, extentBlocks: number, blockBytes: number): Blocks {
  const perChunk = MOVE_CHUNK_BYTES / blockBytes;
  if (blocks >= perChunk && chance.happens(0.15))
    return { first: perChunk * chance.below(Math.floor(blocks / perChunk)), count: perChunk };
  const drawn = chance.happens(0.3)
    ? drawBlocks(chance, blocks, extentBlocks)
    : { first: chance.below(blocks), count: 1 };
  const perPage = PAGE_BYTES / blockBytes;
  if (perPage === 1 || chance.happens(0.3)) return drawn;
  const first = drawn.first - (drawn.first % perPage);
  return { first, count: Math.min(blocks - first, perPage * chance.within(1, 3)) };
}
