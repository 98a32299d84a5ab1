/**
 * What the group portal knows: every volume is here by name, and served elsewhere. It outlives any member, since real
 * initiators go back to the portal they first knew; it never serves a byte.
 */
import { BlockferryError } from '../base/errors.js';
import type { DirectoryEntry, TargetAnswer, TargetDirectory } from '../iscsi/target/directory.js';

/** What the directory must be able to look up without waiting. */
export interface HomeLookup {
  iqns(): Iterable<string>;
  /** The portal of the volume's home; 'down' while it does not serve; undefined for no volume of that name. */
  homeOf(iqn: string): { readonly host: string; readonly port: number } | 'down' | undefined;
}

const PORTAL_GROUP_TAG = 1;

export class PortalDirectory implements TargetDirectory {
  constructor(private readonly homes: HomeLookup) {}

  list(localHost: string, localPort: number): readonly DirectoryEntry[] {
    const addresses = [{ host: localHost, port: localPort, portalGroupTag: PORTAL_GROUP_TAG }];
    return [...this.homes.iqns()].sort().map((iqn) => ({ iqn, addresses }));
  }

  resolve(iqn: string): TargetAnswer {
    const home = this.homes.homeOf(iqn);
    if (home === undefined) return { kind: 'unknown' };
    if (home === 'down') return { kind: 'unavailable' };
    return { kind: 'redirect', host: home.host, port: home.port };
  }

  admit(): Promise<void> {
    return Promise.reject(new BlockferryError('INTERNAL', 'the group portal serves no volume'));
  }
}
