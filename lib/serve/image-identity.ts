/** Who a served image says it is: a name from its file name, a serial and NAA from its path. The same at every start. */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { targetIqn } from '../base/iscsi-names.js';

export interface ImageIdentity {
  readonly iqn: string;
  /** VPD 80h: 16 hexadecimal digits. */
  readonly serial: string;
  /** VPD 83h, NAA 3h, locally assigned: 16 hexadecimal digits that begin with 3. */
  readonly naa: string;
}

/** Leaves room below the 223 bytes of a name for the prefix and a number. */
const NAME_CHARS_MAX = 150;

/**
 * One identity per path, in order. Names are unique: a second 'disk.img' becomes 'disk.img-2'.
 * @param realPaths without symbolic links, so that two ways to a file give one identity
 */
export function identifyImages(realPaths: readonly string[]): ImageIdentity[] {
  const taken = new Set<string>();
  return realPaths.map((path) => {
    const iqn = uniqueName(targetIqn(sanitise(basename(path))), taken);
    const digest = createHash('sha256').update(path).digest('hex');
    return { iqn, serial: digest.slice(0, 16), naa: `3${digest.slice(16, 31)}` };
  });
}

/** What an iSCSI name may hold after the prefix: lower-case letters, digits, '-', '.' (RFC 7143 4.2.7.2). */
function sanitise(fileName: string): string {
  const clean = fileName
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '')
    .slice(0, NAME_CHARS_MAX);
  return clean === '' ? 'image' : clean;
}

function uniqueName(wanted: string, taken: Set<string>): string {
  let name = wanted;
  for (let i = 2; taken.has(name); i++) name = `${wanted}-${i}`;
  taken.add(name);
  return name;
}
