/**
 * What an earlier life of this member left in its data folder: files of volumes that were deleted meanwhile, and of which
 * it holds nothing any more. A file that is opened is cleaned in part (held-volume.ts); one that nobody opens would stay.
 */
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { RoutingTable } from '../routing/table.js';
import type { DataFolder } from '../storage/data-folder.js';

export interface LeftoverParts {
  readonly folder: Pick<DataFolder, 'volumes' | 'remove' | 'isOf' | 'markOf' | 'strangers' | 'leaveAlone'>;
  readonly table: RoutingTable;
  readonly self: string;
  readonly group: string;
  readonly log: Logger;
}

/**
 * Removes them. To be called after the member has joined the group and read the routes, and before anything is opened or
 * received here: then no commit to this member can be on its way.
 *
 * A file is a deleted volume's, or one that was given away, only if it is known to be of this group: a member that is started
 * with another group's folder, or whose group store was lost, must not wipe it, nor put a volume of the same name in its
 * place. In a folder that this group sees for the first time only what this member holds and has begun (epoch 1: nobody
 * has had the file yet) is its own; what comes later is the group's.
 */
export async function removeLeftovers({ folder, table, self, group, log }: LeftoverParts): Promise<void> {
  const isOurs = await folder.isOf(group);
  const strangers = await folder.strangers();
  for (const volume of await folder.volumes()) {
    const route = table.get(volume)?.route;
    const isHeld = route?.countByHolder().has(self) === true;
    const isNews = !isOurs && (!isHeld || route?.epoch === 1);
    if (isNews) await folder.leaveAlone(volume);
    if (isNews || strangers.has(volume)) {
      log.warn({ volume }, 'a file here may be of another group; it is left alone');
      continue;
    }
    if (isHeld) continue;
    try {
      await folder.remove(volume);
      log.info({ volume }, 'a file of which nothing is held here was removed');
    } catch (error) {
      log.warn({ volume, error: describeError(error) }, 'a leftover file was not removed');
    }
  }
  if (!isOurs) await folder.markOf(group);
}
