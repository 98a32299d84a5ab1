/** Where initiators of a volume are sent: the portal of its home, as the group sees it now. */
import { isIP } from 'node:net';
import type { TargetAnswer } from '../iscsi/target/directory.js';

/** The portals of the members that are alive. */
export interface HomePortals {
  portalOf(member: string): { readonly host: string; readonly port: number } | undefined;
}

/** 0101h to the home's portal; unavailable while the home is away, so that the initiator tries again. */
export function redirectToHome(portals: HomePortals, home: string): TargetAnswer {
  const portal = portals.portalOf(home);
  // A name that does not resolve wedges libiscsi for good: numeric addresses only (I10).
  if (portal === undefined || isIP(portal.host) === 0) return { kind: 'unavailable' };
  return { kind: 'redirect', host: portal.host, port: portal.port };
}
