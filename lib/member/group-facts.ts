/** What a member reads of the group's store by itself, once or now and then. */
import { BlockferryError } from '../base/errors.js';
import { GroupRecord, MemberRecord, keys, parseRecord, readRecord } from '../group/records.js';
import type { GroupStore } from '../group/store.js';

/** The incarnation of a member that is in the group. */
export async function processOf(store: GroupStore, member: string): Promise<string | undefined> {
  const entry = await store.get(keys.member(member));
  return entry === undefined ? undefined : parseRecord(MemberRecord, entry).incarnation;
}

/** Whether a process is in the group as of now: what is followed may be behind. */
export async function isInGroup(store: GroupStore, incarnation: string): Promise<boolean> {
  const { entries } = await store.list(keys.members);
  return entries.some((entry) => readRecord(MemberRecord, entry)?.incarnation === incarnation);
}

/** @throws NOT_FOUND where no group was ever made */
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
