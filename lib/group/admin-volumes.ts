/** The group's own record, and volumes: made, listed, deleted (admin.ts). */
import { BlockferryError } from '../base/errors.js';
import { targetIqn } from '../base/iscsi-names.js';
import {
  PRODUCT_DEFAULT,
  PRODUCT_PATTERN,
  SERIAL_PATTERN,
  VENDOR_DEFAULT,
  VENDOR_PATTERN,
  VOLUME_NAME_PATTERN,
} from '../base/limits.js';
import { randomToken } from '../base/random.js';
import { change, unchanged, type AdminDoors } from './attempts.js';
import {
  GroupRecord,
  VolumeRecord,
  formatRecord,
  keys,
  parseRecord,
  type CreationRecord,
  type RouteHeadRecord,
} from './records.js';
import type { GroupStore, StoreEntry, StoreOperation } from './store.js';
import { sizeFaultOf } from './volume-sizes.js';

/** A volume as it is asked for. Sizes in bytes. */
export interface WantedVolume {
  readonly name: string;
  readonly sizeBytes: number;
  readonly blockBytes: 512 | 4096;
  readonly extentBytes: number;
  /** The member that serves it and holds all of it at first; it must be up. */
  readonly home: string;
  /** The medium can be ejected. */
  readonly removable?: boolean | undefined;
  /** Initiators may not write. */
  readonly readOnly?: boolean | undefined;
  /** Takes all of its space, always. It is not there before it has it (creations.ts). */
  readonly full?: boolean | undefined;
  /** VPD 80h; one of its own where it is left out. No two volumes of a group have the same. */
  readonly serial?: string | undefined;
  readonly vendor?: string | undefined;
  readonly product?: string | undefined;
}

/** The group of this store; a new store gets one, by default under a name of its own. */
export async function ensureGroup(store: GroupStore, doors: AdminDoors, name?: string): Promise<GroupRecord> {
  const made: GroupRecord = {
    name: name ?? `group-${randomToken(doors.random).slice(0, 8)}`,
    createdAtMs: Math.floor(doors.clock.wallMs()),
    nextVolumeId: 1,
  };
  await store.txn([{ key: keys.group, revision: 0 }], [{ put: keys.group, value: formatRecord(made) }]);
  return parseRecord(GroupRecord, await requireEntry(store, keys.group, 'the group store is empty'));
}

/**
 * Makes an empty volume, or begins to: see `full`.
 * @throws INVALID (name, size, extent size, serial, vendor, product), EXISTS (the name, the serial), NOT_FOUND (the home
 *   is not up)
 */
export async function createVolume(
  store: GroupStore,
  doors: AdminDoors,
  wanted: WantedVolume,
): Promise<VolumeRecord> {
  checkWanted(wanted);
  const { name, sizeBytes, extentBytes, home } = wanted;
  const recordOf = recordMaker(doors, wanted);
  return change(store, async () => {
    const groupEntry = await requireEntry(store, keys.group, 'the group store is empty');
    const group = parseRecord(GroupRecord, groupEntry);
    const homeEntry = await requireEntry(store, keys.member(home), `there is no member ${home} up`);
    if ((await store.get(keys.volume(name))) !== undefined) {
      throw new BlockferryError('EXISTS', `there is a volume ${name} already`, 'choose another name');
    }
    if (wanted.serial !== undefined) await refuseTakenSerial(store, wanted.serial);
    const id = group.nextVolumeId;
    const volume = recordOf(id);
    const creation: CreationRecord = { volumeId: id, allocatedBytes: 0, failure: null };
    const head: RouteHeadRecord = { epoch: 1, home, base: home, extents: Math.ceil(sizeBytes / extentBytes) };
    return {
      compares: [
        unchanged(keys.group, groupEntry),
        unchanged(keys.member(home), homeEntry),
        unchanged(keys.volume(name), undefined),
        unchanged(keys.routeHead(name), undefined),
      ],
      operations: [
        { put: keys.group, value: formatRecord({ ...group, nextVolumeId: id + 1 }) },
        { put: keys.volume(name), value: formatRecord(volume) },
        { put: keys.routeHead(name), value: formatRecord(head) },
        volume.full
          ? { put: keys.creation(name), value: formatRecord(creation) }
          : { delete: keys.creation(name) }, // why an earlier one of this name could not be made
      ],
      result: volume,
    };
  });
}

