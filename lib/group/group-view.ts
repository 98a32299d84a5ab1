/** Who is in the group, kept current by a watch: a map of names to records. It joins nothing and dials nobody. */
import type { Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { MemberRecord, keys, parseRecord } from './records.js';
import { Following, type ReadUpTo } from './following.js';
import type { GroupStore, StoreEntry, StoreEvent } from './store.js';

/**
 * Told of every change; null: the member has left, or its lease ran out.
 * @param before undefined: it was not there
 */
export type MemberChange = (
  name: string,
  record: MemberRecord | null,
  before: MemberRecord | undefined,
) => void;

export class GroupView {
  private readonly records = new Map<string, MemberRecord>();
  private following!: Following;
  private isClosed = false;

  private constructor(
    private readonly store: GroupStore,
    private readonly log: Logger,
    private readonly onChange: MemberChange,
  ) {}

  /** Resolves when every present member was told of. */
  static async open(
    store: GroupStore,
    log: Logger,
    onChange: MemberChange,
    clock: Clock,
  ): Promise<GroupView> {
    const view = new GroupView(store, log, onChange);
    view.following = await Following.begin({
      ...{ store, log, clock, what: 'who is in the group' },
      read: () => view.read(),
      events: (events) => view.events(events),
    });
    return view;
  }

  get members(): MemberRecord[] {
    return [...this.records.values()];
  }

  get(name: string): MemberRecord | undefined {
    return this.records.get(name);
  }

  close(): void {
    this.isClosed = true;
    this.following.close();
  }

  private async read(): Promise<ReadUpTo[]> {
    const { entries, revision } = await this.store.list(keys.members);
    if (this.isClosed) return []; // nobody is told any more
    const present = new Set(entries.map((entry) => nameOf(entry.key)));
    for (const name of [...this.records.keys()]) if (!present.has(name)) this.set(name, null);
    for (const entry of entries) this.set(nameOf(entry.key), entry);
    return [{ prefix: keys.members, revision }];
  }

  private events(events: readonly StoreEvent[]): void {
    for (const { key, entry } of events) this.set(nameOf(key), entry);
  }

  private set(name: string, entry: StoreEntry | null): void {
    let record: MemberRecord | null = null;
    try {
      if (entry !== null) record = parseRecord(MemberRecord, entry);
    } catch (error) {
      this.log.error({ error: describeError(error) }, 'a member is left out');
      return;
    }
    const before = this.records.get(name);
    if (record === null ? !this.records.delete(name) : isSame(before, record)) return;
    if (record !== null) this.records.set(name, record);
    this.onChange(name, record, before);
  }
}

function nameOf(key: string): string {
  return key.slice(keys.members.length);
}

function isSame(a: MemberRecord | undefined, b: MemberRecord): boolean {
  return a !== undefined && JSON.stringify(a) === JSON.stringify(b);
}
