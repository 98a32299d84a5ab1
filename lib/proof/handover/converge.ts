/**
 * Does a move end under nothing but random writes at full speed? Beside the same move at rest: what is copied stays near
 * the size of the volume, since mirrored writes make nothing dirty (rule 7), and it takes a few times as long at most.
 */
import { sleep, systemClock } from '../../base/clock.js';
import { moveAndWait, secondsOf, startGroup } from '../../bench/servers.js';
import { Scope } from '../../bench/scope.js';
import { median } from '../../bench/stats.js';
import type { ManageClient } from '../../manage/client.js';
import { survivalLine, type Line } from '../figures.js';
import { LoadedClient, type LoadedOrder } from '../loaded-client.js';

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

/** One move there at rest, and one back under load. */
export interface Round {
  readonly idleSeconds: number;
  readonly loadedSeconds: number;
  readonly bytesCopied: number;
  /** Written during the second one. */
  readonly writes: number;
  /** Errors, wrong blocks, violations. */
  readonly wrong: number;
}

export async function runConvergence(
  sizeBytes: number,
  queueDepth: number,
  workFolder: string,
): Promise<Convergence> {
  const scope = new Scope();
  try {
    const group = await startGroup(3, workFolder, scope);
    const { client } = group;
    const { url } = await client.createVolume({ name: VOLUME, size: sizeBytes, home: 'm1' });
    const order = { by: 'harness', url, seed: 12, queueDepth, readPercent: 0 } as const;
    await (await LoadedClient.start(order, scope)).stop(); // filled, then at rest
    const rounds: Round[] = [];
    for (let round = 0; round < ROUNDS; round++) rounds.push(await moveThereAndBack(client, order, scope));
    return convergenceOf(sizeBytes, rounds, group.dead());
  } finally {
    await scope.close();
  }
}

async function moveThereAndBack(client: ManageClient, order: LoadedOrder, scope: Scope): Promise<Round> {
  const idleSeconds = secondsOf(await moveAndWait(client, { volume: VOLUME, to: 'm2' }));
  const load = await LoadedClient.start(order, scope);
  await sleep(systemClock, WARM_UP_MS);
  const before = await load.mark();
  const move = await moveAndWait(client, { volume: VOLUME, to: 'm1' });
  const writes = (await load.mark()).ops - before.ops;
  const verdict = await load.stop();
  return {
    ...{ idleSeconds, loadedSeconds: secondsOf(move), bytesCopied: move.bytesCopied, writes },
    wrong: verdict.errors + verdict.wrongBlocks + verdict.violations,
  };
}

/** @param dead members that died meanwhile */
export function convergenceOf(
  sizeBytes: number,
  rounds: readonly Round[],
  dead: readonly string[],
): Convergence {
  const idleSeconds = median(rounds.map((round) => round.idleSeconds));
  const loadedSeconds = median(rounds.map((round) => round.loadedSeconds));
  const bytesCopied = Math.max(...rounds.map((round) => round.bytesCopied));
  const copied = bytesCopied / sizeBytes;
  const time = loadedSeconds / idleSeconds;
  return {
    ...{ sizeBytes, idleSeconds, loadedSeconds, bytesCopied },
    writesPerSecond: Math.round(sumOf(rounds, 'writes') / sumOf(rounds, 'loadedSeconds')),
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
        holds: sumOf(rounds, 'wrong') === 0,
      },
      survivalLine('random writes only', dead),
    ],
  };
}

function sumOf(rounds: readonly Round[], field: 'loadedSeconds' | 'writes' | 'wrong'): number {
  return rounds.reduce((total, round) => total + round[field], 0);
}