/** The record by its id. What is drawn is drawn once: the same volume whichever attempt to make it succeeds. */
function recordMaker(doors: AdminDoors, wanted: WantedVolume): (id: number) => VolumeRecord {
  const { name, sizeBytes, blockBytes, extentBytes } = wanted;
  const drawn = {
    serial: wanted.serial ?? randomToken(doors.random),
    naa: `3${randomToken(doors.random).slice(1)}`,
    createdAtMs: Math.floor(doors.clock.wallMs()),
  };
  return (id) => ({
    ...{ id, name, iqn: targetIqn(name), sizeBytes, blockBytes, extentBytes, ...drawn },
    removable: wanted.removable ?? false,
    readOnly: wanted.readOnly ?? false,
    full: wanted.full ?? false,
    vendor: wanted.vendor ?? VENDOR_DEFAULT,
    product: wanted.product ?? PRODUCT_DEFAULT,
  });
}

/**
 * A host takes two units with one serial for two ways to one disk. Whoever makes a volume meanwhile changes the group's
 * record, and this is looked at again.
 */
async function refuseTakenSerial(store: GroupStore, serial: string): Promise<void> {
  const taken = (await listVolumes(store)).find((volume) => volume.serial === serial);
  if (taken === undefined) return;
  throw new BlockferryError(
    'EXISTS',
    `volume ${taken.name} has the serial '${serial}'`,
    'choose another one',
  );
}

function checkWanted(wanted: WantedVolume): void {
  const { name } = wanted;
  const refuse = (what: string, hint: string): never => {
    throw new BlockferryError('INVALID', what, hint);
  };
  if (!VOLUME_NAME_PATTERN.test(name)) {
    refuse(`'${name}' is not a volume name`, 'use a-z, 0-9, dots and dashes, at most 64, not at the ends');
  }
  const fault = sizeFaultOf(wanted);
  if (fault !== null) refuse(fault.what, fault.hint);
  for (const [what, text, pattern, lengthMax] of [
    ['serial', wanted.serial, SERIAL_PATTERN, 32],
    ['vendor', wanted.vendor, VENDOR_PATTERN, 8],
    ['product', wanted.product, PRODUCT_PATTERN, 16],
  ] as const) {
    if (text === undefined || pattern.test(text)) continue;
    refuse(`'${text}' is no ${what}`, `use printable ASCII, at most ${lengthMax}, no blank at the ends`);
  }
}

/** All volumes, by name. */
export async function listVolumes(store: GroupStore): Promise<VolumeRecord[]> {
  const { entries } = await store.list(keys.volumes);
  return entries.map((entry) => parseRecord(VolumeRecord, entry));
}

/**
 * Deletes the volume and its route; the members give its bytes back.
 * @throws NOT_FOUND, BUSY (a move is under way)
 */
export async function deleteVolume(store: GroupStore, name: string): Promise<void> {
  await change(store, async () => {
    const volumeEntry = await requireEntry(store, keys.volume(name), `there is no volume ${name}`);
    await refuseWhileMoving(store, name);
    const headEntry = await store.get(keys.routeHead(name));
    return {
      compares: [
        unchanged(keys.volume(name), volumeEntry),
        unchanged(keys.moving(name), undefined),
        unchanged(keys.routeHead(name), headEntry),
      ],
      operations: [...(await removalOf(store, name)), { delete: keys.creation(name) }],
      result: undefined,
    };
  });
}

/** What takes a volume out of the store, as it stands there. */
export async function removalOf(store: GroupStore, name: string): Promise<StoreOperation[]> {
  const { entries } = await store.list(keys.route(name));
  return [
    { delete: keys.volume(name) },
    { delete: keys.reservation(name) },
    { delete: keys.unit(name) },
    { delete: keys.placement(name) },
    ...entries.map((entry) => ({ delete: entry.key })),
  ];
}

/** Throws BUSY while a move of the volume is under way. */
export async function refuseWhileMoving(store: GroupStore, volume: string): Promise<void> {
  const moving = await store.get(keys.moving(volume));
  if (moving === undefined) return;
  throw new BlockferryError(
    'BUSY',
    `volume ${volume} is being moved (${moving.value})`,
    'wait for the move, or cancel it',
  );
}

/** The entry, or NOT_FOUND with `otherwise`. */
export async function requireEntry(store: GroupStore, key: string, otherwise: string): Promise<StoreEntry> {
  const entry = await store.get(key);
  if (entry === undefined) throw new BlockferryError('NOT_FOUND', otherwise, "see 'blockferry status'");
  return entry;
}
