/** What a member reads of the group's store by itself: the name of the group, and who is in it. */
import { BlockferryError } from '../base/errors.js';
import { GroupRecord, MemberRecord, keys, parseRecord } from '../group/records.js';
import type { GroupStore } from '../group/store.js';

/** The incarnation of a member that is in the group. */
export async function processOf(store: GroupStore, member: string): Promise<string | undefined> {
  const entry = await store.get(keys.member(member));
  return entry === undefined ? undefined : parseRecord(MemberRecord, entry).incarnation;
}

export async function groupName(store: GroupStore): Promise<string> {
  const entry = await store.get(keys.group);
  if (entry === undefined) {
    throw new BlockferryError(
      'NOT_FOUND',
      'the group store is empty',
      'start the group with `blockferry up` first',
    );
  }
  return parseRecord(GroupRecord, entry).name;
}
