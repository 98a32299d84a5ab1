/**
 * The keys of a login that is sent elsewhere (RFC 7143 11.13.5, status 0101h). I10: a numeric address, no portal group
 * tag, TargetAddress first, and only that: open-iscsi stops reading at the first key it does not expect.
 */
import { isIP } from 'node:net';
import { assert } from '../../base/assert.js';
import { formatAddress } from '../../base/net.js';
import type { TextPair } from '../wire/text-keys.js';

export function redirectKeys(host: string, port: number): TextPair[] {
  // A name that does not resolve wedges libiscsi for good.
  assert(isIP(host) !== 0, `I10: a redirect to ${host}, which is not a numeric address`);
  return [{ key: 'TargetAddress', value: formatAddress({ host, port }) }];
}
