/** The answer to SendTargets (RFC 7143 Appendix C) as text pairs. Which targets there are is the directory's to say. */
import { addressFor, formatAddress } from '../../base/net.js';
import type { TextPair } from '../wire/text-keys.js';
import type { DirectoryEntry } from './directory.js';

/**
 * @param value what was asked: 'All', a target's name, or '' for the session's own
 * @param ownTarget the target of a normal session, null in a discovery session
 * @param localHost where this connection arrived
 * @returns the pairs, or null when that may not be asked here
 */
export function answerSendTargets(
  value: string,
  entries: readonly DirectoryEntry[],
  ownTarget: string | null,
  localHost: string,
): TextPair[] | null {
  const pairsOf = (entry: DirectoryEntry): TextPair[] => pairsAt(entry, localHost);
  // All is for discovery sessions, the empty value for normal ones (Appendix C).
  if (value === 'All') return ownTarget === null ? entries.flatMap(pairsOf) : null;
  const name = value === '' ? ownTarget : value;
  if (name === null) return null;
  if (ownTarget !== null && name !== ownTarget) return null;
  return entries.filter((entry) => entry.iqn === name).flatMap(pairsOf);
}

function pairsAt(entry: DirectoryEntry, localHost: string): TextPair[] {
  const addresses = entry.addresses.map(({ host, port, portalGroupTag }) => ({
    key: 'TargetAddress',
    value: `${formatAddress({ host: addressFor(host, localHost), port })},${portalGroupTag}`,
  }));
  return [{ key: 'TargetName', value: entry.iqn }, ...addresses];
}
