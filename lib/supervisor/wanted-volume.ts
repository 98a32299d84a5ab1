/** The volumes that a group is started with: made when they are missing, checked when they are there. */
import { BlockferryError } from '../base/errors.js';
import { formatSize } from '../base/units.js';
import type { ManageDesk } from '../manage/desk.js';

export interface WantedVolume {
  readonly name: string;
  readonly sizeBytes: number;
}

/** Throws INVALID when a volume of that name has another size: nothing here shrinks or grows one. */
export async function ensureVolume(desk: ManageDesk, wanted: WantedVolume): Promise<void> {
  const known = (await desk.volumes()).find((volume) => volume.name === wanted.name);
  if (known === undefined) {
    await desk.createVolume({ name: wanted.name, size: wanted.sizeBytes });
    return;
  }
  if (known.size === wanted.sizeBytes) return;
  throw new BlockferryError(
    'INVALID',
    `volume ${wanted.name} exists with ${formatSize(known.size)}, not ${formatSize(wanted.sizeBytes)}`,
    `ask for --volume ${wanted.name}=${formatSize(known.size)}, or delete it first`,
  );
}
