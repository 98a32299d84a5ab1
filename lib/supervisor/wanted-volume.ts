/** The volumes that a group is started with: made when they are missing, checked when they are there. */
import type { Clock } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { exactSize } from '../base/units.js';
import type { CreateVolume, VolumeView } from '../manage/api.js';
import { untilMade } from '../manage/creation.js';
import type { ManageDesk } from '../manage/desk.js';

export interface WantedVolume {
  readonly name: string;
  readonly sizeBytes: number;
  /** What was said of it; the rest is as usual, or as it is. */
  readonly kind: Omit<CreateVolume, 'name' | 'size' | 'home' | 'extentSize'>;
}

/**
 * Resolves when the volume is there.
 * @param look told again and again while it is made; what it throws ends the waiting
 * @throws INVALID (one of that name has another size or is of another kind: nothing here changes one), NO_SPACE, IO
 */
export async function ensureVolume(
  desk: ManageDesk,
  wanted: WantedVolume,
  clock: Clock,
  look: () => void,
): Promise<void> {
  const known = (await desk.volumes()).find((volume) => volume.name === wanted.name);
  if (known !== undefined) refuseOther(known, wanted);
  const { kind, name, sizeBytes: size } = wanted;
  await untilMade(desk, known ?? (await desk.createVolume({ ...kind, name, size })), clock, look);
}

function refuseOther(known: VolumeView, wanted: WantedVolume): void {
  if (known.size !== wanted.sizeBytes) {
    throw new BlockferryError(
      'INVALID',
      `volume ${wanted.name} exists with ${exactSize(known.size)}, not ${exactSize(wanted.sizeBytes)}`,
      `ask for --volume ${wanted.name}=${exactSize(known.size)}, or delete it first`,
    );
  }
  refuseOtherKind(known, wanted.kind);
}

/** blockSize: block-size. */
function optionOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function refuseOtherKind(known: VolumeView, kind: WantedVolume['kind']): void {
  for (const [key, value] of Object.entries(kind)) {
    const is = known[key as keyof WantedVolume['kind']];
    if (value === undefined || value === is) continue;
    throw new BlockferryError(
      'INVALID',
      `volume ${known.name} exists with ${optionOf(key)} ${String(is)}, not ${String(value)}`,
      'leave that out, or delete it first',
    );
  }
}
