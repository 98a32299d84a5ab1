/** Follows a volume until it is there: draws the bar of a full one while it is allocated. Makes none. */
import { Presets, SingleBar } from 'cli-progress';
import { systemClock } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { formatSize } from '../base/units.js';
import type { VolumeView } from '../manage/api.js';
import type { ManageClient } from '../manage/client.js';
import { untilMade } from '../manage/creation.js';
import type { CliDoor } from './door.js';

/** Resolves with the volume; throws what untilMade does, and CANCELLED when a person stops watching. */
export async function followCreation(
  door: CliDoor,
  client: ManageClient,
  begun: VolumeView,
  json: boolean,
): Promise<VolumeView> {
  let leaving = false;
  const forget = door.onStopSignal(() => {
    leaving = true;
    client.close(); // or a group that hangs would be waited for
  });
  const isDrawn = begun.allocating !== null && !json && door.stderr.isTTY === true;
  const bar = isDrawn ? drawBar(begun) : undefined;
  let last = begun;
  try {
    const made = await untilMade(client, begun, systemClock, (volume) => {
      last = volume;
      bar?.update(volume.allocating ?? 0, figures(volume));
    });
    bar?.update(made.size, figures(made));
    return made;
  } catch (error) {
    throw leaving ? stoppedWatching(last) : error;
  } finally {
    bar?.stop();
    forget();
  }
}

function stoppedWatching({ name, allocating, home }: VolumeView): BlockferryError {
  return new BlockferryError(
    'CANCELLED',
    allocating === null
      ? `volume ${name} waits for ${home} to make it`
      : `volume ${name} goes on being allocated`,
    `look with 'blockferry volume show ${name}', stop it with 'blockferry volume delete ${name}'`,
  );
}

function drawBar(volume: VolumeView): SingleBar {
  const format = `${volume.name} at ${volume.home} [{bar}] {percentage}% {allocated} of {size} allocated`;
  const bar = new SingleBar({ format, hideCursor: true }, Presets.legacy);
  bar.start(volume.size, 0, figures(volume));
  return bar;
}

function figures({ allocating, size }: VolumeView): { allocated: string; size: string } {
  return { allocated: formatSize(allocating ?? size), size: formatSize(size) };
}
