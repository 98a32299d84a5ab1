/**
 * Volumes on their way (admin.ts): one is there when its route has left epoch 1, which its home commits once its file is
 * made, and of a full one all of it is allocated. Until then the home tells how far that is; what cannot be made is taken
 * out of the store again, and the reason stays.
 */
import { BlockferryError } from '../base/errors.js';
import { CREATIONS_REMEMBERED_MAX } from '../base/limits.js';
import { removalOf } from './admin-volumes.js';
import { CreationRecord, formatRecord, keys, readRecord, type VolumeRecord } from './records.js';
import type { GroupStore, StoreCompare, StoreOperation } from './store.js';

export type CreationFailure = NonNullable<CreationRecord['failure']>;

/** Whether a volume, at that epoch of its route, has not all of its space yet. */
export function isBeingMade({ full }: VolumeRecord, epoch: number): boolean {
  return full && epoch === 1;
}

/** The part of a volume's home. Both change nothing where the route has changed since `headRevision`: it is over then. */
export class Creations {
  constructor(private readonly store: GroupStore) {}

  /** So many bytes are durably allocated. */
  async allocated(volume: VolumeRecord, headRevision: number, allocatedBytes: number): Promise<void> {
    const record = { volumeId: volume.id, allocatedBytes, failure: null };
    await this.store.txn([unbegun(volume, headRevision)], [put(volume, record)]);
  }

  /** It is no volume after all. */
  async failed(volume: VolumeRecord, headRevision: number, failure: CreationFailure): Promise<void> {
    const { store } = this;
    const operations = [...(await removalOf(store, volume.name)), ...(await this.oldFailures(volume.name))];
    const record = { volumeId: volume.id, allocatedBytes: 0, failure };
    await store.txn([unbegun(volume, headRevision)], [...operations, put(volume, record)]);
  }

  /** All but the newest reasons, and what cannot be read, so that there is room for one more. */
  private async oldFailures(except: string): Promise<StoreOperation[]> {
    const { entries } = await this.store.list(keys.creations);
    const failed = entries
      .filter((entry) => readRecord(CreationRecord, entry)?.failure !== null)
      .sort((a, b) => b.revision - a.revision);
    const old = failed.slice(CREATIONS_REMEMBERED_MAX - 1).filter(({ key }) => key !== keys.creation(except));
    return old.map(({ key }) => ({ delete: key }));
  }
}

function unbegun({ name }: VolumeRecord, headRevision: number): StoreCompare {
  return { key: keys.routeHead(name), revision: headRevision };
}

function put({ name }: VolumeRecord, record: CreationRecord): StoreOperation {
  return { put: keys.creation(name), value: formatRecord(record) };
}

/** Bytes allocated of each volume that is being made, by its name. */
export async function listCreations(store: GroupStore): Promise<Map<string, number>> {
  const { entries } = await store.list(keys.creations);
  return new Map(
    entries.map((entry) => [
      entry.key.slice(keys.creations.length),
      readRecord(CreationRecord, entry)?.allocatedBytes ?? 0,
    ]),
  );
}

/** Throws why there is no such volume, where it was to be made and could not. */
export async function refuseIfFailed(store: GroupStore, name: string): Promise<void> {
  const entry = await store.get(keys.creation(name));
  const failure = entry && readRecord(CreationRecord, entry)?.failure;
  if (!failure) return;
  throw new BlockferryError(
    failure.code,
    `volume ${name} could not be made: ${failure.reason}`,
    failure.code === 'NO_SPACE'
      ? 'make it smaller or thin, or at another member'
      : 'make it at another member, or mend that',
  );
}
