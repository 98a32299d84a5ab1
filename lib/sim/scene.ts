/** A simulated world as its parts see it: what happens in it, what watches it, and what judges it in the end. */
import type { AdminDoors } from '../group/attempts.js';
import type { VolumeRecord } from '../group/records.js';
import type { IscsiUrl } from '../iscsi/initiator/url.js';
import type { GroupPortal } from './group-portal.js';
import type { Loss } from './inode.js';
import type { Load } from './load.js';
import type { VolumeModel } from './model.js';
import type { Plan } from './plan.js';
import type { SharedWorld, SimMember } from './sim-member.js';

/** A volume and what is known of it. */
export interface SimVolume {
  readonly name: string;
  readonly extents: number;
  readonly record: VolumeRecord;
  readonly model: VolumeModel;
}

export interface Scene extends SharedWorld {
  readonly plan: Plan;
  readonly members: readonly SimMember[];
  readonly portal: GroupPortal;
  readonly volumes: readonly SimVolume[];
  readonly loads: readonly Load[];
  /** Nothing happens any more but what was asked for. */
  readonly isCalm: boolean;
  /** The last one that was asked for. */
  lastMove: { readonly from: string; readonly to: string; readonly volume: string };
  /** For what an administrator does; nothing happens to that one. */
  readonly admin: AdminDoors;
  /** Who holds each extent of a volume, by the store. */
  holders(volume: string): readonly string[];
  /** Who is home of it, and who was before. */
  homeOf(volume: string): string | undefined;
  oldHomeOf(volume: string): string | undefined;
  count(what: string): void;
  /** Something happens that initiators should meet: they are quick for a while. */
  heat(): void;
  /** Something that must not be. */
  wrong(what: string): void;
  losePower(member: SimMember, loss: Loss, downMs: number): void;
  /** Where initiators find a volume: at the group portal. */
  urlOf(volume: string): IscsiUrl;
}
