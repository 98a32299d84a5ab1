/**
 * Processes of other members that are gone: what there is with them ends here (I8), in links as in volumes. Links and the
 * view of the group come before volumes in a start; until there are some, nothing of theirs is under way.
 */
import type { Hub } from '../peer/hub.js';
import type { Present } from './everywhere.js';

export interface AbsenceVolumes {
  /** That process has left the group, or another has its name. */
  memberLeft(process: Present): void;
  /** Ends what volumes have with any other process than these; resolves when nothing of it is under way. */
  endAbsent(present: readonly Present[]): Promise<void>;
}

export class Absence {
  private volumes: AbsenceVolumes | null = null;

  constructor(private readonly hub: Pick<Hub, 'endAbsent'>) {}

  open(volumes: AbsenceVolumes): void {
    this.volumes = volumes;
  }

  memberLeft(process: Present): void {
    this.volumes?.memberLeft(process);
  }

  /** Ends what there is with any other process than these; resolves when nothing of it is under way here (I8). */
  async end(present: readonly Present[]): Promise<void> {
    await this.hub.endAbsent(present);
    await this.volumes?.endAbsent(present);
  }
}
