/** Follows moves until they end: polls, draws the bar, makes the report. Starts and cancels none. */
import { Presets, SingleBar } from 'cli-progress';
import { sleep, systemClock } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { PROGRESS_INTERVAL_MS } from '../base/limits.js';
import { formatSize } from '../base/units.js';
import type { MoveView } from '../manage/api.js';
import type { ManageClient } from '../manage/client.js';
import type { CliDoor } from './door.js';
import { formatMs, plural } from './output.js';

/** What `blockferry move --json` prints: scripts depend on it. */
export interface MoveReport {
  readonly volume: string;
  readonly from: string;
  readonly to: string;
  readonly extents: number;
  readonly bytesCopied: number;
  readonly bytesRecopied: number;
  readonly restarts: number;
  readonly seconds: number;
  readonly sessions: number;
  readonly stallMs: { readonly max: number };
}

/**
 * Resolves with the move as it ended well; throws CANCELLED or IO when it did not, and CANCELLED when a person stops
 * watching (the move itself goes on).
 */
export async function followMove(
  door: CliDoor,
  client: ManageClient,
  begun: MoveView,
  json: boolean,
): Promise<MoveView> {
  return refuseUnlessDone(await watchMove(door, client, begun, json));
}

/** Resolves with the move as it ended, well or not; throws CANCELLED when a person stops watching. */
export async function watchMove(
  door: CliDoor,
  client: ManageClient,
  begun: MoveView,
  json: boolean,
): Promise<MoveView> {
  let leaving = false;
  const forget = door.onStopSignal(() => {
    leaving = true;
    client.close(); // or a group that hangs would be waited for
  });
  const bar = json || door.stderr.isTTY !== true ? undefined : drawBar(begun);
  let move = begun;
  try {
    while (move.state === 'active') {
      bar?.setTotal(Math.max(move.extents, 1));
      bar?.update(move.extentsDone, barFigures(move));
      await sleep(systemClock, PROGRESS_INTERVAL_MS); // sooner, there is nothing new to be told
      move = await client.move(begun.id);
    }
    if (move.state === 'done') bar?.update(Math.max(move.extents, 1), barFigures(move));
    return move;
  } catch (error) {
    throw leaving ? stoppedWatching(move) : error;
  } finally {
    bar?.stop();
    forget();
  }
}

/** @throws CANCELLED or IO, as the move has ended */
export function refuseUnlessDone(move: MoveView): MoveView {
  const what = `the move of ${move.volume} to ${move.to}`;
  if (move.state === 'cancelled') {
    const hint = `see with 'blockferry route ${move.volume}' what had moved by then`;
    throw new BlockferryError('CANCELLED', `${what} was cancelled`, hint);
  }
  if (move.state === 'failed') {
    const hint = 'mend that, then ask for the move again';
    throw new BlockferryError('IO', `${what} failed: ${move.error || 'no reason given'}`, hint);
  }
  return move;
}

function stoppedWatching(move: MoveView): BlockferryError {
  return new BlockferryError(
    'CANCELLED',
    `the move of ${move.volume} to ${move.to} goes on`,
    `look with 'blockferry moves', stop it with 'blockferry moves --cancel ${move.id}'`,
  );
}

function drawBar(move: MoveView): SingleBar {
  const format = `${move.volume} → ${move.to} [{bar}] {percentage}% {value}/{total} extents, {copied} copied{note}`;
  const bar = new SingleBar({ format, hideCursor: true, etaBuffer: 20 }, Presets.legacy);
  bar.start(Math.max(move.extents, 1), 0, barFigures(move));
  return bar;
}

function barFigures(move: MoveView): { copied: string; note: string } {
  return {
    copied: formatSize(move.bytesCopied),
    note: move.lastError === '' ? '' : `, waiting: ${move.lastError}`,
  };
}

export function moveReport(move: MoveView): MoveReport {
  return {
    volume: move.volume,
    from: move.from,
    to: move.to,
    extents: move.extents,
    bytesCopied: move.bytesCopied,
    bytesRecopied: move.bytesRecopied,
    restarts: move.restarts,
    seconds: ((move.finishedAtMs ?? move.createdAtMs) - move.createdAtMs) / 1000,
    sessions: move.sessions,
    stallMs: { max: move.stallMsMax },
  };
}

export function describeReport(report: MoveReport): string {
  const { volume, from, to } = report;
  const isFromHere = from === to;
  if (isFromHere && report.extents === 0)
    return `${volume}: the extents are at ${to} already, nothing had to move`;
  // A whole volume's move is told by its home, which may gather what others hold.
  const what = isFromHere ? `the rest of ${volume} moved to ${to}` : `${volume} moved from ${from} to ${to}`;
  const again = report.bytesRecopied === 0 ? '' : `, ${formatSize(report.bytesRecopied)} of it again`;
  return (
    `${what} in ${formatMs(report.seconds * 1000)}: ` +
    `${plural(report.extents, 'extent')}, ${formatSize(report.bytesCopied)} copied${again}, ` +
    `${plural(report.sessions, 'session')} handed over, longest stall ${formatMs(report.stallMs.max)}`
  );
}
