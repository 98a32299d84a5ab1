/**
 * What of a volume takes space at another member: both ends of two questions. Whether blocks do, for GET LBA STATUS, goes as
 * forwarded I/O goes: a holder that is away is waited for, and one that is not (any more) sends the asker to the route. How
 * much does, for LOG SENSE, is an estimate that nobody waits for.
 */
import { z } from 'zod';
import { sleep, type Clock } from '../base/clock.js';
import { FORWARD_PATIENCE_MS, FORWARD_RETRY_MS } from '../base/limits.js';
import { IoError, type Provisioning, type Usage } from '../block/device.js';
import type { Volume } from '../volume/volume.js';
import { ask, type PeerAnswer } from './ask.js';
import { PeerStatus, PeerType, type IncomingRequest, type PeerHub } from './contract.js';

/** Who is asked, and by what route; a RemoteSlot has it all. */
interface Holder {
  readonly hub: Pick<PeerHub, 'send'>;
  readonly member: string;
  readonly clock: Clock;
  readonly volume: {
    readonly volumeId: number;
    readonly blockBytes: number;
    epoch(): number;
    refresh(seen: number, done: () => void): void;
  };
}

interface Range {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** The one that it begins in. */
  readonly extent: number;
}

/** The length of a range has four bytes in a frame. */
const RANGE_BYTES_MAX = 1024 * 1024 * 1024;
/** Extents looked at for one answer: it is given on the holder's loop. */
const EXTENTS_MAX = 64;

/** Null: the route was read anew. Rejects with IoError. */
export async function lookUpAt(holder: Holder, range: Range): Promise<Provisioning | null> {
  const { hub, member, volume, clock } = holder;
  const lengthBytes = Math.min(range.lengthBytes, RANGE_BYTES_MAX);
  const startedMs = clock.nowMs();
  for (;;) {
    const epoch = volume.epoch();
    const fields = { ...range, type: PeerType.LBA_STATUS, volumeId: volume.volumeId, epoch, lengthBytes };
    const answer = await ask(hub, member, fields);
    if (answer.status === PeerStatus.OK) return read(answer, holder, lengthBytes);
    if (answer.status === PeerStatus.STALE) await refreshed(holder, answer.epoch);
    else if (!isAway(answer))
      throw new IoError('medium-read', `at ${member}: ${answer.payload.toString('utf8')}`);
    if (volume.epoch() !== epoch) return null;
    // Away; or one of the two cannot read what the other knows.
    if (clock.nowMs() - startedMs > FORWARD_PATIENCE_MS)
      throw new IoError('unavailable', `${member} does not answer`);
    await sleep(clock, FORWARD_RETRY_MS);
    await refreshed(holder, 0);
    if (volume.epoch() !== epoch) return null;
  }
}

function isAway({ status }: PeerAnswer): boolean {
  return (
    status === PeerStatus.LINK_LOST || status === PeerStatus.DEADLINE || status === PeerStatus.UNAVAILABLE
  );
}

function refreshed({ volume }: Holder, epoch: number): Promise<void> {
  return new Promise((resolve) => volume.refresh(epoch, resolve));
}

const ANSWER = z.object({ mapped: z.boolean(), lengthBytes: z.int().min(1) });

function read({ payload }: PeerAnswer, { member, volume }: Holder, lengthBytesMax: number): Provisioning {
  try {
    const found = ANSWER.parse(JSON.parse(payload.toString('utf8')));
    if (found.lengthBytes <= lengthBytesMax && found.lengthBytes % volume.blockBytes === 0) return found;
  } catch {
    // Neither JSON nor what was asked for: the same as an answer about other blocks.
  }
  throw new IoError('medium-read', `${member} answered something else than where its holes are`);
}

/** At the holder: as much as it holds of the range (request-range.ts), from its beginning. */
export function answerLookUp(request: IncomingRequest, volume: Volume): void {
  const { offsetBytes, lengthBytes } = request;
  const { extentBytes } = volume;
  const first = Math.floor(offsetBytes / extentBytes);
  const last = Math.floor((offsetBytes + lengthBytes - 1) / extentBytes);
  let extent = first;
  while (extent <= last && extent - first < EXTENTS_MAX && volume.holdsHere(extent)) extent += 1;
  if (extent === first) {
    request.answer(PeerStatus.STALE, undefined, volume.epoch);
    return;
  }
  const heldBytes = Math.min(extent * extentBytes, offsetBytes + lengthBytes) - offsetBytes;
  const found = volume.provisioning(offsetBytes, heldBytes);
  request.answer(PeerStatus.OK, Buffer.from(JSON.stringify(found)), volume.epoch);
}

const USAGE = z.object({ usedBytes: z.int().min(0), availableBytes: z.int().min(0) });

/** Null: the member does not say. */
export async function usageAt({ hub, member, volume }: Holder): Promise<Usage | null> {
  const fields = { type: PeerType.USAGE, volumeId: volume.volumeId, epoch: volume.epoch() };
  const { status, payload } = await ask(hub, member, fields);
  if (status !== PeerStatus.OK) return null;
  try {
    return USAGE.parse(JSON.parse(payload.toString('utf8')));
  } catch {
    return null;
  }
}

export async function answerUsage(request: IncomingRequest, volume: Volume): Promise<void> {
  const usage = await volume.local.usage?.().catch(() => null);
  if (usage) request.answer(PeerStatus.OK, Buffer.from(JSON.stringify(usage)));
  else request.answer(PeerStatus.UNAVAILABLE);
}
