/**
 * What the group portal knows: every volume is here by name, and served elsewhere. It outlives any member, since real
 * initiators go back to the portal they first knew; it never serves a byte.
 */
import { BlockferryError } from '../base/errors.js';
import type { DirectoryEntry, TargetAnswer, TargetDirectory } from '../iscsi/target/directory.js';
import { listTargets, redirectToHome, type TargetPortal } from '../routing/redirect.js';
import type { RoutingTable } from '../routing/table.js';

/** The members of the group, as a login needs them. */
export interface HomeWatch {
  /** Resolves with the member's portal once it serves; undefined when it does not within a login's patience. */
  whenServing(member: string): Promise<{ readonly host: string; readonly port: number } | undefined>;
}

export class PortalDirectory implements TargetDirectory {
  constructor(
    private readonly table: RoutingTable,
    private readonly homes: HomeWatch,
    /** Where every member serves every volume: their portals, which initiators log in to without passing here again. */
    private readonly everyPortal: (() => readonly TargetPortal[]) | null = null,
  ) {}

  list(localHost: string, localPort: number): readonly DirectoryEntry[] {
    return listTargets(this.table, this.everyPortal, { host: localHost, port: localPort });
  }

  /** Asks the store, not the cache: an initiator that lost its home comes here first, just when the route changes. */
  async resolve(iqn: string): Promise<TargetAnswer> {
    const volume = await this.table.refreshIqn(iqn);
    if (volume === undefined) return { kind: 'unknown' };
    const { home } = volume.route;
    const portal = await this.homes.whenServing(home);
    return redirectToHome({ portalOf: () => portal }, home);
  }

  admit(): Promise<void> {
    return Promise.reject(new BlockferryError('INTERNAL', 'the group portal serves no volume'));
  }
}
