/** Tells a destination that attempts are over: it would keep what it has received for as long as both members run. */
import { sleep, type Clock } from '../base/clock.js';
import { MOVE_BACKOFF_MS_MAX, MOVE_BACKOFF_MS_MIN } from '../base/limits.js';
import { keys } from '../group/records.js';
import type { GroupStore } from '../group/store.js';
import { PeerType } from '../peer/contract.js';
import { DestinationError, type DestinationLink } from './destination-link.js';

/**
 * In a row, some ten minutes: a destination that is out of the group so long has left it for good. A process that does come
 * back later has lost nothing but space, until the extent is next received there or it starts again.
 */
const ABSENCES_MAX = 120;

export interface AbortNoticeContext {
  readonly destination: DestinationLink;
  readonly store: GroupStore;
  readonly clock: Clock;
  /** The member stops: nothing is tried again. */
  isStopping(): boolean;
}

interface Attempt {
  readonly extent: number;
  readonly token: number;
}

/** One that is away hears of it when it is back. Never rejects. */
export async function sayAborted(context: AbortNoticeContext, attempts: readonly Attempt[]): Promise<void> {
  const { clock, isStopping } = context;
  let absences = 0;
  let untold = attempts;
  for (let tries = 0; untold.length > 0 && !isStopping(); tries++) {
    untold = await stillUntold(context, untold);
    if (untold.length === 0) return;
    absences = (await isAbsent(context)) ? absences + 1 : 0;
    if (absences === ABSENCES_MAX) return;
    await sleep(clock, Math.min(MOVE_BACKOFF_MS_MIN * 2 ** tries, MOVE_BACKOFF_MS_MAX));
  }
}

async function stillUntold(
  { destination }: AbortNoticeContext,
  attempts: readonly Attempt[],
): Promise<Attempt[]> {
  const areAway = await Promise.all(
    attempts.map(({ extent, token }) =>
      destination.step(PeerType.EXTENT_ABORT, { extent, token }).then(
        () => false,
        (error: unknown) => error instanceof DestinationError && error.isAway,
      ),
    ),
  );
  return attempts.filter((_, index) => areAway[index]);
}

/** By the store; where that does not answer, nobody knows. */
async function isAbsent({ store, destination }: AbortNoticeContext): Promise<boolean> {
  try {
    return (await store.get(keys.member(destination.member))) === undefined;
  } catch {
    return false;
  }
}
