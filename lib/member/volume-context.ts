/** What one volume at a member needs of the rest of it: doors, the group's state, and whom to ask. */
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import type { Waypoints } from '../base/waypoints.js';
import type { DiskTime } from '../block/disk-time.js';
import type { VolumeRecord } from '../group/records.js';
import type { PeerHub } from '../peer/contract.js';
import type { MemberIds } from '../routing/member-ids.js';
import type { RoutedVolume } from '../routing/table.js';
import type { ReservationKeeper } from '../scsi/reservations/keeper.js';
import type { DiskUnit } from '../scsi/unit.js';
import type { DataFolder } from '../storage/data-folder.js';
import type { VolumeUnits } from './shared-units.js';

export interface HeldVolumeContext {
  readonly self: string;
  readonly ids: MemberIds;
  readonly hub: PeerHub;
  readonly folder: DataFolder;
  readonly clock: Clock;
  readonly log: Logger;
  readonly waypoints: Waypoints;
  /** Reads the route from the store if it is not at `epoch` yet (0: in any case), then calls back. */
  refresh(volume: string, epoch: number, done: () => void): void;
  /** Raises the route of a volume above epoch 1, durably. */
  begin(volume: VolumeRecord): Promise<void>;
  /** Whether this member may serve, by its clock (I4); suspends every volume where not. */
  leaseIsValid(): boolean;
  /** Who keeps the reservations of a volume, by name and number. */
  keeperOf(volume: string, volumeId: number): ReservationKeeper;
  readonly units: VolumeUnits;
  /** The disk under the files, where it is to be slower than it is. */
  readonly diskTime?: DiskTime | undefined;
  /** Resolves when no session of the volume is at another member; rejects when that was not so in time. */
  vacateOthers(volume: RoutedVolume): Promise<void>;
  /** The units that a copy may reach from here, as of now. */
  unitsHere(): Iterable<DiskUnit>;
  /** Resolves when the file of a deleted volume of the same name is gone. */
  readonly vacated: Promise<void>;
}
