/**
 * Does a move end under nothing but random writes at full speed? Beside the same move at rest: what is copied stays near
 * the size of the volume, since mirrored writes make nothing dirty (rule 7), and it takes a few times as long at most. And
 * were there such writes? Beside those just before: a move whose writers stand still converges whatever it does.
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
  /** Just before the moves, and during them. */
  readonly writesPerSecondBefore: number;
  readonly writesPerSecond: number;
  readonly lines: readonly Line[];
}

const COPIED_RATIO_MAX = 1.2;
const TIME_RATIO_MAX = 3;
/** Of the writes before: mirrored ones cost twice, beside a copy. Far below what is kept on the slowest machine. */
const WRITES_KEPT_MIN = 0.25;
/** The times are medians of so many moves there at rest and back under load, in turns. */
const ROUNDS = 3;
const VOLUME = 'written';
const WARM_UP_MS = 1000;

/** One move there at rest, and one back under load. */
export interface Round {
  readonly idleSeconds: number;
  readonly loadedSeconds: number;
  readonly bytesCopied: number;
  /** Writes a second before the second one, and during it. */
  readonly before: number;
  readonly during: number;
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
  const before = await rateDuring(load, () => sleep(systemClock, WARM_UP_MS));
  const during = await rateDuring(load, () => moveAndWait(client, { volume: VOLUME, to: 'm1' }));
  const verdict = await load.stop();
  // Its sources' last figures may come after its end; by now they have.
  const move = await client.move(during.result.id);
  return {
    ...{ idleSeconds, loadedSeconds: secondsOf(move), bytesCopied: move.bytesCopied },
    ...{ before: before.perSecond, during: during.perSecond },
    wrong: verdict.errors + verdict.wrongBlocks + verdict.violations,
  };
}

/** Answers a second while something else goes on. */
async function rateDuring<T>(
  load: LoadedClient,
  work: () => Promise<T>,
): Promise<{ result: T; perSecond: number }> {
  const { ops } = await load.mark();
  const beganMs = systemClock.nowMs();
  const result = await work();
  const tookMs = systemClock.nowMs() - beganMs;
  return { result, perSecond: (((await load.mark()).ops - ops) / tookMs) * 1000 };
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
  const before = Math.round(median(rounds.map((round) => round.before)));
  const during = Math.round(median(rounds.map((round) => round.during)));
  return {
    ...{ sizeBytes, idleSeconds, loadedSeconds, bytesCopied },
    ...{ writesPerSecondBefore: before, writesPerSecond: during },
    lines: [
      {
        text: `random writes only: ${copied.toFixed(2)} × the volume copied, 1 to ${COPIED_RATIO_MAX}`,
        holds: copied >= 1 && copied <= COPIED_RATIO_MAX,
      },
      {
        text: `random writes only: ${during} a second, ${(during / before).toFixed(2)} of those before, at least ${WRITES_KEPT_MIN}`,
        holds: before > 0 && during / before >= WRITES_KEPT_MIN,
      },
      {
        text: `random writes only: ${loadedSeconds.toFixed(2)} s, ${time.toFixed(1)} × the move at rest, at most ${TIME_RATIO_MAX}`,
        holds: time <= TIME_RATIO_MAX,
      },
      {
        text: 'random writes only: no error, no wrong block',
        holds: rounds.every(({ wrong }) => wrong === 0),
      },
      survivalLine('random writes only', dead),
    ],
  };
}
