/**
 * Does a move end under nothing but random writes at full speed? Beside the same move at rest: what is copied stays near
 * the size of the volume, since mirrored writes make nothing dirty (rule 7), and it takes a few times as long at most.
 */
import { sleep, systemClock } from '../../base/clock.js';
import { moveAndWait, secondsOf, startGroup } from '../../bench/servers.js';
import { Scope } from '../../bench/scope.js';
import { median } from '../../bench/stats.js';
import type { Line } from '../figures.js';
import { LoadedClient } from '../loaded-client.js';

export interface Convergence {
  readonly sizeBytes: number;
  readonly idleSeconds: number;
  readonly loadedSeconds: number;
  /** Of the move that copied most. */
  readonly bytesCopied: number;
  readonly writesPerSecond: number;
  readonly lines: readonly Line[];
}

const COPIED_RATIO_MAX = 1.2;
const TIME_RATIO_MAX = 3;
/** The times are medians of so many moves there at rest and back under load, in turns. */
const ROUNDS = 3;
const VOLUME = 'written';
const WARM_UP_MS = 1000;

export async function runConvergence(
  sizeBytes: number,
  queueDepth: number,
  workFolder: string,
): Promise<Convergence> {
  const scope = new Scope();
  try {
    const group = await startGroup(3, workFolder, scope);
    const { url } = await group.client.createVolume({ name: VOLUME, size: sizeBytes, home: 'm1' });
    const order = { by: 'harness', url, seed: 12, queueDepth, readPercent: 0 } as const;
    await (await LoadedClient.start(order, scope)).stop(); // filled, then at rest
    const idle: number[] = [];
    const loaded: number[] = [];
    let bytesCopied = 0;
    let writes = 0;
    let wrong = 0;
    for (let round = 0; round < ROUNDS; round++) {
      idle.push(secondsOf(await moveAndWait(group.client, { volume: VOLUME, to: 'm2' })));
      const client = await LoadedClient.start(order, scope);
      await sleep(systemClock, WARM_UP_MS);
      const before = await client.mark();
      const move = await moveAndWait(group.client, { volume: VOLUME, to: 'm1' });
      writes += (await client.mark()).ops - before.ops;
      const verdict = await client.stop();
      wrong += verdict.errors + verdict.wrongBlocks + verdict.violations;
      loaded.push(secondsOf(move));
      bytesCopied = Math.max(bytesCopied, move.bytesCopied);
    }
    const idleSeconds = median(idle);
    const loadedSeconds = median(loaded);
    const copied = bytesCopied / sizeBytes;
    const time = loadedSeconds / idleSeconds;
    return {
      ...{ sizeBytes, idleSeconds, loadedSeconds, bytesCopied },
      writesPerSecond: Math.round(writes / loaded.reduce((sum, seconds) => sum + seconds, 0)),
      lines: [
        {
          text: `random writes only: ${copied.toFixed(2)} × the volume copied, at most ${COPIED_RATIO_MAX}`,
          holds: copied <= COPIED_RATIO_MAX,
        },
        {
          text: `random writes only: ${loadedSeconds.toFixed(2)} s, ${time.toFixed(1)} × the move at rest, at most ${TIME_RATIO_MAX}`,
          holds: time <= TIME_RATIO_MAX,
        },
        {
          text: 'random writes only: no error, no wrong block',
          holds: wrong === 0,
        },
      ],
    };
  } finally {
    await scope.close();
  }
}
