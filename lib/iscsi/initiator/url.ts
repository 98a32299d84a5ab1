/** iscsi://host[:port]/iqn/lun and TargetAddress values: text to address and back. No name is resolved here. */
import { isIPv6 } from 'node:net';
import { BlockferryError } from '../../base/errors.js';
import { ISCSI_NAME_BYTES_MAX } from '../../base/limits.js';
import { formatAddress } from '../../base/net.js';

export const ISCSI_PORT = 3260;
/** Flat space addressing (SAM-5 4.7.7.3) holds 14 bits. */
const LUN_MAX = 0x3fff;

export interface PortalAddress {
  readonly host: string;
  readonly port: number;
}

export interface IscsiUrl extends PortalAddress {
  readonly iqn: string;
  readonly lun: number;
}

/** host, host:port, [v6] or [v6]:port; undefined when it is none of them. */
function parseHostPort(text: string): PortalAddress | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.%]+)\]|([^:[\]/]+))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const host = match[1] ?? match[2] ?? '';
  const port = match[3] === undefined ? ISCSI_PORT : Number(match[3]);
  if (port < 1 || port > 65535 || (match[1] !== undefined && !isIPv6(host))) return undefined;
  return { host, port };
}

/** Throws USAGE for anything but iscsi://host[:port]/iqn/lun. */
export function parseIscsiUrl(text: string): IscsiUrl {
  // libiscsi takes user%secret@host. No name holds an @, and who says what is wrong with this must not repeat the secret.
  if (text.includes('@')) {
    throw new BlockferryError(
      'USAGE',
      'the iSCSI URL names a user, which has no place there',
      'give the name and the secret with --chap, and the URL as iscsi://host[:port]/iqn/lun',
    );
  }
  const match = /^iscsi:\/\/([^/]+)\/([^/]+)\/(\d{1,5})$/.exec(text);
  const address = parseHostPort(match?.[1] ?? '');
  const iqn = match?.[2] ?? '';
  const lun = Number(match?.[3]);
  if (address === undefined || Buffer.byteLength(iqn) > ISCSI_NAME_BYTES_MAX || !(lun <= LUN_MAX)) {
    throw new BlockferryError(
      'USAGE',
      `'${text}' is not an iSCSI URL`,
      'write it as iscsi://host[:port]/iqn/lun',
    );
  }
  return { ...address, iqn, lun };
}

/** The name under which the initiator's users have it. */
export const formatPortal = formatAddress;

export function formatIscsiUrl(url: IscsiUrl): string {
  return `iscsi://${formatAddress(url)}/${url.iqn}/${url.lun}`;
}

export interface TargetAddress extends PortalAddress {
  readonly portalGroupTag: number | undefined;
}

/** A TargetAddress value (RFC 7143 13.8): domainname[:port][,portal-group-tag]. Throws PROTOCOL. */
export function parseTargetAddress(text: string): TargetAddress {
  const match = /^([^,]+)(?:,(\d{1,5}))?$/.exec(text);
  const address = parseHostPort(match?.[1] ?? '');
  if (address === undefined) {
    throw new BlockferryError('PROTOCOL', `the target sent TargetAddress=${text}, which is no address`);
  }
  return { ...address, portalGroupTag: match?.[2] === undefined ? undefined : Number(match[2]) };
}
