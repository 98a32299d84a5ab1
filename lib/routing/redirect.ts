/** Where initiators of a volume are sent: by discovery, and to the portal of its home, as the group sees it now. */
import { isIP } from 'node:net';
import { PORTAL_GROUP_TAG } from '../base/iscsi-names.js';
import type { MemberRecord } from '../group/records.js';
import type { DirectoryEntry, TargetAnswer } from '../iscsi/target/directory.js';
import type { RoutingTable } from './table.js';

/** The portals of the members that are alive. */
export interface HomePortals {
  portalOf(member: string): { readonly host: string; readonly port: number } | undefined;
}

/** A portal of a target, as discovery shows it. */
export type TargetPortal = DirectoryEntry['addresses'][number];

/** The portals of members that all serve, each with the tag of its own group; nothing of one that is not reachable. */
export function portalsOf(members: readonly MemberRecord[]): TargetPortal[] {
  return members.flatMap(({ portal, targetPort }) =>
    targetPort === undefined ? [] : [{ ...portal, portalGroupTag: targetPort }],
  );
}

/**
 * What discovery shows of the group at one address: every volume, wherever its home is.
 * @param everyPortal the portals of all members, where all of them serve; null: one portal sends initiators on
 */
export function listTargets(
  { volumes }: RoutingTable,
  everyPortal: (() => readonly TargetPortal[]) | null,
  here: { readonly host: string; readonly port: number },
): DirectoryEntry[] {
  const addresses = everyPortal?.() ?? [{ ...here, portalGroupTag: PORTAL_GROUP_TAG }];
  return [...volumes].map(({ record }) => ({ iqn: record.iqn, addresses }));
}

/** 0101h to the home's portal; unavailable while the home is away, so that the initiator tries again. */
export function redirectToHome(portals: HomePortals, home: string): TargetAnswer {
  const portal = portals.portalOf(home);
  // A name that does not resolve wedges libiscsi for good: numeric addresses only (I10).
  if (portal === undefined || isIP(portal.host) === 0) return { kind: 'unavailable' };
  return { kind: 'redirect', host: portal.host, port: portal.port };
}
