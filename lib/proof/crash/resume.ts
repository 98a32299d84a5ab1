/**
 * A move that a crash interrupts goes on where it was: no extent that is committed is copied again. Counted at the
 * waypoint that every attempt on an extent passes, over all lives of the source, since what a killed process had counted
 * of its own copies may not have been written yet.
 */
import { MOVE_BATCH_BYTES } from '../../base/limits.js';
import type { Waypoint } from '../../base/waypoints.js';
import { Scope } from '../../bench/scope.js';
import { endOfMove } from '../../bench/servers.js';
import type { Line } from '../figures.js';
import { EXTENT_BYTES, MOVE_MS_MAX, Scene, VOLUME } from './scene.js';

const BATCH_EXTENTS = MOVE_BATCH_BYTES / EXTENT_BYTES;
const BATCHES = 3;
/** Not as the move says: after a restart it counts what was left then. */
const EXTENTS = BATCHES * BATCH_EXTENTS;

interface Death {
  readonly who: 'source' | 'destination';
  readonly point: Waypoint;
  readonly nth: number;
  /** How many attempts on extents the move may need in all then. */
  readonly attempts: number;
}

const DEATHS: readonly Death[] = [
  { who: 'source', point: 'batch.given', nth: 1, attempts: EXTENTS },
  { who: 'source', point: 'batch.synced', nth: 2, attempts: EXTENTS + BATCH_EXTENTS },
  // Three syncs a batch: in the middle of the second.
  { who: 'destination', point: 'destination.synced', nth: 5, attempts: EXTENTS + BATCH_EXTENTS },
];

export async function runResume(workFolder: string): Promise<Line[]> {
  const results: Line[] = [];
  for (const death of DEATHS) {
    const scope = new Scope();
    try {
      const scene = await Scene.open(workFolder, scope);
      await scene.makeVolume(VOLUME, EXTENTS);
      await scene.load(scope);
      const member = death.who === 'source' ? 'm1' : 'm2';
      scene.desk.give(member, {
        point: death.point,
        nth: death.nth,
        victims: [{ pid: 0, signal: 'SIGKILL' }],
      });
      scene.willDie(member);
      const begun = await scene.client.createMove({ volume: VOLUME, to: 'm2' });
      const move = await endOfMove(scene.client, begun, { msMax: MOVE_MS_MAX });
      const attempts = scene.desk.passed('m1', 'extent.begun');
      const { faults } = await scene.judge();
      const died = scene.desk.carriedAtMs(member) !== undefined;
      // Read after the judgement: its source's last figures may come after its end.
      const { bytesCopied } = await scene.client.move(move.id);
      results.push({
        text: `the ${death.who} dies at ${death.point} (${death.nth}): ${attempts} attempts on ${EXTENTS} extents, at most ${death.attempts}; ${bytesCopied / EXTENT_BYTES} MiB copied${faults.map((fault) => `; ${fault}`).join('')}`,
        holds:
          died &&
          move.state === 'done' &&
          isCopiedOnce({ attempts, bytesCopied }, death.attempts) &&
          faults.length === 0,
      });
    } finally {
      await scope.close();
    }
  }
  return results;
}

/** Each extent was tried, which is seen at its waypoint, and none more often than it has to be. */
export function isCopiedOnce(
  { attempts, bytesCopied }: { attempts: number; bytesCopied: number },
  attemptsMax: number,
): boolean {
  return attempts >= EXTENTS && attempts <= attemptsMax && bytesCopied <= attemptsMax * EXTENT_BYTES;
}
