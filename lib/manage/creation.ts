/** Waits for a volume that is being made: a full one is not there before it has all of its space. */
import { sleep, type Clock } from '../base/clock.js';
import type { VolumeView } from './api.js';

const POLL_INTERVAL_MS = 100;

/**
 * Resolves with the volume once it is there, which a thin one is at once.
 * @param desk a ManageDesk, or a client of one
 * @param look told how it stands, again and again; what it throws ends the waiting
 * @throws NO_SPACE, IO (it could not be made, and is gone), NOT_FOUND (it was deleted)
 */
export async function untilMade(
  desk: { volume(name: string): Promise<VolumeView> },
  begun: VolumeView,
  clock: Clock,
  look: (volume: VolumeView) => void = () => undefined,
): Promise<VolumeView> {
  let volume = begun;
  while (volume.allocating !== null) {
    look(volume);
    await sleep(clock, POLL_INTERVAL_MS);
    volume = await desk.volume(begun.name);
  }
  return volume;
}
