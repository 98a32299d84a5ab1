/**
 * The source's whole part in a move: every extent that this member holds of what is asked for, in one batch
 * after the other. It ends when all are committed, when the move is cancelled, or when the destination will not take them.
 */
import {
  MOVE_BATCH_BYTES,
  MOVE_BATCH_BYTES_ALONE,
  MOVE_BATCH_EXTENTS,
  MOVE_RESTARTS_MAX,
} from '../base/limits.js';
import { sleep } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { PeerType } from '../peer/contract.js';
import { Batch, type BatchContext } from './batch.js';
import { DestinationError } from './destination-link.js';

const OPEN_RETRY_MS = 200;

/** Moves `extents`, all held here, in ascending order. Throws the first failure that cannot be waited out. */
export async function moveExtents(context: BatchContext, extents: readonly number[]): Promise<void> {
  await openDestination(context);
  // One at a time: a second batch would keep twice as many extents under the interceptor, whose writes are slow ones, and
  // initiators lose more by that than the move gains.
  for (const batch of cutIntoBatches(context, extents)) await new Batch(context, batch).run();
}

/**
 * The destination opens the volume's file and dials us for the bulk. One that is away is waited for; one that cannot is not.
 */
async function openDestination(context: BatchContext): Promise<void> {
  let refusals = 0;
  for (;;) {
    context.checkGoing();
    try {
      await context.destination.step(PeerType.MOVE_OPEN, {
        epoch: context.epoch(),
        payload: Buffer.from(JSON.stringify({ volume: context.volumeName, from: context.self })),
      });
      context.stats.lastError = '';
      return;
    } catch (error) {
      if (!(error instanceof DestinationError)) throw error;
      context.stats.lastError = error.message;
      if (!error.isAway) refusals += 1;
      if (refusals > MOVE_RESTARTS_MAX)
        throw new BlockferryError('IO', error.message, undefined, { cause: error });
      await sleep(context.clock, OPEN_RETRY_MS);
    }
  }
}

/** Batches of bounded data and count: many empty extents go together. */
function* cutIntoBatches(context: BatchContext, extents: readonly number[]): Generator<number[]> {
  const { extentBytes, sizeBytes } = context.volume;
  let batch: number[] = [];
  let batchBytes = 0;
  for (const extent of extents) {
    if (!context.volume.holdsHere(extent)) {
      throw new BlockferryError(
        'CONFLICT',
        `extent ${extent} of ${context.volumeName} is not held here any more`,
      );
    }
    const fromBytes = extent * extentBytes;
    const lengthBytes = Math.min(extentBytes, sizeBytes - fromBytes);
    batch.push(extent);
    for (const range of context.file.dataRanges(fromBytes, lengthBytes))
      batchBytes += range.toBytes - range.fromBytes;
    const bytesMax = context.pacer.isBesideInitiators ? MOVE_BATCH_BYTES : MOVE_BATCH_BYTES_ALONE;
    if (batchBytes >= bytesMax || batch.length >= MOVE_BATCH_EXTENTS) {
      yield batch;
      batch = [];
      batchBytes = 0;
    }
  }
  if (batch.length > 0) yield batch;
}
