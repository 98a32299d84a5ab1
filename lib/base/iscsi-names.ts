/**
 * The iSCSI names that are ours to give (RFC 7143 4.2.7.3): of targets, and of the initiators that we are ourselves; and the
 * number of our portal group.
 */

/** The naming authority: a domain of ours, and a month in which it was ours. Existing targets go by it. */
const AUTHORITY = 'iqn.2026-11.org.blockferry';

/** Of a volume or an image. */
export function targetIqn(name: string): string {
  return `${AUTHORITY}:${name}`;
}

/** The portal group of all portals, but where each member is a target port of its own (`--access alua`). */
export const PORTAL_GROUP_TAG = 1;

/** Of an initiator: never a target's, since no volume or image has a colon in its name. */
export function initiatorIqn(name: string): string {
  return `${AUTHORITY}:initiator:${name}`;
}
