/**
 * The number of each member among the target ports of the group, where every member serves every volume: given out once
 * for a name, and kept, since initiators know paths, and reservations ports, by it.
 */
import { BlockferryError } from '../base/errors.js';
import { TargetPortsRecord, formatRecord, keys, parseRecord } from './records.js';
import type { GroupStore } from './store.js';

const PORTS_MAX = 0xffff;

/** @returns 1 to 65535; throws INVALID when there is none left */
export async function targetPortOf(store: GroupStore, member: string): Promise<number> {
  for (;;) {
    const entry = await store.get(keys.targetPorts);
    const record = entry === undefined ? {} : parseRecord(TargetPortsRecord, entry);
    const known = record[member];
    if (known !== undefined) return known;
    const number = Math.max(0, ...Object.values(record)) + 1;
    if (number > PORTS_MAX)
      throw new BlockferryError('INVALID', 'the group has given out every target port number');
    const compare = { key: keys.targetPorts, revision: entry?.revision ?? 0 };
    const value = formatRecord({ ...record, [member]: number });
    if ((await store.txn([compare], [{ put: keys.targetPorts, value }])).committed) return number;
  }
}
