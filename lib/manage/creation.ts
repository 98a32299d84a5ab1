/**
 * Waits for a volume that is being made: a full one is not there before it has all of its space, and no volume before its home
 * has made its file, which may turn out not to be possible.
 */
import { sleep, type Clock } from '../base/clock.js';
import type { VolumeView } from './api.js';

const POLL_INTERVAL_MS = 100;
/** How long a file that only has to be made is waited for: its home may be away, and makes it when it is back. */
const FILE_PATIENCE_MS = 2_000;
const FILE_POLL_MS = 20;

/**
 * Resolves with the volume once it is there, or as good as there.
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
  const patientUntilMs = clock.nowMs() + FILE_PATIENCE_MS;
  const isAwaited = ({ allocating, epoch }: VolumeView): boolean =>
    allocating !== null || (epoch === 1 && clock.nowMs() < patientUntilMs);
  while (isAwaited(volume)) {
    look(volume);
    await sleep(clock, volume.allocating === null ? FILE_POLL_MS : POLL_INTERVAL_MS);
    volume = await desk.volume(begun.name);
  }
  return volume;
}
