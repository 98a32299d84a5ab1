/** Whose board the group's loads are told from: one member's, so that all figures were compared by the same clock. */
import { sleep, type Clock } from '../base/clock.js';
import type { DatedVector } from '../load/vector.js';

/** An answer that takes longer is late. Of MEMBERS_MAX, all silent, the last is given up within the request's deadline. */
const LATE_MS = 100;

export interface Board {
  /** The member that has it; null: none has answered. */
  readonly from: string | null;
  readonly vectors: readonly DatedVector[];
}

/**
 * The board of the first member that answers and knows all; where none does, of who knows most, such as when one has just
 * begun. A board is large in a large group, so that the next one is asked only when the last has not answered soon, or
 * knows too little.
 * @param members that are up
 * @param ask undefined where the member does not answer; never rejects
 */
export async function fullestBoard(
  members: readonly string[],
  clock: Clock,
  ask: (member: string) => Promise<readonly DatedVector[] | undefined>,
): Promise<Board> {
  let fullest: Board = { from: null, vectors: [] };
  let found = (): void => undefined;
  const isFound = new Promise<void>((resolve) => (found = resolve));
  const look = async (member: string): Promise<void> => {
    const vectors = await ask(member);
    if (vectors === undefined) return;
    if (fullest.from === null || vectors.length > fullest.vectors.length) fullest = { from: member, vectors };
    if (fullest.vectors.length >= members.length) found();
  };
  const asked: Promise<void>[] = [];
  for (const member of members) {
    asked.push(look(member));
    await Promise.race([asked.at(-1), isFound, sleep(clock, LATE_MS)]);
    if (fullest.vectors.length >= members.length) return fullest;
  }
  await Promise.race([isFound, Promise.all(asked)]);
  return fullest;
}
