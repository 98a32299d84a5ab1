/** What a member reads of the group's store by itself, once or now and then. */
import { BlockferryError } from '../base/errors.js';
import { GroupRecord, MemberRecord, keys, parseRecord, readRecord } from '../group/records.js';
import type { GroupStore } from '../group/store.js';
import type { Present } from './everywhere.js';

/** The incarnation of a member that is in the group. */
export async function processOf(store: GroupStore, member: string): Promise<string | undefined> {
  const entry = await store.get(keys.member(member));
  return entry === undefined ? undefined : parseRecord(MemberRecord, entry).incarnation;
}

/** The processes that are in the group as of now: what is followed may be behind. */
export async function processesIn(store: GroupStore): Promise<Present[]> {
  const { entries } = await store.list(keys.members);
  const records = entries.map((entry) => readRecord(MemberRecord, entry)).filter((record) => record !== null);
  return records.map(({ name, incarnation }) => ({ name, incarnation }));
}

/** Whether it is one of them. */
export async function isInGroup(store: GroupStore, process: string): Promise<boolean> {
  return (await processesIn(store)).some(({ incarnation }) => incarnation === process);
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
